"""Frames on /tf and /tf_static, and the robot's description."""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.parameter import Parameter

from udg_description.camera import cameras_yaml, default_cameras
from udg_description.layout import HOME_Q
from udg_description.model import RobotModel
from udg_description.ros import convert, topics
from udg_description.ros.frames_node import FramesNode
from udg_description.ros.tf_message import (
    _HASH,
    Frame,
    FrameMessageError,
    ListType,
    TFMessage,
    from_bytes,
    stand_in,
    to_bytes,
)
from udg_description.transforms import make_transform, rotvec_to_matrix

pytestmark = pytest.mark.ros
DOMAIN = 99 - os.getpid() % 60  # of this process's own


@pytest.fixture
def context() -> Iterator[Context]:
    made = Context()
    rclpy.init(context=made, domain_id=DOMAIN)
    yield made
    while Listener.alive:  # else what they latch may still reach the next test, in the same domain
        Listener.alive.pop().close()
    rclpy.try_shutdown(context=made)


class Listener:
    """The frames node, and what comes of it."""

    alive: ClassVar[list[Listener]] = []

    def __init__(self, context: Context, **parameters: object) -> None:
        overrides = [Parameter(name, value=value) for name, value in parameters.items()]
        self.node = FramesNode(context=context, parameter_overrides=overrides)
        self.other = rclpy.create_node("listener", context=context)
        self.poses: dict[tuple[str, str], Frame] = {}
        self.messages: list[list[Frame]] = []
        self.descriptions: list[str] = []
        self.states = topics.publish(self.other, topics.JOINT_STATES)
        topics.subscribe(self.other, topics.TF, self._on_frames)
        topics.subscribe(self.other, topics.TF_STATIC, lambda data: self._note(from_bytes(data)))
        topics.subscribe(self.other, topics.ROBOT_DESCRIPTION, lambda text: self.descriptions.append(text.data))
        self.executor = SingleThreadedExecutor(context=context)
        self.executor.add_node(self.node)
        self.executor.add_node(self.other)
        self.alive.append(self)

    def close(self) -> None:
        self.executor.shutdown()
        self.node.destroy_node()
        self.other.destroy_node()

    def _on_frames(self, data: bytes) -> None:
        self.messages.append(from_bytes(data))
        self._note(self.messages[-1])

    def _note(self, frames: list[Frame]) -> None:
        self.poses.update({(frame.parent, frame.child): frame for frame in frames})

    def spin_until(self, condition: Callable[[], bool]) -> None:
        for _ in range(400):
            if condition():
                return
            self.executor.spin_once(timeout_sec=0.05)
        raise AssertionError("nothing came in 20 s")

    def pose(self, frame: str) -> np.ndarray:
        """T_world_frame, along the tree."""
        T_frame = np.eye(4)
        while frame != "world":
            (step,) = (step for (_, child), step in self.poses.items() if child == frame)
            T_frame, frame = step.T_parent_child @ T_frame, step.parent
        return T_frame


def test_the_frames_are_those_of_the_kinematics_for_each_link_and_of_the_file_for_the_cameras(
    context: Context, tmp_path: Path
) -> None:
    left, right = default_cameras()
    moved = dataclasses.replace(left, T_world_camera=make_transform(translation=np.array([0.25, 0.5, 0.75])))
    (tmp_path / "cameras.yaml").write_text(cameras_yaml((right, moved)))
    listener = Listener(context, camera_config=str(tmp_path / "cameras.yaml"))
    q = HOME_Q + np.linspace(-0.3, 0.3, 36)
    listener.spin_until(lambda: listener.states.get_subscription_count() > 0)
    listener.states.publish(convert.q_to_joint_state(q, 5_000_000_001))
    listener.spin_until(lambda: bool(listener.messages and listener.descriptions and len(listener.poses) > 37))
    for link, T_world_link in RobotModel().link_poses_np(q).items():
        np.testing.assert_allclose(listener.pose(link), T_world_link, atol=1e-12)
    np.testing.assert_allclose(listener.pose("left_depth_camera_link")[:3, 3], [0.25, 0.5, 0.75], atol=1e-15)
    np.testing.assert_allclose(listener.pose("right_depth_camera_link"), right.T_world_camera, atol=1e-12)
    assert {frame.stamp_ns for frame in listener.messages[0]} == {5_000_000_001}
    assert "<robot" in listener.descriptions[0]


