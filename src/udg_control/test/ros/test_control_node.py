"""The control node against a scripted simulation and policy, each test in its own ROS domain."""

from __future__ import annotations

import itertools
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

import rclpy
import yaml
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool
from std_srvs.srv import Trigger

from udg_control.ros.control_node import ControlNode, ControlNodeConfig
from udg_description.layout import HOME_Q, JOINT_NAMES
from udg_description.ros import convert, topics
from udg_description.ros.params import ParameterValueError
from udg_description.ros.spin import BackgroundSpin
from udg_description.waiting import wait_until

pytestmark = pytest.mark.ros

PERIOD_NS, TICK_NS = 10_000_000, 100_000_000
DEADLINE_S = 60.0  # of a busy machine
_counter = itertools.count()


class Partner(Node):
    """Plays simulation, policy and operator; keeps what the control node says."""

    def __init__(self, context: Context) -> None:
        super().__init__("partner", context=context)
        self.news = threading.Condition()
        self.commands: list[tuple[int, np.ndarray]] = []
        self.joint_states: list[int] = []
        self.diagnostics: list[DiagnosticArray] = []
        self.states_out = topics.publish(self, topics.SIM_JOINT_STATES)
        self.chunks_out = topics.publish(self, topics.ACTION_CHUNK)
        self.stop_out = topics.publish(self, topics.EMERGENCY_STOP)
        topics.subscribe(self, topics.SIM_JOINT_COMMAND, self._on_command, depth=100)
        topics.subscribe(self, topics.JOINT_STATES, self._on_joint_states, depth=100)
        topics.subscribe(self, topics.DIAGNOSTICS, self._on_diagnostics)
        services = (topics.CONTROL_ENABLE, topics.CONTROL_DISABLE, topics.CONTROL_HOME)
        self.clients_by_name = {service.name: self.create_client(Trigger, service.name) for service in services}

    def _on_command(self, message: JointState) -> None:
        self._note(self.commands, (convert.stamp_to_ns(message.header.stamp), convert.joint_state_to_q(message)))

    def _on_joint_states(self, message: JointState) -> None:
        self._note(self.joint_states, convert.stamp_to_ns(message.header.stamp))

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._note(self.diagnostics, message)

    def _note(self, where: list, item: object) -> None:
        with self.news:
            where.append(item)
            self.news.notify_all()

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        with self.news:
            assert self.news.wait_for(condition, DEADLINE_S), f"within {DEADLINE_S} s: no {what}"

    def call(self, service: topics.ServiceName) -> Trigger.Response:
        future = self.clients_by_name[service.name].call_async(Trigger.Request())
        done = threading.Event()
        future.add_done_callback(lambda _: done.set())
        assert done.wait(DEADLINE_S), f"no answer of {service.name}"
        return future.result()

    def send_state(self, q: np.ndarray, stamp_ns: int) -> None:
        self.states_out.publish(convert.q_to_joint_state(q, stamp_ns))

    def send_chunk(self, chunk: np.ndarray | None, stamp_ns: int) -> None:
        self.chunks_out.publish(convert.chunk_to_trajectory(chunk, stamp_ns))

    def exchange(self, q: np.ndarray, stamp_ns: int) -> np.ndarray:
        """Send a state, return the command that answers it."""
        count = len(self.commands)
        self.send_state(q, stamp_ns)
        self.wait(lambda: len(self.commands) > count, f"command for {stamp_ns}")
        stamp, command = self.commands[-1]
        assert stamp == stamp_ns
        return command

    def counter(self, key: str) -> int:
        """A value of the controller's newest diagnosis."""
        for message in reversed(self.diagnostics):
            for status in message.status:
                if status.name == "control: controller":
                    return int({v.key: v.value for v in status.values}[key])
        return -1


