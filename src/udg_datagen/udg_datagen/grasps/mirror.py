"""The left hand's grasps from the right hand's, where the object is its own mirror image.

The two hands mirror each other. Reflected in a vertical plane of symmetry of the object, a grasp of one hand becomes
one of the other, equally good, at no cost.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import trimesh

from udg_datagen.grasp_set import GraspSet
from udg_datagen.synthesis import GraspObject
from udg_description.layout import other_side
from udg_description.transforms import MIRROR, make_transform

TOLERANCE = 5e-4  # [m] of a reflected surface to the surface
_UPRIGHT = 1e-3  # largest vertical component of the plane's normal
_POINTS = 400


def symmetry_plane(obj: GraspObject, T_table_object: np.ndarray, tolerance: float = TOLERANCE) -> np.ndarray | None:
    """Unit normal (3,), object frame, of a plane through the centre of mass, upright on the table; None without one.

    The planes tried are those across the object's own axes and its principal axes of inertia.
    """
    up = np.asarray(T_table_object)[2, :3]
    _, principal = np.linalg.eigh(np.asarray(obj.mesh.moment_inertia))
    points = np.concatenate([_sample(obj.mesh), np.asarray(obj.mesh.vertices)]) - obj.com
    for normal in np.concatenate([np.eye(3), principal.T]):
        if abs(float(normal @ up)) > _UPRIGHT:
            continue
        reflected = points - 2.0 * (points @ normal)[:, None] * normal
        if np.abs(obj.distance(reflected + obj.com)).max() < tolerance:
            return normal
    return None


def mirrored(grasps: GraspSet, normal: np.ndarray, com: np.ndarray) -> GraspSet:
    """The grasps of one hand, reflected in the plane through `com` (3,) across `normal` (3,), of the other hand."""
    (side,) = grasps.sides
    other = other_side(side)
    S = np.eye(3) - 2.0 * np.outer(normal, normal)

    def rename(name: str) -> str:
        return name.replace(f"{side}_", f"{other}_", 1)

    poses = grasps.T_object_hand
    origins = (poses[..., :3, 3] - com) @ S + com
    return dataclasses.replace(
        grasps,
        sides=(other,),
        palm_normal_hand=grasps.palm_normal_hand @ MIRROR,
        contact_names=tuple(rename(name) for name in grasps.contact_names),
        joint_names=tuple(tuple(rename(name) for name in names) for names in grasps.joint_names),
        T_object_hand=make_transform(S @ poses[..., :3, :3] @ MIRROR, origins),
        contact_points_object=(grasps.contact_points_object - com) @ S + com,
        contact_forces_object=grasps.contact_forces_object @ S,
    )


def _sample(mesh: trimesh.Trimesh) -> np.ndarray:
    """Points (n, 3) over the surface; the same ones for the same mesh."""
    rng = np.random.default_rng(0)
    face = rng.choice(len(mesh.faces), size=_POINTS, p=mesh.area_faces / mesh.area_faces.sum())
    u, v = np.sort(rng.random((2, _POINTS)), axis=0)
    a, b, c = np.moveaxis(np.asarray(mesh.triangles)[face], 1, 0)
    return u[:, None] * a + (v - u)[:, None] * b + (1.0 - v)[:, None] * c
