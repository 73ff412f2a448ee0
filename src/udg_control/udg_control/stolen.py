"""Time that the hypervisor took from this machine, as Linux counts it: nothing that runs here can have taken it.

A virtual machine on a full host stands still for some milliseconds at a time, too short for each to be noticed by
itself (udg_control.beats), and often: together they make a chain of processes late.
"""

from __future__ import annotations

import os
from collections import deque

import numpy as np

STAT = "/proc/stat"  # its first line: "cpu  user nice system idle iowait irq softirq steal ...", in ticks
_STEAL = 8  # word of that line
_FIRST_LINE = 256  # more bytes than it has


def stolen_ticks(stat: bytes) -> int:
    """What was stolen of all cores since the machine started, in ticks, of the text of /proc/stat; 0 if not counted."""
    words = stat.partition(b"\n")[0].split()
    return int(words[_STEAL]) if len(words) > _STEAL and words[0] == b"cpu" else 0


class StolenTime:
    """The count as it was at the newest times that it was noted."""

    def __init__(self, newest: int) -> None:
        """`newest`: how many notes are kept."""
        self._tick_s = 1.0 / os.sysconf("SC_CLK_TCK")
        self._stat = os.open(STAT, os.O_RDONLY) if os.path.exists(STAT) else -1
        self._notes: deque[tuple[int, int]] = deque(maxlen=newest)  # time [ns], ticks

    def note(self, now_ns: int, stat: bytes | None = None) -> None:
        """Read the count, 30 us; `now_ns`: this moment on any clock, never going back. `stat`: in place of the file."""
        if stat is None:
            stat = os.pread(self._stat, _FIRST_LINE, 0) if self._stat >= 0 else b""
        self._notes.append((now_ns, stolen_ticks(stat)))

    def between_s(self, from_ns: int, to_ns: int) -> float:
        """What was stolen of all cores together [s], from the last note before one time to the first after another.

        0 where nothing was noted; as far as notes go where they do not reach.
        """
        notes = np.array(self._notes).reshape(-1, 2)
        if not len(notes):
            return 0.0
        first = max(int(np.searchsorted(notes[:, 0], from_ns, side="right")) - 1, 0)
        last = min(int(np.searchsorted(notes[:, 0], to_ns, side="left")), len(notes) - 1)
        return float(max(notes[last, 1] - notes[first, 1], 0)) * self._tick_s

    def close(self) -> None:
        """Close the file."""
        if self._stat >= 0:
            os.close(self._stat)
            self._stat = -1
