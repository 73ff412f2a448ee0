"""Measured arms never touch, however they lag; `python -m udg_control.emulators.lag --cases 10000` plays them all."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.emulators import lag
from udg_description.layout import HOME_Q, part_indices

CASES = 60  # in both quick runs together


@pytest.mark.parametrize("seed", range(2))
def test_measured_arms_never_overlap(seed: int) -> None:
    result = lag.lag_cases(CASES // 2, seed)
    assert result.overlaps == 0 and result.nearest_m > 0.0
    assert result.nearest_m < 0.02  # they came close
    assert {"collision_arms", "step_from_measured"} <= set(result.by_reason)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(3))
def test_measured_arms_never_overlap_in_many_cases(seed: int) -> None:
    """A sample of what `python -m udg_control.emulators.lag` plays 10,000 cases of."""
    assert lag.lag_cases(1000, 200 + seed).overlaps == 0


def test_the_judge_tells_arms_apart_from_arms_that_overlap() -> None:
    q = np.array([HOME_Q, HOME_Q])
    q[1, part_indices("left_arm").start] -= 0.6
    q[1, part_indices("right_arm").start] += 0.6
    apart_m, overlap_m = lag.ArmGaps()(q)
    assert apart_m > 0.3 and overlap_m < 0.0
