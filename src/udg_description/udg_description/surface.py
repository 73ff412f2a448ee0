"""Fixed samples on the robot's outer surface: the "imaged" robot points of the scene cloud."""

from __future__ import annotations

import numpy as np

from udg_description.errors import RobotModelError
from udg_description.layout import HOME_Q, mirror_q
from udg_description.model import RobotModel
from udg_description.robot import current_robot
from udg_description.shapes import merge_capsules, sample_union, union_distance
from udg_description.transforms import MIRROR, inverse, transform_points

HAND_SHARE = 0.75  # of the points; the rest lies on forearm and wrist
_CANDIDATES_PER_POINT = 20  # on each link, of its equal share


class SurfacePoints:
    """2 * n_per_side points fixed to the links of hands, wrists and forearms, the left half the right half's mirror.

    Any even prefix is well spread over the robot and has equal numbers of both sides: for fewer points, cut the arrays.
    `side` (N,) is 0 for left and 1 for right, `link` (N,) the index into model.link_names.
    """

    def __init__(self, model: RobotModel, n_per_side: int, seed: int = 0) -> None:
        """`model` is the whole robot. The points depend on n_per_side and the seed alone."""
        if n_per_side < 1:
            raise RobotModelError(f"SurfacePoints: n_per_side is {n_per_side}, expected at least 1")
        self._model = model
        points_home, links = _sample_right_side(model, n_per_side, np.random.default_rng(seed))
        poses_home = model.link_pose_array(HOME_Q)
        poses_mirrored = model.link_pose_array(mirror_q(HOME_Q))
        twin = np.array([_other_link(model, index) for index in links])
        local_right = _to_links(poses_home[links], points_home)
        local_left = _to_links(poses_mirrored[twin], points_home * np.diag(MIRROR))
        self.side = np.tile(np.array([0, 1], dtype=np.uint8), n_per_side)
        self.link = np.stack([twin, links], axis=1).reshape(-1)
        self._local = np.stack([local_left, local_right], axis=1).reshape(-1, 3)

    def __len__(self) -> int:
        return len(self._local)

    def points_world(self, q: np.ndarray, n: int | None = None) -> np.ndarray:
        """Points (N, 3) [m] in the world for q (36,) [rad]; only the first n of them if n is given."""
        T = self._model.link_pose_array(q)[self.link[:n]]
        return np.einsum("nij,nj->ni", T[:, :3, :3], self._local[:n]) + T[:, :3, 3]


def _other_link(model: RobotModel, index: int) -> int:
    name = model.link_names[index]
    return model.link_names.index(name.replace("right_", "left_", 1))


def _to_links(T_world_link: np.ndarray, points_world: np.ndarray) -> np.ndarray:
    """Point i of (N, 3) in the frame of link i, (N, 4, 4)."""
    return transform_points(inverse(T_world_link), points_world[:, None])[:, 0]


def _sample_right_side(model: RobotModel, n: int, rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """n points (n, 3) [m] in the world at HOME_Q and their link indices (n,): hand and forearm interleaved."""
    hand_links = [name for name in model.link_names if name.startswith("right_hand_")]
    forearm_links = [f"right_{name}" for name in current_robot().arm.forearm_links]
    n_hand = round(n * HAND_SHARE)
    groups = [(hand_links, n_hand), (forearm_links, n - n_hand)]
    sampled = [_sample_links(model, links, count, rng) for links, count in groups if count]
    points = np.concatenate([points for points, _ in sampled])
    links = np.concatenate([links for _, links in sampled])
    # Both groups keep their share in every prefix.
    rank = np.concatenate([(np.arange(count) + 0.5) / count for _, count in groups if count])
    order = np.argsort(rank, kind="stable")
    return points[order], links[order]


def _sample_links(
    model: RobotModel, names: list[str], n: int, rng: np.random.Generator
) -> tuple[np.ndarray, np.ndarray]:
    """n points (n, 3) [m] in the world at HOME_Q on the links, none inside another link, farthest-point ordered."""
    poses = model.link_poses_np(HOME_Q)
    shapes = {name: merge_capsules(model.geometry(name)) for name in model.link_names if name.startswith("right_")}
    candidates, links = [], []
    for name in names:
        if not shapes[name]:
            continue
        local = sample_union(shapes[name], _CANDIDATES_PER_POINT * max(n // len(names), 100), rng)
        world = transform_points(poses[name], local)
        hidden = np.zeros(len(world), dtype=bool)
        for other, others_shapes in shapes.items():
            if other != name and others_shapes:
                hidden |= union_distance(others_shapes, transform_points(inverse(poses[other]), world)) < 0
        candidates.append(world[~hidden])
        links.append(np.full(int(np.sum(~hidden)), model.link_names.index(name)))
    points, owners = np.concatenate(candidates), np.concatenate(links)
    chosen = _farthest_points(points, n)
    return points[chosen], owners[chosen]


def _farthest_points(points: np.ndarray, n: int) -> np.ndarray:
    """Indices (n,) of a farthest-point order; repeats from the start if there are fewer points than n."""
    n_unique = min(n, len(points))
    chosen = np.zeros(n_unique, dtype=int)
    distance = np.full(len(points), np.inf)
    for index in range(1, n_unique):
        offset = points - points[chosen[index - 1]]
        np.minimum(distance, np.einsum("ij,ij->i", offset, offset), out=distance)
        chosen[index] = int(np.argmax(distance))
    return np.resize(chosen, n)
