"""Predicted collisions: the robot's spheres against itself, the other arm, the table and the edge of the workspace.

Quick enough for each command: the pairs of spheres are looked at in compiled loops (`sphere_loops`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import NamedTuple

import numpy as np

from udg_control.errors import SafetyConfigError
from udg_control.sphere_loops import least_pair_spare, motion, moving_frames, near_pairs, pair_gaps, placed
from udg_description.errors import RobotModelError
from udg_description.layout import SIDES, Side
from udg_description.model import RobotModel
from udg_description.robot import current_robot
from udg_description.settings import check_ranges, setting
from udg_description.spheres import CollisionSpheres

_FAR_M = 1e3


class Hazard(IntEnum):
    """What a configuration would run into."""

    SELF = 1  # links of one side
    ARMS = 2  # left against right
    TABLE = 3
    WORKSPACE = 4


@dataclass(frozen=True, kw_only=True)
class CollisionConfig:
    """How much room the spheres must keep. They already enclose the links, the fingers with about a millimetre.

    Fingers have margins of their own: they grasp off the table, and squeezing commands them beyond the contact, into
    object, table and each other, where their small torque limits keep them safe. Fingers of one hand are not checked
    against each other. One set of numbers for the robot, for trials in simulation and for what demonstrations plan.
    """

    enabled: bool = setting(True, "check commands for collisions")
    self_margin_m: float = setting(0.005, "gap between links of one side [m]", 0.0, 0.2)
    arms_margin_m: float = setting(0.03, "gap between the sides, but for fingers [m]", 0.0, 0.3)
    arms_finger_margin_m: float = setting(0.0, "gap of fingers from the other side [m]", -0.02, 0.3)
    table_margin_m: float = setting(0.02, "gap of forearms and wrists from the table [m]", 0.0, 0.3)
    table_palm_margin_m: float = setting(0.01, "gap of the palms from the table [m]", -0.02, 0.3)
    table_finger_margin_m: float = setting(
        -0.01, "gap of commanded fingers from the table [m]; negative, because grasping presses on it", -0.05, 0.3
    )
    lag_margin_m: float = setting(
        0.005, "gap that the arms keep wherever each is between its joints and where it can stop [m]", 0.0, 0.1
    )
    workspace_min_m: tuple[float, float, float] = setting(
        (-0.35, -1.0, -0.05), "lowest x, y, z of forearms, wrists and hands in the world [m]"
    )
    workspace_max_m: tuple[float, float, float] = setting(
        (1.1, 1.0, 1.1), "highest x, y, z of forearms, wrists and hands in the world [m]"
    )

    def __post_init__(self) -> None:
        """Check the numbers. Raises SafetyConfigError."""
        check_ranges(self, SafetyConfigError)
        low, high = np.array(self.workspace_min_m), np.array(self.workspace_max_m)
        if low.shape != (3,) or high.shape != (3,) or not np.isfinite([low, high]).all() or not (low < high).all():
            raise SafetyConfigError(
                f"CollisionConfig: workspace_min_m is {self.workspace_min_m}, workspace_max_m {self.workspace_max_m}; "
                "valid: three numbers each, lowest below highest"
            )


@dataclass(frozen=True)
class Violation:
    """The worst of what a configuration runs into."""

    hazard: Hazard
    first: str  # link
    second: str  # link, "table" or the side of the box
    gap_m: float  # negative: overlap of the spheres

    def __str__(self) -> str:
        """Say it for the operator."""
        return f"{self.first} would come within {1e3 * self.gap_m:.0f} mm of {self.second}"


@dataclass(frozen=True)
class Gaps:
    """Gaps less their margins of one configuration; negative means a violation."""

    pairs_m: np.ndarray  # (P,) of `CollisionCheck.pairs`: squared distance less the squared allowed one [m^2]
    table_m: np.ndarray  # (S,) [m]
    box_m: np.ndarray  # (S,) [m]

    def least(self, other: Gaps) -> Gaps:
        """The smaller gap of each of both."""
        return self._of_both(other, np.minimum)

    def most(self, other: Gaps) -> Gaps:
        """The larger gap of each of both."""
        return self._of_both(other, np.maximum)

    def _of_both(self, other: Gaps, choose: np.ufunc) -> Gaps:
        pairs = ((self.pairs_m, other.pairs_m), (self.table_m, other.table_m), (self.box_m, other.box_m))
        return Gaps(*(choose(a, b) for a, b in pairs))


class _Group(NamedTuple):
    """Spheres against spheres; pairs that are not checked need less than nothing."""

    hazard: Hazard
    first: np.ndarray  # (n,)
    second: np.ndarray  # (m,)
    least_m: np.ndarray  # (n, m)


def _block(hazard: Hazard, first: np.ndarray, second: np.ndarray, counts: np.ndarray, least: np.ndarray) -> _Group:
    """Those of the spheres (S,) that are in a checked pair."""
    pairs = counts & first[:, None] & second[None, :]
    a, b = np.flatnonzero(pairs.any(axis=1)), np.flatnonzero(pairs.any(axis=0))
    here = np.ix_(a, b)
    return _Group(hazard, a, b, np.where(pairs[here], least[here], -_FAR_M).astype(np.float32))


class CollisionCheck:
    """Tells whether configurations of the whole robot keep their distance."""

    def __init__(self, config: CollisionConfig, model: RobotModel | None = None) -> None:
        """`model` is the whole robot's, by default the shipped one."""
        self.config = config
        self.model = model or RobotModel()
        spheres = CollisionSpheres(self.model)
        self._links = self.links = spheres.link_of_sphere  # (S,)
        self._link = self.link_of_sphere = np.array([self.model.link_names.index(name) for name in self._links])
        self._tables = self.model.joint_tables
        self.centers_link = spheres.centers_link.numpy().astype(np.float64)
        self._frame = np.ascontiguousarray(self._tables.link_frame[self._link])
        T_frame_link = self._tables.T_frame_link[self._link]
        self._centers_frame = np.einsum("sij,sj->si", T_frame_link[:, :3, :3], self.centers_link)
        self._centers_frame += T_frame_link[:, :3, 3]
        self._radii = self.radii = spheres.radii.numpy().astype(np.float64)  # (S,) [m]
        names = [name.partition("_")[2] for name in self._links]
        self._side = self.side = np.array([name.partition("_")[0] for name in self._links])  # (S,)
        self._in_hand = np.array([name.startswith("hand_") for name in names])
        finger = self._in_hand & np.array([name != "hand_link" for name in names])
        arm = current_robot().arm
        standing = np.array([name in arm.standing_links for name in names])
        inner = np.array([name in arm.inner_links for name in names])
        self._moves = np.ascontiguousarray(self.model.joints_above()[self._link].T)  # (36, S)
        self._make_pairs(spheres, finger)
        self.finger = finger  # (S,) whether the sphere is a finger's
        margin = np.where(finger, config.table_finger_margin_m, config.table_margin_m)
        margin[self._in_hand & ~finger] = config.table_palm_margin_m
        self._table_least = np.where(standing, -_FAR_M, self._radii + margin)
        boxed = ~(standing | inner)
        self.standing, self.boxed = standing, boxed  # (S,)
        self._box_low = np.where(boxed[:, None], np.array(config.workspace_min_m) + self._radii[:, None], -_FAR_M)
        self._box_high = np.where(boxed[:, None], np.array(config.workspace_max_m) - self._radii[:, None], _FAR_M)

    def _make_pairs(self, spheres: CollisionSpheres, finger: np.ndarray) -> None:
        count = len(self._radii)
        checked = np.zeros((count, count), dtype=bool)
        first, second = spheres.checked_pairs.numpy().T
        checked[first, second] = True
        same_side = self._side[:, None] == self._side[None, :]
        checked &= ~(same_side & self._in_hand[:, None] & self._in_hand[None, :])
        any_finger = finger[:, None] | finger[None, :]
        margin = np.where(any_finger, self.config.arms_finger_margin_m, self.config.arms_margin_m)
        margin = np.where(same_side, self.config.self_margin_m, margin)
        least = np.maximum(self._radii[:, None] + self._radii[None, :] + margin, 0.0)
        self._same_side = same_side
        self.checked = checked  # (S, S), one triangle
        self.least_m = least  # (S, S) distance of centres that a checked pair needs [m]
        pairs = np.argwhere(checked)
        link = np.cumsum([a != b for a, b in zip(self._links, (self._links[0], *self._links), strict=False)])
        by_links = np.lexsort((link[pairs[:, 1]], link[pairs[:, 0]]))
        self.pairs = pairs[by_links]  # (P, 2) the checked ones; those of two links follow each other
        self._first, self._second = (np.ascontiguousarray(spheres) for spheres in self.pairs.T)
        self._pair_least = least[self._first, self._second]
        self._pair_square = self._pair_least**2
        self._groups = self._grouped(checked | checked.T, least)

    def _grouped(self, counts: np.ndarray, least: np.ndarray) -> list[_Group]:
        """The checked pairs as few blocks of spheres, for many configurations at once."""
        groups = []
        for first, side in enumerate(SIDES):
            own = self.side == side
            for other in SIDES[first + 1 :]:
                groups.append(_block(Hazard.ARMS, own, self.side == other, counts, least))
            for part in (own & self._in_hand, own & ~self._in_hand):
                groups.append(_block(Hazard.SELF, part, own & ~self._in_hand, counts, least))
        return groups

    def frames(self, q: np.ndarray) -> np.ndarray:
        """T_world_frame (N, 1 + n, 3, 4) of the moving frames for q (N, 36) [rad]."""
        tables = self._tables
        return moving_frames(
            np.array(q, dtype=np.float64), tables.constant, tables.sin, tables.cos, tables.columns, tables.parents
        )

    def centers_world(self, q: np.ndarray) -> np.ndarray:
        """Centres (S, 3) [m] of the spheres in the world for q (36,) [rad]; (N, S, 3) for q (N, 36)."""
        q = np.asarray(q)
        if q.shape[-1:] != (self.model.n_joints,) or q.ndim > 2:
            raise RobotModelError(f"q has shape {q.shape}, this model has {self.model.n_joints} joints")
        centers = self.centers_in(self.frames(q.reshape(-1, q.shape[-1])))
        return centers[0] if q.ndim == 1 else centers

    def centers_in(self, frames: np.ndarray) -> np.ndarray:
        """The same (N, S, 3) for `frames` (N, 1 + n, 3, 4)."""
        return placed(frames, self._frame, self._centers_frame)

    def gaps(self, q: np.ndarray) -> Gaps:
        """How far the configuration q (36,) [rad] is from each violation."""
        return self.gaps_of(self.centers_world(q))

    def gaps_of(self, centers: np.ndarray) -> Gaps:
        """How far spheres at `centers` (S, 3) [m] are from each violation."""
        centers = np.ascontiguousarray(centers)
        pairs = pair_gaps(centers, self._first, self._second, self._pair_square)
        box = np.minimum(centers - self._box_low, self._box_high - centers).min(axis=1)
        return Gaps(pairs, centers[:, 2] - self._table_least, box)

    def least_spare_m(self, centers: np.ndarray, sides: Sequence[Side] = SIDES) -> dict[Hazard, np.ndarray]:
        """Distance less the allowed one (N,) [m] by hazard, of spheres at `centers` (N, S, 3) [m] of the `sides`."""
        there = np.isin(self.side, sides)
        spare = {hazard: np.full(len(centers), np.inf) for hazard in Hazard}
        for hazard, a, b, least in self._groups:
            if there[a].all() and there[b].all():
                gap = _distances(centers[:, a], centers[:, b]) - least
                spare[hazard] = np.minimum(spare[hazard], gap.reshape(len(centers), -1).min(axis=1, initial=np.inf))
        spare[Hazard.TABLE] = (centers[..., 2] - self._table_least)[:, there].min(axis=1, initial=np.inf)
        box = np.minimum(centers - self._box_low, self._box_high - centers).min(axis=-1)
        spare[Hazard.WORKSPACE] = box[:, there].min(axis=1, initial=np.inf)
        return spare

    def spare_m(self, gaps: Gaps) -> np.ndarray:
        """Distance (P,) [m] of the spheres of `pairs` less the allowed one."""
        return np.sqrt(np.maximum(gaps.pairs_m + self._pair_square, 0.0)) - self._pair_least

    def least_m_of(self, q: np.ndarray) -> np.ndarray:
        """Smallest room (N,) [m], less what is allowed, of configurations q (N, 36): to table, box and of pairs."""
        centers = self.centers_world(q)
        table = (centers[..., 2] - self._table_least).min(axis=1)
        box = np.minimum(centers - self._box_low, self._box_high - centers).min(axis=(1, 2))
        pairs = least_pair_spare(centers, self._first, self._second, self._pair_least)
        return np.minimum(np.minimum(table, box), pairs)

    def near_pairs(self, centers: np.ndarray, near_m: float) -> tuple[np.ndarray, np.ndarray]:
        """Those of `pairs` (R, 2) that are less than `near_m` [m] further apart than allowed, and their needs (R,)."""
        found = near_pairs(np.ascontiguousarray(centers), self._first, self._second, self._pair_least, near_m)
        return self.pairs[found], self._pair_least[found]

    def motion(self, frames: np.ndarray, centers: np.ndarray, spheres: np.ndarray, direction: np.ndarray) -> np.ndarray:
        """Derivative (R, 36) [m/rad] by the joints of where spheres (R,) at `centers` are along directions (R, 3)."""
        tables = self._tables
        return motion(frames, tables.columns, tables.axis, centers, self._moves, spheres, direction)

    def walls(self, centers: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Room (S,) [m] less the allowed distance of spheres at `centers` (S, 3) [m] to each wall and the table.

        Each with the direction (3,) away from the wall; the table and the lower wall count as one.
        """
        low = self._box_low.copy()
        low[:, 2] = np.maximum(low[:, 2], self._table_least)
        for axis, direction in enumerate(np.eye(3)):
            yield centers[:, axis] - low[:, axis], direction
            yield self._box_high[:, axis] - centers[:, axis], -direction

    def worst(self, gaps: Gaps, before: Gaps | None = None, creep_m: float = 1e-9) -> Violation | None:
        """The worst violation, None if there is none.

        What was violated `before` and gets no worse, by more than about `creep_m` [m], is let pass: a robot too close
        must be able to leave.
        """
        old = before or _ANYTHING
        found: list[tuple[float, Violation]] = []
        if (gaps.box_m < 0.0).any() and (index := _worsened(gaps.box_m, old.box_m, creep_m)) is not None:
            gap = float(gaps.box_m[index])
            found.append((gap, Violation(Hazard.WORKSPACE, self._links[index], "the edge of the workspace", gap)))
        if (gaps.table_m < 0.0).any() and (index := _worsened(gaps.table_m, old.table_m, creep_m)) is not None:
            gap = float(gaps.table_m[index] + self._table_least[index] - self._radii[index])
            found.append((float(gaps.table_m[index]), Violation(Hazard.TABLE, self._links[index], "the table", gap)))
        if (gaps.pairs_m < 0.0).any() and (index := _worsened(gaps.pairs_m, old.pairs_m, 0.1 * creep_m)) is not None:
            a, b = self.pairs[index]
            distance = float(np.sqrt(max(gaps.pairs_m[index] + self._pair_square[index], 0.0)))
            hazard = Hazard.SELF if self._same_side[a, b] else Hazard.ARMS
            gap = distance - float(self._radii[a] + self._radii[b])
            lack = distance - float(self._pair_least[index])
            found.append((lack, Violation(hazard, self._links[a], self._links[b], gap)))
        return min(found, key=lambda item: item[0])[1] if found else None

    def worst_since(self, gaps: Gaps, best: Gaps, creep_m: float) -> Violation | None:
        """The worst of what is violated by `creep_m` [m] more than it was at its `best`, each distance by itself."""
        pairs = np.minimum(self.spare_m(best), 0.0) - self.spare_m(gaps)
        table, box = np.minimum(best.table_m, 0.0) - gaps.table_m, np.minimum(best.box_m, 0.0) - gaps.box_m
        return self.worst(
            Gaps(
                np.where(pairs > creep_m, gaps.pairs_m, np.inf),
                np.where(table > creep_m, gaps.table_m, np.inf),
                np.where(box > creep_m, gaps.box_m, np.inf),
            )
        )


def _distances(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Distances (N, n, m) of points (N, n, 3) from points (N, m, 3); single precision, in place: quick."""
    a, b = a.astype(np.float32), b.astype(np.float32)
    gap = a @ np.swapaxes(b, 1, 2)
    gap *= -2.0
    gap += np.square(a).sum(-1)[:, :, None]
    gap += np.square(b).sum(-1)[:, None]
    np.maximum(gap, 0.0, out=gap)
    return np.sqrt(gap, out=gap)


_ANYTHING = Gaps(np.array(np.inf), np.array(np.inf), np.array(np.inf))


def _worsened(now: np.ndarray, before: np.ndarray, creep: float) -> int | None:
    """Index (flat) of the smallest negative value that has become smaller, None if there is none."""
    bad = (now < 0.0) & (now < before - creep)
    if not bad.any():
        return None
    return int(np.argmin(np.where(bad, now, np.inf)))
