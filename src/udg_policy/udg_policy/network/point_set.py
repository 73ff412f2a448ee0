"""From a scene cloud to the network's points: deterministic sub-sampling, and the neighbours of each centre.

Slots have fixed meaning: first the seen points in farthest-point order, then the left robot's, then the right one's.
A prefix of a farthest-point order is itself a farthest-point sample, so the centres of both layers are fixed slots.
Neighbour indices do not change under rigid motion or mirroring of the cloud.
"""

from __future__ import annotations

from functools import partial
from typing import NamedTuple

import fpsample
import numpy as np
from scipy.spatial import cKDTree

from udg_description.cloud_labels import LABEL_LEFT, LABEL_RIGHT, LABEL_SEEN
from udg_description.layout import SIDES
from udg_policy.config import EncoderConfig, ObservationConfig
from udg_policy.errors import ObservationError
from udg_policy.threads import Team

_BUCKET_HEIGHT = 3
_SHARES = 3  # of the search for neighbours, a thread: one that is held up leaves the rest to the others


class PointSet(NamedTuple):
    """Points of one observation and the groups of the two set-abstraction layers."""

    points_world: np.ndarray  # (N, 3) float32 [m]
    labels: np.ndarray  # (N,) uint8
    neighbours_1: np.ndarray  # (C1, k1) int16, indices of points
    neighbours_2: np.ndarray  # (C2, k2) int16, indices of the centres of layer 1


def farthest_order(points: np.ndarray, n: int) -> np.ndarray:
    """Indices (min(n, len)) of a farthest-point sample that starts with the point nearest to the mean."""
    if len(points) <= 1:
        return np.arange(min(n, len(points)))
    start = int(np.argmin(((points - points.mean(axis=0)) ** 2).sum(axis=1)))
    n = min(n, len(points))
    height = min(_BUCKET_HEIGHT, len(points).bit_length() - 1)  # 2 to the height must not exceed the points
    order = fpsample.bucket_fps_kdline_sampling(
        np.ascontiguousarray(points, dtype=np.float32), n, h=height, start_idx=start
    )
    return np.asarray(order, dtype=np.int64)


def _fill(order: np.ndarray, n: int) -> np.ndarray:
    """`order` repeated until it has n entries."""
    return np.resize(order, n)


def centre_slots(sizes: tuple[int, int], offsets: tuple[int, int]) -> np.ndarray:
    """Slots of the centres: `sizes` (seen, a side) taken from the front of each class; offsets (seen, a side)."""
    seen, robot = sizes
    first, second = offsets[0], offsets[0] + offsets[1]
    return np.concatenate([np.arange(seen), first + np.arange(robot), second + np.arange(robot)])


class PointSampler:
    """Chooses the points and finds the groups for one preset."""

    def __init__(self, observation: ObservationConfig, encoder: EncoderConfig, team: Team | None = None) -> None:
        """`team` of threads that look for neighbours; default: the calling one."""
        self.observation = observation
        self.encoder = encoder
        self._team = team or Team(1)
        classes = (observation.n_seen, observation.n_robot)
        if observation.n_whole > 0:
            classes = (observation.n_whole, 0)
        self.centres_1 = centre_slots(encoder.centres_1, classes)  # slots of points
        self.centres_2 = centre_slots(encoder.centres_2, encoder.centres_1)  # slots of the centres of layer 1

    def select(self, cloud: np.ndarray, grasp_centres_world: np.ndarray) -> np.ndarray:
        """Indices (N,) into the cloud (M, 4); grasp_centres_world (2, 3) [m], left then right.

        Raises ObservationError where a class that must be there has no point.
        """
        if self.observation.n_whole > 0:
            return _fill(self._whole_order(cloud[:, :3]), self.observation.n_whole)
        labels = cloud[:, 3]
        seen = np.flatnonzero(labels == LABEL_SEEN)
        if len(seen) == 0:
            raise ObservationError("scene cloud: has no seen point (label 0)")
        chosen = [_fill(seen[farthest_order(cloud[seen, :3], self.observation.n_seen)], self.observation.n_seen)]
        n = self.observation.n_robot
        for side, label, centre in zip(SIDES, (LABEL_LEFT, LABEL_RIGHT), grasp_centres_world, strict=True):
            robot = np.flatnonzero(labels == label)
            if len(robot) == 0:
                raise ObservationError(f"scene cloud: has no point of the {side} robot (label {label})")
            distance = ((cloud[robot, :3] - centre) ** 2).sum(axis=1)
            near = robot[np.argsort(distance, kind="stable")[: 2 * n]]
            chosen.append(_fill(near[farthest_order(cloud[near, :3], n)], n))
        return np.concatenate(chosen)

    def _whole_order(self, points: np.ndarray) -> np.ndarray:
        """A farthest-point sample of n_whole points; if all are taken, only the centres need be in that order."""
        n, centres = self.observation.n_whole, self.encoder.centres_1[0]
        if len(points) > n:
            return farthest_order(points, n)
        first = farthest_order(points, centres if centres < n else self.encoder.centres_2[0])
        others = np.ones(len(points), dtype=bool)
        others[first] = False
        return np.concatenate([first, np.flatnonzero(others)])

    def groups(self, points_world: np.ndarray, chosen: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Neighbours of both layers, (C1, k1) and (C2, k2) int16, of the selected points (N, 3).

        chosen (N,): which point each slot has. A point that stands in several slots is one neighbour, not several.
        """
        first = points_world[self.centres_1]
        neighbours_1 = self._nearest(points_world, chosen, first, self.encoder.neighbours_1)
        k_2 = self.encoder.neighbours_2
        if len(first) == len(points_world) and k_2 <= self.encoder.neighbours_1:  # the same points: found already
            return neighbours_1, neighbours_1[self.centres_2, :k_2]
        neighbours_2 = self._nearest(first, chosen[self.centres_1], first[self.centres_2], k_2)
        return neighbours_1, neighbours_2

    def _nearest(self, points: np.ndarray, chosen: np.ndarray, centres: np.ndarray, k: int) -> np.ndarray:
        slots = np.sort(np.unique(chosen, return_index=True)[1])  # the first of each point
        found = min(k, len(slots))
        tree = cKDTree(points[slots])
        index = np.empty((len(centres), found), dtype=np.int64)

        def look(rows: slice) -> None:
            index[rows] = tree.query(centres[rows], k=found)[1].reshape(-1, found)

        step = -(-len(centres) // (1 if self._team.threads == 1 else _SHARES * self._team.threads))
        self._team.do([partial(look, slice(start, start + step)) for start in range(0, len(centres), step)])
        return slots[index][:, np.arange(k) % found].astype(np.int16)  # fewer points than k: repeated

    def __call__(self, cloud: np.ndarray, grasp_centres_world: np.ndarray) -> PointSet:
        """The point set of a cloud (M, 4): x, y, z [m, world], label."""
        chosen = self.select(cloud, grasp_centres_world)
        points = np.ascontiguousarray(cloud[chosen, :3], dtype=np.float32)
        return PointSet(points, cloud[chosen, 3].astype(np.uint8), *self.groups(points, chosen))
