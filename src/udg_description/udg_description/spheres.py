"""Collision spheres: the robot as balls, from data/collision_spheres.yaml (cuRobo's layout), batched in torch."""

from __future__ import annotations

from functools import cached_property, lru_cache
from importlib.resources import files

import numpy as np
import torch
import yaml

from udg_description.errors import RobotModelError
from udg_description.model import RobotModel


@lru_cache(maxsize=1)
def _kinematics() -> dict:
    text = (files("udg_description") / "data" / "collision_spheres.yaml").read_text()
    return yaml.load(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))["robot_cfg"]["kinematics"]


class CollisionSpheres:
    """The spheres of those links that a RobotModel has: all for the whole robot, a hand's for `model.hand(side)`.

    radii (S,) [m] and centers_link (S, 3) [m] are tensors of the model's type; link_of_sphere (S,) names their links.
    """

    def __init__(self, model: RobotModel) -> None:
        """Raises RobotModelError when none of the model's links has spheres."""
        spheres = _kinematics()["collision_spheres"]
        rows = [
            (name, sphere["center"], sphere["radius"])
            for name, link_spheres in spheres.items()
            if name in model.link_names
            for sphere in link_spheres
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

    @cached_property
    def ignored_link_pairs(self) -> frozenset[frozenset[str]]:
        """Pairs of different links that may touch: neighbours over a joint, fingers side by side."""
        ignored = _kinematics()["self_collision_ignore"]
        return frozenset(frozenset((a, b)) for a, others in ignored.items() for b in others)

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

    def self_clearance(self, q: torch.Tensor) -> torch.Tensor:
        """Smallest gap (...) [m] of all checked pairs for q (..., n) [rad]; negative where spheres overlap."""
        centers = self.centers_world(q)
        a, b = self.checked_pairs.T
        gap = (centers[..., a, :] - centers[..., b, :]).norm(dim=-1) - self.radii[a] - self.radii[b]
        return gap.amin(dim=-1)
