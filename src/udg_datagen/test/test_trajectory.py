import numpy as np
import pytest

from udg_datagen.trajectory import follow_path, merge_slow_steps, time_law


def test_time_law_by_hand_with_cruise() -> None:
    # 1 m at 0.5 m/s and 1 m/s^2: 0.5 s up (0.125 m), 1.5 s cruise (0.75 m), 0.5 s down: 2.5 s in all.
    s = time_law(1.0, 0.5, 1.0, 0.5)
    np.testing.assert_allclose(s, [0.125, 0.375, 0.625, 0.875, 1.0])


def test_time_law_by_hand_without_cruise() -> None:
    # 0.25 m at 1 m/s^2 never reaches 2 m/s: 0.5 s up, 0.5 s down.
    np.testing.assert_allclose(time_law(0.25, 2.0, 1.0, 0.25), [0.03125, 0.125, 0.21875, 0.25])


def test_time_law_of_an_empty_path_has_no_step() -> None:
    assert len(time_law(0.0, 1.0, 1.0, 0.1)) == 0


@pytest.mark.parametrize("dt_s", [0.1, 0.033])
def test_a_followed_path_ends_at_its_end_and_keeps_to_the_speed(dt_s: float) -> None:
    waypoints = np.array([[0.0, 0.0], [1.0, 0.2], [1.0, -0.7]])
    velocity = np.array([1.2, 0.6])
    steps = follow_path(waypoints, velocity, dt_s)
    np.testing.assert_allclose(steps[-1], waypoints[-1])
    moves = np.diff(np.vstack([waypoints[:1], steps]), axis=0)
    assert (np.abs(moves) <= velocity * dt_s + 1e-9).all()


def test_slow_steps_are_merged_but_the_end_is_kept() -> None:
    targets = np.array([[0.001], [0.002], [0.02], [0.021], [0.0215]])
    kept = merge_slow_steps(targets, np.zeros(1), np.array([0.01]))
    assert kept.tolist() == [2, 4]
