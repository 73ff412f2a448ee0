"""The node of an arm's process: the ROS side of `ros2_control.process`. Started by `ControllerArm`.

What ros2_control says about itself in messages that every ROS has is asked before the arm may move: the controller's
own parameters (which joints, which interface), who listens to its topic, and whether /diagnostics calls it active.
"""

from __future__ import annotations

import gc
import json
import math
import sys
import time
from collections.abc import Sequence
from typing import NoReturn

import numpy as np
import rclpy
from builtin_interfaces.msg import Duration
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions
from rclpy.task import Future
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory, JointTrajectoryPoint

from udg_control.device import Fault
from udg_control.ros2_control.config import ControllerArmConfig
from udg_control.ros2_control.link import Complaint, Measured
from udg_control.ros2_control.process import ControllerArmProcess
from udg_control.ros2_control.shared import ControllerMemory, Start
from udg_control.timing import SWITCH_S
from udg_control.worker import serve
from udg_description.clock import NS_PER_S
from udg_description.environment import prepare_environment
from udg_description.ros import convert, topics
from udg_description.ros.one_publisher import SILENCE_S, subscribe_apart
from udg_description.ros.spin import BackgroundSpin

ASK_S = 1.0  # between questions to a controller that does not answer
FUTURE_S = 0.05  # stamps further ahead of this host's clock are of another clock
POSITION = "position"
COMMANDS_OF = {"forward_position": "commands", "joint_trajectory": "joint_trajectory"}
INTERFACE_OF = {"forward_position": "interface_name", "joint_trajectory": "command_interfaces"}
TYPE_OF = {
    "forward_position": "forward_command_controller or JointGroupPositionController",
    "joint_trajectory": "joint_trajectory_controller",
}


