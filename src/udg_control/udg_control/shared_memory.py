"""Memory that control and a device's process share: orders one way, report and texts the other. Nothing in it blocks.

Each record exists twice: the writer fills the older slot and then declares it the newest. One process writes a record,
the other reads it. The order of these two writes as another core sees them is what x86 guarantees; other processors
are refused.
"""

from __future__ import annotations

import mmap
import os
import platform
import struct
from typing import Any, ClassVar, Generic, Protocol, TypeVar, get_type_hints

from udg_control.device import Fault, Phase
from udg_control.errors import DeviceError
from udg_control.worker import Order

PHASES = tuple(Phase)
FAULTS = tuple(Fault)
TEXT_BYTES = 512
_ORDERED = ("x86_64", "AMD64")
_TEXT = struct.Struct(f"@{TEXT_BYTES}s")


class DeviceReport(Protocol):
    """What every device's process reports. Times are time.monotonic_ns() of this host."""

    @property
    def alive_ns(self) -> int:
        """When this was written, 0: never."""

    @property
    def stamp_ns(self) -> int:
        """When the joints were measured, 0: never."""

    @property
    def fault_ns(self) -> int:
        """When the fault was detected."""

    @property
    def phase(self) -> int:
        """Index into PHASES."""

    @property
    def fault(self) -> int:
        """Index into FAULTS, -1: none."""

    @property
    def order(self) -> int:
        """The last order that was taken up."""


R = TypeVar("R", bound=DeviceReport)


class Record:
    """A record of fixed size, twice, behind the number of the newest: a writer that is held up holds up nobody."""

    def __init__(self, layout: struct.Struct, memory: mmap.mmap, words: memoryview, offset: int) -> None:
        """Lie at `offset` (a multiple of 8) of `memory`; `words` is the same memory as 64 bit numbers."""
        self._layout, self._memory, self._words = layout, memory, words
        size = -(-layout.size // 8) * 8
        self._number, self._slots = offset // 8, (offset + 8, offset + 8 + size)
        self.end = offset + 8 + 2 * size

    def put(self, *values: object) -> None:
        """Write the newest."""
        number = self._words[self._number] + 1
        self._layout.pack_into(self._memory, self._slots[number % 2], *values)
        self._words[self._number] = number

    def get(self) -> tuple | None:
        """The newest values, None before the first."""
        while True:
            number = self._words[self._number]
            values = self._layout.unpack_from(self._memory, self._slots[number % 2])
            if self._words[self._number] == number:  # the writer has not come round to this slot meanwhile
                return values if number else None


class Text:
    """A text in a record; what is too long is cut."""

    def __init__(self, record: Record) -> None:
        """`record` holds TEXT_BYTES."""
        self._record = record

    def put(self, text: str) -> None:
        """Write the newest."""
        self._record.put(text.encode()[:TEXT_BYTES])

    def get(self) -> str:
        """The newest, "" before the first."""
        values = self._record.get()
        return "" if values is None else values[0].rstrip(b"\0").decode("utf-8", "replace")


class SharedMemory(Generic[R]):
    """The memory, seen from either side; a device adds its records. Anonymous: it goes when both processes have gone.

    `report_type` is a NamedTuple of ints and floats, each with a default, that has what `DeviceReport` has.
    """

    SIZE: ClassVar[int] = 1 << 16
    report_type: type[R]

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind a descriptor of `create`."""
        self._memory = mmap.mmap(descriptor, self.SIZE)
        self._words = memoryview(self._memory).cast("q")
        self._order, self._order_count = 0, 1
        self._end = 2 * 8
        self._report = self._record(_layout_of(self.report_type))
        self.detail = self._text()  # about the fault
        self.advisory = self._text()  # worth telling

    @classmethod
    def create(cls) -> int:
        """The descriptor of new memory. Raises DeviceError on a processor that may reorder writes."""
        if platform.machine() not in _ORDERED:
            text = f"real devices need a processor that keeps the order of writes ({' or '.join(_ORDERED)})"
            raise DeviceError(f"{text}; this one is {platform.machine()}")
        descriptor = os.memfd_create("udg_device")
        os.ftruncate(descriptor, cls.SIZE)
        return descriptor

    def _record(self, layout: struct.Struct) -> Record:
        """A record behind what is there; in the same order on both sides."""
        record = Record(layout, self._memory, self._words, self._end)
        self._end = record.end
        return record

    def _text(self) -> Text:
        return Text(self._record(_TEXT))

    def give(self, order: Order) -> int:
        """Control's side: give an order; returns its number."""
        self._words[self._order] = order
        self._words[self._order_count] += 1
        return self._words[self._order_count]

    def order(self) -> tuple[int, Order]:
        """The process's side: number and kind of the newest order."""
        return self._words[self._order_count], Order(self._words[self._order])

    def put_report(self, report: R) -> None:
        """The process's side: publish."""
        self._report.put(*report)  # type: ignore[misc]

    def report(self) -> R:
        """Control's side: the newest report."""
        values = self._report.get()
        return self.report_type() if values is None else self.report_type(*values)


def _layout_of(report_type: type[Any]) -> struct.Struct:
    """Of a NamedTuple of ints and floats: 8 bytes each."""
    kinds = get_type_hints(report_type).values()
    return struct.Struct("@" + "".join("q" if kind is int else "d" for kind in kinds))
