"""Judges a command by where it leads, where the arms can stop after it, and where they may be on the way there."""

from __future__ import annotations

import dataclasses

import numpy as np

from udg_control.collision import CollisionCheck, CollisionConfig, Gaps, Hazard, Violation
from udg_control.rooms import Rooms
from udg_description.layout import ARM_PLACES, SIDES

_BETWEEN = np.linspace(0.0, 1.0, 5)[:, None]  # places between the joints and the command that are looked at
_BOX_SLACK_M = 0.02  # by which joints may leave the box to which commands are kept
_CREEP_M = 2e-4  # from one look to the next: what is measured trembles
_CREEP_SINCE_M = 2e-3  # in all since the overlap began
_FINGERS_M_PER_RAD = 0.1  # how fast the margin of fingers grows with how far the arms are behind
_ARM_JOINTS = ARM_PLACES.reshape(len(SIDES), -1).T  # (6, 2) the same joint of both arms


class CollisionWatch:
    """Looks at commands; most of them pass by what the last look has found.

    A command and the stop after it keep the margins of the configuration. Where the joints are behind, either arm may
    be anywhere between its measured place and its stop, each of its joints at a rate of its own, while the other is
    elsewhere on its own way (one is slow, or stops by itself): for all of these the arms keep `lag_margin_m`. Where the
    joints are, no links overlap.
    """

    def __init__(self, config: CollisionConfig) -> None:
        self.check = CollisionCheck(config)
        self._joints = CollisionCheck(_for_joints(config), self.check.model)
        self._ways = _Ways(self._joints, config.lag_margin_m)
        self._rooms, self._joint_rooms = (Rooms(check, check.pairs) for check in (self.check, self._joints))
        self._way_rooms = Rooms(self._joints, self._ways.pairs, world=False)
        self._way_places = self._ways.flat(self._way_rooms.pairs)
        self._measured: np.ndarray | None = None
        self._best: Gaps | None = None  # largest gaps of the joints since they overlap

    def start(self) -> None:
        """Forget where the joints were: the robot may have been moved."""
        self._measured = self._best = None

    def judge(self, before: np.ndarray, now: np.ndarray, q_measured: np.ndarray) -> Violation | None:
        """The worst of what a command runs into, None if there is nothing.

        `before` and `now` (2, 36) [rad] are the last command and this one, each with the place where it can stop;
        `q_measured` (36,) [rad] where the joints are. What gets no worse is let pass: a robot too close must be able to
        leave.
        """
        violation = self._look_at_command(before, now) or self._look_at_joints(q_measured)
        self._measured = q_measured
        return violation or self._look_at_ways(before, now, q_measured)

    def _look_at_command(self, before: np.ndarray, now: np.ndarray) -> Violation | None:
        if np.array_equal(now[0], before[0]) or self._rooms.surely_free(now):
            return None
        check = self.check
        at_command, at_stop = (check.gaps_of(centers) for centers in check.centers_world(now))
        both = at_command.least(at_stop)
        self._rooms.take(now, check.spare_m(both), both)
        if check.worst(both) is None:
            return None
        old = check.gaps(before[0])
        return check.worst(at_command, old) or check.worst(at_stop, old)

    def _look_at_joints(self, q_measured: np.ndarray) -> Violation | None:
        if self._joint_rooms.surely_free(q_measured[None]):
            self._best = None
            return None
        check = self._joints
        gaps = check.gaps(q_measured)
        self._joint_rooms.take(q_measured[None], check.spare_m(gaps), gaps)
        violation = check.worst(gaps)
        if violation is None or self._measured is None:
            self._best = None
            return None
        before = check.gaps(self._measured)
        best = self._best or before
        self._best = best.most(gaps)
        return check.worst(gaps, before, _CREEP_M) or check.worst_since(gaps, best, _CREEP_SINCE_M)

    def _look_at_ways(self, before: np.ndarray, now: np.ndarray, q_measured: np.ndarray) -> Violation | None:
        ways = _ways(q_measured, now)
        if self._way_rooms.surely_free(ways):
            return None
        spare_m = self._ways.spare_m(ways)
        self._way_rooms.take(ways, spare_m[self._way_places])
        if not (spare_m < 0.0).any():
            return None
        return self._ways.worst(spare_m, self._ways.spare_m(_ways(q_measured, before)))


def _ways(q_measured: np.ndarray, ends: np.ndarray) -> np.ndarray:
    """Places (K, 36) [rad] from the joints to a command and on to its stop."""
    return np.concatenate([q_measured + _BETWEEN * (ends[0] - q_measured), ends[1:]])


def _for_joints(config: CollisionConfig) -> CollisionConfig:
    """What is asked of where the joints are: no overlap, the two sides `lag_margin_m` apart."""
    slack = np.array([-_BOX_SLACK_M, _BOX_SLACK_M])
    low, high = (np.add.outer(slack, (config.workspace_min_m, config.workspace_max_m))[i, i] for i in (0, 1))
    return dataclasses.replace(
        config,
        self_margin_m=0.0,
        arms_margin_m=min(config.arms_margin_m, config.lag_margin_m),
        arms_finger_margin_m=min(config.arms_finger_margin_m, config.lag_margin_m),
        table_margin_m=0.0,
        table_palm_margin_m=min(config.table_palm_margin_m, 0.0),
        table_finger_margin_m=min(config.table_finger_margin_m, 0.0),
        workspace_min_m=tuple(low.tolist()),
        workspace_max_m=tuple(high.tolist()),
    )


