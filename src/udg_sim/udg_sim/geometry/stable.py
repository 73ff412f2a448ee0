"""Poses in which an object rests on a table."""

from typing import NamedTuple

import numpy as np
import trimesh

from udg_sim.geometry.shapes import sphere_directions
from udg_sim.geometry.solid import MeshError


class StablePose(NamedTuple):
    """T_table_object (4, 4): the object rests on z = 0 with its centre of mass above the origin; share of drops."""

    T_table_object: np.ndarray
    probability: float


def stable_poses(mesh: trimesh.Trimesh, min_probability: float = 0.03, max_faces: int = 6000) -> tuple[StablePose, ...]:
    """Resting poses of a mesh centred on its centre of mass, likeliest first, probabilities summing to 1.

    Quasi-static: every face of the hull on which the centre of mass stays above the face, weighed by the solid angle
    that falls or rolls onto it. Poses that differ by the yaw or by a symmetry of the object are one pose. Poses
    rarer than `min_probability` are dropped (the likeliest is always kept). A hull of more than max_faces faces is
    taken from fewer of its vertices: the time grows with them.

    Raises MeshError: the centre of mass lies outside the hull, which no body's does.
    """
    hull = _hull(mesh, max_faces)
    planes = np.einsum("ij,ij->i", hull.face_normals, hull.triangles_center)
    if not (len(planes) and planes.min() > 1e-9 * hull.scale):
        raise MeshError("its centre of mass lies outside its convex hull, or the hull is flat: it is no solid")
    transforms, probabilities = hull.compute_stable_poses(center_mass=np.zeros(3), sigma=0.0, n_samples=1)
    groups: dict[tuple[int, ...], list[int]] = {}
    for index, T in enumerate(transforms):
        groups.setdefault(_signature(mesh, hull, T), []).append(index)
    merged = []
    for members in groups.values():
        best = max(members, key=lambda i: probabilities[i])
        merged.append(StablePose(_centred(transforms[best], hull), float(probabilities[members].sum())))
    merged.sort(key=lambda pose: -pose.probability)
    kept = [pose for pose in merged if pose.probability >= min_probability] or merged[:1]
    total = sum(pose.probability for pose in kept)
    return tuple(StablePose(pose.T_table_object, pose.probability / total) for pose in kept)


def _hull(mesh: trimesh.Trimesh, max_faces: int) -> trimesh.Trimesh:
    hull = mesh.convex_hull
    if len(hull.faces) <= max_faces:
        return hull
    directions = sphere_directions(max_faces // 2) / hull.extents
    support = np.unique(np.argmax(hull.vertices @ directions.T, axis=0))
    return trimesh.Trimesh(hull.vertices[support], process=False).convex_hull


def _signature(mesh: trimesh.Trimesh, hull: trimesh.Trimesh, T: np.ndarray) -> tuple[int, ...]:
    """Numbers that do not change with the yaw, rounded to 2 % of the object's size."""
    R = T[:3, :3]
    z = hull.vertices @ R[2]
    size = float(mesh.scale)
    inertia = R @ mesh.moment_inertia @ R.T / (mesh.volume * size**2)
    flat = np.linalg.eigvalsh(inertia[:2, :2])
    numbers = [-z.min() / size, z.max() / size, *(5 * flat), 5 * inertia[2, 2]]
    return tuple(int(round(number / 0.02)) for number in numbers)


def _centred(T: np.ndarray, hull: trimesh.Trimesh) -> np.ndarray:
    """The same orientation, the object's origin above the world's origin and its lowest point at z = 0."""
    pose = np.eye(4)
    pose[:3, :3] = T[:3, :3]
    pose[2, 3] = -(hull.vertices @ T[2, :3]).min()
    return pose
