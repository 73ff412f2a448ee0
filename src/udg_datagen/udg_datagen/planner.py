"""Collision-free paths of one or both arms between two configurations, by OMPL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from ompl import base as ob
from ompl import geometric as og
from ompl import util as ou


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    resolution_rad: float = 0.06  # spacing of the configurations checked along a segment
    time_limit_s: float = 5.0
    iterations: int = 4000  # validity checks before giving up: the same on a slow machine as on a fast one

    def __post_init__(self) -> None:
        if self.resolution_rad <= 0 or self.time_limit_s <= 0 or self.iterations < 1:
            raise ValueError("PlannerConfig: resolution_rad, time_limit_s and iterations must be positive")


def segment(start: np.ndarray, goal: np.ndarray, resolution_rad: float) -> np.ndarray:
    """Configurations (n, d) from start to goal, both included, at most ``resolution_rad`` apart."""
    n = max(2, int(np.ceil(np.abs(goal - start).max() / resolution_rad)) + 1)
    return start + np.linspace(0.0, 1.0, n)[:, None] * (goal - start)


def plan_path(
    start: np.ndarray,
    goal: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    is_free: Callable[[np.ndarray], np.ndarray],
    config: PlannerConfig,
    seed: int,
) -> np.ndarray | None:
    """A path (n, d) [rad] from start to goal inside the limits on which ``is_free`` holds, or None.

    ``is_free`` takes configurations (B, d) and returns (B,) bool. The straight line is tried first; RRT-Connect with
    shortcutting otherwise. The same seed gives the same path.
    """
    straight = segment(start, goal, config.resolution_rad)
    if is_free(straight).all():
        return np.stack([start, goal])
    if not is_free(np.stack([start, goal])).all():
        return None
    return _rrt_connect(start, goal, lower, upper, is_free, config, seed)


def _rrt_connect(
    start: np.ndarray,
    goal: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    is_free: Callable[[np.ndarray], np.ndarray],
    config: PlannerConfig,
    seed: int,
) -> np.ndarray | None:
    ou.noOutputHandler()
    ou.RNG.setSeed(seed % 2**31 + 1)
    dof = len(start)
    space = ob.RealVectorStateSpace(dof)
    bounds = ob.RealVectorBounds(dof)
    for i in range(dof):
        bounds.setLow(i, float(lower[i]))
        bounds.setHigh(i, float(upper[i]))
    space.setBounds(bounds)
    setup = og.SimpleSetup(space)
    checks = 0

    def valid(state: Sequence[float]) -> bool:
        nonlocal checks
        checks += 1
        return checks <= config.iterations and bool(is_free(np.array([[state[i] for i in range(dof)]]))[0])

    setup.setStateValidityChecker(valid)
    information = setup.getSpaceInformation()
    information.setStateValidityCheckingResolution(config.resolution_rad / space.getMaximumExtent())
    planner = og.RRTConnect(information)
    planner.setRange(0.6)
    setup.setPlanner(planner)
    ends = []
    for q in (start, goal):
        state = space.allocState()
        for i in range(dof):
            state[i] = float(q[i])
        ends.append(state)
    setup.setStartAndGoalStates(*ends)
    setup.solve(config.time_limit_s)
    if not setup.haveExactSolutionPath():
        return None
    setup.simplifySolution()
    path = setup.getSolutionPath()
    return np.array([[path.getState(k)[i] for i in range(dof)] for k in range(path.getStateCount())])
