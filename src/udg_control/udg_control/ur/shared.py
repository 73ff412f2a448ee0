"""Memory shared by control and an arm's process: commands one way, the report the other. Nothing in it blocks.

Each record exists twice: the writer fills the older one and then declares it the newest. One process writes a record,
the other reads it.
"""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from udg_control.device import Fault, Phase
from udg_control.shared_record import Record
from udg_control.ur.identity import Identity
from udg_control.worker import Order

RING = 64  # commands that may wait
LATENESS_BINS = 2000
LATENESS_BIN_US = 10.0
_DETAIL_BYTES = 512
PHASES = tuple(Phase)
FAULTS = tuple(Fault)


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
    missed: int = 0  # servo cycles left out because the process was late
    starved: int = 0  # commands that did not come in time
    skipped: int = 0  # commands left out to catch up
    sent: int = 0  # servo targets sent
    robot_mode: int = 0
    safety_bits: int = 0
    runtime_state: int = 0
    real_time: int = 0  # whether the process has real-time priority
    order: int = 0  # the last order that was taken up
    controller_s: float = 0.0  # the controller's clock
    speed_scaling: float = 0.0


_REPORT = struct.Struct("@15q2d")
_JOINTS = struct.Struct("@24d")  # q, qd, current, temperature
_COMMAND = struct.Struct("@2q6d")
_TEXT = struct.Struct(f"@{_DETAIL_BYTES}s")


class Shared:
    """The memory, seen from either side. Anonymous: it goes when both processes have gone."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind a descriptor of `create`."""
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._words = memoryview(self._memory).cast("q")
        self._order, self._order_count, self._written = 0, 1, 2
        offset = 4 * 8
        self._report = Record(_REPORT, self._memory, self._words, offset)
        self._joints = Record(_JOINTS, self._memory, self._words, self._report.end)
        self._text = Record(_TEXT, self._memory, self._words, self._joints.end)
        self._identity = Record(_TEXT, self._memory, self._words, self._text.end)
        offset = self._identity.end
        self._ring = []
        for _ in range(RING):
            self._ring.append(Record(_COMMAND, self._memory, self._words, offset))
            offset = self._ring[-1].end
        self.lateness = memoryview(self._memory)[offset : offset + 8 * LATENESS_BINS].cast("q")  # histogram
        self._read = 0

    @staticmethod
    def create() -> int:
        """Return the descriptor of new memory."""
        descriptor = os.memfd_create("udg_arm")
        os.ftruncate(descriptor, _SIZE)
        return descriptor

    # --- control's side ---------------------------------------------------------------------------------------------

    def give(self, order: Order) -> int:
        """Give an order; returns its number."""
        self._words[self._order] = order
        self._words[self._order_count] += 1
        return self._words[self._order_count]

    def write(self, command: Command) -> None:
        """Add a command."""
        number = self._words[self._written]
        self._ring[number % RING].put(command.written_ns, command.stamp_ns, *command.q)
        self._words[self._written] = number + 1

    def report(self) -> Report:
        """Return the newest report."""
        values = self._report.get()
        return Report() if values is None else Report(*values)

    def joints(self) -> np.ndarray | None:
        """Return q [rad], qd [rad/s], current [A], temperature [deg C] as (4, 6), None before the first."""
        values = self._joints.get()
        return None if values is None else np.array(values).reshape(4, 6)

    def detail(self) -> str:
        """Return the text about the fault."""
        values = self._text.get()
        return "" if values is None else values[0].rstrip(b"\0").decode("utf-8", "replace")

    def identity(self) -> Identity | None:
        """Return who the controller said it is, None before it was asked."""
        values = self._identity.get()
        return None if values is None else Identity(*values[0].rstrip(b"\0").decode("utf-8", "replace").split("\n"))

    # --- the process's side -----------------------------------------------------------------------------------------

    def order(self) -> tuple[int, Order]:
        """Return number and kind of the newest order."""
        return self._words[self._order_count], Order(self._words[self._order])

    def commands(self) -> list[Command]:
        """Return the commands written since the last call; of too many the newest."""
        written = self._words[self._written]
        if written == self._read:
            return []
        first = max(self._read, written - RING // 2)
        self._read = written
        records = [self._ring[number % RING].get() for number in range(first, written)]
        return [Command(record[0], record[1], record[2:]) for record in records if record is not None]

    def put_report(self, report: Report) -> None:
        """Publish."""
        self._report.put(*report)

    def put_joints(
        self, q: Sequence[float], qd: Sequence[float], current: Sequence[float], temperature: Sequence[float]
    ) -> None:
        """Publish."""
        self._joints.put(*q, *qd, *current, *temperature)

    def put_detail(self, text: str) -> None:
        """Publish."""
        self._text.put(text.encode()[:_DETAIL_BYTES])

    def put_identity(self, identity: Identity) -> None:
        """Publish."""
        self._identity.put("\n".join(part.replace("\n", " ")[:100] for part in identity).encode()[:_DETAIL_BYTES])

    def close(self) -> None:
        """Unmap."""
        self.lateness.release()
        self._words.release()
        self._memory.close()


_SIZE = 1 << 16
