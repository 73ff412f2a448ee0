"""The budget of heat: numbers worked out by hand, and currents seen in real hands."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.xhand import XHandConfig
from udg_control.xhand.heat import MotorHeat

EXCHANGE_S = 0.012
CONFIG = XHandConfig()


def seconds_until_hot(current_a: float, longest_s: float = 60.0, before_a: float = 0.0) -> float:
    heat = MotorHeat(1e-3 * CONFIG.over_current_ma, CONFIG.over_current_s)
    heat.update(np.full(12, before_a), 1e6)
    for k in range(round(longest_s / EXCHANGE_S)):
        if heat.update(np.full(12, current_a), EXCHANGE_S).max() >= 1.0:
            return (k + 1) * EXCHANGE_S
    return float("inf")


@pytest.mark.parametrize(("times", "constants"), [(1.2, 1.186), (2.0, 0.2877), (3.0, 0.1178)])
def test_a_current_above_the_lasting_one_uses_the_budget_up_after_a_known_time(times: float, constants: float) -> None:
    """-log(1 - 1 / times^2) time constants."""
    expected_s = constants * CONFIG.over_current_s
    assert seconds_until_hot(times * 1e-3 * CONFIG.over_current_ma) == pytest.approx(expected_s, abs=0.015)


def test_a_squeeze_is_no_fault_and_a_blocked_finger_is_one() -> None:
    """Five joints at 0.7 to 1.1 A, the thumb at 1.54 A for half a second: as logged of real hands."""
    assert seconds_until_hot(1.1) == float("inf")
    assert seconds_until_hot(1.54, longest_s=0.6, before_a=0.65) == float("inf")
    assert seconds_until_hot(1.54, longest_s=0.6, before_a=1.1) == float("inf")
    assert 1.0 < seconds_until_hot(1.54) < 5.0


def test_it_cools_and_sign_and_rate_do_not_matter() -> None:
    heat = MotorHeat(1.0, 2.0)
    heat.update(np.full(12, -1.2), 1.0)
    coarse = heat.share.copy()
    fine = MotorHeat(1.0, 2.0)
    for _ in range(100):
        fine.update(np.full(12, 1.2), 0.01)
    np.testing.assert_allclose(fine.share, coarse)
    np.testing.assert_allclose(fine.update(np.zeros(12), 2.0), coarse / np.e)
