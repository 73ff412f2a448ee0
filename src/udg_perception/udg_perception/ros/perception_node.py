"""The perception node: depth images and the joint states in, /scene_cloud out."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import CameraInfo, Image, JointState

from udg_description.camera import cameras_of
from udg_description.errors import UdgError
from udg_description.model import RobotModel
from udg_description.ros import convert, topics
from udg_description.ros.diagnostics import Diagnostics, InputMonitor, Level, Status
from udg_description.ros.one_publisher import subscribe_one
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_description.settings import setting
from udg_perception.matching import FrameMatcher, MatchedFrame, MatcherConfig
from udg_perception.scene_cloud import SceneCloudBuilder, SceneCloudConfig, SceneCloudStats

_JOINT_STATE_QUEUE = 20  # a cloud takes longer than the period of the joint states
_REPORT_PERIOD_S = 5.0


@dataclass(frozen=True, kw_only=True)
class PerceptionNodeConfig:
    """Parameters of the perception node."""

    lockstep: bool = setting(False, "inputs of one moment have equal stamps and none is lost")
    camera_config: str | None = setting(None, "file of the cameras' poses and intrinsics; empty = the default cameras")
    stale_after_s: float = setting(1.0, "an input older than this is silent [s]", 0.05, 60.0)
    scene_cloud: SceneCloudConfig = field(default_factory=SceneCloudConfig)
    matcher: MatcherConfig = field(default_factory=MatcherConfig)


class PerceptionNode(Node):
    """Matches images and joint states by their stamps and publishes a cloud for each match, with the images' stamp.

    The intrinsics are those of the camera_info messages, the poses those of the camera file.
    """

    def __init__(self) -> None:
        super().__init__("perception")
        self.config = declare(self, PerceptionNodeConfig)
        refuse_unknown(self)
        lockstep = self.config.lockstep
        self._cameras = {camera.name: camera for camera in cameras_of(self.config.camera_config)}
        self._builder = SceneCloudBuilder(self.config.scene_cloud, list(self._cameras.values()), RobotModel())
        self._matcher = FrameMatcher(MatcherConfig.exact() if lockstep else self.config.matcher, self._cameras)
        self._infos: dict[str, CameraInfo] = {}
        self._error: UdgError | None = None
        self._stats: SceneCloudStats | None = None
        self._clouds = InputMonitor("clouds", self.config.stale_after_s)

        self._cloud = topics.publish(self, topics.SCENE_CLOUD)
        self._diagnostics = Diagnostics(self)
        self._inputs: list[InputMonitor] = []
        for name in self._cameras:
            self._listen(topics.depth_image(name), self._image_callback(name), lockstep=lockstep)
            self._listen(topics.camera_info(name), self._info_callback(name), lockstep=lockstep)
        self._listen(topics.JOINT_STATES, self._on_joint_state, depth=_JOINT_STATE_QUEUE)
        self._diagnostics.add(topics.SCENE_CLOUD.name, self._status)

    # --- inputs -----------------------------------------------------------------------------------------------------

    def _listen(self, topic: topics.Topic, take: Callable, *, lockstep: bool = False, depth: int | None = None) -> None:
        """Subscribe; each message is counted, taken in, and followed by a look for a complete moment."""
        monitor = self._diagnostics.watch(topic, max_age_s=self.config.stale_after_s)
        self._inputs.append(monitor)

        def on_message(message: object) -> None:
            monitor.tick()
            try:
                take(message)
            except UdgError as error:
                monitor.reject(error)
                self._report(error, topic)
                return
            try:
                self._publish_newest()
            except UdgError as error:
                self._error = error
                self._report(error, topic)

        subscribe = subscribe_one if topic is topics.JOINT_STATES else topics.subscribe
        subscribe(self, topic, on_message, lockstep=lockstep, depth=depth)

    def _image_callback(self, name: str) -> Callable[[Image], None]:
        def on_image(message: Image) -> None:
            depth_mm = convert.image_to_depth(message)
            self._matcher.add_image(name, convert.stamp_to_ns(message.header.stamp), depth_mm)

        return on_image

    def _info_callback(self, name: str) -> Callable[[CameraInfo], None]:
        def on_info(message: CameraInfo) -> None:
            known = self._infos.get(name)
            if known is None or _intrinsics(known) != _intrinsics(message):
                camera = convert.info_to_camera(message, self._cameras[name])
                if not np.array_equal(camera.intrinsics, self._cameras[name].intrinsics):
                    self._cameras[name] = camera
                    self._builder = self._builder.with_cameras(list(self._cameras.values()))
                    self.get_logger().info(f"intrinsics of {camera.name} taken from {topics.camera_info(name).name}")
                self._infos[name] = message

        return on_info

    def _on_joint_state(self, message: JointState) -> None:
        q = convert.joint_state_to_finite_q(message)
        self._matcher.add_joint_state(convert.stamp_to_ns(message.header.stamp), q)

    # --- output -----------------------------------------------------------------------------------------------------

    def _publish_newest(self) -> None:
        if len(self._infos) < len(self._cameras):
            return
        frame = self._matcher.take()
        if frame is not None:
            self._publish_cloud(frame)

    def _publish_cloud(self, frame: MatchedFrame) -> None:
        cloud = self._builder.build(frame.depths, frame.q)
        self._cloud.publish(convert.points_to_cloud(cloud.points, frame.stamp_ns))
        self._stats = cloud.stats
        self._clouds.tick()
        self._error = None

    # --- diagnostics ------------------------------------------------------------------------------------------------

    def _report(self, error: UdgError, topic: topics.Topic) -> None:
        self.get_logger().error(f"{topic.name}: {error}", throttle_duration_sec=_REPORT_PERIOD_S)

    def _status(self) -> Status:
        """State of the output: an error means bad inputs; it names silent ones with their age."""
        values: dict[str, object] = {}
        if self._stats is not None:
            values = {f"{stage}_ms": f"{ms:.2f}" for stage, ms in self._stats.ms.items()}
            values.update(self._stats.counts)
        problems = [f"no cloud: {self._error}"] if self._error is not None else []
        problems += [f"{monitor.name}: {monitor.problem}" for monitor in self._inputs if monitor.problem]
        problems += [f"no cloud: {_silence(monitor)}" for monitor in self._inputs if monitor.stale]
        if not problems and self._clouds.stale:
            problems.append(f"no cloud: {self._matcher.lack()}")
        if problems:
            return Status(level=Level.ERROR, message="; ".join(problems), values=values)
        return Status(values=values)


def _silence(monitor: InputMonitor) -> str:
    age_s = monitor.age_s
    return f"nothing on {monitor.name} yet" if age_s is None else f"{monitor.name} is silent for {age_s:.1f} s"


def _intrinsics(message: CameraInfo) -> tuple[object, ...]:
    return (message.width, message.height, message.distortion_model, tuple(message.k), tuple(message.d))


def main() -> int:
    """Run the node until it is stopped; the process's exit code."""
    return run_node(PerceptionNode)


if __name__ == "__main__":
    raise SystemExit(main())
