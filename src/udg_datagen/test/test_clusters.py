"""Intervals and tests over clusters, worked out by hand."""

import math

import pytest

from udg_datagen.clusters import difference, mean_difference, mean_share, share
from udg_datagen.intervals import wilson_interval


def trials(*objects: str) -> list[tuple[int, bool]]:
    """Objects 0, 1, ... by their trials: "110" is two successes and a failure."""
    return [(number, outcome == "1") for number, text in enumerate(objects) for outcome in text]


def test_the_interval_is_wilsons_with_the_trials_that_tell_as_much() -> None:
    """Objects with 2/2, 2/2, 1/2, 0/2: p = 5/8; deviations from 2 p = 5/4: 3/4, 3/4, -1/4, -5/4, squares sum to 11/4.

    Variance = 11/4 * 4/3 / 64 = 11/192; as many independent trials: (5/8 * 3/8) / (11/192) = 45/11 = 4.0909. Student's
    t of 3 degrees is 3.18245: times (1.95996 / 3.18245)^2 = 0.379293 that is 1.551654 trials.
    """
    found = share(trials("11", "11", "10", "00"))
    n, p, z = 45 / 11 * (1.959963984540054 / 3.182446305284263) ** 2, 5 / 8, 1.959963984540054
    assert n == pytest.approx(1.551654, abs=1e-5)
    middle = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    assert (found.successes, found.trials, found.objects, found.value) == (5, 8, 4, 0.625)
    assert (found.lower, found.upper) == pytest.approx((middle - half, middle + half))


def test_with_one_trial_of_each_of_many_objects_it_is_wilsons_own() -> None:
    found = share(trials(*"1" * 600, *"0" * 400))
    assert (found.lower, found.upper) == pytest.approx(wilson_interval(600, 1000), abs=2e-4)


def test_trials_of_one_object_that_always_go_alike_count_as_one() -> None:
    """100 objects by 10 equal trials: as wide as one trial each, not as a thousand."""
    alike = share(trials(*["1" * 10] * 60, *["0" * 10] * 40))
    single = share(trials(*"1" * 60, *"0" * 40))
    assert (alike.lower, alike.upper) == pytest.approx((single.lower, single.upper))


def test_where_all_trials_succeed_there_is_still_an_interval() -> None:
    found = share(trials("111", "111", "111"))
    assert found.upper == pytest.approx(1.0) and 0.1 < found.lower < 0.9
    assert str(share([])) == "-"


def test_the_mean_of_groups_counts_each_alike() -> None:
    """1/1 of one group and 2/4 of another: 3/4, not 3/5; variances a quarter of the sum of both."""
    small, large = trials("1", "1"), [(f"b{n}", s) for n, s in trials("1", "1", "0", "0")]
    both = mean_share([small, [], large])
    assert both.value == 0.75 and both.trials == 6
    assert both.lower < 0.75 < both.upper <= 1.0


def test_a_difference_is_tested_object_by_object() -> None:
    """b wins 2, 1 and 1 trials of three objects of 2 trials, a none: two of the eight flips are as far from 0."""
    a = {(name, seed): False for name in "xyz" for seed in (0, 1)}
    b = {**a, ("x", 0): True, ("x", 1): True, ("y", 0): True, ("z", 1): True}
    found = difference(a, {**b, ("only b", 0): True})
    assert (found.trials, found.objects, found.a) == (6, 3, 0.0)
    assert found.difference == pytest.approx(4 / 6) and found.p == 2 / 8
    # deviations from 2 * 2/3 = 4/3: 2/3, -1/3, -1/3, squares sum to 2/3; variance 2/3 * 3/2 / 36 = 1/36; t_2 = 4.30265
    assert (found.lower, found.upper) == pytest.approx((2 / 3 - 4.302653 / 6, 1.0), abs=1e-6)


def test_alike_policies_do_not_differ_but_two_objects_do_not_prove_it() -> None:
    """As if one object more differed: standard error 1/3, Student's t of one degree 12.7."""
    outcomes = {("x", 0): True, ("y", 0): False}
    found = difference(outcomes, outcomes)
    assert (found.p, found.difference, found.lower, found.upper) == (1.0, 0.0, -1.0, 1.0)
    many = {(str(n), 0): True for n in range(99)}
    assert difference(many, many).upper == pytest.approx(1.984467 / 100, abs=1e-6)  # t of 98 degrees
    assert difference(outcomes, {}).trials == 0


def test_the_mean_of_differences_counts_each_group_alike() -> None:
    """b wins 1 of 1 small trial and none of 3 large ones: (1 + 0) / 2; exchanging the one object is as far from 0."""
    lost, won = {("s", 0): False}, {("s", 0): True}
    same = {(name, 0): True for name in "xyz"}
    found = mean_difference([(lost, won), ({}, {}), (same, same)])
    assert (found.trials, found.objects, found.a, found.b) == (4, 4, 0.5, 1.0)
    assert (found.difference, found.p) == (0.5, 1.0)


def test_a_group_of_one_object_widens_the_mean() -> None:
    """1 of 1 and 50 of 100 objects: the first tells next to nothing, so the mean of 3/4 is uncertain by a fifth."""
    found = mean_share([trials("1"), [(f"b{n}", n < 50) for n in range(100)]])
    assert found.value == 0.75 and found.lower < 0.55 and found.upper > 0.85
    alike = mean_share([trials(*"1" * 50), [(f"b{n}", True) for n in range(50)]])
    assert alike.upper == pytest.approx(1.0) and 0.92 < alike.lower < 0.97


def test_many_objects_are_flipped_at_random_but_the_same_way_each_time() -> None:
    a = {(f"{n}", 0): False for n in range(40)}
    b = {key: n < 20 for n, key in enumerate(a)}
    assert difference(a, b).p == difference(a, b).p < 1e-3
