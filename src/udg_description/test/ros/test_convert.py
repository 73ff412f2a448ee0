"""Messages and core types: round trips and what is refused."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

from rclpy.serialization import deserialize_message, serialize_message

from udg_description.camera import default_cameras
from udg_description.layout import HOME_Q, JOINT_NAMES
from udg_description.ros import convert

pytestmark = pytest.mark.ros
STAMP_NS = 100_123_456_789


def over_the_wire(message: object) -> object:
    """The message as a subscriber gets it."""
    return deserialize_message(serialize_message(message), type(message))


@pytest.mark.parametrize("stamp_ns", [0, 1, 10_000_000, 999_999_999, 1_000_000_000, STAMP_NS])
def test_stamps_are_exact(stamp_ns: int) -> None:
    assert convert.stamp_to_ns(convert.ns_to_stamp(stamp_ns)) == stamp_ns


def test_a_tenth_of_a_second_is_a_whole_number() -> None:
    assert [convert.seconds_to_ns(k * 0.1) for k in range(1, 11)] == [k * 100_000_000 for k in range(1, 11)]


def test_joint_state_round_trip() -> None:
    message = over_the_wire(convert.q_to_joint_state(HOME_Q, STAMP_NS, velocity=2 * HOME_Q))
    np.testing.assert_array_equal(convert.joint_state_to_q(message), HOME_Q)
    np.testing.assert_array_equal(convert.joint_state_to_velocity(message), 2 * HOME_Q)
    assert convert.stamp_to_ns(message.header.stamp) == STAMP_NS
    assert convert.joint_state_to_velocity(convert.q_to_joint_state(HOME_Q, 0)) is None


def test_joints_in_another_order_are_put_in_order() -> None:
    message = convert.q_to_joint_state(HOME_Q[::-1], 0)
    message.name = list(JOINT_NAMES[::-1])
    np.testing.assert_array_equal(convert.joint_state_to_q(message), HOME_Q)


@pytest.mark.parametrize(
    ("names", "complaint"),
    [
        (JOINT_NAMES[:-1], "as many as names"),
        ((*JOINT_NAMES[:-1], "elbow"), "'right_hand_pinky_joint2' is missing"),
        ((*JOINT_NAMES[:-1], JOINT_NAMES[0]), f"'{JOINT_NAMES[0]}' is there twice"),
    ],
)
def test_wrong_joint_names_are_refused_by_name(names: tuple[str, ...], complaint: str) -> None:
    message = convert.q_to_joint_state(HOME_Q, 0)
    message.name = list(names)
    with pytest.raises(convert.MessageError, match=complaint):
        convert.joint_state_to_q(message)


def test_an_additional_joint_is_refused_by_name() -> None:
    with pytest.raises(convert.MessageError, match="'gripper' is unknown"):
        convert.joint_order([*JOINT_NAMES, "gripper"])


def test_chunk_round_trip() -> None:
    chunk = np.random.default_rng(0).standard_normal((16, 36))
    message = over_the_wire(convert.chunk_to_trajectory(chunk, STAMP_NS))
    np.testing.assert_array_equal(convert.trajectory_to_chunk(message), chunk)
    assert [convert.stamp_to_ns(point.time_from_start) for point in message.points[:2]] == [100_000_000, 200_000_000]


@pytest.mark.parametrize("empty", [None, np.zeros((0, 36))])
def test_an_empty_chunk_is_a_trajectory_without_points(empty: np.ndarray | None) -> None:
    message = convert.chunk_to_trajectory(empty, STAMP_NS)
    assert len(message.points) == 0 and convert.stamp_to_ns(message.header.stamp) == STAMP_NS
    assert convert.trajectory_to_chunk(message).shape == (0, 36)


def test_a_chunk_with_other_times_or_lengths_is_refused() -> None:
    message = convert.chunk_to_trajectory(np.zeros((3, 36)), 0)
    message.points[2].time_from_start = convert.ns_to_duration(250_000_000)
    with pytest.raises(convert.MessageError, match="point 2 is due 0.25 s"):
        convert.trajectory_to_chunk(message)
    message = convert.chunk_to_trajectory(np.zeros((3, 36)), 0)
    message.points[1].positions = [0.0] * 35
    with pytest.raises(convert.MessageError, match="point 1 has 35 positions"):
        convert.trajectory_to_chunk(message)
    with pytest.raises(convert.MessageError, match="shape"):
        convert.chunk_to_trajectory(np.zeros((3, 35)), 0)


def test_depth_image_round_trip() -> None:
    depth = np.random.default_rng(0).integers(0, 5000, (57, 64)).astype(np.uint16)
    message = over_the_wire(convert.depth_to_image(depth, STAMP_NS, "left_depth_camera_link"))
    np.testing.assert_array_equal(convert.image_to_depth(message), depth)
    assert message.encoding == "16UC1" and message.step == 128


def test_padded_and_big_endian_images_are_read() -> None:
    depth = np.arange(12, dtype=np.uint16).reshape(3, 4) * 300
    message = convert.depth_to_image(depth, 0, "camera")
    padded = np.zeros((3, 10), np.uint8)
    padded[:, :8] = depth.astype(">u2").view(np.uint8)
    message.data, message.step, message.is_bigendian = padded.tobytes(), 10, 1
    np.testing.assert_array_equal(convert.image_to_depth(message), depth)


def test_other_encodings_and_sizes_are_refused() -> None:
    message = convert.depth_to_image(np.zeros((4, 4), np.uint16), 0, "camera")
    message.encoding = "rgb8"
    with pytest.raises(convert.MessageError, match=r"'rgb8'; valid: '16UC1' in millimetres, '32FC1' in metres"):
        convert.image_to_depth(message)
    message.encoding = "32FC1"
    with pytest.raises(convert.MessageError, match="32 bytes"):
        convert.image_to_depth(message)
    message.encoding, message.height = "16UC1", 5
    with pytest.raises(convert.MessageError, match="32 bytes"):
        convert.image_to_depth(message)
    with pytest.raises(convert.MessageError, match="float32"):
        convert.depth_to_image(np.zeros((4, 4), np.float32), 0, "camera")


@pytest.mark.parametrize("big", [False, True])
def test_depth_in_metres_is_read(big: bool) -> None:
    depth_m = np.array([[0.5, 1.2344, np.nan, np.inf], [-1.0, 0.0, 65.535, 65.6]], dtype=">f4" if big else "<f4")
    message = convert.depth_to_image(np.zeros((2, 4), np.uint16), STAMP_NS, "camera")
    message.encoding, message.step, message.data = "32FC1", 16, depth_m.tobytes()
    message.is_bigendian = int(big)
    read = convert.image_to_depth(over_the_wire(message))
    np.testing.assert_array_equal(read, [[500, 1234, 0, 0], [0, 0, 65535, 0]])
    assert read.dtype == np.uint16


def test_lens_models_of_other_drivers_are_read() -> None:
    camera = default_cameras()[0]
    message = convert.camera_to_info(camera, 0, "camera")
    message.distortion_model, message.d = "plumb_bob", [0.1, 0.01, 1e-3, 2e-3, 0.001]
    assert convert.info_to_camera(message, camera).distortion == (0.1, 0.01, 1e-3, 2e-3, 0.001, 0.0, 0.0, 0.0)
    message.distortion_model, message.d = "", []
    assert convert.info_to_camera(message, camera).distortion == (0.0,) * 8
    message.distortion_model, message.d = "equidistant", [0.02, -0.01, 0.003, -0.0004]
    fisheye = convert.info_to_camera(message, camera)
    assert fisheye.lens == "equidistant"
    again = convert.info_to_camera(over_the_wire(convert.camera_to_info(fisheye, 0, "camera")), camera)
    assert (again.lens, again.distortion) == (fisheye.lens, fisheye.distortion)
    message.d = [0.02, -0.01]
    with pytest.raises(convert.MessageError, match="2 distortion coefficients; valid: 4 for equidistant"):
        convert.info_to_camera(message, camera)


def test_camera_info_round_trip() -> None:
    left, right = default_cameras()
    message = over_the_wire(convert.camera_to_info(left, STAMP_NS, "camera"))
    camera = convert.info_to_camera(message, right)
    for name in ("width", "height", "fx", "fy", "cx", "cy"):
        assert getattr(camera, name) == getattr(left, name)
    np.testing.assert_array_equal(camera.distortion, left.distortion)
    np.testing.assert_array_equal(camera.T_world_camera, right.T_world_camera)
    assert camera.name == right.name


def test_uncalibrated_and_unknown_cameras_are_refused() -> None:
    camera = default_cameras()[0]
    message = convert.camera_to_info(camera, 0, "camera")
    message.k = [0.0] * 9
    with pytest.raises(convert.MessageError, match="calibrated"):
        convert.info_to_camera(message, camera)
    message.distortion_model = "thin_prism"
    with pytest.raises(convert.MessageError, match="'thin_prism'; valid: rational_polynomial, plumb_bob, equidistant"):
        convert.info_to_camera(message, camera)


def test_cloud_round_trip() -> None:
    points = np.random.default_rng(0).standard_normal((2048, 4)).astype(np.float32)
    message = over_the_wire(convert.points_to_cloud(points, STAMP_NS))
    read = convert.cloud_to_points(message)
    np.testing.assert_array_equal(read, points)
    assert message.header.frame_id == "world" and [field.name for field in message.fields] == ["x", "y", "z", "label"]
    assert not read.flags.writeable


def test_a_cloud_without_labels_is_refused() -> None:
    message = convert.points_to_cloud(np.zeros((5, 4), np.float32), 0)
    message.fields = message.fields[:3]
    with pytest.raises(convert.MessageError, match="label"):
        convert.cloud_to_points(message)
