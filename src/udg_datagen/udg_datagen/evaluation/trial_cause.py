"""Why a closed-loop trial failed, so that failures can be counted."""

from __future__ import annotations

from collections import deque
from typing import Literal

import numpy as np

from udg_description.frames import HAND_PREFIXES
from udg_description.transforms import rotation_angle
from udg_sim.physics.world import World

Cause = Literal["dropped", "lifted_too_little", "knocked_away", "stalled", "touched_not_lifted", "never_touched"]
"""Failed trials by the first that is true: it fell after it had risen by 5 cm; it rose by 5 cm but not high or long
enough; it was moved by 10 cm along the table, tipped over, or fell off it; the robot stood still for the last 3 s; a
hand touched it; no hand did."""
_RISEN_M = 0.05
_FALLEN_M = 0.03
_AWAY_M = 0.1
_TIPPED_RAD = 1.0
_STILL_S = 3.0
_STILL_RAD = 0.02  # of every joint
_TOUCH_N = 0.1
_SHIFT_M, _TURN_RAD = 0.002, np.deg2rad(2.0)


def cause_of(placed: np.ndarray, now: np.ndarray, raised_m: float, *, touched: bool, still: bool) -> Cause:
    """Why a trial failed: the pose (4, 4) of the object in world at its start and at its end, the most that it has
    risen [m], whether a hand touched it, and whether the robot stood still at last."""
    height_m = float(now[2, 3] - placed[2, 3])
    moved_m = float(np.linalg.norm(now[:2, 3] - placed[:2, 3]))
    up = now[:3, :3] @ placed[2, :3]  # where what was up at the start points to now
    tipped_rad = float(np.arccos(np.clip(up[2], -1.0, 1.0)))
    if raised_m >= _RISEN_M:
        return "dropped" if height_m < raised_m - _FALLEN_M else "lifted_too_little"
    if moved_m > _AWAY_M or tipped_rad > _TIPPED_RAD or height_m < -_RISEN_M:
        return "knocked_away"
    if still:
        return "stalled"
    return "touched_not_lifted" if touched else "never_touched"


def cause_of_states(Ts_world_object: np.ndarray, q: np.ndarray, raised_m: float, step_s: float) -> Cause:
    """The same from the states of a trial: poses (T, 4, 4), joints (T, 36) [rad], one each `step_s`.

    Contacts are not known here: the object counts as touched if it has moved by 2 mm or turned by 2 deg.
    """
    first = Ts_world_object[0]
    shift_m = np.linalg.norm(Ts_world_object[:, :3, 3] - first[:3, 3], axis=1).max()
    turn_rad = max(rotation_angle(first[:3, :3], T[:3, :3]) for T in Ts_world_object)
    last = q[-1 - round(_STILL_S / step_s) :] if len(q) * step_s > _STILL_S else q[:0]
    still = len(last) > 0 and float(np.ptp(last, axis=0).max()) < _STILL_RAD
    touched = bool(shift_m > _SHIFT_M or turn_rad > _TURN_RAD)
    return cause_of(first, Ts_world_object[-1], raised_m, touched=touched, still=still)


class TrialWatch:
    """Watches a trial, once a step."""

    def __init__(self, world: World) -> None:
        self._world, self._placed = world, world.T_world_object
        self._recent: deque[tuple[float, np.ndarray]] = deque([(world.time_s, world.q)])
        self.raised_m = 0.0
        self.touched = False

    @property
    def height_m(self) -> float:
        """How much higher the object is than at the start."""
        return float(self._world.T_world_object[2, 3] - self._placed[2, 3])

    def look(self) -> None:
        """Look at the world after a step."""
        world = self._world
        self.raised_m = max(self.raised_m, self.height_m)
        self.touched = self.touched or bool(world.contacts(_TOUCH_N, wanted=_hand_on_object))
        self._recent.append((world.time_s, world.q))
        while world.time_s - self._recent[1][0] >= _STILL_S:
            self._recent.popleft()

    def cause(self) -> Cause:
        """Why the trial failed."""
        now = self._world.T_world_object
        return cause_of(self._placed, now, self.raised_m, touched=self.touched, still=self._stands_still())

    def _stands_still(self) -> bool:
        if self._world.time_s - self._recent[0][0] < _STILL_S - 1e-6:
            return False
        return float(np.ptp([q for _, q in self._recent], axis=0).max()) < _STILL_RAD


def _hand_on_object(a: str, b: str) -> bool:
    return "object" in (a, b) and (a.startswith(HAND_PREFIXES) or b.startswith(HAND_PREFIXES))