@contextmanager
def running(**parameters: object) -> Iterator[tuple[Partner, ControlNode]]:
    os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
    domain_id = 30 + (os.getpid() + next(_counter)) % 70  # its own for each test
    contexts = Context(), Context()
    for context in contexts:
        rclpy.init(context=context, domain_id=domain_id)
    overrides = [Parameter(name.replace("__", "."), value=value) for name, value in parameters.items()]
    nodes: list[Node] = []
    spins: list[BackgroundSpin] = []
    try:
        nodes.append(ControlNode(context=contexts[0], parameter_overrides=overrides))
        nodes.append(Partner(contexts[1]))
        for node, context in zip(nodes, contexts, strict=True):
            spins.append(BackgroundSpin([node], SingleThreadedExecutor(context=context)))
        control, partner = nodes
        deadline_s = time.monotonic() + DEADLINE_S
        for client in partner.clients_by_name.values():
            assert client.wait_for_service(deadline_s - time.monotonic())
        for publisher in (partner.states_out, partner.chunks_out, partner.stop_out, control._sim._publisher):
            wait_until(lambda p=publisher: p.get_subscription_count() > 0, DEADLINE_S, publisher.topic_name)  # type: ignore[misc]
        yield partner, control
        for spin in spins:
            spin.check()
    finally:
        for spin in spins:
            spin.shutdown()
        for node in nodes:
            node.destroy_node()
        for context in contexts:
            rclpy.shutdown(context=context)


def test_a_disabled_node_commands_the_measured_position_with_the_states_stamp() -> None:
    with running(lockstep=True) as (partner, _):
        for i in range(12):  # also across a tick: nobody waits for a chunk
            np.testing.assert_array_equal(partner.exchange(HOME_Q, i * PERIOD_NS), HOME_Q)
        partner.wait(lambda: len(partner.joint_states) == 12, "/joint_states")
        assert partner.joint_states == [i * PERIOD_NS for i in range(12)]


def test_in_lockstep_a_tick_waits_for_its_chunk_and_reaches_its_point_a_tick_later() -> None:
    goal = HOME_Q.copy()
    goal[19] += 0.01
    with running(lockstep=True) as (partner, _):
        assert partner.call(topics.CONTROL_ENABLE).success
        partner.send_state(HOME_Q, 0)
        partner.wait(lambda: partner.joint_states == [0], "/joint_states before the chunk")
        assert partner.commands == []
        partner.send_chunk(np.tile(goal, (4, 1)), 0)
        partner.wait(lambda: len(partner.commands) == 1, "command after the chunk")
        for i in range(1, 10):
            command = partner.exchange(HOME_Q, i * PERIOD_NS)
        np.testing.assert_allclose(command, goal, atol=1e-12)


def test_a_chunk_that_comes_before_its_state_is_used() -> None:
    with running(lockstep=True) as (partner, control):
        partner.call(topics.CONTROL_ENABLE)
        partner.send_chunk(HOME_Q[None], 0)
        wait_until(lambda: control._chunk_monitor.count > 0, DEADLINE_S, "a chunk")
        np.testing.assert_allclose(partner.exchange(HOME_Q, 0), HOME_Q)


def test_an_empty_chunk_holds() -> None:
    with running(lockstep=True) as (partner, _):
        partner.call(topics.CONTROL_ENABLE)
        partner.send_state(HOME_Q, 0)
        partner.wait(lambda: partner.joint_states == [0], "/joint_states")
        partner.send_chunk(None, 0)
        partner.wait(lambda: len(partner.commands) == 1, "command")
        np.testing.assert_array_equal(partner.commands[0][1], HOME_Q)


def test_a_chunk_that_does_not_come_is_reported_as_stale_and_the_node_goes_on() -> None:
    with running(lockstep=True, chunk_deadline_s=0.05) as (partner, _):
        partner.call(topics.CONTROL_ENABLE)
        np.testing.assert_array_equal(partner.exchange(HOME_Q, 0), HOME_Q)
        partner.wait(lambda: partner.counter("stale_chunk") == 1, "diagnosis of the stale chunk")


def test_a_bad_chunk_releases_the_tick_is_counted_and_holds() -> None:
    with running(lockstep=True) as (partner, control):
        partner.call(topics.CONTROL_ENABLE)
        for tick, (names, reason) in enumerate(
            (([*JOINT_NAMES[:-1], "elbow"], "wrong_joint_names"), (None, "not_finite"))
        ):
            partner.send_state(HOME_Q, tick * TICK_NS)
            partner.wait(lambda: len(partner.joint_states) == tick + 1, "/joint_states")  # noqa: B023
            message = convert.chunk_to_trajectory(np.full((2, 36), np.nan), tick * TICK_NS)
            message.joint_names = names or message.joint_names
            partner.chunks_out.publish(message)
            partner.wait(lambda: len(partner.commands) == tick + 1, "command")  # noqa: B023
            np.testing.assert_array_equal(partner.commands[-1][1], HOME_Q)
            assert {r.value: n for r, n in control.controller.counts.items()}[reason] == 1


