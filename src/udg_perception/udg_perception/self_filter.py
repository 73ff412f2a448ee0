"""Drops the points that the cameras see on the robot itself; these are replaced by imaged points."""

import numpy as np
from numpy.typing import NDArray

from udg_description.model import RobotModel
from udg_description.shapes import merge_capsules
from udg_description.urdf import Primitive

Float32 = NDArray[np.float32]

_TILE_POINTS = 1024  # points that are near one another are tested together, against the shapes near them


class SelfFilter:
    """Tells which points are on or near the robot's primitives.

    The same answer as `udg_description.distance.robot_distance(points, q) <= margin`, several times quicker: capsules,
    which most of the robot is, are tested many at once, and only against the points near them.

    Args:
        model: the whole robot, root `world`.
        margin_m: points closer to a primitive's surface than this, and points inside, are the robot's [m].
    """

    def __init__(self, model: RobotModel, margin_m: float) -> None:
        self._model = model
        self._margin_m = margin_m
        shapes = [
            (link, shape)
            for link, name in enumerate(model.link_names)
            for shape in merge_capsules(model.geometry(name))
        ]
        capsules = [(link, shape) for link, shape in shapes if shape.kind in ("capsule", "sphere")]
        self._capsule_link = np.array([link for link, _ in capsules], dtype=np.intp)
        self._capsule_poses = np.array([shape.T_link_shape for _, shape in capsules]).reshape(-1, 4, 4)
        self._capsule_reach = np.array([shape.size[0] + margin_m for _, shape in capsules], dtype=np.float32)
        self._capsule_half_length = np.array(
            [shape.size[1] / 2 if shape.kind == "capsule" else 0.0 for _, shape in capsules], dtype=np.float32
        )
        rest = [(link, shape) for link, shape in shapes if shape.kind in ("box", "cylinder")]
        self._rest = [shape for _, shape in rest]
        self._rest_link = np.array([link for link, _ in rest], dtype=np.intp)
        self._rest_poses = np.array([shape.T_link_shape for shape in self._rest]).reshape(-1, 4, 4)
        self._rest_half_extents = np.array([_half_extents(shape) for shape in self._rest], np.float32).reshape(-1, 3)

    def __call__(self, points_world: Float32, q: NDArray[np.float64]) -> Float32:
        """Return the points that are not the robot's, in their order.

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
        Ts_world_link = self._model.link_pose_array(q)
        centers, axes = self._capsule_lines(Ts_world_link)
        half_lengths, reach = self._capsule_half_length, self._capsule_reach
        Ts_world_rest = (Ts_world_link[self._rest_link] @ self._rest_poses).astype(np.float32)
        starts = np.arange(0, len(points_world), _TILE_POINTS)
        capsule_extents = np.abs(axes) * half_lengths[:, None] + reach[:, None]
        touched_capsules = _touching(points_world, starts, centers, capsule_extents)
        touched_rest = _touching(points_world, starts, Ts_world_rest[:, :3, 3], self._rest_extents(Ts_world_rest))
        for tile in np.flatnonzero(touched_capsules.any(axis=1) | touched_rest.any(axis=1)):
            members = slice(starts[tile], starts[tile] + _TILE_POINTS)
            points = points_world[members]
            c = np.flatnonzero(touched_capsules[tile])
            is_near = _in_capsules(points, centers[c], axes[c], half_lengths[c], reach[c])
            for index in np.flatnonzero(touched_rest[tile]):
                left = np.flatnonzero(~is_near)
                if len(left) == 0:
                    break
                is_near[left] = self._is_near_rest(index, Ts_world_rest[index], points[left])
            is_robot[members] = is_near
        return is_robot

    def _capsule_lines(self, Ts_world_link: NDArray[np.float64]) -> tuple[Float32, Float32]:
        """Centres (C, 3) [m] and axes (C, 3) of the capsules in the world."""
        Ts_world_capsule = Ts_world_link[self._capsule_link] @ self._capsule_poses
        return Ts_world_capsule[:, :3, 3].astype(np.float32), Ts_world_capsule[:, :3, 2].astype(np.float32)

    def _rest_extents(self, Ts_world_rest: Float32) -> Float32:
        """Half extents (R, 3) [m] of boxes and cylinders along the world's axes, margin included."""
        extents = np.abs(Ts_world_rest[:, :3, :3]) @ self._rest_half_extents[:, :, None]
        return extents[:, :, 0] + np.float32(self._margin_m)

    def _is_near_rest(self, index: int, T_world_shape: Float32, points: Float32) -> NDArray[np.bool_]:
        """Tell for each of the (N, 3) points [m, world] whether it is in the shape or closer than the margin."""
        beyond = np.abs((points - T_world_shape[:3, 3]) @ T_world_shape[:3, :3])
        if self._rest[index].kind == "cylinder":
            beyond[:, 0] = np.hypot(beyond[:, 0], beyond[:, 1])
            beyond[:, 1] = 0.0
        beyond -= self._rest_half_extents[index]
        np.maximum(beyond, 0.0, out=beyond)
        return np.einsum("ni,ni->n", beyond, beyond) <= self._margin_m**2


def _half_extents(shape: Primitive) -> NDArray[np.float64]:
    """Half the edges (3,) of the bounding box of a box or cylinder in its own frame [m]."""
    if shape.kind == "cylinder":
        radius, length = shape.size
        return np.array([radius, radius, length / 2])
    return np.array(shape.size) / 2


def _touching(points: Float32, starts: NDArray[np.intp], centers: Float32, extents: Float32) -> NDArray[np.bool_]:
    """(T, S): whether the bounding box of a tile of points touches that of a shape (centre, half extents)."""
    lowest = np.minimum.reduceat(points, starts, axis=0)[:, None]
    highest = np.maximum.reduceat(points, starts, axis=0)[:, None]
    return ((lowest <= centers + extents) & (highest >= centers - extents)).all(axis=2)


def _in_capsules(
    points: Float32, centers: Float32, axes: Float32, half_lengths: Float32, radii: Float32
) -> NDArray[np.bool_]:
    """Tell for each of the (N, 3) points whether it is in any of the C capsules."""
    if len(centers) == 0:
        return np.zeros(len(points), dtype=bool)
    # Coordinates about the tile keep the squares small, so that float32 is exact to some micrometres.
    origin = points[0]
    points, centers = points - origin, centers - origin
    along = axes @ points.T - np.einsum("ci,ci->c", axes, centers)[:, None]  # (C, N)
    distance_squared = (-2.0 * centers) @ points.T  # (C, N), to the centre, less |p|^2
    distance_squared += np.einsum("ci,ci->c", centers, centers)[:, None]
    beyond = np.minimum(np.maximum(along, -half_lengths[:, None]), half_lengths[:, None])
    # |p - c - t a|^2 = |p - c|^2 - t (2 a.(p - c) - t)
    distance_squared -= beyond * (2.0 * along - beyond)
    distance_squared -= np.square(radii)[:, None]
    return distance_squared.min(axis=0) <= -np.einsum("ni,ni->n", points, points)
