"""Messages to core types and back. Units: SI; stamps: integer nanoseconds."""

from __future__ import annotations

import array
import sys
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from builtin_interfaces.msg import Duration, Time
from sensor_msgs.msg import CameraInfo, Image, JointState, PointCloud2, PointField
from std_msgs.msg import Header
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from udg_description.clock import NS_PER_S, STEP_S
from udg_description.errors import UdgError
from udg_description.layout import JOINT_NAMES, N_JOINTS

if TYPE_CHECKING:
    from udg_description.camera import CameraModel, Lens

CLOUD_FIELDS = ("x", "y", "z", "label")


class MessageError(UdgError):
    """A message's content doesn't fit its topic's agreement."""


class JointNamesError(MessageError):
    """The joints of a message are not the robot's."""


# --- time -----------------------------------------------------------------------------------------------------------


def stamp_to_ns(stamp: Time) -> int:
    """The stamp in integer nanoseconds (exact: fit for equality)."""
    return stamp.sec * NS_PER_S + stamp.nanosec


def ns_to_stamp(stamp_ns: int) -> Time:
    """The message of a stamp in nanoseconds."""
    seconds, nanoseconds = divmod(int(stamp_ns), NS_PER_S)
    return Time(sec=seconds, nanosec=nanoseconds)


def ns_to_duration(duration_ns: int) -> Duration:
    """The message of a duration in nanoseconds."""
    seconds, nanoseconds = divmod(int(duration_ns), NS_PER_S)
    return Duration(sec=seconds, nanosec=nanoseconds)


def seconds_to_ns(seconds: float) -> int:
    """A time or duration in [s] as the nearest integer nanosecond."""
    return round(seconds * NS_PER_S)


def make_header(stamp_ns: int, frame_id: str = "") -> Header:
    """A header with the stamp in nanoseconds and the frame."""
    return Header(stamp=ns_to_stamp(stamp_ns), frame_id=frame_id)


_DEPTH_BYTES = {"16UC1": 2, "mono16": 2, "32FC1": 4}
_COEFFICIENTS = {"rational_polynomial": 8, "plumb_bob": 5, "equidistant": 4, "": 0}


# --- joints ---------------------------------------------------------------------------------------------------------


def joint_order(names: Sequence[str], wanted: Sequence[str] = JOINT_NAMES) -> np.ndarray | None:
    """`index` with `values[index]` in the wanted order, None where the order is right already.

    Raises JointNamesError naming a missing, unknown or repeated joint.
    """
    if len(names) == len(wanted) and all(a == b for a, b in zip(names, wanted, strict=True)):
        return None
    place = {name: i for i, name in enumerate(names)}
    if len(place) != len(names):
        repeated = next(name for i, name in enumerate(names) if place[name] != i)
        raise JointNamesError(f"joint '{repeated}' is there twice; valid: each of the {len(wanted)} joints once")
    missing = [name for name in wanted if name not in place]
    if missing:
        raise JointNamesError(f"joint '{missing[0]}' is missing ({len(names)} joints came, {len(wanted)} are needed)")
    if len(names) != len(wanted):
        unknown = next(name for name in names if name not in set(wanted))
        raise JointNamesError(f"joint '{unknown}' is unknown; valid: the {len(wanted)} joints of the layout")
    return np.array([place[name] for name in wanted])


def q_to_joint_state(q: np.ndarray, stamp_ns: int, velocity: np.ndarray | None = None) -> JointState:
    """The joint state of q (36,) [rad] and, if given, velocity (36,) [rad/s], in the layout's order."""
    message = JointState(header=make_header(stamp_ns), name=list(JOINT_NAMES), position=_doubles(q))
    if velocity is not None:
        message.velocity = _doubles(velocity)
    return message


def joint_state_to_q(message: JointState) -> np.ndarray:
    """q (36,) float64 [rad] in the layout's order, whatever the message's order. Values are not judged here.

    Raises MessageError for wrong joint names or a wrong number of positions.
    """
    return _in_order(message.name, message.position, "positions")


def joint_state_to_finite_q(message: JointState) -> np.ndarray:
    """q (36,) float64 [rad] as `joint_state_to_q`; raises MessageError, too, for an angle that is not finite."""
    q = joint_state_to_q(message)
    bad = np.flatnonzero(~np.isfinite(q))
    if len(bad):
        raise MessageError(f"joint '{JOINT_NAMES[bad[0]]}' is {q[bad[0]]}; valid: finite angles")
    return q


def joint_state_to_velocity(message: JointState) -> np.ndarray | None:
    """The velocity (36,) [rad/s] in the layout's order, None where the message has none."""
    return _in_order(message.name, message.velocity, "velocities") if len(message.velocity) else None


