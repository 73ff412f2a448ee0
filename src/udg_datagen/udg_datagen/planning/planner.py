"""Collision-free paths of one or both arms between two configurations of the robot, by OMPL."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple, Protocol

import numpy as np
import trimesh
from ompl import base as ob
from ompl import geometric as og
from ompl import util as ou

from udg_description.errors import UdgError

How = Literal["straight", "via", "search"]
FreeCheck = Callable[[np.ndarray], np.ndarray]
"""Configurations (B, d) [rad] to (B,) bool: which are free of collision."""


@dataclass(frozen=True, kw_only=True)
class PlannerConfig:
    """How long and how finely a path is searched for."""

    resolution_rad: float = 0.06  # spacing of the configurations checked along a segment
    range_rad: float = 0.8  # longest edge of the search trees
    margin_rad: float = 1.2  # how far beyond start and goal a joint is sampled
    checks: int = 6000  # configurations checked before giving up: the same on a slow machine as on a fast one
    shortcuts: int = 24  # attempts to shorten the path found

    def __post_init__(self) -> None:
        for name in ("resolution_rad", "range_rad", "margin_rad", "checks"):
            if getattr(self, name) <= 0:
                raise UdgError(f"PlannerConfig.{name} is {getattr(self, name)}, valid: > 0")
        if self.shortcuts < 0:
            raise UdgError(f"PlannerConfig.shortcuts is {self.shortcuts}, valid: >= 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class MotionProblem:
    """A motion of the whole robot from ``start`` to ``goal``, (36,) each [rad].

    The ``moving`` joints are planned together; the others (hands) go from start to goal in step with them.
    ``obstacles`` are what ``is_free`` knows, for planners with a collision world of their own.
    """

    start: np.ndarray
    goal: np.ndarray
    moving: np.ndarray  # (d,) indices
    lower: np.ndarray
    upper: np.ndarray
    is_free: FreeCheck
    obstacles: tuple[tuple[trimesh.Trimesh, np.ndarray], ...] = ()
    vias: tuple[np.ndarray, ...] = ()  # (n, 36) each: points to go by, tried in their order where straight is not free


class Path(NamedTuple):
    """Waypoints (n, 36) [rad] from start to goal, free in between, and how they were found."""

    waypoints: np.ndarray
    how: How


class MotionPlanner(Protocol):
    """What finds collision-free motions."""

    def plan(self, problem: MotionProblem, seed: int) -> Path | None:
        """A path from start to goal, or None."""
        ...


class OmplPlanner:
    """Straight, else by given points, else RRT-Connect on the CPU, with the caller's collision check."""

    def __init__(self, config: PlannerConfig | None = None) -> None:
        self.config = PlannerConfig() if config is None else config

    def plan(self, problem: MotionProblem, seed: int) -> Path | None:
        """A path, or None. The same seed gives the same one; only a search depends on it.

        All joints in proportion are tried first, then the same by the given points. Otherwise the moving joints are
        planned with the hands as at the goal; then the hands move on the way where that is free, or else before the
        arms start.
        """
        start, goal = problem.start, problem.goal
        for vias in (np.zeros((0, len(start))), *problem.vias):
            path = np.concatenate([start[None], vias, goal[None]])
            if problem.is_free(dense(path, self.config.resolution_rad)).all():
                return Path(path, "via" if len(vias) else "straight")
        found = self._searched(problem, seed)
        return None if found is None else Path(found, "search")

    def _searched(self, problem: MotionProblem, seed: int) -> np.ndarray | None:
        start, goal, moving = problem.start, problem.goal, problem.moving
        resolution = self.config.resolution_rad

        def is_free(q_moving: np.ndarray) -> np.ndarray:
            q = np.repeat(goal[None], len(q_moving), axis=0)
            q[:, moving] = q_moving
            return problem.is_free(q)

        lower, upper = problem.lower[moving], problem.upper[moving]
        found = plan_path(start[moving], goal[moving], lower, upper, is_free, self.config, seed)
        if found is None:
            return None
        length = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(found, axis=0), axis=1))])
        share = length / length[-1] if length[-1] > 0 else np.linspace(0.0, 1.0, len(found))
        path = start + share[:, None] * (goal - start)
        path[:, moving] = found
        if problem.is_free(dense(path, resolution)).all():
            return path
        ready = goal.copy()
        ready[moving] = start[moving]
        if not problem.is_free(segment(start, ready, resolution)).all():
            return None
        path = np.repeat(goal[None], len(found), axis=0)
        path[:, moving] = found
        return np.concatenate([start[None], path])


