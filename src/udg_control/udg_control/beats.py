"""Whether the machine keeps up: one thread per core, in its own process, that wakes every few milliseconds.

A beat that comes late was kept from running by others, by the hypervisor or by the kernel; nothing that this project
computes can delay it but by taking the core. So it tells a program that is slow from a machine that is busy, which the
load average does not: that counts who wants to run, our own emulators among them, and not who had to wait.
"""

from __future__ import annotations

import gc
import mmap
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from types import TracebackType

import numpy as np

from udg_control.errors import ControlError
from udg_control.worker import ask_for_real_time
from udg_description.clock import NS_PER_S

PERIOD_NS = 3_000_000
NOTED_NS = 5_000_000  # a beat that comes later than this is kept
ROWS = 16384  # of the newest late beats of a core
ANSWER_S = 60.0
_COLUMNS = 2 + 2 * ROWS  # newest beat, number of late ones; due and came of each of these


class BeatsError(ControlError):
    """The beats do not start, or have ended."""


def latest_s(due_ns: np.ndarray, came_ns: np.ndarray, from_ns: int, to_ns: int) -> float:
    """How late the latest beat was [s] of those that were waited for at some time between the two."""
    inside = (due_ns < to_ns) & (came_ns > from_ns)
    return float((came_ns - due_ns)[inside].max(initial=0)) / NS_PER_S


class Beats:
    """The beats of all cores that this process may use; a context manager."""

    def __init__(self, priority: int = 0) -> None:
        """`priority`: SCHED_FIFO of the beats if permitted, as of the least urgent of what is measured; 0: none."""
        self._priority = priority
        self._cores = sorted(os.sched_getaffinity(0))

    def __enter__(self) -> Beats:
        """Start, and wait until each core has beaten. Raises BeatsError."""
        descriptor = os.memfd_create("udg_beats")
        os.ftruncate(descriptor, 8 * _COLUMNS * len(self._cores))
        self._table = np.frombuffer(mmap.mmap(descriptor, 0), dtype=np.int64).reshape(len(self._cores), _COLUMNS)
        words = [descriptor, os.getpid(), self._priority, *self._cores]
        self.process = subprocess.Popen(
            [sys.executable, "-m", "udg_control.beats", *map(str, words)],
            stdin=subprocess.DEVNULL,
            pass_fds=[descriptor],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        os.close(descriptor)
        self._wait_for(1)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the beats."""
        self.process.terminate()
        self.process.wait()

    def latest_s(self, from_ns: int, to_ns: int) -> float:
        """How late the latest beat of any core was [s] between two times of the monotonic clock, both past.

        Raises BeatsError when the beats have ended.
        """
        self._wait_for(to_ns)
        return max(latest_s(*self._late(row), from_ns, to_ns) for row in self._table)

    def _late(self, row: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        kept = row[2:].reshape(ROWS, 2)[: min(int(row[1]), ROWS)]
        return kept[:, 0], kept[:, 1]

    def _wait_for(self, time_ns: int) -> None:
        """Wait until each core has beaten at this time or later: a beat that is late just now has to be seen."""
        deadline_s = time.monotonic() + ANSWER_S
        while int(self._table[:, 0].min()) < time_ns:
            if self.process.poll() is not None or time.monotonic() > deadline_s:
                raise BeatsError(f"no beat within {ANSWER_S} s, exit code {self.process.poll()}")
            time.sleep(PERIOD_NS / NS_PER_S)


def _beat(row: np.ndarray, core: int, parent: int, priority: int) -> None:
    os.sched_setaffinity(0, {core})  # of this thread
    ask_for_real_time(priority)
    late = row[2:].reshape(ROWS, 2)
    due_ns = time.monotonic_ns() + PERIOD_NS
    while os.getppid() == parent:
        time.sleep(max(0, due_ns - time.monotonic_ns()) / NS_PER_S)
        came_ns = time.monotonic_ns()
        if came_ns - due_ns > NOTED_NS:
            late[row[1] % ROWS] = due_ns, came_ns
            row[1] += 1
        row[0] = came_ns
        due_ns = max(due_ns + PERIOD_NS, came_ns)


def main(argv: Sequence[str]) -> None:
    """Beat until the parent ends. Words: descriptor of the shared memory, process id of the parent, priority, cores."""
    descriptor, parent, priority, *cores = map(int, argv)
    table = np.frombuffer(mmap.mmap(descriptor, 0), dtype=np.int64).reshape(len(cores), _COLUMNS)
    gc.disable()
    threads = [
        threading.Thread(target=_beat, args=(row, core, parent, priority))
        for row, core in zip(table, cores, strict=True)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


if __name__ == "__main__":
    main(sys.argv[1:])
