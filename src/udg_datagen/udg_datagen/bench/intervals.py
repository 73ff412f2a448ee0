"""Shares with their uncertainty."""

from __future__ import annotations

import math
from typing import NamedTuple

_Z95 = 1.959964


class Share(NamedTuple):
    """`held` of `total`, and the 95 % interval of Wilson; nan for none of none."""

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
    p, z2 = count / total, _Z95**2
    centre = (p + z2 / (2 * total)) / (1 + z2 / total)
    half = _Z95 / (1 + z2 / total) * math.sqrt(p * (1 - p) / total + z2 / (4 * total**2))
    return Share(count, total, p, max(0.0, centre - half), min(1.0, centre + half))
