"""What the files of other projects hold of grasps: poses and joint angles, no more."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from udg_datagen.grasp_set import GraspSet
from udg_description.errors import UdgError
from udg_description.layout import Side

UNIT_WITHIN = 1e-2
"""A quaternion of a file is at most this much longer or shorter than 1."""


class ExchangeError(UdgError):
    """A file of grasps that cannot be read, or does not fit the hand or the object."""


@dataclass(frozen=True, kw_only=True, eq=False)
class PlainGrasps:
    """N grasps of H hands with J joints each, in the frame of the object's mesh [m, rad]."""

    sides: tuple[Side, ...]
    joint_names: tuple[tuple[str, ...], ...]  # H of J
    T_object_hand: np.ndarray  # (N, H, 4, 4)
    q_pregrasp: np.ndarray  # (N, H, J)
    q_grasp: np.ndarray  # (N, H, J)
    q_squeeze: np.ndarray  # (N, H, J)
    confidence: np.ndarray  # (N,) in [0, 1]
    object_id: str

    @classmethod
    def of(cls, grasps: GraspSet) -> PlainGrasps:
        """Those of a set. Confidence: 1 for the best by energy, falling evenly to 0 for what would come after the last;
        of a set that was validated, the share of the tests that were withstood."""
        count = len(grasps)
        ranks = 1.0 - np.arange(count) / max(1, count)
        return cls(
            sides=grasps.sides,
            joint_names=grasps.joint_names,
            T_object_hand=grasps.T_object_hand,
            q_pregrasp=grasps.q_pregrasp,
            q_grasp=grasps.q_grasp,
            q_squeeze=grasps.q_squeeze,
            confidence=grasps.withstood.mean(axis=1) if grasps.tests else ranks,
            object_id=grasps.object_id,
        )

    def __len__(self) -> int:
        return len(self.confidence)


def in_order(given: tuple[str, ...], wanted: tuple[str, ...], where: str) -> list[int]:
    """Places of the wanted joints among the given ones. Raises ExchangeError naming the first that is missing."""
    missing = [name for name in wanted if name not in given]
    if missing:
        raise ExchangeError(f"{where}: joint '{missing[0]}' is missing; the hand has {', '.join(wanted)}")
    return [given.index(name) for name in wanted]
