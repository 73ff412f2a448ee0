"""Memory shared by control and the process of an arm behind ros2_control, and what that process is started with."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from udg_control.shared_memory import SharedMemory
from udg_description.layout import N_ARM_JOINTS

_JOINTS = struct.Struct(f"@{2 * N_ARM_JOINTS}d")  # q, velocity
_COMMAND = struct.Struct(f"@2q{N_ARM_JOINTS}d")


@dataclass(frozen=True, kw_only=True)
class Start:
    """What `ControllerArm` tells its new process."""

    side: str
    descriptor: int  # of the shared memory
    parent: int  # process id
    arm: bool  # get ready at once
    config: dict[str, Any]


class Command(NamedTuple):
    """A command as it was written."""

    written_ns: int  # time.monotonic_ns()
    stamp_ns: int
    q: tuple[float, ...]  # (n,) [rad]


class Report(NamedTuple):
    """What the process knows. Times are time.monotonic_ns() of this host."""

    alive_ns: int = 0
    stamp_ns: int = 0
    fault_ns: int = 0
    phase: int = 0
    fault: int = -1
    order: int = 0
    missed: int = 0  # cycles skipped because the process was late
    starved: int = 0  # commands that did not come in time
    skipped: int = 0  # commands skipped to catch up
    sent: int = 0  # targets sent
    real_time: int = 0  # whether the process has real-time priority
    speed_scaling: float = 1.0


class ControllerMemory(SharedMemory[Report]):
    """The memory, seen from either side."""

    report_type = Report

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind a descriptor of `create`."""
        super().__init__(descriptor)
        self._joints, self._command = self._record(_JOINTS), self._record(_COMMAND)

    def put_joints(self, q: np.ndarray, velocity: np.ndarray) -> None:
        """The process's side: what was measured, (n,) [rad] and (n,) [rad/s]."""
        self._joints.put(*q.tolist(), *velocity.tolist())

    def joints(self) -> np.ndarray | None:
        """Control's side: q [rad] and velocity [rad/s, nan where unknown] as (2, n), None before the first."""
        values = self._joints.get()
        return None if values is None else np.array(values).reshape(2, N_ARM_JOINTS)

    def put_command(self, command: Command) -> None:
        """Control's side: the newest command."""
        self._command.put(command.written_ns, command.stamp_ns, *command.q)

    def command(self) -> Command | None:
        """The process's side: the newest command, None before the first."""
        values = self._command.get()
        return None if values is None else Command(values[0], values[1], values[2:])
