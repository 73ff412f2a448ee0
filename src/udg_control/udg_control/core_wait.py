"""How long a thread was ready to run and had no core, as Linux counts it: other threads had them all.

Beats (udg_control.beats) each watch one core for a single long pause. Several urgent processes that take turns on few
cores keep a thread waiting for longer than any beat is late; what the thread itself computes does not count here.
"""

from __future__ import annotations

import os
import threading
from collections import deque

import numpy as np

from udg_description.clock import NS_PER_S

_WAIT = 1  # word of schedstat: "time on a core, time ready without one, times put on a core" [ns, ns, 1]
_LONGEST = 128  # bytes that it has at most


def waited_ns(schedstat: bytes) -> int:
    """What a thread has waited for a core since it began [ns], of the text of its schedstat; 0 if not counted."""
    words = schedstat.split()
    return int(words[_WAIT]) if len(words) > _WAIT else 0


class CoreWait:
    """The count of one thread as it was at the newest times that it was noted."""

    def __init__(self, newest: int) -> None:
        """`newest`: how many notes are kept."""
        self._file: int | None = None  # of the thread that notes; -1: not counted
        self._notes: deque[tuple[int, int]] = deque(maxlen=newest)  # time, waited [ns]

    def note(self, now_ns: int, schedstat: bytes | None = None) -> None:
        """Read the count of the thread that calls, always the same one.

        `now_ns`: this moment on any clock, never going back. `schedstat`: in place of the file.
        """
        if self._file is None:
            path = f"/proc/self/task/{threading.get_native_id()}/schedstat"
            self._file = os.open(path, os.O_RDONLY) if os.path.exists(path) else -1
        if schedstat is None:
            schedstat = os.pread(self._file, _LONGEST, 0) if self._file >= 0 else b""
        self._notes.append((now_ns, waited_ns(schedstat)))

    def longest_s(self, from_ns: int, to_ns: int) -> float:
        """The longest wait [s] from one note to the next, of those that lie in part between two times."""
        notes = np.array(self._notes).reshape(-1, 2)
        inside = (notes[:-1, 0] < to_ns) & (notes[1:, 0] > from_ns)
        return float(np.diff(notes[:, 1])[inside].max(initial=0)) / NS_PER_S

    def close(self) -> None:
        """Close the file."""
        if self._file is not None and self._file >= 0:
            os.close(self._file)
        self._file = -1
