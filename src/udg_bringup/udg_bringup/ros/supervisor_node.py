"""Watches all that motion relies on and reports it to the control node in a heartbeat: empty, or what is silent."""

from __future__ import annotations

import sys
import time
from typing import Any

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # its place in Humble and Jazzy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_msgs.msg import String

from udg_bringup.watching import SupervisorConfig, Watch, Watched
from udg_description.ros import convert, topics
from udg_description.ros.diagnostics import Diagnostics, Level, Status
from udg_description.ros.one_publisher import subscribe_one
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node

LOG_PERIOD_S = 5.0


class SupervisorNode(Node):
    """Publishes the heartbeat that the control node of the real robot lives by."""

    def __init__(self, *, context: Context | None = None, parameter_overrides: list[Parameter] | None = None) -> None:
        super().__init__("supervisor", context=context, parameter_overrides=parameter_overrides)
        self.config = config = declare(self, SupervisorConfig)
        refuse_unknown(self)
        watched = [Watched(name="joint states", max_silence_s=config.state_silence_s)]
        self._listen(topics.JOINT_STATES, "joint states")
        if config.cameras:
            for camera in config.camera_names:
                name = camera.replace("_", " ")
                watched.append(
                    Watched(name=name, max_silence_s=config.camera_silence_s, max_delay_s=config.camera_delay_s)
                )
                self._listen(topics.camera_info(camera), name)
            watched.append(Watched(name="perception (cloud)", max_silence_s=config.cloud_silence_s))
            self._listen(topics.SCENE_CLOUD, "perception (cloud)")
        if config.policy:
            watched.append(Watched(name="policy (chunk)", max_silence_s=config.cloud_silence_s))
            self._listen(topics.ACTION_CHUNK, "policy (chunk)")
        self._watch = Watch(watched)
        self._complaints: list[str] = []
        self._heartbeat = topics.publish(self, topics.HEARTBEAT)
        self.create_timer(config.period_s, self._beat, clock=Clock(clock_type=ClockType.STEADY_TIME))
        Diagnostics(self).add("readiness", self._status)

    def _listen(self, topic: topics.Topic, name: str) -> None:
        def on_message(message: Any) -> None:  # noqa: ANN401 - any message with a header
            delay_s = (time.time_ns() - convert.stamp_to_ns(message.header.stamp)) * 1e-9
            self._watch.note(name, time.monotonic_ns(), delay_s)

        subscribe = subscribe_one if topic is topics.JOINT_STATES else topics.subscribe
        subscribe(self, topic, on_message)

    def _beat(self) -> None:
        before, self._complaints = self._complaints, self._watch.complaints(time.monotonic_ns())
        self._heartbeat.publish(String(data="; ".join(self._complaints)))
        if self._complaints:
            self.get_logger().warning("; ".join(self._complaints), throttle_duration_sec=LOG_PERIOD_S)
        elif before:
            self.get_logger().info("all inputs are there")

    def _status(self) -> Status:
        if self._complaints:
            return Status(level=Level.ERROR, message="; ".join(self._complaints))
        return Status(message="all inputs are there")


def main() -> None:
    """Run the supervisor."""
    sys.exit(run_node(SupervisorNode))


if __name__ == "__main__":
    main()