class ControllerClient:
    """See `ControllerLink`. Callbacks run in a thread of their own."""

    def __init__(self, side: str, config: ControllerArmConfig) -> None:
        """Open the node; nothing is sent."""
        self._config = config
        prepare_environment()
        self._context = Context()
        rclpy.init(args=[], context=self._context, signal_handler_options=SignalHandlerOptions.NO)
        self.node = Node(f"{side}_arm_driver", context=self._context, start_parameter_services=False)
        self._began_s = time.monotonic()
        # what came
        self._newest: Measured | None = None
        self._stamp_ns = 0  # of the newest message, on the clock of who stamped it
        self._trouble = ""
        self._publishers: dict[int, float] = {}  # when each publisher of our joints was heard
        self._activity, self._activity_s = "", 0.0
        self._program_running: bool | None = None
        self._speed = 1.0
        # the controller's own words
        self._order: list[int] | None = None  # which of our joints its joints are
        self._wrong = ""
        self._asked_s = -ASK_S

        states = topics.Topic(name=config.joint_states_topic, type=JointState, reliable=False)
        subscribe_apart(self.node, states, self._on_joint_states)
        topics.subscribe(self.node, topics.DIAGNOSTICS, self._on_diagnostics)
        if config.program_running_topic:
            running = topics.Topic(name=config.program_running_topic, type=Bool, latched=True)
            topics.subscribe(self.node, running, self._on_program)
        if config.speed_scaling_topic:
            speed = topics.Topic(name=config.speed_scaling_topic, type=Float64, reliable=False)
            topics.subscribe(self.node, speed, self._on_speed)
        self._commands_topic = f"{config.controller}/{COMMANDS_OF[config.interface]}"
        message = Float64MultiArray if config.interface == "forward_position" else JointTrajectory
        self._commands = topics.publish(self.node, topics.Topic(name=self._commands_topic, type=message))
        self._parameters = self.node.create_client(GetParameters, f"{config.controller}/get_parameters")
        lookahead_ns = round(config.lookahead_s * NS_PER_S)
        self._lookahead = Duration(sec=lookahead_ns // NS_PER_S, nanosec=lookahead_ns % NS_PER_S)
        self._spin = BackgroundSpin([self.node], SingleThreadedExecutor(context=self._context))

    # --- what there is ----------------------------------------------------------------------------------------------

    def lacks(self) -> Complaint | None:
        """See `ControllerLink`."""
        config = self._config
        self._ask_controller()
        if self._wrong:
            return Complaint(Fault.WRONG_DEVICE, self._wrong)
        if self._order is None:
            return Complaint(
                Fault.NOT_CONNECTED,
                f"the controller {config.controller} does not answer; is it loaded, and in this ROS domain?",
            )
        if config.name not in self._listeners():
            return Complaint(Fault.NOT_CONNECTED, f"{config.controller} does not listen on {self._commands_topic}")
        if self._newest is None:
            text = f"no joint states on {config.joint_states_topic}"
            return Complaint(Fault.NOT_CONNECTED, f"{text}: {self._trouble}" if self._trouble else text)
        if config.activity_timeout_s > 0.0 and not self._activity:
            return Complaint(Fault.NOT_CONNECTED, f"/diagnostics says nothing of {config.name} (activity_timeout_s)")
        if config.program_running_topic and self._program_running is None:
            return Complaint(Fault.NOT_CONNECTED, f"nothing on {config.program_running_topic}")
        return None

    def complaint(self) -> Complaint | None:
        """See `ControllerLink`."""
        config, now_s = self._config, time.monotonic()
        gc.collect(0)  # what rclpy leaves behind with each message: `serve` has switched the collector off
        if self._spin.error is not None:
            return Complaint(Fault.WORKER_DIED, f"error in the arm's node: {self._spin.error!r}")
        if self.node.count_subscribers(self._commands_topic) == 0:
            return Complaint(Fault.LINK_LOST, f"nobody listens on {self._commands_topic} any more")
        if self.node.count_publishers(self._commands_topic) > 1:
            others = [
                info.node_name
                for info in self.node.get_publishers_info_by_topic(self._commands_topic)
                if info.node_name != self.node.get_name()
            ]
            who = ", ".join(others) or "another driver"
            return Complaint(Fault.WRONG_DEVICE, f"{who} publishes on {self._commands_topic}, too; valid: this alone")
        if sum(now_s - heard_s < SILENCE_S for heard_s in list(self._publishers.values())) > 1:
            text = f"several publishers of {config.joints[0]} on {config.joint_states_topic}; valid: one"
            return Complaint(Fault.WRONG_DEVICE, text)
        if self._program_running is False:
            text = f"{config.program_running_topic} says that the program on the controller does not run"
            return Complaint(Fault.PROGRAM_STOPPED, f"{text} (pendant, protective stop, emergency stop)")
        if config.activity_timeout_s > 0.0:
            silence_s = now_s - self._activity_s
            if silence_s > config.activity_timeout_s:
                return Complaint(Fault.SILENT, f"/diagnostics says nothing of {config.name} for {silence_s:.1f} s")
            if self._activity != "active":
                text = f"the controller {config.name} is '{self._activity}'; valid: active"
                return Complaint(
                    Fault.NOT_RUNNING, f"{text}: ros2 control set_controller_state {config.name} active, then re-arm"
                )
        return None

    def newest(self) -> Measured | None:
        """See `ControllerLink`."""
        return self._newest

    def why_silent(self) -> str:
        """See `ControllerLink`."""
        return self._trouble

    def speed_scaling(self) -> float:
        """See `ControllerLink`."""
        return self._speed

    def _listeners(self) -> list[str]:
        return [info.node_name for info in self.node.get_subscriptions_info_by_topic(self._commands_topic)]

    # --- the controller's own parameters ----------------------------------------------------------------------------

    def _ask_controller(self) -> None:
        """Ask which joints it moves by what, until it answers."""
        now_s = time.monotonic()
        if self._order is not None or self._wrong or now_s - self._asked_s < ASK_S:
            return
        if not self._parameters.service_is_ready():
            return
        self._asked_s = now_s
        request = GetParameters.Request(names=["joints", INTERFACE_OF[self._config.interface]])
        self._parameters.call_async(request).add_done_callback(self._on_parameters)

    def _on_parameters(self, future: Future) -> None:
        config = self._config
        answer = future.result()
        values = [] if answer is None else list(answer.values)
        if len(values) != 2 or not values[0].string_array_value:
            name = INTERFACE_OF[config.interface]
            kind = TYPE_OF[config.interface]
            self._wrong = f"{config.controller} has no parameters joints and {name}; valid: a {kind}"
            return
        joints = list(values[0].string_array_value)
        interfaces = list(values[1].string_array_value) or [values[1].string_value]
        if sorted(joints) != sorted(config.joints):
            self._wrong = (
                f"{config.controller} moves {', '.join(joints)}; robot.yaml says {', '.join(config.joints)} "
                f"({_difference(joints, config.joints)})"
            )
        elif interfaces != [POSITION]:
            self._wrong = f"{config.controller} commands {', '.join(interfaces) or 'nothing'}; valid: {POSITION}"
        else:
            self._order = [config.joints.index(joint) for joint in joints]

    # --- what comes -------------------------------------------------------------------------------------------------

    def _on_joint_states(self, message: JointState, publisher: int) -> None:
        now_ns, host_ns = time.monotonic_ns(), time.time_ns()
        where = {name: index for index, name in enumerate(message.name)}
        missing = [joint for joint in self._config.joints if joint not in where]
        if missing:
            if self._newest is None:
                self._trouble = f"they have no {missing[0]}, but {', '.join(message.name) or 'no names'}"
            return
        self._publishers[publisher] = now_ns / NS_PER_S
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        age_ns = host_ns - stamp_ns
        indices = [where[joint] for joint in self._config.joints]
        q = _picked(message.position, indices)
        if not np.isfinite(q).all():
            self._trouble = "positions that are not finite"
        elif stamp_ns <= self._stamp_ns:
            self._trouble = "their stamps stand still"
        elif age_ns < -FUTURE_S * NS_PER_S:
            self._trouble = f"their stamps are {-age_ns / NS_PER_S:.2f} s ahead of this host's clock"
        else:
            self._trouble = f"their stamps are {age_ns / NS_PER_S:.2f} s old" if age_ns > NS_PER_S else ""
            self._stamp_ns = stamp_ns
            velocity = _picked(message.velocity, indices)
            self._newest = Measured(now_ns - max(age_ns, 0), q, velocity)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        """Keep what controller managers say; of several controllers of this name the one that is not active counts."""
        keys = (self._config.name, f"{self._config.name}.state")
        found = [
            value.value
            for status in message.status
            if status.name.endswith("Controllers Activity")
            for value in status.values
            if value.key in keys
        ]
        if found:
            self._activity = next((state for state in found if state != "active"), "active")
            self._activity_s = time.monotonic()

    def _on_program(self, message: Bool) -> None:
        self._program_running = bool(message.data)

    def _on_speed(self, message: Float64) -> None:
        self._speed = min(max(message.data / 100.0, 0.0), 1.0) if math.isfinite(message.data) else 0.0

    # --- commands ---------------------------------------------------------------------------------------------------

    def send(self, q: np.ndarray) -> None:
        """See `ControllerLink`."""
        if self._config.interface == "forward_position":
            assert self._order is not None, "asked before anything is sent"
            self._commands.publish(Float64MultiArray(data=q[self._order].tolist()))
            return
        point = JointTrajectoryPoint(positions=q.tolist(), time_from_start=self._lookahead)
        self._commands.publish(JointTrajectory(joint_names=list(self._config.joints), points=[point]))

    def close(self) -> None:
        """See `ControllerLink`."""
        self._spin.shutdown()
        self.node.destroy_node()
        rclpy.utilities.try_shutdown(context=self._context)


def _picked(values: Sequence[float], indices: Sequence[int]) -> np.ndarray:
    """The values (6,) at the indices, nan if the message has fewer."""
    if len(values) <= max(indices):
        return np.full(len(indices), np.nan)
    return np.array([values[index] for index in indices], dtype=np.float64)


def _difference(found: Sequence[str], wanted: Sequence[str]) -> str:
    lacking = [joint for joint in wanted if joint not in found]
    return f"it has no {lacking[0]}" if lacking else "it has more"


def main(argv: Sequence[str]) -> NoReturn:
    """Run the arm that the argument (JSON of `Start`) describes."""
    sys.setswitchinterval(SWITCH_S)
    start = Start(**json.loads(argv[0]))
    config = ControllerArmConfig(**{**start.config, "joints": tuple(start.config["joints"])})
    serve(
        ControllerArmProcess(
            start, config, ControllerMemory(start.descriptor), lambda: ControllerClient(start.side, config)
        )
    )


if __name__ == "__main__":
    main(sys.argv[1:])
