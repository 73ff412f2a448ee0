"""Shares with their uncertainty."""

from __future__ import annotations

import math
from typing import NamedTuple

from scipy.stats import binomtest


class Share(NamedTuple):
    """`held` of `total` with Wilson's 95 % interval; nan where `total` is 0."""

    held: int
    total: int
    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        if self.total == 0:
            return "-"
        return f"{self.value:.2f} [{self.lower:.2f}, {self.upper:.2f}] ({self.held}/{self.total})"


def share(count: int, total: int) -> Share:
    """Share of `count` in `total` with Wilson's 95 % interval (J. Am. Stat. Assoc. 22, 1927)."""
    if not 0 <= count <= total:
        raise ValueError(f"count {count} of {total}: valid is 0 <= count <= total")
    if total == 0:
        return Share(0, 0, math.nan, math.nan, math.nan)
    lower, upper = binomtest(count, total).proportion_ci(method="wilson")
    return Share(count, total, count / total, float(lower), float(upper))


def wilson_interval(successes: int, trials: int) -> tuple[float, float]:
    """95 % interval of a share; (0, 1) where there were no trials."""
    found = share(successes, trials)
    return (found.lower, found.upper) if trials else (0.0, 1.0)
