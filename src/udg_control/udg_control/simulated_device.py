"""A device without hardware: joints that follow their commands with a lag, and faults on demand.

For tests, for rehearsals of the procedure, and in place of a part of the robot that is not there.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from udg_control.device import DeviceState, DeviceStatus, Fault, Phase
from udg_control.errors import SafetyConfigError
from udg_description.clock import NS_PER_S
from udg_description.layout import HOME_Q, part_indices
from udg_description.limits import joint_limits
from udg_description.settings import check_ranges, setting


@dataclass(frozen=True, kw_only=True)
class SimulatedDeviceConfig:
    """Dynamics and watchdog of a simulated device."""

    time_constant_s: float = setting(0.02, "lag of the joints behind their commands [s]", 0.001, 1.0)
    command_timeout_s: float = setting(0.1, "without a command for this long the device stops by itself [s]", 0.02, 2)

    def __post_init__(self) -> None:
        """Check the numbers. Raises SafetyConfigError."""
        check_ranges(self, SafetyConfigError)


class Record(NamedTuple):
    """One line of a device's log: when (clock of the device [ns]), what, and the command if it was one."""

    time_ns: int
    event: str  # "connect", "command", "ignored", "stop", "rearm", "close" or "fault <code>"
    q: np.ndarray | None = None


class SimulatedDevice:
    """Joints of one part that follow with a lag; keeps a log of all that it was told."""

    def __init__(
        self,
        part: str,
        config: SimulatedDeviceConfig | None = None,
        q_start: np.ndarray | None = None,
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Start at rest at `q_start` (n,) [rad], by default at home."""
        where = part_indices(part)
        self.part = part
        self.name = f"{part.replace('_', ' ')} (simulated)"
        self.config = config or SimulatedDeviceConfig()
        self.log: list[Record] = []
        self.frozen = False  # the state gets no fresher: what a silent device looks like
        self._clock_ns = clock_ns
        self._lock = threading.RLock()
        self._speed = joint_limits().velocity[where]
        self._q = np.array(HOME_Q[where] if q_start is None else q_start, dtype=np.float64)
        self._velocity = np.zeros_like(self._q)
        self._goal = self._q.copy()
        self._phase = Phase.CLOSED
        self._fault: Fault | None = None
        self._cause: Fault | None = None  # a fault that stays until `repair`
        self._moved_ns = self._stamp_ns = clock_ns()
        self._written_ns: int | None = None  # when the last command came since rearm

    # --- the protocol -----------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Be there."""
        with self._lock:
            self._note("connect")
            self._phase, self._fault = Phase.STOPPED, None

    def read(self) -> DeviceState | None:
        """Where the joints are now."""
        with self._lock:
            if self._phase is Phase.CLOSED:
                return None
            self._advance()
            return DeviceState(q=self._q.copy(), stamp_ns=self._stamp_ns, velocity=self._velocity.copy())

    def status(self) -> DeviceStatus:
        """Phase and fault."""
        with self._lock:
            self._advance()
            detail = "" if self._fault is None else f"{self.name}: {self._fault.value}"
            return DeviceStatus(phase=self._phase, fault=self._fault, detail=detail)

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Move towards `q_command` (n,) [rad]."""
        del stamp_ns
        with self._lock:
            self._advance()
            command = np.array(q_command, dtype=np.float64)
            if self._phase is not Phase.READY:
                self._note("ignored", command)
            elif command.shape != self._q.shape or not np.isfinite(command).all():
                self._enter_fault(Fault.COMMAND_REFUSED)
            else:
                self._note("command", command)
                self._goal, self._written_ns = command, self._clock_ns()

    def stop(self) -> None:
        """Stand still where the joints are."""
        with self._lock:
            self._advance()
            if self._phase in (Phase.READY, Phase.ARMING):
                self._note("stop")
                self._phase = Phase.STOPPED
            self._goal = self._q.copy()

    def rearm(self) -> None:
        """Get ready, unless the cause of the fault is still there."""
        with self._lock:
            self._advance()
            self._note("rearm")
            if self._phase is Phase.CLOSED:
                return
            if self._cause is not None:
                self._enter_fault(self._cause)
                return
            self._phase, self._fault = Phase.READY, None
            self._goal, self._written_ns = self._q.copy(), None

    def close(self) -> None:
        """Be gone."""
        with self._lock:
            if self._phase is not Phase.CLOSED:
                self.stop()
                self._note("close")
                self._phase, self._fault = Phase.CLOSED, None

    # --- faults on demand -------------------------------------------------------------------------------------------

    def inject(self, fault: Fault) -> None:
        """Fail now, and again at each rearm until `repair`."""
        with self._lock:
            self._advance()
            self._cause = fault
            self._enter_fault(fault)

    def repair(self) -> None:
        """Take the cause of the fault away; the fault itself stays latched."""
        with self._lock:
            self._cause = None
            self.frozen = False

    # --- inside -----------------------------------------------------------------------------------------------------

    def _advance(self) -> None:
        """Move the joints on to the present."""
        now_ns = self._clock_ns()
        dt_s = (now_ns - self._moved_ns) / NS_PER_S
        if dt_s <= 0.0:
            return
        self._moved_ns = now_ns
        if self._phase is Phase.READY and self._written_ns is not None:
            if now_ns - self._written_ns > self.config.command_timeout_s * NS_PER_S:
                self._enter_fault(Fault.COMMAND_TIMEOUT)
        way = (self._goal - self._q) * (1.0 - np.exp(-dt_s / self.config.time_constant_s))
        way = np.clip(way, -self._speed * dt_s, self._speed * dt_s)
        self._q = self._q + way
        self._velocity = way / dt_s
        if not self.frozen:
            self._stamp_ns = now_ns

    def _enter_fault(self, fault: Fault) -> None:
        if self._phase is not Phase.CLOSED:
            self._note(f"fault {fault.value}")
            self._phase, self._fault = Phase.FAULT, fault
            self._goal = self._q.copy()

    def _note(self, event: str, q: np.ndarray | None = None) -> None:
        self.log.append(Record(self._clock_ns(), event, q))
