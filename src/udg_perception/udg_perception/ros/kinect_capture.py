"""Collect observations for calibration while somebody moves the robot: one at each new pose in which it rests.

python -m udg_perception.ros.kinect_capture FOLDER --poses 12 [--infrared] [--camera left_camera]
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import rclpy
from rclpy.context import Context
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState

from udg_description.camera import DEFAULT_CAMERAS, default_cameras, short_name
from udg_description.environment import prepare_environment
from udg_description.errors import UdgError, cli
from udg_description.files import check_folder, user_path
from udg_description.ros import convert, topics
from udg_perception.calibration.collector import PoseCollector
from udg_perception.calibration.observations import write_observation


class KinectCapture(Node):
    """Writes an observation for each new pose."""

    def __init__(
        self,
        folder: Path,
        cameras: Sequence[str] = DEFAULT_CAMERAS,
        *,
        infrared: bool = False,
        context: Context | None = None,
    ) -> None:
        super().__init__("kinect_capture", context=context)
        self.taken = 0
        self._folder = folder
        self._intrinsics: dict[str, np.ndarray] = {}  # by short name, as each camera tells them
        self._collector = PoseCollector([short_name(camera) for camera in cameras], infrared=infrared)
        for camera in cameras:
            topics.subscribe(self, topics.camera_info(camera), self._info_callback(camera))
            topics.subscribe(self, topics.depth_image(camera), self._callback(camera, "depth"))
            if infrared:
                topics.subscribe(self, topics.infrared_image(camera), self._callback(camera, "infrared"))
        topics.subscribe(self, topics.JOINT_STATES, self._on_joints)

    def _on_joints(self, message: JointState) -> None:
        try:
            q = convert.joint_state_to_finite_q(message)
        except UdgError as error:
            self._tell(topics.JOINT_STATES, error)
            return
        self._collector.add_joints(convert.stamp_to_ns(message.header.stamp), q)

    def _tell(self, topic: topics.Topic, error: UdgError) -> None:
        self.get_logger().error(f"{topic.name}: {error}", throttle_duration_sec=5.0)

    def _info_callback(self, camera: str) -> Callable[[CameraInfo], None]:
        def on_info(message: CameraInfo) -> None:
            try:
                told = convert.info_to_camera(message, default_cameras()[0])  # the pose does not count here
            except UdgError as error:
                self._tell(topics.camera_info(camera), error)
                return
            self._intrinsics[short_name(camera)] = told.intrinsics

        return on_info

    def _callback(self, camera: str, kind: str) -> Callable[[Image], None]:
        def on_image(message: Image) -> None:
            stamp_ns = convert.stamp_to_ns(message.header.stamp)
            if short_name(camera) not in self._intrinsics:
                return  # its camera_info comes with the image
            try:
                image = convert.image_to_depth(message)
            except UdgError as error:
                self._tell(topics.depth_image(camera) if kind == "depth" else topics.infrared_image(camera), error)
                return
            found = self._collector.add_image(short_name(camera), kind, stamp_ns, image)
            if found is not None:
                path = write_observation(self._folder, dataclasses.replace(found, intrinsics=self._intrinsics))
                self.taken += 1
                self.get_logger().info(f"pose {self.taken}: {path}; move the robot to the next one, then let it rest")

        return on_image


def main(argv: Sequence[str] | None = None) -> int:
    """Run until there are enough poses."""
    parser = argparse.ArgumentParser(description="Observations for calibration: one at each new pose of the robot.")
    parser.add_argument("folder", type=user_path)
    parser.add_argument("--poses", type=int, default=12)
    parser.add_argument("--camera", action="append", help="only this camera (repeatable; default: both default ones)")
    parser.add_argument(
        "--infrared", action="store_true", help="for a board; the camera needs infrared: true in config/robot.yaml"
    )
    arguments = parser.parse_args(argv)
    check_folder(arguments.folder)
    prepare_environment()
    taken = 0
    try:
        rclpy.init()
        node = KinectCapture(arguments.folder, arguments.camera or DEFAULT_CAMERAS, infrared=arguments.infrared)
        while rclpy.ok() and taken < arguments.poses:
            rclpy.spin_once(node, timeout_sec=0.2)
            taken = node.taken
        node.destroy_node()
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        rclpy.try_shutdown()
    if taken < arguments.poses:
        print(f"{taken} of {arguments.poses} poses are in {arguments.folder}; the same command adds more")
    return 0


if __name__ == "__main__":
    cli(main)