def _in_order(names: Sequence[str], values: Sequence[float], what: str) -> np.ndarray:
    if len(values) != len(names):
        raise MessageError(f"{len(names)} joint names but {len(values)} {what}; valid: as many as names")
    order = joint_order(names)
    numbers = np.array(values, dtype=np.float64)
    return numbers if order is None else numbers[order]


def _doubles(values: np.ndarray) -> array.array:
    """The numbers as array('d'), which a message takes over without looking at each."""
    numbers = array.array("d")
    numbers.frombytes(np.ascontiguousarray(values, dtype=np.float64).tobytes())
    return numbers


# --- action chunks --------------------------------------------------------------------------------------------------


def chunk_to_trajectory(
    chunk: np.ndarray | None, stamp_ns: int, step_s: float = STEP_S, run: str = ""
) -> JointTrajectory:
    """The message of an action chunk (K, 36) [rad]: point i is to be reached at stamp + (i + 1) * step_s.

    None or K = 0 makes a trajectory without points: "nothing to do". `run` names the run of the policy that the chunk
    belongs to; it stands in header.frame_id, which a trajectory of joints has no other use for.
    """
    message = JointTrajectory(header=make_header(stamp_ns, run), joint_names=list(JOINT_NAMES))
    if chunk is None:
        return message
    if chunk.ndim != 2 or chunk.shape[1] != N_JOINTS:
        raise MessageError(f"an action chunk of shape {chunk.shape}; valid: (K, {N_JOINTS})")
    step_ns = seconds_to_ns(step_s)
    message.points = [
        JointTrajectoryPoint(positions=_doubles(row), time_from_start=ns_to_duration((i + 1) * step_ns))
        for i, row in enumerate(chunk)
    ]
    return message


def trajectory_to_chunk(message: JointTrajectory, step_s: float = STEP_S) -> np.ndarray:
    """The action chunk (K, 36) [rad] in the layout's order, (0, 36) for a trajectory without points.

    Raises MessageError for wrong joint names, lengths or times. Values are not judged here.
    """
    if not message.points:
        return np.zeros((0, N_JOINTS))
    order = joint_order(message.joint_names)
    step_ns = seconds_to_ns(step_s)
    for i, point in enumerate(message.points):
        if len(point.positions) != len(message.joint_names):
            raise MessageError(
                f"point {i} has {len(point.positions)} positions; valid: one per joint ({len(message.joint_names)})"
            )
        if stamp_to_ns(point.time_from_start) != (i + 1) * step_ns:
            raise MessageError(
                f"point {i} is due {stamp_to_ns(point.time_from_start) / NS_PER_S} s after the stamp; "
                f"valid: {(i + 1) * step_s:.3f} s"
            )
    chunk = np.array([point.positions for point in message.points], dtype=np.float64)
    return chunk if order is None else chunk[:, order]


# --- cameras --------------------------------------------------------------------------------------------------------


def depth_to_image(depth_mm: np.ndarray, stamp_ns: int, frame_id: str) -> Image:
    """The 16UC1 message of a depth image (H, W) uint16 [mm]; 0 is "no depth"."""
    if depth_mm.dtype != np.uint16 or depth_mm.ndim != 2:
        raise MessageError(f"a depth image {depth_mm.dtype} {depth_mm.shape}; valid: uint16 (H, W)")
    height, width = depth_mm.shape
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(depth_mm).tobytes())
    return Image(
        header=make_header(stamp_ns, frame_id),
        height=height,
        width=width,
        encoding="16UC1",
        is_bigendian=int(sys.byteorder == "big"),
        step=2 * width,
        data=data,
    )


def image_to_depth(message: Image) -> np.ndarray:
    """The depth (H, W) uint16 [mm], read-only, of a 16UC1 (or `mono16`, [mm]) or 32FC1 ([m]) message.

    Of 32FC1 what is not finite, not in front of the camera or beyond 65.535 m is "no depth". Raises MessageError.
    """
    if message.encoding not in _DEPTH_BYTES:
        valid = "'16UC1' in millimetres, '32FC1' in metres"
        raise MessageError(f"a depth image with encoding '{message.encoding}'; valid: {valid}")
    size = _DEPTH_BYTES[message.encoding]
    if message.step < size * message.width or len(message.data) != message.step * message.height:
        raise MessageError(
            f"a depth image {message.width} x {message.height} with step {message.step} and {len(message.data)} bytes; "
            f"valid: step >= {size} * width, height * step bytes"
        )
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(message.height, message.step)[:, : size * message.width]
    order = ">" if message.is_bigendian else "<"
    values = np.ascontiguousarray(rows).view(np.dtype(f"{order}{'u2' if size == 2 else 'f4'}"))
    depth = values.astype(np.uint16, copy=False) if size == 2 else _metres_to_mm(values)
    depth.flags.writeable = False
    return depth


