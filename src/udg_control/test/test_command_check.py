"""What the processes of devices refuse, and how much time a command stands for."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.command_check import MOST_PERIODS, as_numbers, first_refusal, periods_between, refusal

LOWER, UPPER = np.array([-1.0, -2.0]), np.array([1.0, 2.0])


@pytest.mark.parametrize("q", [[0.0, 0.0], [1.0, 2.0], [-1.0, -2.0], [1.0 + 5e-7, 0.0]])
def test_what_lies_within_the_limits_but_for_rounding_is_taken(q: list[float]) -> None:
    assert refusal(np.array(q), LOWER, UPPER) == ""


@pytest.mark.parametrize(
    ("q", "why"),
    [([np.nan, 0.0], "not 2 finite"), ([np.inf, 0.0], "not 2 finite"), ([0.0, 2.0 + 2e-6], "limits")],
)
def test_the_rest_is_refused_by_name(q: list[float], why: str) -> None:
    assert why in refusal(np.array(q), LOWER, UPPER)


def test_a_command_of_another_length_is_refused_as_not_finite() -> None:
    assert as_numbers(np.array([1, 2]), 2) == (1.0, 2.0)
    assert "not 2 finite" in refusal(np.array(as_numbers(np.zeros(3), 2)), LOWER, UPPER)


def test_the_first_command_is_near_the_joints() -> None:
    assert first_refusal(np.array([0.1, -0.1]), np.zeros(2), 0.1) == ""
    assert first_refusal(np.array([0.0, -0.2]), np.zeros(2), 0.1) == (
        "the first command is 0.200 rad from the joints (0.1 allowed)"
    )


@pytest.mark.parametrize(
    ("after_ms", "periods"),
    [(10, 1), (14, 1), (16, 2), (30, 3), (0, 0), (4, 0), (400, MOST_PERIODS), (1000, 1), (-10, 1)],
)
def test_a_command_stands_for_the_periods_since_the_last_one(after_ms: int, periods: int) -> None:
    assert periods_between(5_000_000_000, 5_000_000_000 + after_ms * 1_000_000, 0.01) == periods
