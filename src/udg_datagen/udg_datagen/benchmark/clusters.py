"""Shares of trials with intervals and tests that take the trials of one object as a cluster.

Ten trials of one object tell less than ten of different objects: their outcomes are alike. Variances are therefore
those of the ratio of the objects' sums (linearised, as of a cluster sample: Cochran, Sampling Techniques, ch. 11).
Intervals are Wilson's with the number of trials that would give that variance if all were independent, less for few
objects by Student's t (Korn and Graubard 1998; compared by Dean and Pagano, J. Surv. Stat. Methodol. 3, 2015): they
stay within [0, 1], and have a width where all trials went alike. Where each object has one trial it is about Wilson's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Hashable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
from scipy.stats import t as student

_Z = 1.959963984540054
_FLIPS = 20_000  # random ones, where there are too many to try all
_ALL_UP_TO = 12  # objects with a difference: 4096 flips


class Share(NamedTuple):
    """A share of trials; nan and [0, 1] where there are none."""

    successes: int
    trials: int
    objects: int
    value: float
    lower: float
    upper: float

    def __str__(self) -> str:
        if not self.trials:
            return "-"
        return f"{100 * self.value:.1f} [{100 * self.lower:.1f}, {100 * self.upper:.1f}]"


class _Estimate(NamedTuple):
    value: float
    variance: float
    objects: int
    successes: int
    trials: int


def share(outcomes: Sequence[tuple[Hashable, bool]]) -> Share:
    """Of (object, success) of trials, with its 95 % interval."""
    found = _estimate(outcomes)
    return Share(found.successes, found.trials, found.objects, found.value, *_interval(found, found.objects - 1))


def mean_share(groups: Sequence[Sequence[tuple[Hashable, bool]]]) -> Share:
    """Mean of the shares of groups of objects (sizes), each counting alike; groups without a trial are skipped."""
    parts = [_estimate(group) for group in groups if group]
    count = len(parts)
    if not count:
        return share([])
    mean = _Estimate(
        value=sum(part.value for part in parts) / count,
        variance=sum(part.variance for part in parts) / count**2,
        objects=sum(part.objects for part in parts),
        successes=sum(part.successes for part in parts),
        trials=sum(part.trials for part in parts),
    )
    return Share(mean.successes, mean.trials, mean.objects, mean.value, *_interval(mean, mean.objects - count))


def _estimate(outcomes: Sequence[tuple[Hashable, bool]]) -> _Estimate:
    sums: dict[Hashable, list[int]] = {}
    for name, success in outcomes:
        one = sums.setdefault(name, [0, 0])
        one[0] += success
        one[1] += 1
    trials, objects = len(outcomes), len(sums)
    if not trials:
        return _Estimate(math.nan, math.nan, 0, 0, 0)
    successes = sum(one[0] for one in sums.values())
    value = successes / trials
    apart = sum((one[0] - value * one[1]) ** 2 for one in sums.values())
    variance = apart * objects / (objects - 1) / trials**2 if objects > 1 else math.nan
    return _Estimate(value, variance, objects, successes, trials)


def _interval(found: _Estimate, freedom: int) -> tuple[float, float]:
    """Wilson's interval of as many independent trials as tell as much."""
    if not found.trials:
        return 0.0, 1.0
    p, n = found.value, float(found.objects)  # at least, where nothing tells how alike an object's trials are
    if freedom >= 1 and found.variance > 0.0:
        n = p * (1.0 - p) / found.variance
    if freedom >= 1:
        n *= (_Z / float(student.ppf(0.975, freedom))) ** 2
    n = min(n, float(found.trials))
    middle = (p + _Z**2 / (2.0 * n)) / (1.0 + _Z**2 / n)
    half = _Z / (1.0 + _Z**2 / n) * math.sqrt(p * (1.0 - p) / n + _Z**2 / (4.0 * n**2))
    return max(0.0, middle - half), min(1.0, middle + half)


class Difference(NamedTuple):
    """B - A on the same trials, with its 95 % interval, and p: how likely one as large is if both are alike."""

    trials: int
    objects: int
    a: float
    b: float
    difference: float
    lower: float
    upper: float
    p: float


def difference(a: Mapping[tuple[str, int], bool], b: Mapping[tuple[str, int], bool]) -> Difference:
    """Outcomes of two policies by (object, seed); trials that only one has done are skipped.

    The interval is that of a ratio of the objects' sums (Student's t). p is of the test that exchanges A and B in all
    trials of an object at once, at random (all ways for up to 12 objects that differ).
    """
    common = sorted(set(a) & set(b))
    sums: dict[str, list[int]] = {}
    for key in common:
        one = sums.setdefault(key[0], [0, 0])
        one[0] += int(b[key]) - int(a[key])
        one[1] += 1
    trials, objects = len(common), len(sums)
    if not trials:
        return Difference(0, 0, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)
    rate_a, rate_b = (sum(outcomes[key] for key in common) / trials for outcomes in (a, b))
    value = sum(one[0] for one in sums.values()) / trials
    half = math.nan
    if objects > 1:
        apart = sum((one[0] - value * one[1]) ** 2 for one in sums.values())
        variance = apart * objects / (objects - 1) / trials**2
        half = float(student.ppf(0.975, objects - 1)) * math.sqrt(variance)
    p = _flip_p(np.array([one[0] for one in sums.values() if one[0]], dtype=np.int64))
    return Difference(trials, objects, rate_a, rate_b, value, value - half, value + half, p)


def _flip_p(sums: np.ndarray) -> float:
    """Share of the ways to flip signs of `sums` whose total is as far from 0."""
    if not len(sums):
        return 1.0
    total = abs(int(sums.sum()))
    if len(sums) <= _ALL_UP_TO:
        signs = np.array(list(itertools.product((-1, 1), repeat=len(sums))))
        return float(np.mean(np.abs(signs @ sums) >= total))
    signs = np.random.default_rng(0).integers(0, 2, (_FLIPS, len(sums)), dtype=np.int8).astype(np.int64) * 2 - 1
    return float((1 + np.count_nonzero(np.abs(signs @ sums) >= total)) / (1 + _FLIPS))