def test_frames_follow_the_states_stamps_at_most_so_often(context: Context) -> None:
    listener = Listener(context, rate_hz=20.0)
    listener.spin_until(lambda: listener.states.get_subscription_count() > 0)
    for stamp_ns in (0, 10_000_000, 49_999_999, 50_000_000, 40_000_000):  # the last: a simulation that begins again
        listener.node._on_state(convert.q_to_joint_state(HOME_Q, stamp_ns))
    listener.spin_until(lambda: len(listener.messages) == 3)
    assert [frames[0].stamp_ns for frames in listener.messages] == [0, 50_000_000, 40_000_000]


def test_a_state_that_is_none_makes_no_frames(context: Context) -> None:
    listener = Listener(context)
    listener.node._on_state(convert.q_to_joint_state(np.full(36, np.nan), 1))
    listener.node._on_state(convert.q_to_joint_state(HOME_Q, 2))
    listener.spin_until(lambda: bool(listener.messages))
    assert [frames[0].stamp_ns for frames in listener.messages] == [2]


def test_beside_robot_state_publisher_it_has_the_cameras_alone(context: Context) -> None:
    listener = Listener(context, robot=False)
    listener.spin_until(lambda: bool(listener.poses))
    assert {child for _, child in listener.poses} == {"left_depth_camera_link", "right_depth_camera_link"}
    published = {publisher.topic_name for publisher in listener.node.publishers}
    assert "/tf_static" in published and not published & {"/tf", "/robot_description"}


def test_the_graph_shows_the_type_that_others_listen_for(context: Context) -> None:
    listener = Listener(context)
    listener.spin_until(lambda: listener.other.count_publishers("/tf") > 0)
    for info in listener.other.get_publishers_info_by_topic("/tf"):  # those of the tests before may still be there
        assert info.topic_type == "tf2_msgs/msg/TFMessage"
        if hasattr(info, "topic_type_hash"):  # since Iron
            assert bytes(info.topic_type_hash.value) == _HASH


def test_bytes_are_read_back_and_broken_ones_refused() -> None:
    names = ("a", "world", "a name of 21 letters.", "ü")
    frames = [
        Frame(names[i % 4], names[(i + 1) % 4], make_transform(rotvec_to_matrix(np.full(3, 0.3 * i)), np.full(3, i)), i)
        for i in range(9)
    ]
    data = to_bytes(frames)
    for frame, back in zip(frames, from_bytes(data), strict=True):
        assert frame[:2] == back[:2] and frame.stamp_ns == back.stamp_ns
        np.testing.assert_allclose(frame.T_parent_child, back.T_parent_child, atol=1e-12)
    assert from_bytes(to_bytes([])) == []
    for broken in (data[:-3], b"", b"\x00\x00" + data[2:]):
        with pytest.raises(FrameMessageError):
            from_bytes(broken)


def test_the_bytes_are_those_that_ros_makes_of_one_transform() -> None:
    """A list of one: its length, then the element, whose fields are 8-byte aligned in the same places."""
    from geometry_msgs.msg import Quaternion, TransformStamped, Vector3
    from rclpy.serialization import serialize_message

    message = TransformStamped(child_frame_id="chain", header=convert.make_header(7_000_000_009, "six"))
    message.transform.translation, message.transform.rotation = Vector3(x=1.0, y=2.0, z=3.0), Quaternion(w=1.0)
    element = serialize_message(message)[4:]
    ours = to_bytes([Frame("six", "chain", make_transform(translation=np.array([1.0, 2.0, 3.0])), 7_000_000_009)])[4:]
    assert ours[:4] == b"\1\0\0\0"
    assert ours[4 : 4 + 26] == element[:26]  # stamp and both names
    assert ours[-56:] == element[-56:]


