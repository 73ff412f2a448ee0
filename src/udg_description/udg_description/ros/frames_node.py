"""Publishes the frames of robot and cameras on /tf and /tf_static, and /robot_description.

Where robot_state_publisher runs, `robot` is false and this node publishes the cameras' frames alone.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass

from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import String

from udg_description.camera import cameras_of
from udg_description.errors import UdgError
from udg_description.frame_tree import FrameTree, camera_frames
from udg_description.robot import current_robot
from udg_description.ros import convert, topics
from udg_description.ros.one_publisher import subscribe_one
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_description.ros.tf_message import Frame, to_bytes
from udg_description.settings import setting
from udg_description.urdf import load_urdf


@dataclass(frozen=True, kw_only=True)
class FramesConfig:
    """Parameters of the node."""

    camera_config: str = setting("", "file of the cameras; empty: the default cameras")
    robot: bool = setting(True, "publish the robot's frames and description; false: somebody else does")
    rate_hz: float = setting(20.0, "of /tf, at most [1/s]", 1.0, 200.0)


class FramesNode(Node):
    """The robot's and the cameras' frames; those that move carry the stamp of the joint state they follow from."""

    def __init__(self, *, context: Context | None = None, parameter_overrides: list[Parameter] | None = None) -> None:
        super().__init__("frames", context=context, parameter_overrides=parameter_overrides)
        self.config = config = declare(self, FramesConfig)
        refuse_unknown(self)
        cameras = cameras_of(config.camera_config)
        static = camera_frames(cameras)
        if config.robot:
            self._tree = FrameTree(load_urdf(current_robot().urdf))
            static = [*self._tree.fixed, *static]
            self._period_ns = round(1e9 / config.rate_hz)
            self._sent_ns: int | None = None
            self._description = topics.publish(self, topics.ROBOT_DESCRIPTION)
            self._description.publish(String(data=current_robot().urdf.read_text(encoding="utf-8")))
            self._tf = topics.publish(self, topics.TF)
            subscribe_one(self, topics.JOINT_STATES, self._on_state)
        self._tf_static = topics.publish(self, topics.TF_STATIC)
        stamp_ns = self.get_clock().now().nanoseconds
        self._tf_static.publish(to_bytes(Frame(*frame, stamp_ns) for frame in static))

    def _on_state(self, message: JointState) -> None:
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        if self._sent_ns is not None and 0 <= stamp_ns - self._sent_ns < self._period_ns:
            return
        try:
            q = convert.joint_state_to_finite_q(message)
        except UdgError as error:
            self.get_logger().error(f"{topics.JOINT_STATES.name}: {error}; no frames", throttle_duration_sec=5.0)
            return
        self._sent_ns = stamp_ns
        frames = zip(self._tree.moving, self._tree.poses(q), strict=True)
        self._tf.publish(to_bytes(Frame(*names, T_parent_child, stamp_ns) for names, T_parent_child in frames))


def main() -> None:
    """Run the node."""
    sys.exit(run_node(FramesNode))


if __name__ == "__main__":
    main()
