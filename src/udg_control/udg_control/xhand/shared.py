"""Memory shared by control and a hand's process: the newest command one way, the report the other."""

from __future__ import annotations

import mmap
import os
import struct
from typing import NamedTuple

import numpy as np

from udg_control.device import Fault, Phase
from udg_control.shared_record import Record
from udg_control.worker import Order
from udg_description.layout import N_HAND_JOINTS

PHASES = tuple(Phase)
FAULTS = tuple(Fault)
N_FINGERS = 5
_TEXT_BYTES = 512
_SIZE = 1 << 14


class Command(NamedTuple):
    """The newest command."""

    written_ns: int  # time.monotonic_ns()
    q: tuple[float, ...]  # (12,) [rad]


class Report(NamedTuple):
    """What the process knows. Times are time.monotonic_ns() of this host."""

    alive_ns: int = 0
    stamp_ns: int = 0  # when the state arrived, 0: never
    fault_ns: int = 0
    phase: int = 0  # index into PHASES
    fault: int = -1  # index into FAULTS
    order: int = 0  # the last order that was taken up
    exchanges: int = 0
    crc_errors: int = 0
    other_errors: int = 0
    over_currents: int = 0  # replies with the hand's own advisory
    stalls: int = 0  # exchanges that took too long
    out_of_range: int = 0  # targets that the hand has refused
    last_code: int = 0  # of the SDK
    rate_hz: float = 0.0  # of clean replies
    heat: float = 0.0  # of the warmest motor; 1: as warm as allowed


class Joints(NamedTuple):
    """Measured: q (12,) [rad], current (12,) [A] with sign, temperature (12,) [deg C], force (5, 3) or nan."""

    q: np.ndarray
    current: np.ndarray
    temperature: np.ndarray
    force: np.ndarray


_REPORT = struct.Struct("@13q2d")
_JOINTS = struct.Struct(f"@{3 * N_HAND_JOINTS + 3 * N_FINGERS}d")
_COMMAND = struct.Struct(f"@q{N_HAND_JOINTS}d")
_TEXT = struct.Struct(f"@{_TEXT_BYTES}s")


class Shared:
    """The memory, seen from either side. Anonymous: it goes when both processes have gone."""

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind a descriptor of `create`."""
        self._memory = mmap.mmap(descriptor, _SIZE)
        self._words = memoryview(self._memory).cast("q")
        self._order, self._order_count = 0, 1
        offset = 2 * 8
        records = []
        for layout in (_REPORT, _JOINTS, _COMMAND, _TEXT, _TEXT, _TEXT):
            records.append(Record(layout, self._memory, self._words, offset))
            offset = records[-1].end
        self._report, self._joints, self._command, self._detail, self._advisory, self._identity = records

    @staticmethod
    def create() -> int:
        """Return the descriptor of new memory."""
        descriptor = os.memfd_create("udg_hand")
        os.ftruncate(descriptor, _SIZE)
        return descriptor

    # --- control's side ---------------------------------------------------------------------------------------------

    def give(self, order: Order) -> int:
        """Give an order; returns its number."""
        self._words[self._order] = order
        self._words[self._order_count] += 1
        return self._words[self._order_count]

    def write(self, command: Command) -> None:
        """Put a command in place of the last."""
        self._command.put(command.written_ns, *command.q)

    def report(self) -> Report:
        """Return the newest report."""
        values = self._report.get()
        return Report() if values is None else Report(*values)

    def joints(self) -> Joints | None:
        """Return what was measured, None before the first."""
        values = self._joints.get()
        if values is None:
            return None
        n = N_HAND_JOINTS
        data = np.array(values)
        return Joints(data[:n], data[n : 2 * n], data[2 * n : 3 * n], data[3 * n :].reshape(N_FINGERS, 3))

    def detail(self) -> str:
        """Return the text about the fault."""
        return _text(self._detail)

    def advisory(self) -> str:
        """Return what is worth telling, "" for nothing."""
        return _text(self._advisory)

    def identity(self) -> str:
        """Return port, serial number and SDK version of the hand."""
        return _text(self._identity)

    # --- the process's side -----------------------------------------------------------------------------------------

    def order(self) -> tuple[int, Order]:
        """Return number and kind of the newest order."""
        return self._words[self._order_count], Order(self._words[self._order])

    def command(self) -> Command | None:
        """Return the newest command, None before the first."""
        values = self._command.get()
        return None if values is None else Command(values[0], values[1:])

    def put_report(self, report: Report) -> None:
        """Publish."""
        self._report.put(*report)

    def put_joints(self, joints: Joints) -> None:
        """Publish."""
        self._joints.put(*np.concatenate([part.ravel() for part in joints]).tolist())

    def put_detail(self, text: str) -> None:
        """Publish."""
        self._detail.put(text.encode()[:_TEXT_BYTES])

    def put_advisory(self, text: str) -> None:
        """Publish."""
        self._advisory.put(text.encode()[:_TEXT_BYTES])

    def put_identity(self, text: str) -> None:
        """Publish."""
        self._identity.put(text.encode()[:_TEXT_BYTES])


def _text(record: Record) -> str:
    values = record.get()
    return "" if values is None else values[0].rstrip(b"\0").decode("utf-8", "replace")
