"""Depth image -> points in `world`, cropped to a box, for one fixed camera.

A pixel with ray direction d (world, scaled so that the camera's z is 1) and camera centre c sees p = c + depth * d.
The part of that line inside the crop box is one interval of depths, known before any image arrives. So cropping is a
comparison of integers, and only the pixels that pass it are turned into points.

Flying pixels, which a time-of-flight camera sees in the air between a near edge and what is behind it, are skipped: a
pixel counts when enough of its four neighbours are about as deep.
"""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from udg_description.camera import CameraModel
from udg_perception.errors import DepthImageError

Float32 = NDArray[np.float32]

_MM_PER_M = 1000.0
_MAX_DEPTH_MM = 65535
_BLOCK_PX = 32


class CropProjector:
    """Turns depth images of one camera into the points inside an axis-aligned box of the world.

    Args:
        camera: intrinsics with distortion, and T_world_camera.
        box_min: (3,) lower corner of the box [m, world].
        box_max: (3,) upper corner of the box [m, world].
        neighbor_step_m: largest difference of depth to a neighbouring pixel on the same surface [m].
        min_neighbors: a pixel with fewer of its four neighbours on the same surface is dropped; 0 keeps all.
    """

    def __init__(
        self,
        camera: CameraModel,
        box_min: NDArray[np.float64],
        box_max: NDArray[np.float64],
        *,
        neighbor_step_m: float,
        min_neighbors: int,
    ) -> None:
        self._camera_name = camera.name
        self._shape = (camera.height, camera.width)
        T_world_camera = np.asarray(camera.T_world_camera, dtype=np.float64)
        self._center_world = T_world_camera[:3, 3].astype(np.float32)
        directions_world = camera.rays().reshape(-1, 3) @ T_world_camera[:3, :3].T
        nearest_mm, farthest_mm = _depths_inside_box_mm(T_world_camera[:3, 3], directions_world, box_min, box_max)
        in_blocks = _inner_pixels_in_blocks(camera.height, camera.width)
        pixels = in_blocks[(nearest_mm <= farthest_mm)[in_blocks]]
        self._pixels = pixels
        row, column = np.divmod(pixels, camera.width)
        rows, columns = -(-camera.height // _BLOCK_PX), -(-camera.width // _BLOCK_PX)
        block = row // _BLOCK_PX * columns + column // _BLOCK_PX  # ascending
        starts = np.searchsorted(block, np.arange(rows * columns + 1))
        self._block_start, self._block_end = starts[:-1].reshape(rows, columns), starts[1:].reshape(rows, columns)
        self._nearest_mm = nearest_mm[pixels].astype(np.uint16)
        self._farthest_mm = farthest_mm[pixels].astype(np.uint16)
        self._directions_per_mm = (directions_world[pixels] / _MM_PER_M).astype(np.float32)
        self._neighbor_step_mm = round(neighbor_step_m * _MM_PER_M)
        self._min_neighbors = min_neighbors

    def __call__(self, depth_mm: NDArray[np.uint16]) -> Float32:
        """The points inside the box; neighbours in the order are neighbours in the image.

        Args:
            depth_mm: (H, W) uint16, distance along the optical axis [mm]; 0 where nothing was measured.

        Returns:
            (N, 3) float32 [m, world].

        Raises:
            DepthImageError: another shape or type.
        """
        self._check(depth_mm)
        flat_mm = depth_mm.reshape(-1)
        measured = self._measured(depth_mm)
        depths = flat_mm.take(self._pixels[measured])
        inside = np.flatnonzero((depths >= self._nearest_mm[measured]) & (depths <= self._farthest_mm[measured]))
        hits, depths = measured[inside] if isinstance(measured, np.ndarray) else inside, depths[inside]
        kept = self._count_neighbors(flat_mm, self._pixels[hits]) >= self._min_neighbors
        hits, depths = hits[kept], depths[kept]
        points_world = self._directions_per_mm[hits]
        points_world *= depths[:, None].astype(np.float32)
        points_world += self._center_world
        return points_world

    def _measured(self, depth_mm: NDArray[np.uint16]) -> NDArray[np.intp] | slice:
        """Places in `_pixels` of the blocks that something was measured in, or all where that is much of the image."""
        rows = np.flatnonzero(depth_mm.max(axis=1))
        if len(rows) == 0:
            return np.zeros(0, dtype=np.intp)
        columns = np.flatnonzero(depth_mm[rows[0] : rows[-1] + 1].max(axis=0))
        (top, bottom), (left, right) = rows[[0, -1]] // _BLOCK_PX, columns[[0, -1]] // _BLOCK_PX
        if 2 * (bottom + 1 - top) * (right + 1 - left) > self._block_start.size:
            return slice(None)
        start, end = self._block_start[top : bottom + 1, left], self._block_end[top : bottom + 1, right]
        return np.concatenate([np.arange(*run) for run in zip(start, end, strict=True)])

    def _count_neighbors(self, flat_mm: NDArray[np.uint16], pixels: NDArray[np.intp]) -> NDArray[np.uint8]:
        """How many of the four neighbours of each pixel are about as deep as it."""
        own_mm = flat_mm.take(pixels).astype(np.int32)
        width = self._shape[1]
        count = np.zeros(len(pixels), dtype=np.uint8)
        for offset in (-width, -1, 1, width):
            difference_mm = flat_mm.take(pixels + offset) - own_mm
            count += np.abs(difference_mm, out=difference_mm) <= self._neighbor_step_mm
        return count

    def _check(self, depth_mm: NDArray[np.uint16]) -> None:
        shape = getattr(depth_mm, "shape", None)
        dtype = getattr(depth_mm, "dtype", None)
        if shape != self._shape or dtype != np.uint16:
            raise DepthImageError(
                f"depth image of camera '{self._camera_name}' has shape {shape} and type {dtype}; "
                f"valid: shape {self._shape} (height, width) and type uint16 (millimetres, 0 = no measurement)"
            )


@lru_cache(maxsize=4)
def _inner_pixels_in_blocks(height: int, width: int) -> NDArray[np.intp]:
    """Indices of all pixels of a row-major image but its border, one square block after the other."""
    row, column = np.divmod(np.arange(height * width), width)
    in_blocks = np.lexsort((column // _BLOCK_PX, row // _BLOCK_PX))
    is_inner = (row > 0) & (row < height - 1) & (column > 0) & (column < width - 1)
    return in_blocks[is_inner[in_blocks]]


def _depths_inside_box_mm(
    origin_world: NDArray[np.float64],
    directions_world: NDArray[np.float64],
    box_min: NDArray[np.float64],
    box_max: NDArray[np.float64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Interval of whole-millimetre depths for which each ray is inside the box (slab method).

    Returns nearest and farthest (N,), with nearest > farthest where the ray never is, or its direction is not finite.
    """
    # A component of exactly zero would give 0/0 on a face of the box; a tiny one gives the same interval without.
    safe = np.where(directions_world == 0.0, 1e-12, directions_world)
    at_min = (np.asarray(box_min) - origin_world) / safe
    at_max = (np.asarray(box_max) - origin_world) / safe
    nearest = np.minimum(at_min, at_max).max(axis=1)
    farthest = np.maximum(at_min, at_max).min(axis=1)
    nearest_mm = np.maximum(np.ceil(nearest * _MM_PER_M), 1.0)
    farthest_mm = np.minimum(np.floor(farthest * _MM_PER_M), _MAX_DEPTH_MM)
    never = ~(nearest_mm <= farthest_mm)  # also true for NaN
    nearest_mm[never], farthest_mm[never] = 1.0, 0.0
    return nearest_mm, farthest_mm