def test_emergency_stop_holds_until_enabled() -> None:
    with running() as (partner, control):
        partner.call(topics.CONTROL_ENABLE)
        partner.exchange(HOME_Q, 0)
        partner.send_chunk(np.tile(HOME_Q + 0.02, (8, 1)), 0)
        wait_until(lambda: control._chunk_monitor.count > 0, DEADLINE_S, "a chunk")
        moved = partner.exchange(HOME_Q, PERIOD_NS)
        assert not np.array_equal(moved, HOME_Q)
        partner.stop_out.publish(Bool(data=True))
        wait_until(lambda: control.controller.filter.stopped, DEADLINE_S, "the stop")
        np.testing.assert_array_equal(partner.exchange(HOME_Q, 2 * PERIOD_NS), moved)
        assert not partner.call(topics.CONTROL_HOME).success
        refused = partner.call(topics.CONTROL_ENABLE)
        assert not refused.success and "/emergency_stop" in refused.message
        partner.stop_out.publish(Bool(data=False))
        wait_until(lambda: not control._stop.held, DEADLINE_S, "the release")
        np.testing.assert_array_equal(partner.exchange(HOME_Q, 3 * PERIOD_NS), moved)
        assert partner.call(topics.CONTROL_ENABLE).success
        np.testing.assert_array_equal(partner.exchange(HOME_Q, 4 * PERIOD_NS), HOME_Q)


def test_home_moves_home_and_needs_enabling() -> None:
    q = HOME_Q.copy()
    q[5] += 0.05
    with running(state_deadline_s=10.0) as (partner, _):
        answer = partner.call(topics.CONTROL_HOME)
        assert not answer.success and "/control/enable" in answer.message
        partner.call(topics.CONTROL_ENABLE)
        partner.call(topics.CONTROL_HOME)
        for i in range(60):
            q = partner.exchange(q, i * PERIOD_NS)  # a perfect robot
        np.testing.assert_allclose(q, HOME_Q, atol=1e-9)


@pytest.mark.real_time
def test_a_silent_state_stops_within_a_fifth_of_a_second() -> None:
    with running() as (partner, control):
        partner.call(topics.CONTROL_ENABLE)
        partner.call(topics.CONTROL_HOME)
        partner.exchange(HOME_Q + 0.01, 0)
        sent_s = time.monotonic()
        wait_until(lambda: control.controller.mode.value == "waiting", DEADLINE_S, "a hold")
        assert time.monotonic() - sent_s < 1.0  # 0.2 s, and what a busy machine adds
        partner.wait(lambda: partner.counter("stale_state") == 1, "diagnosis of the stale state")


def test_a_bad_parameter_is_one_clear_error() -> None:
    with pytest.raises(ParameterValueError, match=r"controller.safety.arm_step_rad.*0\.01 to 1\.0"):
        with running(controller__safety__arm_step_rad=7.0):
            pass


def test_a_misspelt_parameter_is_refused_with_what_it_may_have_meant() -> None:
    with pytest.raises(ParameterValueError, match=r"'controller.safety.arm_step'.*controller.safety.arm_step_rad"):
        with running(controller__safety__arm_step=0.1):
            pass


def test_the_shipped_overrides_for_the_robot_are_accepted() -> None:
    path = Path(__file__).parents[4] / "config" / "safety.yaml"
    contents = yaml.safe_load(path.read_text(encoding="utf-8"))["control"]["ros__parameters"]
    overrides = {key.replace(".", "__"): value for key, value in flattened(contents).items()}
    with running(**overrides) as (_, control):
        default = ControlNodeConfig()
        assert control.config != default
        assert control.config.controller.safety.velocity_scale < default.controller.safety.velocity_scale


def flattened(values: dict[str, object], prefix: str = "") -> dict[str, object]:
    """Nested parameters by their dotted names."""
    flat: dict[str, object] = {}
    for key, value in values.items():
        flat.update(flattened(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value})
    return flat
