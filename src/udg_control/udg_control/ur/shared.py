"""Memory shared by control and an arm's process: commands in a ring one way, what is measured the other."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from udg_control.shared_memory import SharedMemory
from udg_control.ur.identity import Identity

RING = 64  # commands that may wait


class Command(NamedTuple):
    """A command as it was written."""

    written_ns: int  # time.monotonic_ns()
    stamp_ns: int
    q: tuple[float, ...]  # (6,) [rad]


class Report(NamedTuple):
    """What the process knows. Times are time.monotonic_ns() of this host."""

    alive_ns: int = 0  # when this was written
    stamp_ns: int = 0  # when the state arrived, 0: never
    fault_ns: int = 0  # when the fault was detected
    phase: int = 0  # index into PHASES
    fault: int = -1  # index into FAULTS
    cycles: int = 0
    missed: int = 0  # servo cycles skipped because the process was late
    starved: int = 0  # commands that did not come in time
    skipped: int = 0  # commands skipped to catch up
    sent: int = 0  # servo targets sent
    robot_mode: int = 0
    safety_bits: int = 0
    runtime_state: int = 0
    real_time: int = 0  # whether the process has real-time priority
    order: int = 0  # the last order that was taken up
    controller_s: float = 0.0  # the controller's clock
    speed_scaling: float = 0.0


_JOINTS = struct.Struct("@24d")  # q, qd, current, temperature
_COMMAND = struct.Struct("@2q6d")


class ArmMemory(SharedMemory[Report]):
    """The memory, seen from either side."""

    report_type = Report

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind a descriptor of `create`."""
        super().__init__(descriptor)
        self._joints = self._record(_JOINTS)
        self._identity = self._text()
        self._written = self._end // 8
        self._end += 8
        self._ring = [self._record(_COMMAND) for _ in range(RING)]
        self._read = 0

    # --- control's side ---------------------------------------------------------------------------------------------

    def write(self, command: Command) -> None:
        """Add a command."""
        number = self._words[self._written]
        self._ring[number % RING].put(command.written_ns, command.stamp_ns, *command.q)
        self._words[self._written] = number + 1

    def joints(self) -> np.ndarray | None:
        """q [rad], qd [rad/s], current [A], temperature [deg C] as (4, 6), None before the first."""
        values = self._joints.get()
        return None if values is None else np.array(values).reshape(4, 6)

    def identity(self) -> Identity:
        """Who the controller said it is; empty before it was asked."""
        text = self._identity.get()
        return Identity(*text.split("\n")) if text else Identity("", "", "")

    # --- the process's side -----------------------------------------------------------------------------------------

    def commands(self) -> list[Command]:
        """The commands written since the last call; of too many the newest."""
        written = self._words[self._written]
        if written == self._read:
            return []
        first = max(self._read, written - RING // 2)
        self._read = written
        records = [self._ring[number % RING].get() for number in range(first, written)]
        return [Command(record[0], record[1], record[2:]) for record in records if record is not None]

    def put_joints(
        self, q: Sequence[float], qd: Sequence[float], current: Sequence[float], temperature: Sequence[float]
    ) -> None:
        """Publish."""
        self._joints.put(*q, *qd, *current, *temperature)

    def put_identity(self, identity: Identity) -> None:
        """Publish."""
        self._identity.put("\n".join(part.replace("\n", " ")[:100] for part in identity))

    def close(self) -> None:
        """Unmap."""
        self._words.release()
        self._memory.close()