class _Ways:
    """How far the arms keep apart, each anywhere on its way."""

    def __init__(self, check: CollisionCheck, margin_m: float) -> None:
        """Fingers, which may be commanded to touch, keep `margin_m` [m] only by the amount that the arms lag."""
        self._check = check
        left = check.side == SIDES[0]
        self._left, self._right = np.flatnonzero(left), np.flatnonzero(~left)
        here = np.ix_(self._left, self._right)
        counts = (check.checked | check.checked.T)[here]
        self._least = np.where(counts, check.least_m[here], -np.inf)
        self._lack = np.maximum(check.radii[here[0]] + check.radii[here[1]] + margin_m - self._least, 0.0)
        a, b = np.nonzero(counts)
        self.pairs = np.column_stack([self._left[a], self._right[b]])  # (N, 2) spheres left and right

    def flat(self, pairs: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Where the values of pairs (N, 2) stand in `spare_m`."""
        return np.searchsorted(self._left, pairs[:, 0]), np.searchsorted(self._right, pairs[:, 1])

    def spare_m(self, ways: np.ndarray) -> np.ndarray:
        """Distance less the allowed one [m] of left against right spheres on the ways (K, 36) [rad].

        At least that, to first order in how far each joint has to go.
        """
        stray = self._stray(ways)
        centers = self._check.centers_world(ways)
        low, high = centers.min(axis=0), centers.max(axis=0)
        middle = 0.5 * (low + high)
        extent = np.sqrt(np.square(centers - middle).sum(axis=-1).max(axis=0))
        extent += np.sqrt(np.square(stray).sum(axis=-1)).sum(axis=0)
        left, right = self._left, self._right
        least = self._least + np.minimum(
            self._lack, _FINGERS_M_PER_RAD * float(np.ptp(ways[:, ARM_PLACES], axis=0).max())
        )
        spare = _distances(middle[left], middle[right]) - (extent[left][:, None] + extent[right]) - least
        a, b = np.nonzero(spare < 0.0)
        if len(a):
            half = 0.5 * np.sqrt(np.square(np.diff(centers, axis=0)).sum(axis=-1).max(axis=0))
            apart = centers[:, None, left[a]] - centers[None, :, right[b]]  # (K, K, P, 3)
            squares = np.square(apart).sum(axis=-1).reshape(-1, len(a))
            nearest, each = squares.argmin(axis=0), np.arange(len(a))
            square = squares[nearest, each]
            toward = apart.reshape(-1, len(a), 3)[nearest, each] / np.sqrt(np.maximum(square, 1e-12))[:, None]
            square = square - np.square(half[left[a]] + half[right[b]])  # nearest between two of the places
            spare[a, b] = np.sqrt(np.maximum(square, 0.0)) - least[a, b]
            for spheres in (left[a], right[b]):
                along = np.einsum("jpx,px->jp", stray[:, spheres], toward)
                spare[a, b] -= np.abs(along).sum(axis=0) - np.abs(along.sum(axis=0))
        return spare

    def _stray(self, ways: np.ndarray) -> np.ndarray:
        """What each of an arm's joints alone moves the spheres (6, S, 3) [m] by, from the middle of its way to its end.

        Along a direction the straight way covers their sum. Joints that go at rates of their own, each within its
        way, cover the sum of their amounts.
        """
        low, high = ways.min(axis=0), ways.max(axis=0)
        q = np.tile(0.5 * (low + high), (1 + len(_ARM_JOINTS), 1))
        for row, joints in enumerate(_ARM_JOINTS, start=1):
            q[row, joints] += (0.5 * np.copysign(high - low, ways[-1] - ways[0]))[joints]
        centers = self._check.centers_world(q)
        return centers[1:] - centers[0]

    def worst(self, spare_m: np.ndarray, before_m: np.ndarray) -> Violation | None:
        """The worst pair of both arms that has become worse."""
        bad = np.where(spare_m < np.minimum(before_m - 1e-9, 0.0), spare_m, np.inf)
        index = np.unravel_index(int(np.argmin(bad)), bad.shape)
        if not np.isfinite(bad[index]):
            return None
        check, a, b = self._check, self._left[index[0]], self._right[index[1]]
        gap_m = float(bad[index] + self._least[index] - check.radii[a] - check.radii[b])
        return Violation(Hazard.ARMS, check.links[a], check.links[b], gap_m)


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances (n, m) of points (n, 3) from points (m, 3)."""
    square = np.square(a).sum(axis=1)[:, None] + np.square(b).sum(axis=1) - 2.0 * (a @ b.T)
    return np.sqrt(np.maximum(square, 0.0))