def _metres_to_mm(depth_m: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore", over="ignore"):
        depth_mm = np.rint(1000.0 * depth_m.astype(np.float32))
        return np.where((depth_mm > 0.0) & (depth_mm <= np.iinfo(np.uint16).max), depth_mm, 0.0).astype(np.uint16)


def camera_to_info(camera: CameraModel, stamp_ns: int, frame_id: str) -> CameraInfo:
    """The intrinsics as a message: rational_polynomial with 8 coefficients, or equidistant with 4."""
    model = "rational_polynomial" if camera.lens == "rational" else camera.lens
    return CameraInfo(
        header=make_header(stamp_ns, frame_id),
        height=camera.height,
        width=camera.width,
        distortion_model=model,
        d=[float(c) for c in camera.distortion[: _COEFFICIENTS[model]]],
        k=[camera.fx, 0.0, camera.cx, 0.0, camera.fy, camera.cy, 0.0, 0.0, 1.0],
        r=[1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 1.0],
        p=[camera.fx, 0.0, camera.cx, 0.0, 0.0, camera.fy, camera.cy, 0.0, 0.0, 0.0, 1.0, 0.0],
    )


def info_to_camera(message: CameraInfo, camera: CameraModel) -> CameraModel:
    """`camera` (name, extrinsics) with the intrinsics of the message.

    Raises MessageError for lens models that are not known and for what is not finite or not calibrated.
    """
    if message.distortion_model not in _COEFFICIENTS:
        known = ", ".join(name for name in _COEFFICIENTS if name)
        raise MessageError(f"distortion model '{message.distortion_model}'; valid: {known}")
    count = _COEFFICIENTS[message.distortion_model]
    if len(message.d) not in (0, count):
        raise MessageError(
            f"{len(message.d)} distortion coefficients; valid: {count} for {message.distortion_model or 'no model'}"
        )
    for name, values in (("k", message.k), ("d", message.d)):
        if not np.isfinite(np.asarray(values, dtype=np.float64)).all():
            raise MessageError(f"a camera_info with {name} not finite: {[float(v) for v in values]}")
    if not (message.k[0] > 0.0 and message.k[4] > 0.0 and message.width > 0 and message.height > 0):
        raise MessageError("a camera_info without focal lengths or size: the camera isn't calibrated")
    fx, _, cx, _, fy, cy, *_ = (float(v) for v in message.k)
    distortion = tuple(float(c) for c in message.d) + (0.0,) * (8 - len(message.d))
    lens: Lens = "equidistant" if message.distortion_model == "equidistant" else "rational"
    return replace(
        camera, width=message.width, height=message.height, fx=fx, fy=fy, cx=cx, cy=cy, distortion=distortion, lens=lens
    )


# --- clouds ---------------------------------------------------------------------------------------------------------


def points_to_cloud(points_world: np.ndarray, stamp_ns: int, frame_id: str = "world") -> PointCloud2:
    """The message of points (N, 4) float32: x, y, z [m] in `frame_id`, label."""
    if points_world.ndim != 2 or points_world.shape[1] != len(CLOUD_FIELDS):
        raise MessageError(f"points of shape {points_world.shape}; valid: (N, {len(CLOUD_FIELDS)})")
    data = array.array("B")
    data.frombytes(np.ascontiguousarray(points_world, dtype=np.float32).tobytes())
    size = 4 * len(CLOUD_FIELDS)
    return PointCloud2(
        header=make_header(stamp_ns, frame_id),
        height=1,
        width=len(points_world),
        fields=[
            PointField(name=name, offset=4 * i, datatype=PointField.FLOAT32, count=1)
            for i, name in enumerate(CLOUD_FIELDS)
        ],
        is_bigendian=sys.byteorder == "big",
        point_step=size,
        row_step=size * len(points_world),
        data=data,
        is_dense=True,
    )


def cloud_to_points(message: PointCloud2) -> np.ndarray:
    """The points (N, 4) float32 (x, y, z, label), read-only. Raises MessageError for another layout."""
    fields = {field.name: field for field in message.fields}
    for i, name in enumerate(CLOUD_FIELDS):
        field = fields.get(name)
        if field is None or field.datatype != PointField.FLOAT32 or field.offset != 4 * i:
            raise MessageError(f"a cloud without float32 field '{name}' at byte {4 * i}; valid: x, y, z, label float32")
    count = message.width * message.height
    if message.is_bigendian != (sys.byteorder == "big"):
        raise MessageError("a cloud of the other byte order; valid: this machine's")
    if message.point_step < 16 or len(message.data) != message.point_step * count:
        raise MessageError(f"a cloud of {count} points in {len(message.data)} bytes of step {message.point_step}")
    rows = np.frombuffer(message.data, dtype=np.uint8).reshape(count, message.point_step)[:, :16]
    points = np.ascontiguousarray(rows).view(np.float32)
    points.flags.writeable = False
    return points
