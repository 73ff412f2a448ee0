"""Trying again: notice that the hands hold nothing, or lost what they held, and lead them back to where they began.

Demonstrations show no way back from a grasp that failed, so a policy that learned from them dithers where it lost the
object. From where it began it makes another attempt, of a scene that has changed a little.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

import numpy as np

from udg_description.clock import STEP_S
from udg_description.cloud_labels import LABEL_SEEN
from udg_description.layout import N_JOINTS, SIDES, part_indices
from udg_description.settings import check_ranges, setting
from udg_policy.episodes.grasp import KEY_POINTS, key_points
from udg_policy.errors import ConfigError

REACHED_M, REACHED_POINTS = 0.03, 3  # so many seen points this near to a hand's palm and fingertips: it is there
NEAR_M = 0.25  # seen points this near to the hands that have reached it are of the object
LOWEST_PERCENT = 10.0  # its lowest points: some stray points lie lower
RISEN_M = 0.03  # it is lifted when these have risen by so much
HELD_STEPS, LOST_STEPS = 3.0, 2.0  # lifted for that long, and then not for so long: lost
ENOUGH_POINTS = 256  # of the seen ones, to tell whether a hand is at one
MIN_POINTS = 8  # fewer near the hands: the object is out of sight, or elsewhere if there are so many more there
BACK_M = 0.15  # from the seen points: far enough back
KEPT_STEPS = 600  # of the path
OPEN_STEPS = 3  # the fingers open before the arms leave,
STUCK_STEPS = 3.0  # unless no joint has moved for so long: a finger that something holds is freed by leaving
MOST_STEPS = 8.0  # that one look counts for: what was not seen is not held against the attempt
ARM_STEP_RAD, PATH_STEP_RAD = 0.15, 0.01  # of the way back from one target to the next; of the path that is kept
THERE_RAD = 0.1  # from the last target: the hands are back
BLOCKED_STEPS = 10.0  # no joint moved for so long: whatever blocks the way, the next attempt begins here
MOVED_RAD = 0.01

_ARMS, _HANDS = (
    np.concatenate([np.arange(N_JOINTS)[part_indices(f"{side}_{part}")] for side in SIDES]) for part in ("arm", "hand")
)
_TOUCHING = [index for index, name in enumerate(KEY_POINTS) if name != "wrist"]


@dataclass(frozen=True, kw_only=True)
class RetryConfig:
    """When an attempt has failed."""

    after_s: float = setting(
        3.5, "try again if the object hasn't risen so long after the hands reached it, or was lost [s]; 0: never", 0, 60
    )

    def __post_init__(self) -> None:
        check_ranges(self, ConfigError)


class Retry:
    """Watches one robot: `lead_back` whenever a chunk is planned."""

    def __init__(self, config: RetryConfig | None = None) -> None:
        self.config = RetryConfig() if config is None else config
        self.retries = 0
        """How often it has led back since `reset`."""
        self._attempt = _Attempt()
        self._way: np.ndarray | None = None  # back
        self._at = 0  # row of the way
        self._leaves = False  # the fingers are open, or cannot be opened here
        self._stands, self._stood = np.zeros(N_JOINTS), 0.0  # where the robot stands on it, and for how many steps

    def reset(self) -> None:
        """Forget everything: the first attempt begins."""
        self.retries = 0
        self._begin()

    def lead_back(self, points: np.ndarray, q: np.ndarray, chunk: int, steps: float = 1.0) -> np.ndarray | None:
        """Targets (chunk, 36) [rad] that lead back, one each 0.1 s; None while the policy shall act.

        points (M, 4): x, y, z [m, world], label; q (36,) measured joint angles [rad]; `steps` of 0.1 s since the last
        call.
        """
        if self.config.after_s == 0.0:
            return None
        steps = min(steps, MOST_STEPS)
        if self._way is None:
            if not self._attempt.has_failed(points, q, steps, self.config.after_s):
                return None
            self.retries += 1
            self._way, self._at, self._leaves = self._attempt.way_back(q), 0, False
            self._stands, self._stood = q, -steps
        if np.abs(q - self._stands).max() > MOVED_RAD:
            self._stands, self._stood = q, 0.0
        else:
            self._stood += steps
        if not self._leaves:
            return self._opening(q, chunk)
        ahead = np.abs(self._way[self._at :] - q)[:, _ARMS].max(axis=1)
        self._at += int(ahead.argmin())
        if ahead[-1] < THERE_RAD or self._stood >= BLOCKED_STEPS:
            self._begin()
            return None
        return self._rows(chunk, len(self._way))

    def _opening(self, q: np.ndarray, chunk: int) -> np.ndarray:
        """Targets while the fingers open, where the arms are; then the first of those that lead them back."""
        assert self._way is not None
        apart = np.abs(self._way[:OPEN_STEPS] - q)[:, _HANDS].max(axis=1)
        self._at = max(self._at, OPEN_STEPS - 1 - int(apart[::-1].argmin()))  # the last of equals: they are open
        is_open = self._at == OPEN_STEPS - 1 and apart[-1] < THERE_RAD
        if is_open or self._stood >= STUCK_STEPS:
            self._leaves, self._at, self._stood = True, OPEN_STEPS - 1, 0.0
            return self._rows(chunk, len(self._way))
        return self._rows(chunk, OPEN_STEPS)

    def _rows(self, chunk: int, end: int) -> np.ndarray:
        """The next rows of the way, before `end`; the last of them stays."""
        assert self._way is not None
        rows = np.arange(self._at + 1, self._at + 1 + chunk)
        return self._way[np.minimum(rows, end - 1)]

    def _begin(self) -> None:
        self._attempt, self._way = _Attempt(), None


class _Attempt:
    """What came of one attempt so far, and how the hands got to the object."""

    def __init__(self) -> None:
        self._path: deque[np.ndarray] = deque(maxlen=KEPT_STEPS)  # q (36,) until a hand reached the object
        self._gaps_m: deque[float] = deque(maxlen=KEPT_STEPS)  # from there to the seen points
        self._reached = np.zeros(len(SIDES), dtype=bool)
        self._low_m: float | None = None  # the object's lowest points when the hands reached it
        self._elsewhere = 0  # seen points that were not near the hands then
        self._waited = self._held = 0.0  # steps without the object lifted; with it
        self._low_looks = 0  # looks in a row without it lifted

    def has_failed(self, points: np.ndarray, q: np.ndarray, steps: float, after_s: float) -> bool:
        """Look at a moment, `steps` after the last one: whether it is time to go back."""
        seen = points[points[:, 3] == LABEL_SEEN, :3]
        keys = key_points(q)
        gaps_m = _gaps_m(keys, seen[:: max(1, len(seen) // ENOUGH_POINTS)])
        if not self._reached.any() and (not self._path or np.abs(q - self._path[-1])[_ARMS].max() > PATH_STEP_RAD):
            self._path.append(np.array(q, dtype=np.float64))
            self._gaps_m.append(float(gaps_m.min()))
        reached = self._reached | (gaps_m < REACHED_M)
        if not reached.any():
            return False
        lowest_m, elsewhere = _lowest_m(keys[reached].mean(axis=1), seen)
        if self._low_m is None:
            self._low_m = lowest_m
        if (reached != self._reached).any():
            if lowest_m is not None and self._low_m is not None:  # what the first hand has lifted stays lifted
                self._low_m = min(self._low_m, lowest_m)
            self._reached, self._elsewhere = reached, elsewhere
            return False
        if lowest_m is not None and self._low_m is not None and lowest_m >= self._low_m + RISEN_M:
            self._waited, self._held, self._low_looks = 0.0, self._held + steps, 0
        elif lowest_m is not None or self._held == 0.0 or elsewhere >= self._elsewhere + MIN_POINTS:
            self._waited += steps  # a hand may hide what it holds
            self._low_looks += 1
        lost = self._held >= HELD_STEPS and self._waited >= LOST_STEPS and self._low_looks > 1
        return lost or self._waited * STEP_S >= after_s

    def way_back(self, q: np.ndarray) -> np.ndarray:
        """Targets (n, 36) [rad] from q: open the fingers, then back along the path from where it is nearest."""
        path = np.array(self._path)
        arms = path[:, _ARMS]
        nearest = int(np.abs(arms - q[_ARMS]).max(axis=1).argmin())
        away = np.flatnonzero(np.array(self._gaps_m)[: nearest + 1] > BACK_M)
        end = int(away[-1]) if len(away) else 0
        corners = np.concatenate([q[_ARMS][None], arms[end : nearest + 1][::-1]])
        along = np.concatenate([[0.0], np.cumsum(np.abs(np.diff(corners, axis=0)).max(axis=1))])
        count = max(1, int(np.ceil(along[-1] / ARM_STEP_RAD)))
        where = np.linspace(0.0, along[-1], count + 1)[1:]
        opening, leaving = np.repeat(q[None], OPEN_STEPS, axis=0), np.repeat(q[None], count, axis=0)
        share = np.linspace(0.0, 1.0, OPEN_STEPS + 1)[1:, None]
        opening[:, _HANDS] += share * (path[end] - q)[_HANDS]
        leaving[:, _HANDS] = path[end, _HANDS]
        leaving[:, _ARMS] = np.stack([np.interp(where, along, joint) for joint in corners.T], axis=1)
        return np.concatenate([opening, leaving])


def _gaps_m(keys: np.ndarray, seen: np.ndarray) -> np.ndarray:
    """Within which distance (2,) [m] of palm and fingertips, of key points (2, 7, 3), a hand has REACHED_POINTS of the
    seen points (N, 3)."""
    if len(seen) < REACHED_POINTS:
        return np.full(len(keys), np.inf)
    of_points = np.linalg.norm(keys[:, _TOUCHING, None] - seen, axis=-1).min(axis=1)
    return np.asarray(np.partition(of_points, REACHED_POINTS - 1, axis=1)[:, REACHED_POINTS - 1])


def _lowest_m(hands: np.ndarray, seen: np.ndarray) -> tuple[float | None, int]:
    """Height [m, world] of the lowest seen points (N, 3) near hands (n, 3) [m], None without any, and how many are not
    near."""
    near = np.linalg.norm(seen[:, None] - hands, axis=-1).min(axis=1) < NEAR_M
    heights = seen[near, 2]
    lowest_m = float(np.percentile(heights, LOWEST_PERCENT)) if len(heights) >= MIN_POINTS else None
    return lowest_m, len(seen) - len(heights)
