"""The control node of the real robot on simulated devices, each test in its own ROS domain."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from udg_control.controller import Mode
from udg_control.device import Device, Fault, Phase
from udg_control.errors import DeviceError
from udg_control.hardware import HardwareConfig, make_devices
from udg_control.ros.robot_node import THREADS, RobotNode
from udg_control.simulated_device import SimulatedDevice
from udg_description.layout import HOME_Q
from udg_description.ros import convert, topics
from udg_description.ros.params import ParameterValueError
from udg_description.ros.spin import BackgroundSpin

pytestmark = pytest.mark.ros
DEADLINE_S = 60.0
PATIENT = {  # the node shares its process, and perhaps its core, with policy and operator
    "hardware.simulated.command_timeout_s": 1.0,
    "controller.max_chunk_age_s": 2.0,
    "controller.safety.max_state_age_s": 0.5,
    "controller.heartbeat_timeout_s": 1.0,
}
_counter = itertools.count()


class Operator(Node):
    """Plays policy, supervisor and operator; keeps what the control node says."""

    def __init__(self, context: Context) -> None:
        super().__init__("operator", context=context)
        self.news = threading.Condition()
        self.q: np.ndarray | None = None
        self.commands: list[np.ndarray] = []
        self.status: dict[str, tuple[int, str, dict[str, str]]] = {}
        self.speed_rad_s: float | None = None  # of the joint that the policy moves; None: no chunks
        self.beating = True
        self.chunks = topics.publish(self, topics.ACTION_CHUNK)
        self.beats = topics.publish(self, topics.HEARTBEAT)
        self.stops = topics.publish(self, topics.EMERGENCY_STOP)
        topics.subscribe(self, topics.JOINT_STATES, self._on_state)
        topics.subscribe(self, topics.JOINT_COMMAND, self._on_command, depth=50)
        topics.subscribe(self, topics.DIAGNOSTICS, self._on_diagnostics)
        self.create_timer(0.05, self._beat)
        self.create_timer(0.1, self._act)
        services = (topics.CONTROL_ENABLE, topics.CONTROL_DISABLE, topics.CONTROL_HOME)
        self.clients_by_name = {service.name: self.create_client(Trigger, service.name) for service in services}

    def _beat(self) -> None:
        if self.beating:
            self.beats.publish(String())

    def _act(self) -> None:
        if self.speed_rad_s is not None and self.q is not None:
            chunk = np.tile(self.q, (8, 1))
            chunk[:, 18] += self.speed_rad_s * 0.1 * np.arange(1, 9)
            self.chunks.publish(convert.chunk_to_trajectory(chunk, time.time_ns()))

    def _on_state(self, message: JointState) -> None:
        with self.news:
            self.q = convert.joint_state_to_q(message)
            self.news.notify_all()

    def _on_command(self, message: JointState) -> None:
        with self.news:
            self.commands.append(convert.joint_state_to_q(message))
            self.news.notify_all()

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        with self.news:
            for status in message.status:
                values = {value.key: value.value for value in status.values}
                self.status[status.name] = (status.level[0], status.message, values)
            self.news.notify_all()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        with self.news:
            assert self.news.wait_for(condition, DEADLINE_S), f"within {DEADLINE_S} s: no {what}; {self.status}"

    def call(self, service: topics.ServiceName) -> Trigger.Response:
        client = self.clients_by_name[service.name]
        assert client.wait_for_service(DEADLINE_S)
        future = client.call_async(Trigger.Request())
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(DEADLINE_S), f"no answer of {service.name}"
        return future.result()

    def enable(self) -> None:
        """Ask for it until joint states and heartbeats flow."""
        deadline_s = time.monotonic() + DEADLINE_S
        answer = self.call(topics.CONTROL_ENABLE)
        while not answer.success:
            assert time.monotonic() < deadline_s, answer.message
            answer = self.call(topics.CONTROL_ENABLE)


@contextmanager
def running(
    devices: Callable[[HardwareConfig], Sequence[Device]] = make_devices, **parameters: object
) -> Iterator[tuple[Operator, RobotNode]]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    domain_id = 30 + (os.getpid() + 35 + next(_counter)) % 70
    contexts = Context(), Context()
    for context in contexts:
        rclpy.init(context=context, domain_id=domain_id)
    given = {"hardware.arms": "simulated", "hardware.hands": "simulated", **PATIENT, **parameters}
    overrides = [Parameter(name, value=value) for name, value in given.items()]
    nodes: list[Node] = []
    spins: list[BackgroundSpin] = []
    try:
        nodes.append(RobotNode(context=contexts[0], parameter_overrides=overrides, devices=devices))
        nodes.append(Operator(contexts[1]))
        spins.append(BackgroundSpin([nodes[0]], MultiThreadedExecutor(THREADS, context=contexts[0])))
        spins.append(BackgroundSpin([nodes[1]], SingleThreadedExecutor(context=contexts[1])))
        operator = nodes[1]
        assert isinstance(operator, Operator)
        yield operator, nodes[0]
        for spin in spins:
            spin.check()
    finally:
        for spin in spins:
            spin.shutdown()
        for node in nodes:
            node.destroy_node()
        for context in contexts:
            rclpy.try_shutdown(context=context)


def one_of(kept: list[SimulatedDevice]) -> Callable[[HardwareConfig], Sequence[Device]]:
    """A factory that keeps the devices which it makes."""

    def make(config: HardwareConfig) -> Sequence[Device]:
        kept.extend(make_devices(config))
        return kept

    return make


def test_it_comes_up_disabled_moves_when_enabled_and_stops_on_a_fault_until_it_is_enabled_again() -> None:
    kept: list[SimulatedDevice] = []
    with running(one_of(kept)) as (operator, node):
        operator.wait(lambda: operator.q is not None, "joint states")
        np.testing.assert_allclose(operator.q, HOME_Q)
        assert not operator.commands
        operator.speed_rad_s = 0.3
        operator.enable()
        operator.wait(lambda: operator.q[18] > HOME_Q[18] + 0.02, "motion")
        kept[2].inject(Fault.PROTECTIVE_STOP)
        operator.wait(lambda: "device_fault" in operator.status.get("control: controller", (0, ""))[1], "report")
        _, message, values = operator.status["control: controller"]
        assert message.startswith("device_fault: right arm") and "protective_stop" in message
        assert values["fault"] == "device_fault" and int(values["device_fault"]) >= 1
        assert operator.status["control: right_arm"][0] == 2
        assert all(device.status().phase in (Phase.STOPPED, Phase.FAULT) for device in kept)
        refused = operator.call(topics.CONTROL_ENABLE)
        assert not refused.success and "protective_stop" in refused.message
        kept[2].repair()
        operator.enable()
        operator.wait(lambda: node._loop.controller.mode is Mode.FOLLOWING, "following again")
    assert all(device.status().phase is Phase.CLOSED for device in kept)


def test_without_a_heartbeat_it_stops_and_says_so() -> None:
    with running() as (operator, _):
        operator.wait(lambda: operator.q is not None, "joint states")
        operator.enable()
        operator.beating = False
        operator.wait(lambda: "heartbeat" in operator.status.get("control: controller", (0, ""))[1], "report")


def test_the_emergency_stop_topic_stops_the_devices() -> None:
    kept: list[SimulatedDevice] = []
    with running(one_of(kept)) as (operator, _):
        operator.wait(lambda: operator.q is not None, "joint states")
        operator.enable()
        operator.stops.publish(Bool(data=True))
        deadline_s = time.monotonic() + DEADLINE_S
        while any(device.status().phase is Phase.READY for device in kept):
            assert time.monotonic() < deadline_s
        operator.wait(lambda: operator.status.get("control: controller", (0, ""))[1] == "emergency stop", "report")


def test_a_device_that_is_not_there_is_named_and_the_node_stays_unconfigured() -> None:
    class Absent(SimulatedDevice):
        def connect(self) -> None:
            raise DeviceError(f"{self.name}: nobody answers at 192.168.1.11")

    def make(config: HardwareConfig) -> Sequence[Device]:
        return [Absent("left_arm"), *make_devices(config)[1:]]

    with running(make) as (operator, node):
        operator.wait(lambda: "nobody answers" in operator.status.get("control: controller", (0, ""))[1], "report")
        refused = operator.call(topics.CONTROL_ENABLE)
        assert not refused.success and "left arm" in refused.message
        assert node._state_machine.current_state[1] == "unconfigured"


def test_the_speed_scale_can_be_set_at_run_time_but_not_while_enabled() -> None:
    with running() as (operator, node):
        operator.wait(lambda: operator.q is not None, "joint states")
        assert node.set_parameters([Parameter("controller.speed_scale", value=0.5)])[0].successful
        assert node._loop.controller.speed_scale == 0.5
        assert not node.set_parameters([Parameter("controller.speed_scale", value=5.0)])[0].successful
        operator.enable()
        refused = node.set_parameters([Parameter("controller.speed_scale", value=0.9)])[0]
        assert not refused.successful and "disable" in refused.reason


def test_deactivate_stops_and_cleanup_releases_the_devices() -> None:
    kept: list[SimulatedDevice] = []
    with running(one_of(kept)) as (operator, node):
        operator.wait(lambda: operator.q is not None, "joint states")
        operator.enable()
        node.trigger_deactivate()
        assert all(device.status().phase is Phase.STOPPED for device in kept)
        refused = operator.call(topics.CONTROL_ENABLE)
        assert not refused.success and "not active" in refused.message
        node.trigger_cleanup()
        assert all(device.status().phase is Phase.CLOSED for device in kept)


def test_unknown_parameters_are_refused() -> None:
    with (
        pytest.raises(ParameterValueError, match="velocity_scale"),
        running(**{"controller.safety.velocty_scale": 0.1}),
    ):
        pass
