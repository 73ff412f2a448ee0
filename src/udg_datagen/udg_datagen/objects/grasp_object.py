"""What the synthesiser needs to know of an object: signed distance of its surface, convex hull, centre of mass."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import open3d as o3d
import torch
import trimesh

from udg_datagen.device import checked_device
from udg_datagen.objects.mesh_check import checked_mesh
from udg_datagen.objects.sdf import SdfGrid
from udg_description.cache import cache_dir, cached_arrays
from udg_sim.geometry.ray_scene import ray_scene
from udg_sim.objects.library import ObjectModel


class GraspObject:
    """One rigid object in its own frame.

    Args:
        mesh: closed surface in metres; small faults are repaired, `notes` say which.
        name: shown in errors and stored with the grasps.
        com: centre of mass (3,) [m] in the mesh frame; the mesh's own (uniform density) if None.
        grid_nodes: cube root of the number of nodes of the distance grid.
        padding: how far the grid reaches beyond the mesh [m].
        device: of the grid, the same as the hand's.
        keep_grid: the grid's distances are taken from the cache, `$UDG_CACHE/grids`, or kept there: 1 MB each.

    Raises:
        GraspObjectError: mesh empty, not finite, of another unit, without volume, in pieces of similar size.
        DeviceError: no such device here.
    """

    def __init__(
        self,
        mesh: trimesh.Trimesh,
        *,
        name: str = "object",
        com: np.ndarray | None = None,
        grid_nodes: int = 64,
        padding: float = 0.025,
        device: str = "cpu",
        keep_grid: bool = False,
    ) -> None:
        self.name = name
        self.device = checked_device(device)
        self.mesh, self.notes = checked_mesh(mesh, name)  # notes: what had to be repaired, and hollows
        self.com = np.array(self.mesh.center_mass if com is None else com, dtype=np.float64)
        self.extents = np.asarray(self.mesh.extents, dtype=np.float64)
        self.diagonal = float(np.linalg.norm(self.extents))
        self._scene = ray_scene(self.mesh.vertices, self.mesh.faces)
        self.sdf = self._grid(grid_nodes, padding, device, keep_grid)

    def __getstate__(self) -> dict[str, Any]:
        """Without the ray casting scene, which is built again in another process."""
        return {name: value for name, value in self.__dict__.items() if name != "_scene"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._scene = ray_scene(self.mesh.vertices, self.mesh.faces)

    @classmethod
    def from_model(cls, model: ObjectModel, device: str = "cpu") -> GraspObject:
        """An object of the library, whose centre of mass is the origin."""
        return cls(model.mesh, name=model.id, com=np.zeros(3), device=device, keep_grid=True)

    @cached_property
    def least_width(self) -> float:
        """Least distance [m] of parallel planes between which the object fits, one of them on a face of its hull."""
        hull = self.mesh.convex_hull
        normals = np.unique(np.round(hull.face_normals, 3), axis=0)
        return float(np.ptp(np.asarray(hull.vertices) @ normals.T, axis=0).min())

    @cached_property
    def solidity(self) -> float:
        """Share of its convex hull that the object fills."""
        return float(self.mesh.volume / self.mesh.convex_hull.volume)

    @property
    def wrench_scale(self) -> float:
        """Length [m] by which torques are divided to be compared with forces."""
        return self.diagonal / 4.0

    @property
    def key(self) -> str:
        """Hash of the geometry: names the object in a grasp file."""
        digest = hashlib.sha256()
        digest.update(np.round(np.asarray(self.mesh.vertices), 6).astype(np.float64).tobytes())
        digest.update(np.asarray(self.mesh.faces).astype(np.int64).tobytes())
        return digest.hexdigest()[:16]

    def distance(self, points: np.ndarray) -> np.ndarray:
        """Exact signed distance (...) [m], positive outside, of `points` (..., 3) in the object frame."""
        tensor = o3d.core.Tensor(np.ascontiguousarray(points, dtype=np.float32))
        return self._scene.compute_signed_distance(tensor, nthreads=1, nsamples=1).numpy()

    def grid_distance(self, points: np.ndarray) -> np.ndarray:
        """Signed distance (...) [m] of `points` (..., 3) by the grid: quick, good to a fraction of a mm."""
        return self._look_up(points)[0].reshape(points.shape[:-1])

    def grid_gradient(self, points: np.ndarray) -> np.ndarray:
        """Unit gradient (..., 3) of the distance at `points` (..., 3) by the grid."""
        return self._look_up(points)[1].reshape(points.shape)

    def _look_up(self, points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        columns = torch.as_tensor(points.reshape(-1, 3).T[None], dtype=torch.float32, device=self.device)
        distance, gradient = self.sdf.nearest(columns)
        return distance[0].double().cpu().numpy(), gradient[0].T.double().cpu().numpy()

    @property
    def hull_normals(self) -> np.ndarray:
        """Outward normals (F, 3) of the convex hull's faces."""
        return np.asarray(self.mesh.convex_hull.face_normals)

    def hull_samples(
        self, n: int, rng: np.random.Generator, allowed: np.ndarray | None = None
    ) -> tuple[np.ndarray, np.ndarray]:
        """Area-uniform points (n, 3) [m] on the convex hull and its outward normals (n, 3) there.

        allowed: which of the hull's faces (F,) bool points are drawn from; all of them if None, or if it is none.
        """
        hull = self.mesh.convex_hull
        area = hull.area_faces
        if allowed is not None and (area * allowed).sum() > 0.0:
            area = area * allowed
        face = rng.choice(len(area), size=n, p=area / area.sum())
        u, v = rng.random((2, n))
        flip = u + v > 1.0
        u, v = np.where(flip, 1.0 - u, u), np.where(flip, 1.0 - v, v)
        a, b, c = (hull.vertices[hull.faces[face, k]] for k in range(3))
        points = a + u[:, None] * (b - a) + v[:, None] * (c - a)
        normals = np.asarray(hull.face_normals)[face]
        outward = np.einsum("ij,ij->i", normals, points - hull.center_mass)
        return points, np.where(outward[:, None] < 0.0, -normals, normals)

    def _grid(self, nodes: int, padding: float, device: str, keep: bool) -> SdfGrid:
        lower = self.mesh.bounds[0] - padding
        size = self.mesh.bounds[1] + padding - lower
        spacing = float(np.cbrt(np.prod(size))) / (nodes - 1)  # about nodes^3 in all, equally far apart along each axis
        counts = np.ceil(size / spacing).astype(int) + 1
        step = size / (counts - 1)
        axes = [lower[k] + step[k] * np.arange(counts[k]) for k in range(3)]

        def distances() -> dict[str, np.ndarray]:
            points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).astype(np.float32)
            return {"values": self.distance(points)}

        values = (cached_arrays(self._grid_path(axes), distances) if keep else distances())["values"]
        gradients = np.stack(np.gradient(values, *[float(s) for s in step]), axis=-1)
        gradients /= np.maximum(np.linalg.norm(gradients, axis=-1, keepdims=True), 1e-6)
        return SdfGrid(values, gradients.astype(np.float32), lower, step, device)

    def _grid_path(self, axes: Sequence[np.ndarray]) -> Path:
        """Where the distances of a grid are kept: named by the surface and the nodes to the last bit."""
        digest = hashlib.sha256(o3d.__version__.encode())
        for array in (self.mesh.vertices, self.mesh.faces, *axes):
            digest.update(np.ascontiguousarray(array).tobytes())
        return cache_dir("grids", f"{digest.hexdigest()[:24]}.npz")
