"""Spheres in place of a collision mesh: inscribed ones, chosen greedily until they reach its surface."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import open3d as o3d
import trimesh

from udg_datagen.synthesis.errors import HandModelError

_GRID = 24  # points along the longest edge, where centres are looked for
_SURFACE_POINTS = 400
_COVERED = 0.97  # share of the surface to be reached
_MOST = 24


def mesh_spheres(mesh: trimesh.Trimesh, *, gap: float = 0.002) -> np.ndarray:
    """Rows (k, 4): centre and radius [m] of spheres inside the mesh that reach to within `gap` of its surface."""
    scene = o3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        o3d.core.Tensor(np.asarray(mesh.vertices, dtype=np.float32)),
        o3d.core.Tensor(np.asarray(mesh.faces, dtype=np.uint32)),
    )
    points, _ = trimesh.sample.sample_surface(mesh, _SURFACE_POINTS, seed=0)
    step = max(float(mesh.extents.max()) / _GRID, 1e-4)
    axes = [np.arange(a + 0.5 * min(step, b - a), b, step) for a, b in mesh.bounds.T]
    centers = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    depth = -scene.compute_signed_distance(o3d.core.Tensor(centers.astype(np.float32)), nthreads=1).numpy()
    centers, radii = centers[depth > 0.0], depth[depth > 0.0].astype(float) + 0.25 * gap
    if len(centers) == 0:
        raise HandModelError("a collision mesh encloses no volume: is it closed, and in metres?")
    covers = np.linalg.norm(points[:, None] - centers, axis=-1) <= radii + gap
    left = np.ones(len(points), dtype=bool)
    chosen: list[int] = []
    while left.mean() > 1.0 - _COVERED and len(chosen) < _MOST:
        gain = covers[left].sum(axis=0) + 1e-3 * radii / radii.max()  # of equals, the larger sphere
        best = int(gain.argmax())
        if gain[best] < 1.0:
            break
        chosen.append(best)
        left &= ~covers[:, best]
    return np.column_stack([centers[chosen], radii[chosen]]).round(5)


def load_collision_mesh(urdf: Path, filename: str, scale: np.ndarray) -> trimesh.Trimesh:
    """The mesh of a URDF's <mesh filename=.. scale=..>, in metres; "package://" is looked for above the URDF.

    Raises:
        HandModelError: no such file, or one that trimesh cannot read.
    """
    name = filename.split("://", 1)[-1]
    parts = Path(name).parts
    folders = [urdf.parent, *urdf.parent.parents]
    found = [f / Path(*parts[k:]) for k in range(len(parts)) for f in folders if (f / Path(*parts[k:])).is_file()]
    if not found:
        raise HandModelError(f"{urdf}: collision mesh '{filename}' is not found beside or above the URDF")
    try:
        mesh = trimesh.load(found[0], force="mesh")
    except (ValueError, ImportError, NotImplementedError) as error:
        raise HandModelError(f"{found[0]}: cannot be read ({error}); convert it to STL or OBJ") from None
    if not isinstance(mesh, trimesh.Trimesh) or len(mesh.faces) == 0:
        raise HandModelError(f"{found[0]}: no triangles")
    mesh.apply_transform(np.diag([*scale, 1.0]))
    return mesh if mesh.is_watertight and mesh.volume > 0.0 else mesh.convex_hull
