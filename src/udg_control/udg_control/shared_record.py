"""A record in memory that two processes share: one writes it, the other reads it, and neither waits."""

from __future__ import annotations

import mmap
import struct


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
        """Return the newest values, None before the first."""
        while True:
            number = self._words[self._number]
            values = self._layout.unpack_from(self._memory, self._slots[number % 2])
            if self._words[self._number] == number:  # the writer has not come round to this slot meanwhile
                return values if number else None
