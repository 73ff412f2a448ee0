import numpy as np
import pytest

from udg_datagen.planning.trajectory import merge_slow_steps, time_path


def rates(start: np.ndarray, steps: np.ndarray, dt_s: float) -> tuple[np.ndarray, np.ndarray]:
    """Largest speed and acceleration (d,) of the steps, at rest before and after."""
    held = np.vstack([start, start, steps, steps[-1]])
    return np.abs(np.diff(held, axis=0)).max(axis=0) / dt_s, np.abs(np.diff(held, 2, axis=0)).max(axis=0) / dt_s**2


def test_a_straight_move_with_cruise_by_hand() -> None:
    # 1 rad at 0.5 rad/s and 1 rad/s^2: 0.5 s up (0.125 rad), 1.5 s cruise (0.75 rad), 0.5 s down: 2.5 s in all.
    q, at = time_path(np.array([[0.0], [1.0]]), np.array([0.5]), np.array([1.0]), 0.5)
    np.testing.assert_allclose(q[:, 0], [0.125, 0.375, 0.625, 0.875, 1.0], atol=2e-3)
    np.testing.assert_allclose(at, q[:, 0], atol=1e-6)


def test_a_short_move_never_reaches_the_speed() -> None:
    # 0.25 rad at 1 rad/s^2 never reaches 2 rad/s: 0.5 s up, 0.5 s down.
    q, _ = time_path(np.array([[0.0], [0.25]]), np.array([2.0]), np.array([1.0]), 0.25)
    np.testing.assert_allclose(q[:, 0], [0.03125, 0.125, 0.21875, 0.25], atol=2e-3)


def test_a_path_of_no_length_has_no_step() -> None:
    q, at = time_path(np.zeros((3, 2)), np.ones(2), np.ones(2), 0.1)
    assert q.shape == (0, 2) and at.shape == (0,)


@pytest.mark.parametrize("corner_rad", [0.02, 0.1, 0.5])
@pytest.mark.parametrize("seed", range(4))
def test_speed_and_acceleration_are_kept_on_random_paths(seed: int, corner_rad: float) -> None:
    rng = np.random.default_rng(seed)
    waypoints = np.cumsum(rng.uniform(-0.8, 0.8, (5, 12)), axis=0)
    velocity, acceleration = rng.uniform(0.5, 2.0, 12), rng.uniform(2.0, 8.0, 12)
    q, at = time_path(waypoints, velocity, acceleration, 0.1, corner_rad)
    np.testing.assert_array_equal(q[-1], waypoints[-1])
    assert (np.diff(at) >= 0).all() and at[-1] == 4
    speed, change = rates(waypoints[0], q, 0.1)
    assert (speed <= velocity * 1.001).all()
    assert (change <= acceleration * 1.021).all()


def test_corners_are_passed_within_their_size_and_in_less_time_than_by_stopping() -> None:
    waypoints = np.array([[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]])
    sharp, _ = time_path(waypoints, np.ones(2), np.full(2, 3.0), 0.02, corner_rad=0.005)
    rounded, at = time_path(waypoints, np.ones(2), np.full(2, 3.0), 0.02, corner_rad=0.1)
    assert len(rounded) < len(sharp)
    off = np.minimum(np.abs(rounded[:, 1]), np.abs(rounded[:, 0] - 1.0))
    assert 0.01 < off.max() <= 0.025 + 1e-9  # a parabola passes a right corner at a quarter of its size
    assert off[(at < 0.9) | (at > 1.1)].max() < 1e-9


def test_a_segment_can_be_slower_than_the_others() -> None:
    waypoints = np.array([[0.0], [1.0], [2.0]])
    q, at = time_path(waypoints, np.array([[1.0], [0.2]]), np.array([4.0]), 0.1)
    moves = np.diff(np.concatenate([[0.0], q[:, 0]]))
    assert moves[at <= 0.9].max() > 0.09
    assert moves[at > 1.1].max() <= 0.02 + 1e-9


def test_slow_steps_are_merged_but_the_end_is_kept() -> None:
    targets = np.array([[0.001], [0.002], [0.02], [0.021], [0.0215]])
    kept = merge_slow_steps(targets, np.zeros(1), np.array([0.01]))
    assert kept.tolist() == [2, 4]
