"""Spheres in place of a collision mesh: inscribed ones, chosen greedily until they reach its surface."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

import numpy as np
import open3d as o3d
import trimesh

from udg_description.errors import HandModelError
from udg_description.robot.hand_tree import MAX_LINK_M
from udg_sim.geometry.mesh_io import read_bodies
from udg_sim.geometry.ray_scene import ray_scene
from udg_sim.geometry.solid import MeshError

_GRID = 24  # points along the longest edge, where centres are looked for
_SURFACE_POINTS = 400
_COVERED = 0.97  # share of the surface to be reached
_MOST = 24
MIN_LINK_M = 0.0005


class CollisionMesh(NamedTuple):
    """Closed bodies of one collision mesh [m], and what had to be done to them."""

    bodies: tuple[trimesh.Trimesh, ...]
    notes: tuple[str, ...]


def mesh_spheres(mesh: trimesh.Trimesh, *, gap: float = 0.002) -> np.ndarray:
    """Rows (k, 4): centre and radius [m] of spheres inside the mesh that reach to within `gap` of its surface."""
    scene = ray_scene(mesh.vertices, mesh.faces)
    points, _ = trimesh.sample.sample_surface(mesh, _SURFACE_POINTS, seed=0)
    step = max(float(mesh.extents.max()) / _GRID, 1e-4)
    axes = [np.arange(a + 0.5 * min(step, b - a), b, step) for a, b in mesh.bounds.T]
    centers = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    depth = -scene.compute_signed_distance(o3d.core.Tensor(centers.astype(np.float32)), nthreads=1).numpy()
    centers, radii = centers[depth > 0.0], depth[depth > 0.0].astype(float) + 0.25 * gap
    if len(centers) == 0:
        raise HandModelError("a collision mesh encloses no volume: is it closed, and in metres?")
    covers = np.linalg.norm(points[:, None] - centers, axis=-1) <= radii + gap
    uncovered = np.ones(len(points), dtype=bool)
    chosen: list[int] = []
    while uncovered.mean() > 1.0 - _COVERED and len(chosen) < _MOST:
        gain = covers[uncovered].sum(axis=0) + 1e-3 * radii / radii.max()  # of equals, the larger sphere
        best = int(gain.argmax())
        if gain[best] < 1.0:
            break
        chosen.append(best)
        uncovered &= ~covers[:, best]
    return np.column_stack([centers[chosen], radii[chosen]]).round(5)


def load_collision_mesh(urdf: Path, filename: str, scale: np.ndarray) -> CollisionMesh:
    """The bodies of a URDF's <mesh filename=.. scale=..>, in metres; "package://" is looked for above the URDF.

    They pass the gate of all geometry (`udg_sim.geometry.solid`): closed, turned outward, united where they meet.

    Raises:
        HandModelError: no such file, one that is no solid, or of the length of another unit.
    """
    name = unquote(filename.split("://", 1)[-1])
    parts = Path(name).parts
    folders = [urdf.parent, *urdf.parent.parents]
    found = [f / Path(*parts[k:]) for k in range(len(parts)) for f in folders if (f / Path(*parts[k:])).is_file()]
    if not found:
        raise HandModelError(f"collision mesh '{filename}' is not found beside or above the URDF")
    try:
        meshes, notes = read_bodies(found[0])
    except MeshError as error:
        raise HandModelError(f"collision {error}; convert or close it") from None
    bodies = []
    for body in meshes:
        vertices = np.asarray(body.vertices) * scale
        faces = np.asarray(body.faces)[:, ::-1] if np.prod(scale) < 0.0 else np.asarray(body.faces)
        bodies.append(trimesh.Trimesh(vertices, faces, process=False))
    low, high = np.min([b.bounds[0] for b in bodies], axis=0), np.max([b.bounds[1] for b in bodies], axis=0)
    longest = float((high - low).max())
    if longest > MAX_LINK_M or np.abs([low, high]).max() > MAX_LINK_M:
        raise HandModelError(
            f"collision mesh '{filename}' reaches {max(longest, float(np.abs([low, high]).max())):.4g} m, a link of a "
            f'hand up to {MAX_LINK_M} m: is it in mm? scale="0.001 0.001 0.001" makes metres of them'
        )
    if longest < MIN_LINK_M:
        raise HandModelError(f"collision mesh '{filename}' is {longest:.2g} m long, valid: from {MIN_LINK_M} m")
    return CollisionMesh(tuple(bodies), notes)
