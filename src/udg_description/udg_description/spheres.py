"""Collision spheres: the robot as balls, batched in torch.

They come from a file in cuRobo's layout (data/collision_spheres.yaml), or are the hands' own, on the arms of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from udg_description.errors import RobotModelError
from udg_description.model import RobotModel
from udg_description.robot import Robot, current_robot
from udg_description.robot.hand_spheres import link_spheres
from udg_description.robot.hand_tree import hand_tree
from udg_description.robot.yaml_file import read_yaml
from udg_description.sides import SIDES


class SphereTable(NamedTuple):
    """Spheres (x, y, z, radius) [m] by link, in its frame, and pairs of links that may touch."""

    spheres: Mapping[str, list[tuple[list[float], float]]]
    ignored: frozenset[frozenset[str]]


@lru_cache(maxsize=8)
def sphere_table(robot: Robot) -> SphereTable:
    """The spheres of a robot. Raises RobotModelError when its files lack something."""
    if robot.spheres is not None:
        return _from_file(robot.spheres)
    arms = _from_file(robot.arm_spheres)
    spheres = {link: rows for link, rows in arms.spheres.items() if "_hand_" not in link}
    ignored = {pair for pair in arms.ignored if pair <= set(spheres)}
    for side in SIDES:
        root = f"{side}_hand_link"
        tree = hand_tree(robot.urdf, root, robot.hand_joints[side])
        for link, rows in zip(tree.links, link_spheres(tree, robot.hands[side]), strict=True):
            spheres[link] = [(row[:3].tolist(), float(row[3])) for row in rows]
        first = [tree.links[k + 1] for k, parent in enumerate(tree.parent_link) if parent == 0]
        wrist = f"{side}_{robot.arm.flange_link}"
        ignored |= {frozenset((wrist, link)) for link in (root, *first)}
        ignored |= {frozenset((f"{side}_{link}", root)) for link in robot.arm.wrist_links[-2:]}
        ignored |= {frozenset((a, b)) for a in tree.links for b in tree.links if a != b}
    return SphereTable(spheres, frozenset(ignored))


@lru_cache(maxsize=8)
def _from_file(path: Path) -> SphereTable:
    kinematics: dict[str, Any] = read_yaml(path, "sphere")["robot_cfg"]["kinematics"]
    spheres = {
        link: [(sphere["center"], sphere["radius"]) for sphere in rows]
        for link, rows in kinematics["collision_spheres"].items()
    }
    ignored = kinematics["self_collision_ignore"]
    return SphereTable(spheres, frozenset(frozenset((a, b)) for a, others in ignored.items() for b in others))


class CollisionSpheres:
    """The spheres of those links that a RobotModel has: all for the whole robot, a hand's for `model.hand(side)`.

    radii (S,) [m] and centers_link (S, 3) [m] are tensors of the model's type; link_of_sphere (S,) names their links.
    """

    def __init__(self, model: RobotModel, robot: Robot | None = None) -> None:
        """`robot` is by default that of this process. Raises RobotModelError when none of the links has spheres."""
        self._table = sphere_table(current_robot() if robot is None else robot)
        rows = [
            (name, center, radius)
            for name, link_spheres in self._table.spheres.items()
            if name in model.link_names
            for center, radius in link_spheres
        ]
        if not rows:
            raise RobotModelError(f"the model from {model.root!r} has no link with collision spheres")
        self._model = model
        self.link_of_sphere: tuple[str, ...] = tuple(name for name, _, _ in rows)
        self.links: tuple[str, ...] = tuple(dict.fromkeys(self.link_of_sphere))
        places = [self.links.index(name) for name in self.link_of_sphere]
        self.link_index = torch.tensor(places, device=model.device)  # (S,) into .links
        self.centers_link = torch.tensor([center for _, center, _ in rows], dtype=model.dtype, device=model.device)
        self.radii = torch.tensor([radius for _, _, radius in rows], dtype=model.dtype, device=model.device)

    def __len__(self) -> int:
        return len(self.link_of_sphere)

    def centers_world(self, q: torch.Tensor) -> torch.Tensor:
        """Centres (..., S, 3) [m] in the model's root frame for q (..., n) [rad], differentiable."""
        rotation, position = self._model.link_rotations_positions(q, self.links)
        rotation, position = rotation[..., self.link_index, :, :], position[..., self.link_index, :]
        local = self.centers_link
        x, y, z = (rotation[..., :, k] * local[:, k : k + 1] for k in range(3))
        return position + x + y + z

    @property
    def ignored_link_pairs(self) -> frozenset[frozenset[str]]:
        """Pairs of different links that may touch: neighbours over a joint, fingers side by side."""
        return self._table.ignored

    @cached_property
    def checked_pairs(self) -> torch.Tensor:
        """Pairs (P, 2) of spheres that must not overlap: their links differ and are not in ignored_link_pairs."""
        n_links = len(self.links)
        checked = np.zeros((n_links, n_links), dtype=bool)
        for i in range(n_links):
            for j in range(i + 1, n_links):
                checked[i, j] = frozenset((self.links[i], self.links[j])) not in self.ignored_link_pairs
        link = self.link_index.cpu().numpy()
        pairs = np.argwhere(checked[link[:, None], link[None, :]])
        return torch.as_tensor(pairs, device=self.centers_link.device)
