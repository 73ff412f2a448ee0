"""Clearance of the robot in a scene, by its collision spheres."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import open3d as o3d
import torch
import trimesh

from udg_description.spheres import CollisionSpheres

_STANDING = ("base_link", "base_link_inertia", "shoulder_link")  # mounted on the table: no clearance asked
_NEAR_BASE = (*_STANDING, "upper_arm_link")


@dataclass(frozen=True)
class Clearance:
    """Smallest distances [m] of a batch of configurations; negative means penetration. Every array has shape (B,)."""

    table: np.ndarray
    object: np.ndarray
    robot: np.ndarray


class CollisionScene:
    """The robot's spheres against the table (z = 0), against itself and against one object.

    Left against right is checked in full; within a side, what the arm can bring together: the hand with forearm, upper
    arm and shoulder, the wrist with upper arm and shoulder.
    """

    def __init__(self, spheres: CollisionSpheres) -> None:
        self._spheres = spheres
        links = [str(link) for link in spheres.link_of_sphere]
        self._radii_m = np.asarray(spheres.radii, dtype=np.float64)
        self._on_table = np.array([not link.endswith(_STANDING) for link in links])
        first, second = np.triu_indices(len(links), 1)
        checked = np.array([_may_collide(links[i], links[j]) for i, j in zip(first, second, strict=True)])
        self._first, self._second = first[checked], second[checked]
        self._object: o3d.t.geometry.RaycastingScene | None = None
        self._T_object_world = np.eye(4)

    def set_object(self, mesh: trimesh.Trimesh | None, T_world_object: np.ndarray | None = None) -> None:
        """Place an object, or take it away with ``None``."""
        if mesh is None or T_world_object is None:
            self._object = None
            return
        self._object = o3d.t.geometry.RaycastingScene(nthreads=1)
        vertices = o3d.core.Tensor(np.asarray(mesh.vertices, dtype=np.float32))
        self._object.add_triangles(vertices, o3d.core.Tensor(np.asarray(mesh.faces, dtype=np.uint32)))
        self._T_object_world = np.linalg.inv(T_world_object)

    def clearance(self, q: np.ndarray) -> Clearance:
        """Clearances of the configurations q (B, 36) [rad]."""
        with torch.no_grad():
            centers = self._spheres.centers_world(torch.tensor(q, dtype=torch.float32)).numpy().astype(np.float64)
        table = (centers[:, self._on_table, 2] - self._radii_m[self._on_table]).min(axis=1)
        gap = np.linalg.norm(centers[:, self._first] - centers[:, self._second], axis=-1)
        robot = (gap - self._radii_m[self._first] - self._radii_m[self._second]).min(axis=1)
        return Clearance(table=table, object=self._object_clearance(centers), robot=robot)

    def _object_clearance(self, centers: np.ndarray) -> np.ndarray:
        if self._object is None:
            return np.full(len(centers), np.inf)
        local = centers @ self._T_object_world[:3, :3].T + self._T_object_world[:3, 3]
        points = o3d.core.Tensor(np.ascontiguousarray(local, dtype=np.float32))
        distance = self._object.compute_signed_distance(points, nthreads=1).numpy()
        return (distance - self._radii_m).min(axis=1)


def _may_collide(link_a: str, link_b: str) -> bool:
    """Whether two links (names with a side prefix) can be brought together and have to be kept apart."""
    side_a, _, name_a = link_a.partition("_")
    side_b, _, name_b = link_b.partition("_")
    if side_a != side_b:
        return True
    for one, other in ((name_a, name_b), (name_b, name_a)):
        if one.startswith("hand") and (other in _NEAR_BASE or other == "forearm_link"):
            return True
        if one.startswith("wrist") and other in _NEAR_BASE:
            return True
    return False
