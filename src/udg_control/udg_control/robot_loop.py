"""The control cycle of a robot made of devices: watch them, ask the controller, send what the filter lets pass."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

import numpy as np

from udg_control.controller import Controller, Cycle, CycleReport
from udg_control.errors import RefusedError, SafetyConfigError
from udg_control.robot import Robot, RobotState
from udg_control.safety import Reason
from udg_description.clock import NS_PER_S
from udg_description.settings import check_ranges, setting


@dataclass(frozen=True, kw_only=True)
class RobotLoopConfig:
    """Parameters of the cycle."""

    dry_run: bool = setting(False, "do everything but send: no device is ever armed")
    arm_timeout_s: float = setting(10.0, "longest wait for all devices to get ready [s]", 0.1, 120.0)
    clock_step_s: float = setting(
        0.05, "a larger leap of the host's clock against its monotonic one stops [s]", 0.001, 10.0
    )

    def __post_init__(self) -> None:
        """Check the numbers. Raises SafetyConfigError."""
        check_ranges(self, SafetyConfigError)


class Arming(Enum):
    """How far the operator's request to enable has come."""

    IDLE = "idle"
    UNDER_WAY = "under_way"
    FAILED = "failed"


class RobotLoop:
    """Ties a Robot and a latching Controller together. Call `cycle` 100 times a second; not thread-safe.

    All times are of the monotonic clock, except those that `to_monotonic_ns` takes.
    """

    def __init__(self, config: RobotLoopConfig, robot: Robot, controller: Controller) -> None:
        self.config = config
        self.robot = robot
        self.controller = controller
        self.arming = Arming.IDLE
        self.arming_detail = ""
        self.state: RobotState | None = None  # the newest measured
        self._arming_since_ns = 0
        self.sending = False  # commands went out in the last cycle: a stop is due when they end
        self._offset_ns: int | None = None  # host clock less monotonic clock

    # --- requests ---------------------------------------------------------------------------------------------------

    def enable(self, now_ns: int) -> None:
        """Operator's request: arm the devices, then hold until a start. See `arming`.

        Raises RefusedError naming a held emergency stop, a silent device or what the heartbeat lacks.
        """
        self.controller.check_enable()
        if self.controller.enabled:
            return
        lacks = self.silent(now_ns, but_faults=not self.config.dry_run)
        if not self.silent(now_ns):  # else no fresh joint states go out: only arming can end what follows from that
            lacks += self._heartbeat_lacks(now_ns)
        if lacks:
            raise RefusedError(f"can't enable: {'; '.join(lacks)}")
        if self.sending:  # still braking: that stop must not come after the arming
            self._stop()
        self.arming, self.arming_detail, self._arming_since_ns = Arming.UNDER_WAY, "", now_ns
        if not self.config.dry_run:
            self.robot.rearm()

    def disable(self) -> None:
        """Brake and hold; the devices are stopped as soon as the commands stand still, at once if they were arming."""
        if self.arming is Arming.UNDER_WAY:
            self._stop()
        self.arming = Arming.IDLE
        self.controller.disable()

    def emergency_stop(self, *, held: bool = False) -> None:
        """Stop the devices at once. As long as the stop is `held` enabling is refused."""
        self.arming = Arming.IDLE
        self.controller.emergency_stop(held=held)
        self._stop()

    def release_stop(self) -> None:
        """A stop is held no longer; the robot stays stopped until it is enabled."""
        self.controller.release_stop()

    def home(self) -> None:
        """Move home. Raises RefusedError while control is not enabled."""
        self.controller.home()

    def close(self) -> None:
        """Stop and release the devices."""
        self.controller.disable()
        self.robot.close()

    # --- clocks -----------------------------------------------------------------------------------------------------

    @property
    def knows_clock(self) -> bool:
        """Whether stamps can be translated."""
        return self._offset_ns is not None

    def watch_clock(self, host_ns: int, now_ns: int) -> None:
        """Compare the host's clock, of which stamps of messages are, with the monotonic one; a leap stops."""
        offset_ns = host_ns - now_ns
        leap_s = 0.0 if self._offset_ns is None else (offset_ns - self._offset_ns) / NS_PER_S
        self._offset_ns = offset_ns
        if abs(leap_s) > self.config.clock_step_s:
            self.controller.trip(Reason.CLOCK_JUMP, f"the host's clock made a leap of {leap_s:+.3f} s")

    def to_monotonic_ns(self, host_ns: int) -> int:
        """Translate a stamp of a message. Call `watch_clock` before."""
        assert self._offset_ns is not None, "watch_clock before the first stamp"
        return host_ns - self._offset_ns

    def to_host_ns(self, monotonic_ns: int) -> int:
        """Translate a time of the monotonic clock to a stamp. Call `watch_clock` before."""
        assert self._offset_ns is not None, "watch_clock before the first stamp"
        return monotonic_ns + self._offset_ns

    def silent(self, now_ns: int, but_faults: bool = False) -> list[str]:
        """Say of each device that is silent for longer than the safety settings allow, or has no state, how long.

        `but_faults` leaves out those in a fault.
        """
        safety = self.controller.config.safety
        return self.robot.silent(now_ns, safety.max_state_age_s, but_faults, safety.max_hand_state_age_s)

    # --- the cycle --------------------------------------------------------------------------------------------------

    def cycle(self, now_ns: int) -> Cycle:
        """Do one cycle. Never raises: an unknown error stops."""
        try:
            return self._cycle(now_ns)
        except Exception as error:  # whatever it is, the robot must not continue
            self.controller.trip(Reason.INTERNAL_ERROR, repr(error))
            self._stop()
            report = CycleReport(mode=self.controller.mode, reason=Reason.INTERNAL_ERROR, detail=repr(error))
            return Cycle(command=None, report=report)

    def _cycle(self, now_ns: int) -> Cycle:
        self.state = state = self.robot.read()
        self._watch_devices(now_ns)
        if self.arming is Arming.UNDER_WAY:
            self._go_on_arming(now_ns)
        if state is None:
            return Cycle(command=None, report=self._fault_report(Reason.STALE_STATE))
        self.controller.arm_speed = state.speed_scaling
        cycle = self.controller.cycle(state.q, state.stamp_ns, now_ns)
        if cycle.report.reason is Reason.INTERNAL_ERROR:
            self._stop()
        elif self.controller.enabled or (self.sending and not self.controller.at_rest):
            self._send(cycle.command, now_ns)
        elif self.sending:
            self._stop()
        return cycle

    def _heartbeat_lacks(self, now_ns: int) -> list[str]:
        lack = self.controller.heartbeat_lack(now_ns)
        return [lack] if lack else []

    def _watch_devices(self, now_ns: int) -> None:
        """Stop all at once when a device has failed or is silent while commands may flow."""
        not_ready = self.robot.not_ready()  # asked at rest, too: so a process that hangs is found
        if not self.controller.enabled and not self.sending:
            return
        silent = self.silent(now_ns)
        # A device that ended its READY without a fault of its own (someone stopped it) must stop the others, too.
        idle = [] if self.config.dry_run else not_ready
        if idle:
            self.controller.trip(Reason.DEVICE, "; ".join(idle))
        elif silent:
            self.controller.trip(Reason.STALE_STATE, "; ".join(silent))
        else:
            return
        self._stop()

    def _go_on_arming(self, now_ns: int) -> None:
        idle = [] if self.config.dry_run else self.robot.not_ready()
        idle += [*self.silent(now_ns), *self._heartbeat_lacks(now_ns)]
        faults = [] if self.config.dry_run else self.robot.faults()
        waited_s = (now_ns - self._arming_since_ns) / NS_PER_S
        if not idle:
            self.arming = Arming.IDLE
            self.controller.enable()
        elif faults or waited_s > self.config.arm_timeout_s:
            self.arming = Arming.FAILED
            self.arming_detail = "; ".join(faults or idle)
            self.robot.stop()

    def _send(self, command: np.ndarray | None, now_ns: int) -> None:
        if command is not None and not self.config.dry_run:
            self.robot.write(command, now_ns)
        self.sending = True

    def _stop(self) -> None:
        self.sending = False
        if not self.config.dry_run:
            self.robot.stop()

    def _fault_report(self, reason: Reason) -> CycleReport:
        fault = self.controller.fault
        if fault is not None:
            return CycleReport(mode=self.controller.mode, reason=fault.reason, detail=fault.detail)
        return CycleReport(mode=self.controller.mode, reason=reason, detail="a device has no state yet")
