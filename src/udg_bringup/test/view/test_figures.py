"""Figures of the view."""

from __future__ import annotations

from udg_bringup.view.figures import KEPT, Outcomes, Rejections, Series


def test_a_series_keeps_the_newest_points_and_begins_anew_when_time_goes_back() -> None:
    series = Series(("a", "b"))
    for k in range(KEPT + 5):
        series.add(float(k), k, -k)
    times, a, b = series.arrays()
    assert len(times) == KEPT and times[0] == 5.0 and a[-1] == KEPT + 4 and b[-1] == -KEPT - 4
    series.add(0.0, 1.0, 2.0)
    assert [array.tolist() for array in series.arrays()] == [[0.0], [1.0], [2.0]]


def test_rejections_count_from_the_first_look_and_get_a_line_when_they_occur() -> None:
    rejections = Rejections()
    rejections.add(0.0, {"stale_chunk": 7, "velocity": 0})
    assert rejections.series.names == ()
    rejections.add(1.0, {"stale_chunk": 9, "velocity": 0})
    rejections.add(2.0, {"stale_chunk": 9, "velocity": 1})
    assert rejections.series.names == ("stale_chunk", "velocity")
    times, stale, velocity = rejections.series.arrays()
    assert times.tolist() == [1.0, 2.0] and stale.tolist() == [2.0, 2.0] and velocity.tolist() == [0.0, 1.0]


def test_a_controller_that_starts_again_counts_from_there() -> None:
    rejections = Rejections()
    rejections.add(0.0, {"velocity": 5})
    rejections.add(1.0, {"velocity": 0})
    rejections.add(2.0, {"velocity": 3})
    assert rejections.series.arrays()[1].tolist() == [3.0]


def test_a_trial_counts_once_when_it_is_over_or_gives_way_to_another() -> None:
    outcomes = Outcomes()
    for trial, success, done in [
        (0, False, False),
        (0, True, False),
        (0, True, True),
        (1, False, False),
        (1, False, True),
        (1, False, True),
        (2, False, False),
        (3, False, False),
    ]:
        outcomes.add(trial, success, done)
    assert (outcomes.trials, outcomes.lifted) == (3, 1)
