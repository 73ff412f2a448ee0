import numpy as np

from udg_datagen.planning.planner import FreeCheck, MotionProblem, OmplPlanner, PlannerConfig, plan_path, segment

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


def problem(is_free: FreeCheck, vias: tuple[np.ndarray, ...] = ()) -> MotionProblem:
    """From (0, 0) to (1, 0) among what is free."""
    return MotionProblem(
        start=np.zeros(2),
        goal=np.array([1.0, 0.0]),
        moving=np.arange(2),
        lower=np.full(2, -2.0),
        upper=np.full(2, 2.0),
        is_free=is_free,
        vias=vias,
    )


def wall(q: np.ndarray) -> np.ndarray:
    return ~((np.abs(q[:, 0] - 0.5) < 0.1) & (np.abs(q[:, 1]) < 0.4))


def test_a_free_straight_line_is_taken_before_any_via() -> None:
    path = OmplPlanner().plan(problem(lambda q: np.ones(len(q), dtype=bool), (np.array([[0.5, 1.0]]),)), 0)
    assert path is not None and path.how == "straight"
    np.testing.assert_array_equal(path.waypoints, [[0.0, 0.0], [1.0, 0.0]])


def test_the_first_vias_that_are_free_are_taken_before_a_search() -> None:
    blocked, free, later = np.array([[0.5, 0.2]]), np.array([[0.2, 0.8], [0.8, 0.8]]), np.array([[0.5, -1.0]])
    path = OmplPlanner().plan(problem(wall, (blocked, free, later)), 0)
    assert path is not None and path.how == "via"
    np.testing.assert_array_equal(path.waypoints, [[0.0, 0.0], [0.2, 0.8], [0.8, 0.8], [1.0, 0.0]])
    other = OmplPlanner().plan(problem(wall, (blocked, free, later)), 1)
    assert other is not None
    np.testing.assert_array_equal(path.waypoints, other.waypoints)  # no seed is asked


def test_what_no_via_solves_is_searched_for() -> None:
    path = OmplPlanner().plan(problem(wall, (np.array([[0.5, 0.2]]),)), 0)
    assert path is not None and path.how == "search"
    assert wall(path.waypoints).all()
    shut = OmplPlanner(PlannerConfig(checks=300)).plan(problem(lambda q: np.abs(q[:, 0] - 0.5) > 0.1), 0)
    assert shut is None
