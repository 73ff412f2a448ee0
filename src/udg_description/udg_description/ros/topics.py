"""The one table of topics and services: name, message type, quality of service.

Topics of cameras are named by the camera; the table has those of the default cameras.

Nodes make their publishers and subscriptions with `publish` and `subscribe`, so that both ends of a topic
always agree. In lockstep no message may be lost: then sensor data, too, is sent reliably.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from diagnostic_msgs.msg import DiagnosticArray
from geometry_msgs.msg import WrenchStamped
from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rosgraph_msgs.msg import Clock
from sensor_msgs.msg import CameraInfo, Image, JointState, PointCloud2
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from udg_description import topic_names
from udg_description.camera import DEFAULT_CAMERAS
from udg_description.errors import CameraError
from udg_description.layout import SIDES
from udg_description.ros.tf_message import TFMessage

_TOPIC_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*")


@dataclass(frozen=True, kw_only=True)
class Topic:
    """A topic: its name, message class and quality of service."""

    name: str
    type: type
    depth: int = 1
    reliable: bool = True
    latched: bool = False

    def qos(self, lockstep: bool = False, depth: int | None = None) -> QoSProfile:
        """The profile; `lockstep` makes it reliable, `depth` overrides the queue length (subscribers only)."""
        return QoSProfile(
            history=HistoryPolicy.KEEP_LAST,
            depth=self.depth if depth is None else depth,
            reliability=ReliabilityPolicy.RELIABLE if self.reliable or lockstep else ReliabilityPolicy.BEST_EFFORT,
            durability=DurabilityPolicy.TRANSIENT_LOCAL if self.latched else DurabilityPolicy.VOLATILE,
        )


def depth_image(camera: str) -> Topic:
    """Depth images of a camera, by its name in the camera file."""
    return Topic(name=f"/{_checked(camera)}/depth/image_raw", type=Image, depth=5, reliable=False)


def camera_info(camera: str) -> Topic:
    """Intrinsics of a camera, with each image."""
    return Topic(name=f"/{_checked(camera)}/depth/camera_info", type=CameraInfo, depth=5, reliable=False)


def infrared_image(camera: str) -> Topic:
    """Infrared images of a camera, for its calibration by a board."""
    return Topic(name=f"/{_checked(camera)}/ir/image_raw", type=Image, depth=5, reliable=False)


def image_topics(cameras: Iterable[str] = DEFAULT_CAMERAS) -> tuple[Topic, ...]:
    """Depth images and intrinsics of cameras."""
    names = tuple(cameras)
    return (*map(depth_image, names), *map(camera_info, names))


def _checked(camera: str) -> str:
    if not _TOPIC_NAME.fullmatch(camera):
        raise CameraError(f"camera '{camera}': topics are named by it; valid: letters, digits and _, a letter first")
    return camera


JOINT_STATES = Topic(name=topic_names.JOINT_STATES, type=JointState)
SCENE_CLOUD = Topic(name=topic_names.SCENE_CLOUD, type=PointCloud2)
ACTION_CHUNK = Topic(name=topic_names.ACTION_CHUNK, type=JointTrajectory)  # header.frame_id: name of its run
SIM_JOINT_COMMAND = Topic(name=topic_names.SIM_JOINT_COMMAND, type=JointState)
SIM_JOINT_STATES = Topic(name="/sim/joint_states", type=JointState)
GRASP_MARKERS = Topic(name="/grasp_markers", type=MarkerArray)
DIAGNOSTICS = Topic(name="/diagnostics", type=DiagnosticArray, depth=10)
CLOCK = Topic(name="/clock", type=Clock)
EMERGENCY_STOP = Topic(name="/emergency_stop", type=Bool, latched=True)  # control hears any quality of service
HEARTBEAT = Topic(name="/heartbeat", type=String)  # empty: all is well; else what is silent
JOINT_COMMAND = Topic(name=topic_names.JOINT_COMMAND, type=JointState)  # what left the safety filter of the real robot
TACTILE = {side: Topic(name=f"/{side}_hand/tactile", type=WrenchStamped, depth=5) for side in SIDES}  # a fingertip each
CONTROL_MARKERS = Topic(name="/control/markers", type=MarkerArray, latched=True)
TF = Topic(name="/tf", type=TFMessage, depth=100)
TF_STATIC = Topic(name="/tf_static", type=TFMessage, latched=True)
ROBOT_DESCRIPTION = Topic(name="/robot_description", type=String, latched=True)

TOPICS: tuple[Topic, ...] = (
    *image_topics(),
    JOINT_STATES,
    SCENE_CLOUD,
    ACTION_CHUNK,
    SIM_JOINT_COMMAND,
    SIM_JOINT_STATES,
    GRASP_MARKERS,
    DIAGNOSTICS,
    CLOCK,
    EMERGENCY_STOP,
    HEARTBEAT,
    JOINT_COMMAND,
    *TACTILE.values(),
    CONTROL_MARKERS,
    TF,
    TF_STATIC,
    ROBOT_DESCRIPTION,
)


@dataclass(frozen=True, kw_only=True)
class ServiceName:
    """A service: its name and type."""

    name: str
    type: type = Trigger


POLICY_START = ServiceName(name="/policy/start")
POLICY_STOP = ServiceName(name="/policy/stop")
CONTROL_ENABLE = ServiceName(name="/control/enable")
CONTROL_DISABLE = ServiceName(name="/control/disable")
CONTROL_HOME = ServiceName(name="/control/home")
CONTROL_EMERGENCY_STOP = ServiceName(name="/control/emergency_stop")
SIM_RESET = ServiceName(name="/sim/reset")


def publish(node: Node, topic: Topic, *, lockstep: bool = False) -> Publisher:
    """Create the publisher of `topic` on `node`."""
    return node.create_publisher(topic.type, topic.name, topic.qos(lockstep))


def subscribe(
    node: Node,
    topic: Topic,
    callback: Callable[[Any], None],
    *,
    lockstep: bool = False,
    depth: int | None = None,
    group: CallbackGroup | None = None,
) -> Subscription:
    """Create the subscription to `topic` on `node`; `depth` lengthens the queue of this subscriber alone.

    Frames come as bytes: `tf_message.from_bytes` reads them.
    """
    qos = topic.qos(lockstep, depth)
    raw = topic.type is TFMessage
    return node.create_subscription(topic.type, topic.name, callback, qos, callback_group=group, raw=raw)
