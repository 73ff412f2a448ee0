"""Spheres that contain the triangles of a mesh: what may be seen of it is found quickly."""

import numpy as np
import trimesh

_CELLS = 6  # along the longest edge


def cover(vertices: np.ndarray, faces: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Centres (S, 3) and radii (S,) of spheres that together contain all triangles (F, 3) of the vertices (V, 3)."""
    vertices, faces = np.asarray(vertices, dtype=float), np.asarray(faces)
    lowest = vertices.min(axis=0)
    cell_m = max(float((vertices.max(axis=0) - lowest).max()) / _CELLS, 1e-6)
    if len(faces) < 5000:  # large triangles become smaller ones; meshes of many have small ones
        vertices, faces = trimesh.remesh.subdivide_to_size(vertices, faces, max_edge=cell_m)
    corners = vertices[faces]
    cell = np.floor((corners.mean(axis=1) - lowest) / cell_m).astype(np.int64)
    _, place = np.unique(cell @ np.array([1, 64, 4096]), return_inverse=True)
    order = np.argsort(place, kind="stable")
    first = np.flatnonzero(np.diff(place[order], prepend=-1))
    low = np.minimum.reduceat(corners.min(axis=1)[order], first)
    high = np.maximum.reduceat(corners.max(axis=1)[order], first)
    centers = 0.5 * (low + high)
    reach = np.linalg.norm(corners - centers[place][:, None], axis=2).max(axis=1)
    radii = np.maximum.reduceat(reach[order], first)
    return centers, radii * (1.0 + 1e-6) + 1e-7
