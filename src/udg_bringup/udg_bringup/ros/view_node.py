"""The live view in the browser: what the topics say, at http://127.0.0.1:8080. Its process has a low priority."""

from __future__ import annotations

import math
import os
import sys
import time
from collections import OrderedDict
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # its place in Humble and Jazzy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import String
from trajectory_msgs.msg import JointTrajectory

from udg_bringup.graph import DEFAULT_PORT
from udg_bringup.ros.view_commands import RosCommands
from udg_bringup.view.live import LiveView
from udg_bringup.view.panel import Panel
from udg_bringup.view.scene import Scene
from udg_bringup.view.server import open_server, url
from udg_control.safety import Reason
from udg_description.camera import cameras_of
from udg_description.clock import NS_PER_S
from udg_description.errors import UdgError
from udg_description.ros import convert, topics
from udg_description.ros.one_publisher import subscribe_one
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_description.settings import setting
from udg_sim.objects.library import ObjectLibrary
from udg_sim.ros.sim_node import TRIAL_STATUS
from udg_sim.trials.status import TrialStatus

NO_REJECTION = (Reason.DISABLED, Reason.EMERGENCY_STOP)  # counted in each cycle that they last
REASONS = tuple(reason.value for reason in Reason if reason not in NO_REJECTION)
IMAGES_KEPT = 100  # stamps whose images' way is known
NICE = 10  # the loop goes before who looks at it
LOG_PERIOD_S = 5.0


@dataclass(frozen=True, kw_only=True)
class ViewConfig:
    """Parameters of the node."""

    port: int = setting(DEFAULT_PORT, "of the page at 127.0.0.1; 0: any free one", 0, 65535)
    simulated: bool = setting(False, "there is a simulated trial to see and to reset")
    allow_commands: bool = setting(False, "buttons that start and stop; the emergency stop is always there")
    object: str = setting("soda_can", "that the button of a reset names first")
    seed: int = setting(0, "the same, of the seed", 0, 2**31)
    camera_config: str = setting("", "file of the cameras; empty: the default cameras")
    rate_hz: float = setting(15.0, "pictures, at most [1/s]", 1.0, 60.0)


class ViewNode(Node):
    """Hears what the view shows; commands what its buttons say."""

    def __init__(self, *, context: Context | None = None, parameter_overrides: list[Parameter] | None = None) -> None:
        super().__init__("web_view", context=context, parameter_overrides=parameter_overrides)
        self.config = config = declare(self, ViewConfig)
        refuse_unknown(self)
        cameras = cameras_of(config.camera_config)
        self.server = open_server(config.port)
        self.commands = RosCommands(self, allowed=config.allow_commands, simulated=config.simulated)
        panel = Panel(
            self.server,
            self.commands,
            allowed=config.allow_commands,
            simulated=config.simulated,
            object_name=config.object,
            seed=config.seed,
        )
        self.view = LiveView(self.server, Scene(self.server, cameras), panel, ObjectLibrary())
        self._images_s: OrderedDict[int, float] = OrderedDict()  # stamp [ns] -> monotonic time at which images left
        self._state: JointState | None = None
        subscribe_one(self, topics.JOINT_STATES, self._on_state)
        subscribe_one(self, topics.ACTION_CHUNK, self._on_chunk)
        topics.subscribe(self, topics.SCENE_CLOUD, self._on_cloud)
        topics.subscribe(self, topics.DIAGNOSTICS, self._on_diagnostics)
        if config.simulated:
            topics.subscribe(self, TRIAL_STATUS, self._on_status)
        else:
            topics.subscribe(self, topics.HEARTBEAT, lambda message: self.view.set_complaints(message.data))
        self.create_timer(1.0 / config.rate_hz, self._draw, clock=Clock(clock_type=ClockType.STEADY_TIME))
        self.get_logger().info(f"the view is at {url(self.server)}")

    def _on_state(self, message: JointState) -> None:
        self._state = message  # read when it is drawn: they come more often

    def _on_cloud(self, message: PointCloud2) -> None:
        try:
            self.view.set_cloud(convert.cloud_to_points(message))
        except UdgError as error:
            self._warn(topics.SCENE_CLOUD, error)

    def _on_chunk(self, message: JointTrajectory) -> None:
        now_s = time.monotonic()
        try:
            chunk = convert.trajectory_to_chunk(message)
        except UdgError as error:
            self._warn(topics.ACTION_CHUNK, error)
            return
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        if self.config.simulated:
            tick_ms = 1e3 * (now_s - self._images_s.get(stamp_ns, math.nan))
        else:
            tick_ms = 1e-6 * (time.time_ns() - stamp_ns)
        self.view.set_chunk(chunk, now_s, tick_ms if len(chunk) else math.nan)

    def _on_status(self, message: String) -> None:
        status = TrialStatus.from_json(message.data)
        self._images_s[round((status.start_s + status.time_s) * NS_PER_S)] = status.image_sent_s
        while len(self._images_s) > IMAGES_KEPT:
            self._images_s.popitem(last=False)
        self.view.set_status(status)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        for status in message.status:
            if status.name == "control: controller":
                values = {entry.key: entry.value for entry in status.values}
                self.view.set_diagnosis(values, REASONS, time.monotonic())

    def _draw(self) -> None:
        if self._state is not None:
            message, self._state = self._state, None
            try:
                self.view.set_q(convert.joint_state_to_finite_q(message))
            except UdgError as error:
                self._warn(topics.JOINT_STATES, error)
        self.view.draw(time.monotonic())

    def _warn(self, topic: topics.Topic, error: UdgError) -> None:
        self.get_logger().warning(f"{topic.name}: {error}", throttle_duration_sec=LOG_PERIOD_S)

    def destroy_node(self) -> None:
        """Close the page, too."""
        self.server.stop()
        super().destroy_node()


def main() -> None:
    """Run the view."""
    os.nice(NICE)
    sys.exit(run_node(ViewNode))


if __name__ == "__main__":
    main()
