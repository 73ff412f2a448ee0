"""Drops the points that the cameras see on the robot itself; these are replaced by imaged points."""

import numpy as np
from numpy.typing import NDArray

from udg_description.compiled import compiled
from udg_description.model import RobotModel
from udg_description.shapes import merge_capsules
from udg_description.urdf import Primitive

Float32 = NDArray[np.float32]

_RUN = 32  # points that follow each other and are tested together, against the shapes whose bounds meet theirs


class SelfFilter:
    """Tells which points are on or near the robot's primitives.

    The same answer as `udg_description.distance.RobotDistance(model)(points, q) <= margin`, many times faster: runs
    of points are tested only against the shapes near them. Every shape is a box (of no width for capsules and spheres)
    and what is within its reach of it; a cylinder is a box in (radius, 0, z).

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
        self._half_box = np.ascontiguousarray(boxes[:, :3], dtype=np.float32)
        self._reach = (boxes[:, 3] + margin_m).astype(np.float32)
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
        Ts_world_shape = (self._model.link_pose_array(q)[self._link] @ self._Ts_link_shape).astype(np.float32)
        extents = np.einsum("sij,sj->si", np.abs(Ts_world_shape[:, :3, :3]), self._extents)
        is_robot: NDArray[np.bool_] = _near_shapes(
            np.ascontiguousarray(points_world, dtype=np.float32),
            np.ascontiguousarray(Ts_world_shape[:, :3]),
            np.ascontiguousarray(extents),
            self._half_box,
            self._reach,
            self._is_cylinder,
        )
        return is_robot


@compiled("boolean[::1](float32[:,::1], float32[:,:,::1], float32[:,::1], float32[:,::1], float32[::1], boolean[::1])")
def _near_shapes(
    points: Float32,
    T: Float32,
    extents: Float32,
    half_box: Float32,
    reach: Float32,
    is_cylinder: NDArray[np.bool_],
) -> NDArray[np.bool_]:
    """Whether each of the points (N, 3) is within the reach (S,) of the box of any shape; all in m, world.

    T: (S, 3, 4) poses of the shapes; extents: (S, 3) half edges of their bounds, aligned with the world; half_box: (S,
    3) half edges of their boxes.
    """
    near = np.zeros(len(points), dtype=np.bool_)
    lowest, highest = np.empty(3, dtype=np.float32), np.empty(3, dtype=np.float32)
    d, met = np.empty(3, dtype=np.float32), np.empty(len(T), dtype=np.int64)
    for first in range(0, len(points), _RUN):
        run = points[first : first + _RUN]
        for axis in range(3):
            lowest[axis] = highest[axis] = run[0, axis]
        for i in range(1, len(run)):
            for axis in range(3):
                lowest[axis], highest[axis] = min(lowest[axis], run[i, axis]), max(highest[axis], run[i, axis])
        count = 0
        for s in range(len(T)):
            apart = False
            for axis in range(3):
                center, half = T[s, axis, 3], extents[s, axis]
                apart = apart or lowest[axis] > center + half or highest[axis] < center - half
            if not apart:
                met[count] = s
                count += 1
        for i in range(len(run)):
            for k in range(count):
                s = met[k]
                for axis in range(3):
                    d[axis] = run[i, axis] - T[s, axis, 3]
                x = abs(T[s, 0, 0] * d[0] + T[s, 1, 0] * d[1] + T[s, 2, 0] * d[2])
                y = abs(T[s, 0, 1] * d[0] + T[s, 1, 1] * d[1] + T[s, 2, 1] * d[2])
                z = abs(T[s, 0, 2] * d[0] + T[s, 1, 2] * d[1] + T[s, 2, 2] * d[2])
                if is_cylinder[s]:
                    x, y = np.sqrt(x * x + y * y), np.float32(0.0)
                x = max(x - half_box[s, 0], np.float32(0.0))
                y = max(y - half_box[s, 1], np.float32(0.0))
                z = max(z - half_box[s, 2], np.float32(0.0))
                if x * x + y * y + z * z <= reach[s] * reach[s]:
                    near[first + i] = True
                    if k > 0:  # the next point is likely near the same one: first
                        met[k], met[0] = met[0], s
                    break
    return near


def _half_box(shape: Primitive) -> tuple[float, float, float, float]:
    """Half edges of the box that a shape is about, and how far it reaches from it [m]."""
    if shape.kind == "box":
        x, y, z = np.asarray(shape.size) / 2
        return (x, y, z, 0.0)
    if shape.kind == "cylinder":
        return (shape.size[0], 0.0, shape.size[1] / 2, 0.0)
    length = shape.size[1] if shape.kind == "capsule" else 0.0
    return (0.0, 0.0, length / 2, shape.size[0])
