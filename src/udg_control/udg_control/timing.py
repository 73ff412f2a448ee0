"""A steady rhythm, and how well it was kept."""

from __future__ import annotations

import gc
import threading
import time
from collections.abc import Callable

import numpy as np

from udg_description.clock import NS_PER_S

SWITCH_S = 5e-4
"""`sys.setswitchinterval` of processes with a control cycle: it must not wait for callbacks of other threads."""
WINDOW = 200  # newest cycles that the figures are about


def keep_collections_short() -> None:
    """Exempt what is in memory now from garbage collection: a full one would outlast many cycles."""
    gc.collect()
    gc.freeze()


class LoopTimer:
    """Wakes at multiples of a period of the monotonic clock; a wake that is missed is skipped and counted."""

    def __init__(
        self,
        period_s: float,
        clock_ns: Callable[[], int] = time.monotonic_ns,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.period_ns = round(period_s * NS_PER_S)
        self.cycles = 0
        self.missed = 0
        self.began = False
        self._clock_ns, self._sleep = clock_ns, sleep
        self._next_ns = 0
        self._late_ns = np.zeros(WINDOW)
        self._reported = (0, 0)
        self._lock = threading.Lock()

    def start(self) -> None:
        """Begin now."""
        self._next_ns = self._clock_ns()
        self.began = False

    def wait(self) -> int:
        """Sleep until the next wake; return its due time [ns], which lies at most one period in the past."""
        now_ns = self._clock_ns()
        while now_ns < self._next_ns:
            self._sleep((self._next_ns - now_ns) / NS_PER_S)
            now_ns = self._clock_ns()
        behind = (now_ns - self._next_ns) // self.period_ns
        due_ns = self._next_ns + behind * self.period_ns
        with self._lock:
            self._late_ns[self.cycles % WINDOW] = now_ns - due_ns
            self.cycles += 1
            self.missed += behind
        self._next_ns = due_ns + self.period_ns
        self.began = True
        return due_ns

    def take(self) -> dict[str, object]:
        """Cycles and misses since the last call, and how late the newest cycles began."""
        with self._lock:
            late_ms = self._late_ns[: min(self.cycles, WINDOW)] * 1e-6
            cycles, missed = self.cycles - self._reported[0], self.missed - self._reported[1]
            self._reported = (self.cycles, self.missed)
        if not len(late_ms):
            return {"cycles": 0, "missed": 0}
        return {
            "cycles": cycles,
            "missed": missed,
            "late_ms_p50": f"{np.percentile(late_ms, 50):.2f}",
            "late_ms_p99": f"{np.percentile(late_ms, 99):.2f}",
        }
