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
from typing import Any, NamedTuple

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
    if count < 2:
        return share([outcome for group in groups for outcome in group])
    mean = _Estimate(
        value=sum(part.value for part in parts) / count,
        variance=sum(_variance(part) for part in parts) / count**2,
        objects=sum(part.objects for part in parts),
        successes=sum(part.successes for part in parts),
        trials=sum(part.trials for part in parts),
    )
    return Share(mean.successes, mean.trials, mean.objects, mean.value, *_interval(mean, mean.objects - count))


def _variance(part: _Estimate) -> float:
    """Of a group of a mean; that of Wilson's middle where its objects say nothing: there is one, or all went alike."""
    if part.variance > 0.0:
        return part.variance
    return _spread(part.value, part.objects) / part.objects


def _spread(p: float, n: float) -> float:
    """Variance of one trial by Wilson's middle of n trials: not 0 where all went alike."""
    middle = (p + _Z**2 / (2.0 * n)) / (1.0 + _Z**2 / n)
    return middle * (1.0 - middle)


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
        n = (p * (1.0 - p) or _spread(p, n)) / found.variance
    if freedom >= 1:
        n *= (_Z / float(student.ppf(0.975, freedom))) ** 2
    n = min(n, float(found.trials))
    middle = (p + _Z**2 / (2.0 * n)) / (1.0 + _Z**2 / n)
    half = _Z / (1.0 + _Z**2 / n) * math.sqrt(p * (1.0 - p) / n + _Z**2 / (4.0 * n**2))
    return max(0.0, min(p, middle - half)), min(1.0, max(p, middle + half))  # rounding must not leave p outside


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


Outcomes = Mapping[tuple[str, Any], bool]
"""Success by (object, which trial of it)."""


def difference(a: Outcomes, b: Outcomes) -> Difference:
    """Of two policies; trials that only one has done are skipped."""
    return mean_difference([(a, b)])


def mean_difference(groups: Sequence[tuple[Outcomes, Outcomes]]) -> Difference:
    """Mean of the differences of groups of objects (sizes), each counting alike; groups without a trial are skipped.

    The interval is Student's, of ratios of the objects' sums. p is of the test that exchanges A and B in all trials of
    an object at once, at random (all ways for up to 12 objects that differ).
    """
    parts = [part for a, b in groups if (part := _sums(a, b)).trials]
    count = len(parts)
    if not count:
        return Difference(0, 0, math.nan, math.nan, math.nan, math.nan, math.nan, math.nan)
    value = sum(part.value for part in parts) / count
    objects = sum(len(part.sums) for part in parts)
    half = math.nan
    if objects > count:
        variance = sum(part.variance() for part in parts) / count**2
        half = float(student.ppf(0.975, objects - count)) * math.sqrt(variance)
    flipped = np.array([won / part.trials for part in parts for won, _ in part.sums if won])
    return Difference(
        trials=sum(part.trials for part in parts),
        objects=objects,
        a=sum(part.a for part in parts) / count,
        b=sum(part.b for part in parts) / count,
        difference=value,
        lower=max(-1.0, value - half),
        upper=min(1.0, value + half),
        p=_flip_p(flipped),
    )


def p_text(p: float) -> str:
    """For a table: no smaller than random exchanges can tell."""
    return "< 0.0001" if p < 1e-4 else f"{p:.2g}"


class _Sums(NamedTuple):
    """Of a group: (trials that B won more than A, trials) of each object; rates of both."""

    sums: list[tuple[int, int]]
    trials: int
    a: float
    b: float

    @property
    def value(self) -> float:
        return self.b - self.a

    def variance(self) -> float:
        """Of the difference; where its objects say nothing (one, or all went alike): as if one object more differed."""
        objects = len(self.sums)
        apart = sum((won - self.value * trials) ** 2 for won, trials in self.sums)
        if objects > 1 and apart > 0.0:
            return apart * objects / (objects - 1) / self.trials**2
        return 1.0 / (objects + 1) ** 2


def _sums(a: Outcomes, b: Outcomes) -> _Sums:
    common = sorted(set(a) & set(b))
    by: dict[str, list[int]] = {}
    for key in common:
        one = by.setdefault(key[0], [0, 0])
        one[0] += int(b[key]) - int(a[key])
        one[1] += 1
    trials = len(common)
    rates = (sum(outcomes[key] for key in common) / trials if trials else math.nan for outcomes in (a, b))
    return _Sums([(won, count) for won, count in by.values()], trials, *rates)


def _flip_p(sums: np.ndarray) -> float:
    """Share of the ways to flip signs of `sums` whose total is as far from 0."""
    if not len(sums):
        return 1.0
    total = abs(sums.sum()) - 1e-9
    if len(sums) <= _ALL_UP_TO:
        signs = np.array(list(itertools.product((-1, 1), repeat=len(sums))))
        return float(np.mean(np.abs(signs @ sums) >= total))
    signs = np.random.default_rng(0).integers(0, 2, (_FLIPS, len(sums)), dtype=np.int8).astype(np.int64) * 2 - 1
    return float((1 + np.count_nonzero(np.abs(signs @ sums) >= total)) / (1 + _FLIPS))
