"""The control node of the real robot on simulated devices, each test in its own ROS domain."""

from __future__ import annotations

import itertools
import os
import re
import shlex
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

import rclpy
from diagnostic_msgs.msg import DiagnosticArray
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState
from rclpy.context import Context
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, String
from std_srvs.srv import Trigger

from udg_control.device import Device, Fault, Phase
from udg_control.errors import DeviceError, RefusedError
from udg_control.hardware import HardwareConfig, make_devices
from udg_control.ros.robot_node import THREADS, RobotNode
from udg_control.simulated_device import SimulatedDevice
from udg_control.states import Mode
from udg_description.layout import HOME_Q
from udg_description.ros import convert, topics
from udg_description.ros.params import ParameterValueError
from udg_description.ros.spin import BackgroundSpin
from udg_description.waiting import wait_until

pytestmark = [pytest.mark.ros, pytest.mark.real_time]
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
        self.run_name = ""  # of the policy's run
        self.beating = True
        self.chunks = topics.publish(self, topics.ACTION_CHUNK)
        self.beats = topics.publish(self, topics.HEARTBEAT)
        self.stops = topics.publish(self, topics.EMERGENCY_STOP)
        topics.subscribe(self, topics.JOINT_STATES, self._on_state)
        topics.subscribe(self, topics.JOINT_COMMAND, self._on_command, depth=50)
        topics.subscribe(self, topics.DIAGNOSTICS, self._on_diagnostics)
        self.create_timer(0.05, self._beat)
        self.create_timer(0.1, self._act)
        services = (topics.CONTROL_ENABLE, topics.CONTROL_DISABLE, topics.CONTROL_HOME, topics.CONTROL_EMERGENCY_STOP)
        self.clients_by_name = {service.name: self.create_client(Trigger, service.name) for service in services}

    def _beat(self) -> None:
        if self.beating:
            self.beats.publish(String())

    def _act(self) -> None:
        if self.speed_rad_s is not None and self.q is not None:
            chunk = np.tile(self.q, (8, 1))
            chunk[:, 18] += self.speed_rad_s * 0.1 * np.arange(1, 9)
            self.chunks.publish(convert.chunk_to_trajectory(chunk, time.time_ns(), run=self.run_name))

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

    def change_state(self, **wanted: object) -> bool:
        """Ask for a lifecycle transition, by number or name; whether it was done."""
        client = self.create_client(ChangeState, "/control/change_state")
        assert client.wait_for_service(DEADLINE_S)
        future = client.call_async(ChangeState.Request(transition=Transition(**wanted)))
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(DEADLINE_S), "no answer of /control/change_state"
        return bool(future.result().success)

    def enable(self) -> None:
        """Ask for it until joint states and heartbeats flow."""
        deadline_s = time.monotonic() + DEADLINE_S
        answer = self.call(topics.CONTROL_ENABLE)
        while not answer.success:
            assert time.monotonic() < deadline_s, answer.message
            answer = self.call(topics.CONTROL_ENABLE)

    def start(self, speed_rad_s: float = 0.3) -> None:
        """Begin a run of the policy."""
        self.run_name, self.speed_rad_s = f"run {next(_counter)}", speed_rad_s


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
        operator.enable()
        operator.start()
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
        assert node._loop.controller.mode is Mode.WAITING
        operator.start()
        operator.wait(lambda: node._loop.controller.mode is Mode.FOLLOWING, "following again")
    assert all(device.status().phase is Phase.CLOSED for device in kept)


def test_without_a_heartbeat_it_stops_and_says_so() -> None:
    with running() as (operator, _):
        operator.wait(lambda: operator.q is not None, "joint states")
        operator.enable()
        operator.beating = False
        operator.wait(lambda: "heartbeat" in operator.status.get("control: controller", (0, ""))[1], "report")


RELIABILITIES = {"reliable": ReliabilityPolicy.RELIABLE, "best_effort": ReliabilityPolicy.BEST_EFFORT}
DURABILITIES = {"volatile": DurabilityPolicy.VOLATILE, "latched": DurabilityPolicy.TRANSIENT_LOCAL}


def until(condition: Callable[[], bool]) -> None:
    """Wait for the condition."""
    wait_until(condition, DEADLINE_S)


def stopped(devices: Sequence[Device]) -> bool:
    return all(device.status().phase is Phase.STOPPED for device in devices)


def assert_held(operator: Operator, node: RobotNode) -> None:
    refused = operator.call(topics.CONTROL_ENABLE)
    assert not refused.success and "/emergency_stop is true" in refused.message
    assert node._loop.controller.mode is Mode.HELD and not node._loop.controller.enabled


