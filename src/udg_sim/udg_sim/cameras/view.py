"""Ray casting through a camera: pixels that may see something, and what their rays hit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from udg_description.camera import CameraModel
from udg_description.frames import TABLE

if TYPE_CHECKING:
    from open3d.t.geometry import RaycastingScene

Box = tuple[Sequence[float], Sequence[float]]
"""Axis-aligned box in the world: (min, max) corners [m]."""
_TILE_PX = 8


class Hits(NamedTuple):
    """Rays that hit nearer than what was known: places (K,) in the pixels given, these pixels (K,), depth (K,) [m],
    unit normal of the face in the frame of the triangles (K, 3), place of the face (K,), cosine of incidence (K,)."""

    rays: np.ndarray
    pixels: np.ndarray
    depth: np.ndarray
    normals: np.ndarray
    faces: np.ndarray
    cosine: np.ndarray


class LikelyHits(NamedTuple):
    """Pixels (K,) whose rays have to be cast (some twice), and which of the spheres (S,) bool they may see."""

    pixels: np.ndarray
    spheres: np.ndarray


class View:
    """What never changes about a camera and the window of it that is rendered: rays, the table's depth, tiles."""

    def __init__(self, camera: CameraModel, box: Box | None = None) -> None:
        self.camera = camera
        self.origin = np.asarray(camera.T_world_camera[:3, 3], dtype=float)
        directions = (camera.rays() @ camera.T_world_camera[:3, :3].T).astype(np.float32)  # length: depth 1
        exists = np.isfinite(directions).all(axis=-1)  # a fisheye's image has corners that nothing in front is seen in
        directions[~exists] = camera.T_world_camera[:3, 2]
        inside = exists if box is None else exists & self._rays_through(directions, box)
        self.window = _bounding_window(inside)
        self.shape = inside[self.window].shape
        self.inside = None if inside[self.window].all() else inside[self.window].ravel()
        self.directions = np.ascontiguousarray(directions[self.window].reshape(-1, 3))
        self.ray_norm = np.linalg.norm(self.directions, axis=1)
        with np.errstate(divide="ignore", invalid="ignore"):
            depth = -self.origin[2] / self.directions[:, 2].astype(float)
            hit = self.origin[:2] + depth[:, None] * self.directions[:, :2]
            on_table = (depth > 0) & TABLE.contains(hit) & inside[self.window].ravel()
        self.table_depth = np.where(on_table, depth, np.inf).astype(np.float32)
        self.table_cosine = np.abs(self.directions[:, 2]) / self.ray_norm
        self._make_tiles()

    def _rays_through(self, directions: np.ndarray, box: Box) -> np.ndarray:
        with np.errstate(divide="ignore", invalid="ignore"):
            t = (np.array(box, dtype=float)[:, None, None, :] - self.origin) / directions
        near, far = t.min(axis=0).max(axis=-1), t.max(axis=0).min(axis=-1)
        return (near <= far) & (far > 0)

    def _make_tiles(self) -> None:
        """Square tiles of pixels in image order: mean direction of each, greatest angle of a pixel to it."""
        h, w = self.shape
        rows, columns = np.divmod(np.arange(h * w), w)
        tile = (rows // _TILE_PX) * -(-w // _TILE_PX) + columns // _TILE_PX
        self._tile_of_pixel = tile.astype(np.uint16)  # sorted in linear time
        by_tile = np.argsort(tile, kind="stable")
        sizes = np.bincount(tile)
        place = np.minimum(np.arange(_TILE_PX**2)[None], sizes[:, None] - 1)  # small tiles repeat their last pixel
        self._tile_pixels = by_tile[(np.cumsum(sizes) - sizes)[:, None] + place]
        unit = self.directions / self.ray_norm[:, None]
        sums = np.stack([np.bincount(tile, unit[:, k]) for k in range(3)], axis=1)
        direction = (sums / np.linalg.norm(sums, axis=1, keepdims=True)).astype(np.float32)
        cosine = np.einsum("ij,ij->i", unit, direction[tile])
        self._tile_angle = float(np.arccos(np.clip(cosine.min(), -1, 1)))
        self._tiles = np.unique(tile if self.inside is None else tile[self.inside])  # those with pixels in the box
        self._tile_direction = direction

    def may_hit(self, centers_world: np.ndarray, radii: np.ndarray) -> LikelyHits:
        """Pixels (inside the box) whose tile may see one of the spheres (S, 3), (S,) [m], and which spheres."""
        middle = 0.5 * (centers_world.min(axis=0) + centers_world.max(axis=0))
        reach = (np.linalg.norm(centers_world - middle, axis=1) + radii).max(keepdims=True)
        tiles = self._tiles[self._tiles_see(self._tiles, middle[None], reach)[:, 0]]  # those that may see any
        seen = self._tiles_see(tiles, centers_world, radii)
        pixels = self._tile_pixels[tiles[seen.any(axis=1)]].ravel()
        return LikelyHits(pixels if self.inside is None else pixels[self.inside[pixels]], seen.any(axis=0))

    def pairs(
        self, pixels: np.ndarray, centers_world: np.ndarray, radii: np.ndarray, groups: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Which of the pixels (N,) may see one of the spheres of a group (numbers (S,)): places of pixels (K,), groups
        (K,), ascending."""
        tile_of_pixel = self._tile_of_pixel[pixels]
        used = np.zeros(len(self._tile_direction), dtype=bool)
        used[tile_of_pixel] = True
        tiles = np.flatnonzero(used)
        seen = self._tiles_see(tiles, centers_world, radii)
        spheres = np.flatnonzero(seen.any(axis=0))
        names, column = np.unique(groups[spheres], return_inverse=True)
        by_group = np.zeros((len(names), len(tiles)), dtype=bool)
        for sphere, k in zip(spheres.tolist(), column.tolist(), strict=True):
            by_group[k] |= seen[:, sphere]
        k, tile = np.nonzero(by_group)
        by_tile = np.argsort(tile_of_pixel, kind="stable")
        count = np.bincount(tile_of_pixel, minlength=len(used))[tiles]
        first, repeats = np.cumsum(count) - count, count[tile]
        place = np.repeat(first[tile] - (np.cumsum(repeats) - repeats), repeats) + np.arange(repeats.sum())
        return by_tile[place], np.repeat(names[k], repeats)

    def _tiles_see(self, tiles: np.ndarray, centers_world: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Whether tiles (T,) may see the spheres (S, 3), (S,) [m]; (T, S) bool."""
        offset = centers_world - self.origin
        distance = np.maximum(np.linalg.norm(offset, axis=1), 1e-9)
        sine = np.minimum(radii / distance, 1.0)
        half = np.where(sine < 1, np.arcsin(sine) + self._tile_angle, np.pi)
        limit = np.cos(np.minimum(half, np.pi)).astype(np.float32)
        axis = (offset / distance[:, None]).astype(np.float32)
        return self._tile_direction[tiles] @ axis.T >= limit


def _bounding_window(mask: np.ndarray) -> tuple[slice, slice]:
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if len(rows) == 0:
        return slice(0, 1), slice(0, 1)
    return slice(rows[0], rows[-1] + 1), slice(columns[0], columns[-1] + 1)


def cast(
    view: View, scene: RaycastingScene, T_world_mesh: np.ndarray | None, pixels: np.ndarray, known: np.ndarray
) -> Hits:
    """Cast the rays of some pixels (N,); those that hit nearer than the depth known there (N,) [m].

    T_world_mesh: pose of the scene's triangles; None: they are in the world.
    """
    import open3d

    rays = np.empty((len(pixels), 6), dtype=np.float32)
    if T_world_mesh is None:
        rays[:, :3] = view.origin
        rays[:, 3:] = view.directions[pixels]
    else:
        R, p = T_world_mesh[:3, :3], T_world_mesh[:3, 3]
        rays[:, :3] = R.T @ (view.origin - p)
        rays[:, 3:] = view.directions[pixels] @ R.astype(np.float32)
    result = scene.cast_rays(open3d.core.Tensor.from_numpy(rays), nthreads=1)
    hit = result["t_hit"].numpy()
    nearer = np.flatnonzero(hit < known)
    chosen = pixels[nearer]
    normals = result["primitive_normals"].numpy()[nearer]
    cosine = np.abs(np.einsum("ij,ij->i", normals, rays[nearer, 3:])) / view.ray_norm[chosen]
    return Hits(nearer, chosen, hit[nearer], normals, result["primitive_ids"].numpy()[nearer], cosine)
