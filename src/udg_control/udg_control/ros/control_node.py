"""The control node of the simulation: answers each state from the sim; paced by simulated time. See `robot_node`."""

from __future__ import annotations

import sys
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # its place in Humble and Jazzy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from udg_control.controller import Controller, ControllerConfig, Cycle
from udg_control.device import DeviceState
from udg_control.errors import RefusedError
from udg_control.ros.emergency_stop import EmergencyStop
from udg_control.ros.received_chunk import read_chunk
from udg_control.ros.sim_topics import SimTopics
from udg_control.safety import Reason
from udg_control.states import Mode
from udg_control.streams import CHUNKS_WAITING
from udg_description.limits import joint_limits
from udg_description.ros import convert, topics
from udg_description.ros.diagnostics import Diagnostics, Level, Status
from udg_description.ros.one_publisher import subscribe_apart
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_description.settings import setting

WATCH_PERIOD_S = 0.05
LOG_PERIOD_S = 1.0


@dataclass(frozen=True, kw_only=True)
class ControlNodeConfig:
    """Parameters of the control node."""

    lockstep: bool = setting(False, "at each tick wait for the chunk of the same stamp before commanding")
    chunk_deadline_s: float = setting(5.0, "lockstep: longest wait for a chunk, by the wall clock [s]", 0.01, 600.0)
    state_deadline_s: float = setting(0.15, "real time: no state for this long stops the arms [s]", 0.02, 10.0)
    controller: ControllerConfig = field(default_factory=ControllerConfig)


