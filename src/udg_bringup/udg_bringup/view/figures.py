"""What the plots show: tick times, the object's height, rejections by reason, outcomes. Numbers only."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np

KEPT = 600  # points of a plot: a minute of ticks


@dataclass
class Series:
    """The newest points of several lines over one axis."""

    names: tuple[str, ...]
    _times_s: deque[float] = field(default_factory=lambda: deque(maxlen=KEPT))
    _rows: deque[tuple[float, ...]] = field(default_factory=lambda: deque(maxlen=KEPT))
    changed: bool = False

    def add(self, time_s: float, *values: float) -> None:
        """Add one point to each line. A time before the last one clears the plot."""
        if self._times_s and time_s < self._times_s[-1]:
            self.clear()
        self._times_s.append(time_s)
        self._rows.append(values)
        self.changed = True

    def clear(self) -> None:
        """Forget all points."""
        self._times_s.clear()
        self._rows.clear()
        self.changed = True

    def arrays(self) -> tuple[np.ndarray, ...]:
        """Times (N,) [s] and the values (N,) of each line."""
        values = np.array(self._rows, dtype=float).reshape(len(self._rows), len(self.names))
        return (np.array(self._times_s), *values.T.copy())


@dataclass
class Rejections:
    """Commands refused by the safety filter, by reason, over time; a line for each reason that has occurred."""

    series: Series = field(default_factory=lambda: Series(()))
    _first: dict[str, int] | None = None

    def add(self, time_s: float, counts: Mapping[str, int]) -> None:
        """Note the counters of a moment. What they were when this was first called counts as nothing."""
        if self._first is None or any(counts.get(name, 0) < count for name, count in self._first.items()):
            self._first = dict(counts)
        new = {name: count - self._first.get(name, 0) for name, count in counts.items()}
        names = tuple(name for name in new if new[name] or name in self.series.names)
        if names != self.series.names:
            before = self.series
            self.series = Series(names)
            old_times, *old = before.arrays()
            by_name = dict(zip(before.names, old, strict=True))
            for index, old_s in enumerate(old_times):
                self.series.add(old_s, *(by_name[name][index] if name in by_name else 0.0 for name in names))
        if names:
            self.series.add(time_s, *(float(new[name]) for name in names))


@dataclass
class Outcomes:
    """Trials that were over, and how many of them were successes."""

    series: Series = field(default_factory=lambda: Series(("trials", "lifted")))
    trials: int = 0
    lifted: int = 0
    _open: object = None  # the trial under way
    _closed: object = None  # the one that was counted last
    _success: bool = False

    def add(self, trial: object, success: bool, done: bool) -> None:
        """Note the state of a trial; one that gives way to another, too, is over."""
        if trial != self._open:
            self._close()
            self._open, self._success = trial, False
        self._success = self._success or success
        if done or success:
            self._close()

    def _close(self) -> None:
        if self._open is None or self._closed == self._open:
            return
        self._closed = self._open
        self.trials += 1
        self.lifted += self._success
        self.series.add(float(self.trials), float(self.trials), float(self.lifted))
