"""Via points on the way to a pregrasp: the same in every scene, so that motions agree with each other."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from udg_description.arm_kinematics import hand_ik, hand_pose
from udg_description.frames import PALM_NORMAL_HAND
from udg_description.layout import Side, part_indices
from udg_description.limits import joint_limits

RAISED_M = (0.1, 0.2)  # above the pregrasp
BACK_M = 0.1  # from the pregrasp, against the palm
_NEAR_RAD = 1.5  # largest joint motion between a via and the point it stands over


def vias(start: np.ndarray, goal: np.ndarray, sides: Sequence[Side]) -> tuple[np.ndarray, ...]:
    """Sequences (n, 36) [rad] of points between `start` and `goal` (36,), to be tried in this order.

    Over the goal, lower and higher; behind it; over the start and then over the goal. Points out of reach are skipped.
    """
    found = []
    for rise in RAISED_M:
        over = shifted(goal, {side: np.array([0.0, 0.0, rise]) for side in sides})
        if over is not None:
            found.append(over[None])
    behind = shifted(goal, {side: -BACK_M * _palm(goal, side) for side in sides})
    if behind is not None:
        found.append(behind[None])
    high = {side: np.array([0.0, 0.0, RAISED_M[-1]]) for side in sides}
    first, last = shifted(start, high), shifted(goal, high)
    if first is not None and last is not None:
        found.append(np.stack([first, last]))
    return tuple(found)


def _palm(q: np.ndarray, side: Side) -> np.ndarray:
    return hand_pose(side, q[part_indices(f"{side}_arm")])[:3, :3] @ PALM_NORMAL_HAND[side]


def shifted(q: np.ndarray, shift: dict[Side, np.ndarray]) -> np.ndarray | None:
    """The configuration with hands moved by (3,) [m] in the world, in the same branch; None out of reach."""
    limits = joint_limits()
    moved = q.copy()
    for side, by in shift.items():
        arm = part_indices(f"{side}_arm")
        T = hand_pose(side, q[arm]).copy()
        T[:3, 3] += by
        solutions = hand_ik(side, T)
        if len(solutions) == 0:
            return None
        step = (solutions - q[arm] + np.pi) % (2.0 * np.pi) - np.pi
        near = q[arm] + step[int(np.argmin(np.abs(step).max(axis=1)))]
        if np.abs(near - q[arm]).max() > _NEAR_RAD or ((near < limits.lower[arm]) | (near > limits.upper[arm])).any():
            return None
        moved[arm] = near
    return moved
