import numpy as np

from udg_datagen.planner import PlannerConfig, plan_path, segment

LOWER, UPPER = np.full(2, -1.0), np.full(2, 1.0)
START, GOAL = np.array([-0.8, 0.0]), np.array([0.8, 0.0])


def outside_wall(q: np.ndarray) -> np.ndarray:
    """A wall at x = 0 with a gap above y = 0.6."""
    return (np.abs(q[:, 0]) > 0.1) | (q[:, 1] > 0.6)


def test_a_free_segment_is_taken_straight() -> None:
    path = plan_path(START, GOAL, LOWER, UPPER, lambda q: np.ones(len(q), dtype=bool), PlannerConfig(), 0)
    assert path is not None
    np.testing.assert_array_equal(path, [START, GOAL])


def test_a_path_round_a_wall_is_free_and_inside_the_limits() -> None:
    path = plan_path(START, GOAL, LOWER, UPPER, outside_wall, PlannerConfig(), 3)
    assert path is not None
    np.testing.assert_allclose(path[[0, -1]], [START, GOAL])
    dense = np.concatenate([segment(a, b, 0.01) for a, b in zip(path[:-1], path[1:], strict=True)])
    assert (np.abs(dense) <= 1.0 + 1e-9).all()
    between_checks = PlannerConfig().resolution_rad
    assert (outside_wall(dense) | (dense[:, 1] > 0.6 - between_checks)).all()


def test_the_same_seed_gives_the_same_path() -> None:
    first = plan_path(START, GOAL, LOWER, UPPER, outside_wall, PlannerConfig(), 7)
    plan_path(START, GOAL, LOWER, UPPER, outside_wall, PlannerConfig(), 8)
    again = plan_path(START, GOAL, LOWER, UPPER, outside_wall, PlannerConfig(), 7)
    assert first is not None and again is not None
    np.testing.assert_array_equal(first, again)


def test_a_blocked_goal_gives_no_path() -> None:
    assert plan_path(START, np.zeros(2), LOWER, UPPER, outside_wall, PlannerConfig(), 0) is None


def test_a_closed_wall_gives_no_path() -> None:
    closed = PlannerConfig(checks=300)
    assert plan_path(START, GOAL, LOWER, UPPER, lambda q: np.abs(q[:, 0]) > 0.1, closed, 0) is None