@pytest.mark.parametrize("durability", DURABILITIES)
@pytest.mark.parametrize("reliability", RELIABILITIES)
def test_whoever_publishes_a_stop_is_heard_and_holds_it_until_it_is_taken_back(
    reliability: str, durability: str
) -> None:
    kept: list[SimulatedDevice] = []
    with running(one_of(kept)) as (operator, node):
        operator.wait(lambda: operator.q is not None, "joint states")
        qos = QoSProfile(depth=1, reliability=RELIABILITIES[reliability], durability=DURABILITIES[durability])
        button = operator.create_publisher(Bool, topics.EMERGENCY_STOP.name, qos)
        until(lambda: button.get_subscription_count() > 0)
        operator.enable()
        operator.start()
        operator.wait(lambda: node._loop.controller.mode is Mode.FOLLOWING, "motion")
        button.publish(Bool(data=True))
        until(lambda: stopped(kept))
        operator.wait(lambda: operator.status.get("control: controller", (0, ""))[1] == "emergency stop", "report")
        assert_held(operator, node)
        button.publish(Bool(data=False))
        until(lambda: node._loop.controller.mode is Mode.STOPPED)
        at = operator.q.copy()
        assert operator.call(topics.CONTROL_ENABLE).message == "waiting"
        seen = node._loop.controller.streams.ignored
        until(lambda: node._loop.controller.streams.ignored >= seen + 5)  # the policy goes on: that is no start
        assert node._loop.controller.mode is Mode.WAITING
        np.testing.assert_allclose(operator.q, at, atol=2e-3)


def test_a_stop_that_was_latched_before_the_node_was_there_is_held() -> None:
    with running(autostart=False) as (operator, node):
        operator.stops.publish(Bool(data=True))
        until(lambda: node._stop.held)  # not configured yet
        node.trigger_configure()
        node.trigger_activate()
        until(lambda: node._cycling)
        assert_held(operator, node)
        node.trigger_deactivate()
        node.trigger_cleanup()
        node.trigger_configure()
        node.trigger_activate()
        until(lambda: node._cycling)
        assert_held(operator, node)


def test_a_node_that_is_started_while_a_latched_publisher_holds_true_refuses() -> None:
    with running() as (operator, node):
        operator.stops.publish(Bool(data=True))
        operator.wait(lambda: operator.q is not None, "joint states")
        context = Context()
        rclpy.init(context=context, domain_id=node.context.get_domain_id())
        given = {**PATIENT, "hardware.arms": "simulated", "hardware.hands": "simulated"}
        overrides = [Parameter(name, value=value) for name, value in given.items()]
        second = RobotNode(context=context, parameter_overrides=overrides)
        spin = BackgroundSpin([second], MultiThreadedExecutor(THREADS, context=context))
        try:
            until(lambda: second._cycling)
            with pytest.raises(RefusedError, match="/emergency_stop is true"):
                second._enable()
        finally:
            spin.shutdown()
            second.destroy_node()
            rclpy.try_shutdown(context=context)


def test_a_stop_by_service_is_freed_by_enabling() -> None:
    kept: list[SimulatedDevice] = []
    with running(one_of(kept)) as (operator, node):
        operator.wait(lambda: operator.q is not None, "joint states")
        operator.enable()
        assert operator.call(topics.CONTROL_EMERGENCY_STOP).success
        assert stopped(kept) and node._loop.controller.mode is Mode.STOPPED
        operator.enable()
        assert node._loop.controller.mode is Mode.WAITING


def ros2(node: RobotNode, *words: str) -> str:
    """Run a command of the real ros2cli in the node's domain. Skips where that is not installed."""
    pytest.importorskip("ros2cli", reason="needs ros2cli, of a full ROS installation")
    command = [sys.executable, "-c", "import sys; from ros2cli.cli import main; sys.exit(main())", *words]
    paths = os.pathsep.join(path for path in sys.path if path)
    environment = {**os.environ, "ROS_DOMAIN_ID": str(node.context.get_domain_id()), "PYTHONPATH": paths}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=DEADLINE_S)
    assert done.returncode == 0, done.stderr
    return done.stdout


def documented_stops() -> list[list[str]]:
    """The commands of the docs that publish or call a stop, as words, each once."""
    found = []
    for page in sorted((Path(__file__).parents[4] / "docs").glob("*.md")):
        for line in re.findall(r"ros2 (?:topic pub|service call)[^`\n#]*emergency_stop[^`\n#]*", page.read_text()):
            words = shlex.split(line)[1:]
            if words not in found:
                found.append(words)
    return found


