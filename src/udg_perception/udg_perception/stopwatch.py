"""Times the stages of one computation."""

import time


class Stopwatch:
    """Collects the time between successive `lap` calls under a name [ms, monotonic clock]."""

    def __init__(self) -> None:
        self.ms: dict[str, float] = {}
        self._last_s = time.perf_counter()

    def lap(self, name: str) -> None:
        """Store the time since the last lap (or the start) as `name`; a name used again adds up."""
        now_s = time.perf_counter()
        self.ms[name] = self.ms.get(name, 0.0) + (now_s - self._last_s) * 1000.0
        self._last_s = now_s
