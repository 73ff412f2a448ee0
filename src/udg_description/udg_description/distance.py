"""Signed distance from points to the robot: what the self-filter drops the robot's own depth points by."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from udg_description.model import RobotModel
from udg_description.shapes import bounding_radius, merge_capsules, union_distance
from udg_description.urdf import Primitive

_SLACK = np.float32(2e-3)  # [m] rounding of the quick distances in single precision


class RobotDistance:
    """Distance to the primitives of a RobotModel; exact shapes are tried only on the links that can be the nearest."""

    def __init__(self, model: RobotModel) -> None:
        self._model = model
        shapes = {name: merge_capsules(model.geometry(name)) for name in model.link_names}
        self._shapes = [shapes[name] for name in model.link_names if shapes[name]]
        self._links = np.array([index for index, name in enumerate(model.link_names) if shapes[name]])
        spheres = [_bounding_sphere(primitives) for primitives in self._shapes]
        self._centers = np.array([center for center, _ in spheres])
        self._radii = np.array([radius for _, radius in spheres], dtype=np.float32)

    def __call__(self, points_world: np.ndarray, q: np.ndarray, max_distance: float = np.inf) -> np.ndarray:
        """Signed distance (N,) [m] of points (N, 3) [m] in the model's root frame, for q (n,) [rad].

        Inside is negative. Exact up to max_distance [m]; farther points get max_distance, which is quicker.
        """
        points = np.asarray(points_world, dtype=np.float32)
        poses = self._model.link_pose_array(q)[self._links]
        middles = np.einsum("lij,lj->li", poses[:, :3, :3], self._centers) + poses[:, :3, 3]
        to_middle = _distances(points, middles.astype(np.float32))
        # No farther than the far side of the nearest bounding sphere.
        bound = np.minimum((to_middle + self._radii).min(axis=1), np.float32(max_distance))
        candidate = to_middle - self._radii < bound[:, None] + _SLACK
        distance = np.full(len(points), max_distance, dtype=np.float32)
        for index, primitives in enumerate(self._shapes):
            near = np.flatnonzero(candidate[:, index])
            if len(near) == 0:
                continue
            T = poses[index].astype(np.float32)
            local = (points[near] - T[:3, 3]) @ T[:3, :3]
            distance[near] = np.minimum(distance[near], union_distance(primitives, local))
        return distance


def _distances(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Distances (N, L) [m] of points (N, 3) from centers (L, 3), to within _SLACK."""
    squares = np.einsum("ij,ij->i", points, points)[:, None] + np.einsum("ij,ij->i", centers, centers)
    return np.sqrt(np.maximum(squares - 2 * points @ centers.T, 0))


def _bounding_sphere(primitives: list[Primitive]) -> tuple[np.ndarray, float]:
    """A centre (3,) and radius [m] that hold all primitives; not the smallest, near it."""
    centers = np.array([primitive.T_link_shape[:3, 3] for primitive in primitives])
    radii = np.array([bounding_radius(primitive) for primitive in primitives])
    center = ((centers + radii[:, None]).max(axis=0) + (centers - radii[:, None]).min(axis=0)) / 2
    return center, float((np.linalg.norm(centers - center, axis=1) + radii).max())


@lru_cache(maxsize=1)
def _default() -> RobotDistance:
    return RobotDistance(RobotModel())


def robot_distance(points_world: np.ndarray, q: np.ndarray, max_distance: float = np.inf) -> np.ndarray:
    """RobotDistance of the shipped robot: signed distance (N,) [m] of points (N, 3) in the world for q (36,) [rad]."""
    return _default()(points_world, q, max_distance)