def test_the_docs_show_how_to_stop_and_how_to_take_it_back() -> None:
    commands = [" ".join(words) for words in documented_stops()]
    assert any("true" in words for words in commands) and any("false" in words for words in commands)
    assert any("/control/emergency_stop" in words for words in commands)


def test_each_documented_stop_command_works_as_printed() -> None:
    pytest.importorskip("ros2topic", reason="needs ros2cli, of a full ROS installation")
    kept: list[SimulatedDevice] = []
    with running(one_of(kept)) as (operator, node):
        operator.wait(lambda: operator.q is not None, "joint states")
        for words in sorted(documented_stops(), key=lambda words: "false" in " ".join(words)):
            if "false" in " ".join(words):
                operator.stops.publish(Bool(data=True))
                until(lambda: node._loop.controller.mode is Mode.HELD)
                ros2(node, *words)
                until(lambda: node._loop.controller.mode is Mode.STOPPED)
                continue
            if node._loop.controller.mode is Mode.HELD:
                operator.stops.publish(Bool(data=False))
                until(lambda: node._loop.controller.mode is Mode.STOPPED)
            operator.enable()
            ros2(node, *words)
            until(lambda: stopped(kept))
        operator.enable()


def test_two_publishers_of_chunks_are_named_and_one_is_followed() -> None:
    with running() as (operator, node):
        operator.wait(lambda: operator.q is not None, "joint states")
        rogue = topics.publish(operator, topics.ACTION_CHUNK)
        operator.enable()
        operator.start()
        operator.wait(lambda: node._loop.controller.mode is Mode.FOLLOWING, "motion")
        away = np.tile(HOME_Q, (8, 1))
        away[:, 5] += 0.1
        operator.create_timer(0.05, lambda: rogue.publish(convert.chunk_to_trajectory(away, time.time_ns())))
        until(lambda: node._loop.controller.streams.ignored > 10)
        operator.wait(lambda: operator.status.get("control: /action_chunk", (0,))[0] == 1, "two publishers")
        message = operator.status["control: /action_chunk"][1]
        assert "2 publishers of /action_chunk: /operator, /operator; only one is followed" in message
        assert abs(operator.q[5] - HOME_Q[5]) < 0.01 and operator.q[18] > HOME_Q[18]


def test_a_second_sender_of_heartbeats_stops_the_robot_and_is_named() -> None:
    """One that is well would hide what the other one misses."""
    with running() as (operator, _):
        operator.enable()
        second = topics.publish(operator, topics.HEARTBEAT)  # need not send anything
        operator.wait(lambda: "2 nodes send" in operator.status.get("control: controller", (0, ""))[1], "report")
        assert "/operator, /operator" in operator.status["control: controller"][1]
        answer = operator.call(topics.CONTROL_ENABLE)
        assert not answer.success and "end all but one" in answer.message
        operator.destroy_publisher(second)
        operator.enable()


def test_a_second_publisher_of_joint_states_is_named() -> None:
    with running() as (operator, _):
        topics.publish(operator, topics.JOINT_STATES)
        operator.wait(lambda: operator.status.get("control: /joint_states", (0,))[0] == 1, "two publishers")
        assert "/control, /operator" in operator.status["control: /joint_states"][1]


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


@pytest.mark.parametrize("wanted", [{"id": Transition.TRANSITION_CLEANUP}, {"label": "cleanup"}, {"id": 99}, {}])
def test_a_transition_that_is_not_possible_is_refused_and_the_robot_goes_on(wanted: dict[str, object]) -> None:
    with running() as (operator, node):
        operator.wait(lambda: operator.q is not None, "joint states")
        operator.enable()
        operator.start()
        operator.wait(lambda: node._loop.controller.mode is Mode.FOLLOWING, "motion")
        assert not operator.change_state(**wanted)
        assert node.lifecycle_state == "active" and node._loop.controller.mode is Mode.FOLLOWING
        assert operator.change_state(id=Transition.TRANSITION_DEACTIVATE)
        assert not operator.change_state(id=Transition.TRANSITION_DEACTIVATE)
        assert operator.change_state(label="cleanup")
        assert node.lifecycle_state == "unconfigured"


def test_unknown_parameters_are_refused() -> None:
    with (
        pytest.raises(ParameterValueError, match="velocity_scale"),
        running(**{"controller.safety.velocty_scale": 0.1}),
    ):
        pass
