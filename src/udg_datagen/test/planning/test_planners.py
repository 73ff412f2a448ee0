"""What every motion planner promises; cuRobo's side is a fake of its API (`fake_curobo.py`)."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import trimesh

from udg_datagen.demonstrations.demonstration import DemoConfig
from udg_datagen.planning.curobo_planner import CuroboError, CuroboPlanner
from udg_datagen.planning.planner import FreeCheck, MotionPlanner, MotionProblem, OmplPlanner, dense
from udg_datagen.planning.planners import PLANNERS
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q, N_JOINTS, part_indices
from udg_description.limits import joint_limits

_spec = importlib.util.spec_from_file_location("fake_curobo", Path(__file__).parent / "fake_curobo.py")
fake_curobo = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(fake_curobo)

MOVING = part_indices("right_arm")


def everywhere(q: np.ndarray) -> np.ndarray:
    return np.ones(len(q), dtype=bool)


def nowhere_between(q: np.ndarray) -> np.ndarray:
    """Only the ends are free."""
    return (np.abs(q - HOME_Q).max(axis=1) < 1e-6) | (np.abs(q - goal()).max(axis=1) < 1e-6)


def goal() -> np.ndarray:
    q = HOME_Q.copy()
    q[MOVING] += 0.3
    q[part_indices("right_hand")] += 0.05
    return q


def problem(is_free: FreeCheck, obstacles: tuple = ()) -> MotionProblem:
    limits = joint_limits()
    return MotionProblem(
        start=HOME_Q.copy(),
        goal=goal(),
        moving=MOVING,
        lower=limits.lower,
        upper=limits.upper,
        is_free=is_free,
        obstacles=obstacles,
    )


@pytest.fixture(params=["ompl", "curobo, faked"])
def planner(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> MotionPlanner:
    if request.param == "ompl":
        return OmplPlanner()
    fake_curobo.install(monkeypatch)
    return CuroboPlanner(device="cpu")


def test_a_path_leads_exactly_from_start_to_goal_and_is_free(planner: MotionPlanner) -> None:
    asked = problem(everywhere)
    path = planner.plan(asked, 0)
    assert path is not None and path.waypoints.shape[1] == N_JOINTS and path.waypoints.dtype == np.float64
    np.testing.assert_array_equal(path.waypoints[[0, -1]], [asked.start, asked.goal])
    assert asked.is_free(dense(path.waypoints, 0.06)).all()


def test_where_nothing_is_free_there_is_no_path(planner: MotionPlanner) -> None:
    assert planner.plan(problem(nowhere_between), 0) is None


def test_the_same_seed_gives_the_same_path(planner: MotionPlanner) -> None:
    paths = [planner.plan(problem(everywhere), 3) for _ in range(2)]
    np.testing.assert_array_equal(paths[0].waypoints, paths[1].waypoints)


# --- what cuRobo is told ----------------------------------------------------------------------------------------------


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type:
    return fake_curobo.install(monkeypatch)


def test_curobo_gets_the_table_at_first_and_the_obstacles_of_each_problem(fake: type) -> None:
    planner = CuroboPlanner(device="cpu")
    (made,) = fake.made
    assert set(made.config.scene_model["cuboid"]) == {"table"} and made.config.scene_model["mesh"] == {}
    T = np.eye(4)
    T[:3, 3] = 0.6, 0.0, 0.05
    planner.plan(problem(everywhere, ((trimesh.creation.box((0.1, 0.1, 0.1)), T),)), 0)
    assert made.calls == ["warmup", "reset_seed", "update_world", "plan_cspace"]
    assert set(made.world["mesh"]) == {"object_0"}


@pytest.mark.parametrize("how", ["fails", "none"])
def test_a_search_of_curobo_without_success_is_no_path(fake: type, how: str) -> None:
    setattr(fake, how, True)
    assert CuroboPlanner(device="cpu").plan(problem(everywhere), 0) is None


# --- by name ----------------------------------------------------------------------------------------------------------


def test_settings_name_a_planner_that_exists() -> None:
    assert DemoConfig().planner in PLANNERS
    with pytest.raises(UdgError, match="planner is 'rrt', valid: ompl, curobo"):
        DemoConfig(planner="rrt")


@pytest.mark.skipif(importlib.util.find_spec("curobo") is not None, reason="cuRobo is installed")
def test_a_planner_that_is_not_installed_says_what_is_needed() -> None:
    build: Callable[[], MotionPlanner] = PLANNERS["curobo"]
    with pytest.raises(CuroboError, match="cuRobo 2 or later"):
        build()