class ControlNode(Node):
    """Answers every state with exactly one command that has passed the safety filter."""

    def __init__(self, *, context: Context | None = None, parameter_overrides: list[Parameter] | None = None) -> None:
        super().__init__("control", context=context, parameter_overrides=parameter_overrides)
        self.config = declare(self, ControlNodeConfig)
        refuse_unknown(self)
        self.controller = Controller(self.config.controller, joint_limits())
        self._waiting: DeviceState | None = None  # lockstep: a state whose chunk has not come yet
        self._waiting_since_s = 0.0
        self._last_state_s: float | None = None
        self._last_cycle: Cycle | None = None
        self._rejected: Counter[str] = Counter()  # since the last request, by reason

        self._joint_states = topics.publish(self, topics.JOINT_STATES)
        self._sim = SimTopics(self, self._on_state, self._on_bad_state)
        subscribe_apart(self, topics.ACTION_CHUNK, self._on_chunk, depth=CHUNKS_WAITING)
        self._stop = EmergencyStop(self, self._emergency_stop, self.controller.release_stop)
        self._serve(topics.CONTROL_ENABLE, self.controller.enable)
        self._serve(topics.CONTROL_DISABLE, self.controller.disable)
        self._serve(topics.CONTROL_HOME, self.controller.home)
        self.create_timer(WATCH_PERIOD_S, self._watch, clock=Clock(clock_type=ClockType.STEADY_TIME))

        diagnostics = Diagnostics(self)
        self._state_monitor = diagnostics.watch(
            topics.SIM_JOINT_STATES, max_age_s=self._allowed_state_silence_s(), min_rate_hz=0.0
        )
        self._chunk_monitor = diagnostics.watch(
            topics.ACTION_CHUNK,
            max_age_s=self.config.chunk_deadline_s if self.config.lockstep else self.config.controller.max_chunk_age_s,
        )
        diagnostics.add("controller", self._status)

    # --- inputs -----------------------------------------------------------------------------------------------------

    def _on_state(self, state: DeviceState) -> None:
        self._state_monitor.tick()
        self._last_state_s = time.monotonic()
        self._joint_states.publish(convert.q_to_joint_state(state.q, state.stamp_ns, state.velocity))
        if self.config.lockstep and self.controller.wants_chunk(state.stamp_ns):
            if self._waiting is None or self._waiting.stamp_ns != state.stamp_ns:
                self._waiting, self._waiting_since_s = state, time.monotonic()
            return
        self._command(state)

    def _on_bad_state(self, detail: str, stamp_ns: int) -> None:
        self._state_monitor.tick()
        self._last_state_s = time.monotonic()
        self._send(self.controller.reject_state(detail, stamp_ns), stamp_ns)

    def _on_chunk(self, message: JointTrajectory, publisher: int) -> None:
        self._chunk_monitor.tick()
        chunk = read_chunk(message, publisher, self.config.controller.follower.step_s)
        if chunk.points is None:
            assert chunk.reason is not None
            self.controller.reject_chunk(chunk.reason, chunk.detail, chunk.stamp_ns, chunk.source)
            self._warn(f"{topics.ACTION_CHUNK.name}: {chunk.detail}; holding")
            if self._waiting is not None and self._waiting.stamp_ns == chunk.stamp_ns:
                self._command(self._waiting)
            return
        self.controller.set_chunk(chunk.points, chunk.stamp_ns, source=chunk.source)
        if self._waiting is not None and not self.controller.wants_chunk(self._waiting.stamp_ns):
            self._command(self._waiting)

    def _emergency_stop(self, held: bool) -> None:
        self.get_logger().error("emergency stop")
        self.controller.emergency_stop(held=held)
        self._release_waiting()

    def _serve(self, service: topics.ServiceName, request: Callable[[], None]) -> None:
        def serve(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            self._sum_up()
            try:
                request()
            except RefusedError as error:
                response.success, response.message = False, str(error)
            else:
                response.success, response.message = True, self.controller.mode.value
            self._release_waiting()
            return response

        self.create_service(service.type, service.name, serve)

    # --- outputs ----------------------------------------------------------------------------------------------------

    def _command(self, state: DeviceState) -> None:
        self._waiting = None
        self._send(self.controller.cycle(state.q, state.stamp_ns), state.stamp_ns)

    def _send(self, cycle: Cycle, stamp_ns: int) -> None:
        if cycle.command is not None:
            self._sim.write(cycle.command, stamp_ns)
        self._last_cycle = cycle
        reason = cycle.report.reason
        if reason not in (None, Reason.DISABLED, Reason.EMERGENCY_STOP):
            self._rejected[reason.value] += 1
            if self._rejected[reason.value] == 1:  # once until the next request; it continues for as long as it holds
                self.get_logger().warning(f"{reason.value}: {cycle.report.detail or 'holding'}")

    def _sum_up(self) -> None:
        """Tell how often commands were rejected since the last request: at its end, and not each second of it."""
        if any(count > 1 for count in self._rejected.values()):
            counts = ", ".join(f"{name} {count}" for name, count in self._rejected.items())
            self.get_logger().info(f"commands rejected until now: {counts}")
        self._rejected.clear()

    def _release_waiting(self) -> None:
        """Command at once if, after a change of mode, the waiting state needs no chunk any more."""
        if self._waiting is not None and not self.controller.wants_chunk(self._waiting.stamp_ns):
            self._command(self._waiting)

    def _warn(self, text: str) -> None:
        self.get_logger().warning(text, throttle_duration_sec=LOG_PERIOD_S)

    # --- watching ---------------------------------------------------------------------------------------------------

    def _allowed_state_silence_s(self) -> float:
        return self.config.chunk_deadline_s if self.config.lockstep else self.config.state_deadline_s

    def _watch(self) -> None:
        """Look by the wall clock for inputs that have gone silent."""
        now_s = time.monotonic()
        if self._waiting is not None and now_s - self._waiting_since_s > self.config.chunk_deadline_s:
            self._warn(
                f"no {topics.ACTION_CHUNK.name} with stamp {self._waiting.stamp_ns * 1e-9:.2f} s within "
                f"{self.config.chunk_deadline_s} s (is the policy node running?); holding"
            )
            self.controller.miss_chunk()
            self._command(self._waiting)
        silent = self._last_state_s is not None and now_s - self._last_state_s > self.config.state_deadline_s
        moving = self.controller.mode in (Mode.FOLLOWING, Mode.HOMING)
        if silent and moving and not self.config.lockstep:
            self._warn(f"no {topics.SIM_JOINT_STATES.name} for {self.config.state_deadline_s} s; stopped")
            self.controller.miss_state()  # the simulated robot holds its last command

    def _status(self) -> Status:
        mode = self.controller.mode
        counts = {reason.value: self.controller.counts.get(reason, 0) for reason in Reason}
        values: dict[str, object] = {
            "mode": mode.value,
            "clamped_points": self.controller.follower.clamped_points,
            "kept_points": self.controller.follower.kept_points,
            "limited_steps": self.controller.follower.limited_steps,
            "chunks_not_followed": self.controller.streams.ignored,
            **counts,
        }
        report = None if self._last_cycle is None else self._last_cycle.report
        if mode in (Mode.STOPPED, Mode.HELD):
            return Status(level=Level.ERROR, message="emergency stop", values=values)
        if report is not None and report.reason not in (None, Reason.DISABLED):
            return Status(level=Level.WARN, message=f"{report.reason.value}: holding", values=values)
        return Status(message=mode.value, values=values)


def main() -> None:
    """Run the control node."""
    sys.exit(run_node(ControlNode))


if __name__ == "__main__":
    main()