def segment(start: np.ndarray, goal: np.ndarray, resolution_rad: float) -> np.ndarray:
    """Configurations (n, d) from start to goal, both included, at most ``resolution_rad`` apart."""
    n = max(2, int(np.ceil(np.abs(goal - start).max() / resolution_rad)) + 1)
    return start + np.linspace(0.0, 1.0, n)[:, None] * (goal - start)


def dense(path: np.ndarray, resolution_rad: float) -> np.ndarray:
    """Configurations along the polyline ``path`` (n, d), at most ``resolution_rad`` apart."""
    pieces = [segment(a, b, resolution_rad)[1:] for a, b in zip(path[:-1], path[1:], strict=True)]
    return np.concatenate([path[:1], *pieces])


def plan_path(
    start: np.ndarray,
    goal: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    is_free: FreeCheck,
    config: PlannerConfig,
    seed: int,
) -> np.ndarray | None:
    """A path (n, d) [rad] from start to goal inside the limits on which ``is_free`` holds, or None.

    ``is_free`` takes configurations (B, d) and returns (B,) bool. The straight line is tried first; RRT-Connect with
    shortcutting otherwise. The same seed gives the same path.
    """
    if is_free(segment(start, goal, config.resolution_rad)).all():
        return np.stack([start, goal])
    if not is_free(np.stack([start, goal])).all():
        return None
    low = np.maximum(lower, np.minimum(start, goal) - config.margin_rad)
    high = np.minimum(upper, np.maximum(start, goal) + config.margin_rad)
    found = _rrt_connect(start, goal, low, high, is_free, config, seed)
    return None if found is None else _shortened(found, is_free, config, np.random.default_rng(seed))


class _EdgeValidator(ob.MotionValidator):
    """Checks all configurations of an edge in one call; refuses everything once the budget is spent."""

    def __init__(self, information: ob.SpaceInformation, is_free: FreeCheck, dof: int, config: PlannerConfig) -> None:
        super().__init__(information)
        self._is_free, self._dof, self._config = is_free, dof, config
        self.checks = 0

    @property
    def spent(self) -> bool:
        return self.checks >= self._config.checks

    def checkMotion(self, first: Sequence[float], last: Sequence[float]) -> bool:  # noqa: N802 (OMPL's name)
        if self.spent:
            return False
        a = np.array([first[i] for i in range(self._dof)])
        b = np.array([last[i] for i in range(self._dof)])
        edge = segment(a, b, self._config.resolution_rad)[1:]
        self.checks += len(edge)
        return bool(self._is_free(edge).all())


def _rrt_connect(
    start: np.ndarray,
    goal: np.ndarray,
    lower: np.ndarray,
    upper: np.ndarray,
    is_free: FreeCheck,
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
    information = ob.SpaceInformation(space)
    information.setStateValidityChecker(lambda state: True)  # edges are checked, ends included
    edges = _EdgeValidator(information, is_free, dof, config)
    information.setMotionValidator(edges)
    setup = og.SimpleSetup(information)
    planner = og.RRTConnect(information)
    planner.setRange(config.range_rad)
    setup.setPlanner(planner)
    ends = []
    for q in (start, goal):
        state = space.allocState()
        for i in range(dof):
            state[i] = float(q[i])
        ends.append(state)
    setup.setStartAndGoalStates(*ends)
    setup.solve(ob.PlannerTerminationCondition(lambda: edges.spent))
    found = None
    if setup.haveExactSolutionPath():
        path = setup.getSolutionPath()
        found = np.array([[path.getState(k)[i] for i in range(dof)] for k in range(path.getStateCount())])
    return found


def _shortened(path: np.ndarray, is_free: FreeCheck, config: PlannerConfig, rng: np.random.Generator) -> np.ndarray:
    """The path without detours: vertices that are not needed are skipped, then random shortcuts are taken."""
    k = 0
    while k < len(path) - 2:  # from each vertex to the farthest one in sight
        for far in range(len(path) - 1, k + 1, -1):
            if is_free(segment(path[k], path[far], config.resolution_rad)).all():
                path = np.concatenate([path[: k + 1], path[far:]])
                break
        k += 1
    for _ in range(config.shortcuts if len(path) > 2 else 0):
        arrival = np.concatenate([[0.0], np.cumsum(np.linalg.norm(np.diff(path, axis=0), axis=1))])
        from_s, to_s = np.sort(rng.uniform(0.0, arrival[-1], 2))
        before, after = np.searchsorted(arrival, [from_s, to_s], side="right")
        if before == after:  # on the same segment
            continue
        ends = np.stack([np.interp([from_s, to_s], arrival, column) for column in path.T], axis=1)
        if is_free(segment(ends[0], ends[1], config.resolution_rad)).all():
            path = np.concatenate([path[:before], ends, path[after:]])
    return path
