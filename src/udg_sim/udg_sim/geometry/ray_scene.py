"""Triangles as Open3D casts rays at them and measures distances to them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from open3d.t.geometry import RaycastingScene


def ray_scene(vertices: np.ndarray, faces: np.ndarray) -> RaycastingScene:
    """Open3D scene of triangles, vertices (V, 3) [m], for one thread; its tree is built at the first cast."""
    import open3d

    scene = open3d.t.geometry.RaycastingScene(nthreads=1)
    scene.add_triangles(
        open3d.core.Tensor.from_numpy(np.ascontiguousarray(vertices, dtype=np.float32)),
        open3d.core.Tensor.from_numpy(np.ascontiguousarray(faces, dtype=np.uint32)),
    )
    return scene
