"""How far configurations may move before they must be checked again: most commands need no check at all.

A joint that turns by an angle moves no point of a link further than the angle times the point's greatest distance from
the joint. So known gaps bound those of all configurations near by, however they are reached.
"""

from __future__ import annotations

import numpy as np

from udg_control.collision import CollisionCheck, Gaps
from udg_description.layout import N_JOINTS, SIDES, part_indices
from udg_description.model import RobotModel


class Rooms:
    """The gaps of some configurations by pairs of links, and what each joint can take from them."""

    def __init__(self, check: CollisionCheck, pairs: np.ndarray, world: bool = True) -> None:
        """Nothing is known yet. `pairs` (N, 2) are the spheres that count, `world`: table and box do, too."""
        names = np.array(check.links)
        self._first = np.flatnonzero(np.concatenate([[True], names[1:] != names[:-1]]))  # sphere of each link
        link = np.cumsum(np.isin(np.arange(len(names)), self._first)) - 1
        by_links = link[pairs[:, 0]] * len(names) + link[pairs[:, 1]]
        self.pairs = pairs[np.argsort(by_links, kind="stable")]  # (N, 2) those of two links follow each other
        self._begin = np.unique(np.sort(by_links), return_index=True)[1]
        reach = _reach(check, self._first)
        lifts = reach.copy()
        lifts[:, [part_indices(f"{side}_arm").start for side in SIDES]] = 0.0  # an arm's first axis is vertical
        a, b = link[self.pairs[self._begin]].T
        alike = (reach[a] > 0.0) & (reach[b] > 0.0)  # a joint that moves both does not change their distance
        sway = [np.where(alike, 0.0, reach[a] + reach[b])]
        if world:
            self._free, self._boxed = ~check.standing[self._first], check.boxed[self._first]
            sway += [lifts[self._free], reach[self._boxed]]
        self._sway = np.concatenate(sway)  # (P, 36) [m/rad]
        self.forget()

    def forget(self) -> None:
        """Know nothing any more."""
        self._q, self._rooms_m = np.zeros((0, N_JOINTS)), np.full(len(self._sway), -1.0)

    def take(self, q: np.ndarray, pairs_m: np.ndarray, gaps: Gaps | None = None) -> None:
        """Know the smallest gaps, less their margins, of configurations q (K, 36) [rad].

        `pairs_m` (N,) [m] belong to `pairs`; table and box of `gaps`.
        """
        self._q = q
        rooms_m = [np.minimum.reduceat(pairs_m, self._begin)]
        if gaps is not None:
            rooms_m.append(np.minimum.reduceat(gaps.table_m, self._first)[self._free])
            rooms_m.append(np.minimum.reduceat(gaps.box_m, self._first)[self._boxed])
        self._rooms_m = np.concatenate(rooms_m)

    def surely_free(self, q: np.ndarray) -> bool:
        """Whether configurations q (K, 36) [rad], each near one of those that are known, can violate nothing."""
        if len(q) != len(self._q):
            return False
        away = np.abs(q - self._q).max(axis=0)
        return bool((self._rooms_m > self.sway_m(away)).all())

    def sway_m(self, away: np.ndarray) -> np.ndarray:
        """How much joints that are `away` (36,) [rad] can take from each room (P,) [m]."""
        return self._sway @ away


def _reach(check: CollisionCheck, first: np.ndarray) -> np.ndarray:
    """Greatest distance (L, 36) [m] of a link's spheres from each joint that moves it, 0 where one does not."""
    ends = [*first[1:], len(check.radii)]
    reach = np.zeros((len(first), N_JOINTS))
    for row, (begin, end) in enumerate(zip(first, ends, strict=True)):
        extent_m = float(np.linalg.norm(check.centers_link[begin:end], axis=1).max())
        for joint, distance_m in _joints_above(check.model, check.links[begin]):
            reach[row, joint] = distance_m + extent_m
    return reach


def _joints_above(model: RobotModel, link: str) -> list[tuple[int, float]]:
    """The joints that move a link: place in q, and greatest distance [m] from the joint to the link's origin."""
    above = {joint.child: joint for joint in model.urdf.joints.values()}
    found, distance_m = [], 0.0
    while link in above:
        joint = above[link]
        if joint.name in model.joint_names:
            found.append((model.joint_names.index(joint.name), distance_m))
        distance_m += float(np.linalg.norm(joint.T_parent_joint[:3, 3]))
        link = joint.parent
    return found
