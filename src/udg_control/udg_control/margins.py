"""Keeps chunks out of the margins of the safety filter: they slide along them instead.

A policy errs by a centimetre where the filter allows none: its command is refused, the robot stands, what it sees stays
the same, and so does the next command. The filter still judges everything that leaves.
"""

from __future__ import annotations

from typing import Protocol

import numpy as np
from scipy.optimize import nnls

from udg_control.collision import CollisionCheck
from udg_description.limits import JointLimits

_NEAR_M = 0.06  # bodies further apart than that, less their margin, do not limit a step
_SHARE = 0.8  # of the room that one step may use up
_DEEP = 0.5  # of the reserve; farther in, a step only leads out: sliding on, it would dip into the margin on its way
_SHORTER = np.array([1.0, 0.7, 0.4, 0.2, 0.1, 0.05])  # what is tried of a step that to first order would be free


class KeepsMargins(Protocol):
    """Settings of who keeps them."""

    @property
    def keep_margins(self) -> bool: ...
    @property
    def reserve_m(self) -> float: ...


def margin_keeper(check: CollisionCheck | None, limits: JointLimits, config: KeepsMargins) -> MarginKeeper | None:
    """The keeper that the settings ask for; None where there is none."""
    return None if check is None or not config.keep_margins else MarginKeeper(check, limits, config.reserve_m)


class MarginKeeper:
    """Takes from each step of a chunk what would lead into the margins of a `CollisionCheck`, and leaves the rest.

    Velocity dampers (Faverjon and Tournassoud, ICRA 1987): of the room between two bodies, less margin and reserve, a
    step may use up a share; where there is none left, it may lead along or away. Among the steps that keep to this, to
    first order, the one nearest to the step that was asked for is taken, in the joints' angles.
    """

    def __init__(self, check: CollisionCheck, limits: JointLimits, reserve_m: float) -> None:
        """`reserve_m` [m] is kept beyond the margins, because the filter also looks at the way and at the stop."""
        self._check, self._limits, self._reserve_m = check, limits, reserve_m

    def keep(self, chunk: np.ndarray, start: np.ndarray) -> tuple[np.ndarray, int]:
        """Chunk (K, 36) [rad] that continues from `start` (36,) [rad], and how many of its points were moved."""
        kept = np.array(chunk, dtype=float)
        if not np.isfinite(kept).all() or (self._least(np.concatenate([start[None], kept])) > _NEAR_M).all():
            return kept, 0  # of what is not finite the filter says so
        moved, here = 0, start
        for k, wanted in enumerate(kept):
            here = self._step(here, wanted)
            moved += here is not wanted
            kept[k] = here
        return kept, moved

    def _least(self, q: np.ndarray) -> np.ndarray:
        """Smallest distance less the allowed one and the reserve (N,) [m] of configurations (N, 36)."""
        return self._check.least_m_of(q) - self._reserve_m

    def _step(self, here: np.ndarray, wanted: np.ndarray) -> np.ndarray:
        """The configuration (36,) to go to in place of `wanted`, which is returned itself where it is free."""
        spare_m, jacobian = self._rows(here)
        step = wanted - here
        floor_m = -_SHARE * np.maximum(spare_m, -self._reserve_m)  # out of the reserve, where it is in it
        lack_m = floor_m - jacobian @ step
        if (lack_m <= 0.0).all() and self._least(wanted[None])[0] >= 0.0:
            return wanted
        if (lack_m > 0.0).any() and spare_m.min() < -_DEEP * self._reserve_m:
            step, lack_m = np.zeros_like(step), floor_m
        step = step + _shortest(jacobian, lack_m)
        places = self._limits.clip(here + _SHORTER[:, None] * step)
        least_m = self._least(np.concatenate([here[None], places]))
        allowed = np.flatnonzero(least_m[1:] >= min(least_m[0], 0.0))  # where there is no room, there is none to lose
        return places[allowed[0]] if len(allowed) else here

    def _rows(self, q: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Room (R,) [m] between what is near each other at q, and its derivatives by the joints (R, 36)."""
        check = self._check
        frames = check.frames(q[None])
        centers = check.centers_in(frames)[0]
        pairs, least_m = check.near_pairs(centers, _NEAR_M + self._reserve_m)
        first, second = (np.ascontiguousarray(spheres) for spheres in pairs.T)
        apart = centers[first] - centers[second]
        distance_m = np.linalg.norm(apart, axis=1)
        apart /= np.maximum(distance_m, 1e-9)[:, None]
        spare = [distance_m - least_m - self._reserve_m]
        of_first, of_second = (check.motion(frames[0], centers, spheres, apart) for spheres in (first, second))
        rows = [of_first - of_second]
        for room_m, direction in check.walls(centers):
            near = room_m - self._reserve_m < _NEAR_M
            spheres = np.flatnonzero(near)
            spare.append(room_m[near] - self._reserve_m)
            rows.append(check.motion(frames[0], centers, spheres, np.tile(direction, (len(spheres), 1))))
        return np.concatenate(spare), np.concatenate(rows)


def _shortest(jacobian: np.ndarray, least: np.ndarray) -> np.ndarray:
    """The shortest x (n,) with jacobian (R, n) x >= least (R,), by Lawson and Hanson's LDP; 0 where there is none."""
    stacked = np.concatenate([jacobian, least[:, None]], axis=1).T
    wanted = np.zeros(len(stacked))
    wanted[-1] = 1.0
    try:
        weights, _ = nnls(stacked, wanted)
    except RuntimeError:  # too many iterations
        return np.zeros(jacobian.shape[1])
    residual = stacked @ weights - wanted
    return -residual[:-1] / residual[-1] if abs(residual[-1]) > 1e-9 else np.zeros(jacobian.shape[1])
