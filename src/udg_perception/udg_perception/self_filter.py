"""Drops the points that the cameras see on the robot itself; these are replaced by imaged points."""

import numpy as np
from numpy.typing import NDArray

from udg_description.model import RobotModel
from udg_description.shapes import merge_capsules
from udg_description.urdf import Primitive

Float32 = NDArray[np.float32]

_TILE_POINTS = 64  # at most this many points of one cell are tested together, against the shapes near them
_CELL_M = 0.03  # edge of these cells
_CHUNK_PAIRS = 512  # pairs of a tile and a shape that are tested at once: what fits into the cache


class SelfFilter:
    """Tells which points are on or near the robot's primitives.

    The same answer as `udg_description.distance.RobotDistance(model)(points, q) <= margin`, several times faster: tiles
    of points are tested only against the shapes near them, all of these at once. Every shape is a box (of no width for
    capsules and spheres) and what is within its reach of it; a cylinder is a box in (radius, 0, z).

    Args:
        model: the whole robot, root `world`.
        margin_m: points closer to a primitive's surface than this, and points inside, are the robot's [m].
    """

    def __init__(self, model: RobotModel, margin_m: float) -> None:
        self._model = model
        shapes = [
            (link, shape)
            for link, name in enumerate(model.link_names)
            for shape in merge_capsules(model.geometry(name))
        ]
        self._link = np.array([link for link, _ in shapes], dtype=np.intp)
        self._Ts_link_shape = np.array([shape.T_link_shape for _, shape in shapes])
        self._is_cylinder = np.array([shape.kind == "cylinder" for _, shape in shapes])
        boxes = np.array([_half_box(shape) for _, shape in shapes])
        self._half_box, self._reach = boxes[:, :3].astype(np.float32), (boxes[:, 3] + margin_m).astype(np.float32)
        # Bounds of the shape and its reach along its own axes.
        across = np.where(self._is_cylinder, self._half_box[:, 0], self._half_box[:, 1])
        self._extents = np.stack([self._half_box[:, 0], across, self._half_box[:, 2]], axis=1) + self._reach[:, None]

    def __call__(self, points_world: Float32, q: NDArray[np.float64]) -> Float32:
        """The points that are not the robot's, in their order.

        Args:
            points_world: (N, 3) float32 [m, world]. It is quick when neighbours in the order are neighbours in space.
            q: (36,) joint positions [rad].
        """
        return points_world[~self.is_robot(points_world, q)]

    def is_robot(self, points_world: Float32, q: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell for each of the (N, 3) points [m, world] whether it is inside the robot or closer than the margin."""
        is_robot = np.zeros(len(points_world), dtype=bool)
        if len(points_world) == 0:
            return is_robot
        points = np.ascontiguousarray(points_world.T)
        Ts_world_shape = (self._model.link_pose_array(q)[self._link] @ self._Ts_link_shape).astype(np.float32)
        lower, upper = self._bounds(Ts_world_shape)
        met = (points.min(axis=1) <= upper.T) & (points.max(axis=1) >= lower.T)
        about = np.flatnonzero(met.all(axis=1))
        if len(about) == 0:
            return is_robot
        lowest, highest = lower[:, about].min(axis=1), upper[:, about].max(axis=1)
        near = np.ones(len(points_world), dtype=bool)
        for values, low, high in zip(points, lowest, highest, strict=True):
            near &= (values >= low) & (values <= high)
        places = np.flatnonzero(near)
        if len(places):
            bounds = lower[:, about], upper[:, about]
            is_robot[places] = self._is_robot(points[:, places], Ts_world_shape, *bounds, about)
        return is_robot

    def _is_robot(
        self, points: Float32, Ts_world_shape: Float32, lower: Float32, upper: Float32, about: NDArray[np.intp]
    ) -> NDArray[np.bool_]:
        """The same for points (3, N) and the shapes `about` (A,) alone, whose bounds are (3, A) [m, world]."""
        is_robot = np.zeros(points.shape[1], dtype=bool)
        members = _tiles(points)
        points = points.take(members, axis=1)
        lowest, highest = points.min(axis=2), points.max(axis=2)
        meet = np.ones((lowest.shape[1], len(about)), dtype=bool)
        for axis in range(3):
            meet &= lowest[axis, :, None] <= upper[axis]
            meet &= highest[axis, :, None] >= lower[axis]
        tile, shape = np.nonzero(meet)
        shape = about[shape]
        # A tile whose middle is far enough from or inside a shape's reach is so with all of its points.
        middle = 0.5 * (lowest + highest)
        radius = np.sqrt(np.square(highest - middle).sum(axis=0)) + np.float32(1e-6)
        distance, radius = self._distance(middle[:, tile, None], shape, Ts_world_shape)[:, 0], radius[tile]
        reach = self._reach[shape]
        hit = np.zeros(members.shape, dtype=bool)
        hit[tile[distance <= reach - radius]] = True
        unsure = np.flatnonzero((distance <= reach + radius) & ~hit[tile, 0])
        for first in range(0, len(unsure), _CHUNK_PAIRS):
            some = unsure[first : first + _CHUNK_PAIRS]
            pair, point = np.nonzero(
                self._distance(points[:, tile[some]], shape[some], Ts_world_shape) <= reach[some, None]
            )
            hit[tile[some][pair], point] = True
        is_robot[members] = hit
        return is_robot

    def _bounds(self, Ts_world_shape: Float32) -> tuple[Float32, Float32]:
        """Lower and upper bounds (3, S) [m, world] of the shapes and their reach."""
        centers = Ts_world_shape[:, :3, 3].T
        extents = np.einsum("sij,sj->is", np.abs(Ts_world_shape[:, :3, :3]), self._extents)
        return centers - extents, centers + extents

    def _distance(self, points: Float32, shape: NDArray[np.intp], Ts_world_shape: Float32) -> Float32:
        """Distance (P, K) [m] of the points (3, P, K) [m, world] of each pair to the box of its shape (P,)."""
        T = Ts_world_shape[shape]
        points = points - T[:, :3, 3].T[:, :, None]
        R = T[:, :3, :3].transpose(1, 2, 0)[..., None]
        beyond = points[0] * R[0]  # (3, P, K): in the frame of the shape
        beyond += points[1] * R[1]
        beyond += points[2] * R[2]
        cylinders = np.flatnonzero(self._is_cylinder[shape])
        if len(cylinders):
            beyond[0, cylinders] = np.hypot(beyond[0, cylinders], beyond[1, cylinders])
            beyond[1, cylinders] = 0.0
        np.abs(beyond, out=beyond)
        beyond -= self._half_box[shape].T[:, :, None]
        np.maximum(beyond, 0.0, out=beyond)
        return np.sqrt(np.einsum("ipk,ipk->pk", beyond, beyond))


def _half_box(shape: Primitive) -> tuple[float, float, float, float]:
    """Half edges of the box that a shape is about, and how far it reaches from it [m]."""
    if shape.kind == "box":
        x, y, z = np.asarray(shape.size) / 2
        return (x, y, z, 0.0)
    if shape.kind == "cylinder":
        return (shape.size[0], 0.0, shape.size[1] / 2, 0.0)
    length = shape.size[1] if shape.kind == "capsule" else 0.0
    return (0.0, 0.0, length / 2, shape.size[0])


def _tiles(points: Float32) -> NDArray[np.intp]:
    """Indices (T, _TILE_POINTS) of the points (3, N) by cells of space; tiles repeat their last point to be full."""
    x, y, z = (points * np.float32(1.0 / _CELL_M)).astype(np.int32) & np.array([[31], [63], [31]], dtype=np.int32)
    cell = (x | y << 5 | z << 11).astype(np.uint16)  # 16 bit: sorted in linear time; far cells may share a number
    order = np.argsort(cell, kind="stable")
    cell = cell[order]
    first = np.concatenate([[0], np.flatnonzero(cell[1:] != cell[:-1]) + 1])
    size = np.diff(first, append=len(cell))
    tiles = -(-size // _TILE_POINTS)
    end = np.repeat(first + size - 1, tiles)
    start = np.repeat(first - _TILE_POINTS * (np.cumsum(tiles) - tiles), tiles) + _TILE_POINTS * np.arange(len(end))
    return order[np.minimum(start[:, None] + np.arange(_TILE_POINTS), end[:, None])]
