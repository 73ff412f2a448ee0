"""Room of the robot in a scene, by its collision spheres: beyond the safety filter's margins, and from objects."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import open3d as o3d
import trimesh

from udg_control.collision import CollisionCheck, CollisionConfig, Hazard
from udg_description.layout import SIDES, Side
from udg_description.model import RobotModel
from udg_description.transforms import inverse
from udg_sim.geometry.ray_scene import ray_scene

_EXACT_WITHIN = 0.05  # [m] further from an object's bounding ball than this the distance to the ball is enough


@dataclass(frozen=True)
class Clearance:
    """Least room [m] of a batch of configurations. Every array has shape (B,).

    `table`, `robot` and `workspace` are what remains beyond the safety filter's margins (`CollisionConfig`); the others
    are distances, negative where spheres penetrate. Distances to objects above 5 cm may be given too small, never too
    large.
    """

    table: np.ndarray
    robot: np.ndarray  # links of one side, and both sides
    workspace: np.ndarray
    object: np.ndarray  # the target
    others: np.ndarray  # the other objects
    hand_table: np.ndarray  # of the hands that act (`low`); infinite without

    @property
    def commands(self) -> np.ndarray:
        """What remains (B,) [m] before the safety filter would refuse the configuration as a command."""
        return np.minimum(np.minimum(self.table, self.robot), self.workspace)

    @property
    def bodies(self) -> np.ndarray:
        """Smallest distance (B,) to any object."""
        return np.minimum(self.object, self.others)


class CollisionScene:
    """The robot's spheres against the table (z = 0), itself and the workspace, and against objects."""

    def __init__(self, margins: CollisionConfig | None = None, model: RobotModel | None = None) -> None:
        """`margins` are the safety filter's."""
        self.check = CollisionCheck(CollisionConfig() if margins is None else margins, model)
        self._radii_m = self.check.radii
        self._side = self.check.side
        self._is_hand = np.array([link.partition("_")[2].startswith("hand") for link in self.check.links])
        self._target: _Distance | None = None
        self._others: list[_Distance] = []

    def set_objects(
        self,
        target: tuple[trimesh.Trimesh, np.ndarray] | None,
        others: Sequence[tuple[trimesh.Trimesh, np.ndarray]] = (),
    ) -> None:
        """Place the target and other objects, each a mesh and its T_world_object; ``None`` for no target."""
        self._target = None if target is None else _Distance(*target)
        self._others = [_Distance(*other) for other in others]

    def set_object(self, mesh: trimesh.Trimesh | None, T_world_object: np.ndarray | None = None) -> None:
        """Place a target alone, or take everything away with ``None``."""
        self.set_objects(None if mesh is None or T_world_object is None else (mesh, T_world_object))

    def clearance(
        self,
        q: np.ndarray,
        *,
        sides: Sequence[Side] = SIDES,
        grasping: Sequence[Side] = (),
        low: Sequence[Side] = (),
        target_shift: np.ndarray | None = None,
    ) -> Clearance:
        """Clearances of the configurations q (B, 36) [rad].

        sides: arms (with hands) that are there; the others count as absent.
        grasping: sides whose hand may touch the target.
        low: sides whose hand's distance from the table is told apart.
        target_shift: displacement (B, 3) [m] in the world of the target from where it was placed.
        """
        centers = self.check.centers_world(q)
        spare = self.check.least_spare_m(centers, sides)
        present = np.isin(self._side, sides)
        hands = present & self._is_hand & np.isin(self._side, low)
        hand_table = (centers[..., 2] - self._radii_m)[:, hands].min(axis=1, initial=np.inf)
        touching = self._is_hand & np.isin(self._side, grasping)
        target = others = np.full(len(centers), np.inf)
        if self._target is not None:
            away = present & ~touching
            moved = centers if target_shift is None else centers - np.asarray(target_shift)[:, None]
            target = self._target(moved[:, away], self._radii_m[away])
        for other in self._others:
            others = np.minimum(others, other(centers[:, present], self._radii_m[present]))
        return Clearance(
            table=spare[Hazard.TABLE],
            robot=np.minimum(spare[Hazard.SELF], spare[Hazard.ARMS]),
            workspace=spare[Hazard.WORKSPACE],
            object=target,
            others=others,
            hand_table=hand_table,
        )


class _Distance:
    """Distance from spheres to a placed mesh."""

    def __init__(self, mesh: trimesh.Trimesh, T_world_object: np.ndarray) -> None:
        self._scene = ray_scene(mesh.vertices, mesh.faces)
        self._T_object_world = inverse(T_world_object)
        self._center = mesh.bounds.mean(axis=0)
        self._radius = float(np.linalg.norm(mesh.vertices - self._center, axis=1).max())

    def __call__(self, centers_world: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Smallest gap (B,) [m] of spheres (B, S, 3), (S,)."""
        local = centers_world @ self._T_object_world[:3, :3].T + self._T_object_world[:3, 3]
        gaps = np.linalg.norm(local - self._center, axis=-1) - self._radius - radii
        near = gaps < _EXACT_WITHIN
        if near.any():
            points = o3d.core.Tensor(np.ascontiguousarray(local[near], dtype=np.float32))
            exact = self._scene.compute_signed_distance(points, nthreads=1).numpy()
            gaps[near] = exact - np.broadcast_to(radii, gaps.shape)[near]
        return gaps.min(axis=1, initial=np.inf)