def test_the_hash_is_that_of_the_message_definition() -> None:
    """RIHS01 (REP 2016): sha256 of the type's description as JSON."""

    def field(name: str, kind: int, nested: str = "") -> dict[str, object]:
        kinds = {"type_id": kind, "capacity": 0, "string_capacity": 0, "nested_type_name": nested}
        return {"name": name, "type": kinds}

    int32, uint32, double, string, nested, nested_list = 6, 7, 11, 17, 1, 145
    types = {
        "tf2_msgs/msg/TFMessage": [field("transforms", nested_list, "geometry_msgs/msg/TransformStamped")],
        "builtin_interfaces/msg/Time": [field("sec", int32), field("nanosec", uint32)],
        "geometry_msgs/msg/Quaternion": [field(name, double) for name in "xyzw"],
        "geometry_msgs/msg/Transform": [
            field("translation", nested, "geometry_msgs/msg/Vector3"),
            field("rotation", nested, "geometry_msgs/msg/Quaternion"),
        ],
        "geometry_msgs/msg/TransformStamped": [
            field("header", nested, "std_msgs/msg/Header"),
            field("child_frame_id", string),
            field("transform", nested, "geometry_msgs/msg/Transform"),
        ],
        "geometry_msgs/msg/Vector3": [field(name, double) for name in "xyz"],
        "std_msgs/msg/Header": [field("stamp", nested, "builtin_interfaces/msg/Time"), field("frame_id", string)],
    }
    first, *others = [{"type_name": name, "fields": fields} for name, fields in types.items()]
    text = json.dumps({"type_description": first, "referenced_type_descriptions": others})
    assert hashlib.sha256(text.encode()).digest() == _HASH


def test_ros_itself_hears_a_stand_in_as_the_message_that_it_stands_for(context: Context) -> None:
    """Tried on Polygon, which is a list of one kind of message, too: sent by a stand-in, heard as itself."""
    from geometry_msgs.msg import Point32, Polygon
    from rclpy.serialization import serialize_message

    if TFMessage.__module__ != "tf2_msgs.msg":
        pytest.skip("this ROS has tf2_msgs: nothing stands in")
    probe = rclpy.create_node("probe", context=context)
    genuine = probe.create_publisher(Polygon, "genuine", 1)
    type_hash = bytes(probe.get_publishers_info_by_topic("/genuine")[0].topic_type_hash.value)
    stand = stand_in(ListType("geometry_msgs", "Polygon", "points", ("geometry_msgs", "Point32"), type_hash))
    elsewhere = Context()  # another participant, as another process has
    rclpy.init(context=elsewhere, domain_id=DOMAIN)
    listener = rclpy.create_node("listener", context=elsewhere)
    heard: list[Polygon] = []
    listener.create_subscription(Polygon, "polygon", heard.append, 1)
    sender = probe.create_publisher(stand, "polygon", 1)
    executor = SingleThreadedExecutor(context=elsewhere)
    executor.add_node(listener)
    sent = Polygon(points=[Point32(x=1.0, y=2.0, z=3.0), Point32(x=-1.0)])
    for _ in range(400):
        if sender.get_subscription_count() and not heard:
            sender.publish(serialize_message(sent))
        executor.spin_once(timeout_sec=0.05)
        if heard:
            break
    assert heard[0] == sent
    (stood_for,) = listener.get_publishers_info_by_topic("/polygon")
    assert stood_for.topic_type == "geometry_msgs/msg/Polygon" and genuine is not None
    rclpy.try_shutdown(context=elsewhere)


def test_the_type_is_that_of_ros_where_ros_has_it() -> None:
    tf2 = pytest.importorskip("tf2_msgs.msg", reason="needs tf2_msgs, of a full ROS installation")
    assert TFMessage is tf2.TFMessage
