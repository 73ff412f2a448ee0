"""Clearance of the robot in a scene, by its collision spheres."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import open3d as o3d
import torch
import trimesh

from udg_description.layout import SIDES, Side
from udg_description.spheres import CollisionSpheres
from udg_description.transforms import inverse

_STANDING = ("base_link", "base_link_inertia", "shoulder_link")  # mounted on the table: no clearance asked
_NEAR_BASE = (*_STANDING, "upper_arm_link")
_EXACT_WITHIN = 0.05  # [m] further from an object's bounding ball than this the distance to the ball is enough


@dataclass(frozen=True)
class Clearance:
    """Smallest distances [m] of a batch of configurations; negative means penetration. Every array has shape (B,).

    Distances to objects above 5 cm may be given too small, never too large.
    """

    table: np.ndarray
    object: np.ndarray  # the target
    robot: np.ndarray
    others: np.ndarray  # the other objects
    hand_table: np.ndarray  # of the hands that act (`low`), which `table` then leaves out; infinite without

    @property
    def bodies(self) -> np.ndarray:
        """Smallest distance (B,) to any object."""
        return np.minimum(self.object, self.others)


class CollisionScene:
    """The robot's spheres against the table (z = 0), against itself, a target object and other objects.

    Left against right is checked in full; within a side, what the arm can bring together: the hand with forearm, upper
    arm and shoulder, the wrist with upper arm and shoulder.
    """

    def __init__(self, spheres: CollisionSpheres) -> None:
        self._spheres = spheres
        links = [str(link) for link in spheres.link_of_sphere]
        names = [link.partition("_")[2] for link in links]
        self._radii_m = np.asarray(spheres.radii, dtype=np.float32)
        self._side = np.array([link.partition("_")[0] for link in links])
        self._on_table = np.array([not name.endswith(_STANDING) for name in names])
        self._is_hand = np.array([name.startswith("hand") for name in names])
        wrist = np.array([name.startswith("wrist") for name in names])
        base = np.array([name in _NEAR_BASE for name in names])
        forearm = np.array([name == "forearm_link" for name in names])
        self._pairs = [(set(SIDES), self._of("left"), self._of("right"))]
        for side in SIDES:
            own = self._of(side)
            self._pairs.append(({side}, own & self._is_hand, own & (base | forearm)))
            self._pairs.append(({side}, own & wrist, own & base))
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
        low: sides whose hand is judged apart against the table.
        target_shift: displacement (B, 3) [m] in the world of the target from where it was placed.
        """
        with torch.no_grad():
            centers = self._spheres.centers_world(torch.tensor(q, dtype=torch.float32)).numpy()
        present = np.isin(self._side, sides)
        above = centers[..., 2] - self._radii_m
        hands = self._is_hand & np.isin(self._side, low)
        table = above[:, present & self._on_table & ~hands].min(axis=1, initial=np.inf)
        hand_table = above[:, present & hands].min(axis=1, initial=np.inf)
        robot = np.full(len(centers), np.inf)
        for needed, a, b in self._pairs:
            if needed <= set(sides):
                gaps = _gaps(centers[:, a], self._radii_m[a], centers[:, b], self._radii_m[b])
                robot = np.minimum(robot, gaps)
        touching = self._is_hand & np.isin(self._side, grasping)
        target = others = np.full(len(centers), np.inf)
        if self._target is not None:
            away = present & ~touching
            moved = centers if target_shift is None else centers - np.asarray(target_shift)[:, None]
            target = self._target(moved[:, away], self._radii_m[away])
        for other in self._others:
            others = np.minimum(others, other(centers[:, present], self._radii_m[present]))
        return Clearance(table=table, object=target, robot=robot, others=others, hand_table=hand_table)

    def _of(self, side: Side) -> np.ndarray:
        return self._side == side


class _Distance:
    """Distance from spheres to a placed mesh."""

    def __init__(self, mesh: trimesh.Trimesh, T_world_object: np.ndarray) -> None:
        self._scene = o3d.t.geometry.RaycastingScene(nthreads=1)
        vertices = o3d.core.Tensor(np.asarray(mesh.vertices, dtype=np.float32))
        self._scene.add_triangles(vertices, o3d.core.Tensor(np.asarray(mesh.faces, dtype=np.uint32)))
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


def _gaps(a: np.ndarray, radii_a: np.ndarray, b: np.ndarray, radii_b: np.ndarray) -> np.ndarray:
    """Smallest gap (B,) between two groups of spheres (B, n, 3), (B, m, 3); single precision, in place: quick."""
    gap = a @ np.swapaxes(b, 1, 2)
    gap *= -2.0
    gap += (a**2).sum(-1)[:, :, None]
    gap += (b**2).sum(-1)[:, None]
    np.maximum(gap, 0.0, out=gap)
    np.sqrt(gap, out=gap)
    gap -= radii_a[:, None] + radii_b
    return gap.reshape(len(gap), -1).min(axis=1, initial=np.inf)
