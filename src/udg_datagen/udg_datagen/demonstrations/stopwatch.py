"""CPU time of an attempt, by step."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager


class Stopwatch:
    """CPU seconds of this process by step; what is timed inside another step counts for the inner one alone."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self._inner_s = [0.0]

    @contextmanager
    def time(self, step: str) -> Iterator[None]:
        """Add what runs inside to ``step``, whether it ends well or not."""
        began = time.process_time()
        self._inner_s.append(0.0)
        try:
            yield
        finally:
            spent = time.process_time() - began
            self.seconds[step] = self.seconds.get(step, 0.0) + spent - self._inner_s.pop()
            self._inner_s[-1] += spent
