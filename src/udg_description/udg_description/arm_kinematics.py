"""The arms of this process's robot alone: forward and inverse kinematics and the Jacobian, in the world frame.

An arm's angles are q (n,) [rad], n = `layout.N_ARM_JOINTS`.
"""

from __future__ import annotations

import math
from functools import cache

import numpy as np

from udg_description.compiled import compiled
from udg_description.frames import T_base_controller, T_flange_hand, T_world_base
from udg_description.layout import Side, part_indices
from udg_description.limits import joint_limits
from udg_description.robot import current_robot
from udg_description.transforms import inverse

_ARM = current_robot().arm.model
_T_WORLD_CONTROLLER = {side: T_world_base(side) @ T_base_controller(side) for side in ("left", "right")}
_T_CONTROLLER_WORLD = {side: inverse(T) for side, T in _T_WORLD_CONTROLLER.items()}
_T_FLANGE_HAND = {side: T_flange_hand(side) for side in ("left", "right")}
_T_HAND_FLANGE = {side: inverse(T) for side, T in _T_FLANGE_HAND.items()}
_LIMIT_TOLERANCE = 1e-9  # [rad]


def flange_pose(side: Side, q: np.ndarray) -> np.ndarray:
    """T_world_flange (4, 4) for one arm's angles q (n,) [rad]."""
    return _T_WORLD_CONTROLLER[side] @ _ARM.fk(np.asarray(q, dtype=float).tolist())


def hand_pose(side: Side, q: np.ndarray) -> np.ndarray:
    """T_world_hand (4, 4) of hand_link for one arm's angles q (n,) [rad]."""
    return flange_pose(side, q) @ _T_FLANGE_HAND[side]


def arm_ik(side: Side, T_world_flange: np.ndarray) -> np.ndarray:
    """All arm configurations (K, n) [rad] within the limits that put the flange at a pose (4, 4); K may be 0.

    An angle that fits in its limits more than once is given once, nearest to the range's middle.
    """
    lower, upper = _limits(side)
    middle = (lower + upper) / 2
    candidates = _ik_solutions(side, T_world_flange)
    candidates -= 2 * math.pi * np.round((candidates - middle) / (2 * math.pi))
    inside = (candidates >= lower - _LIMIT_TOLERANCE) & (candidates <= upper + _LIMIT_TOLERANCE)
    return np.clip(candidates[np.all(inside, axis=1)], lower, upper)


def hand_ik(side: Side, T_world_hand: np.ndarray) -> np.ndarray:
    """arm_ik for a pose (4, 4) of hand_link."""
    return arm_ik(side, np.asarray(T_world_hand, dtype=float) @ _T_HAND_FLANGE[side])


def nearest_arm_ik(side: Side, T_world_flange: np.ndarray, q_seed: np.ndarray) -> np.ndarray | None:
    """The configuration (n,) [rad] within the limits nearest to q_seed (n,) (largest joint motion), or None.

    Each angle is taken modulo 2 pi at the value nearest to the seed, or where that is outside the limits at the
    nearest one inside.
    """
    lower, upper = _limits(side)
    q_seed = np.array(q_seed, dtype=np.float64)
    nearest = _nearest(_ik_solutions(side, T_world_flange), lower, upper, q_seed)
    return nearest if len(nearest) else None


@compiled("float64[::1](float64[:,::1], float64[::1], float64[::1], float64[::1])")
def _nearest(solutions: np.ndarray, lower: np.ndarray, upper: np.ndarray, q_seed: np.ndarray) -> np.ndarray:
    """The solution (n,) within the limits nearest to the seed, (0,) without one; solutions (K, n)."""
    turn = 2.0 * math.pi
    best, least_rad = np.empty(0), np.inf
    for i in range(len(solutions)):
        q, most_rad, is_inside = solutions[i].copy(), 0.0, True
        for j in range(len(q)):
            q[j] -= turn * np.rint((q[j] - q_seed[j]) / turn)
            # An angle outside its limits goes a turn back if that brings it inside.
            if q[j] > upper[j] + _LIMIT_TOLERANCE:
                q[j] -= turn
            if q[j] < lower[j] - _LIMIT_TOLERANCE:
                q[j] += turn
            is_inside = is_inside and lower[j] - _LIMIT_TOLERANCE <= q[j] <= upper[j] + _LIMIT_TOLERANCE
            q[j] = min(max(q[j], lower[j]), upper[j])
            most_rad = max(most_rad, abs(q[j] - q_seed[j]))
        if is_inside and most_rad < least_rad:
            best, least_rad = q, most_rad
    return best


def nearest_hand_ik(side: Side, T_world_hand: np.ndarray, q_seed: np.ndarray) -> np.ndarray | None:
    """nearest_arm_ik for a pose (4, 4) of hand_link."""
    return nearest_arm_ik(side, np.asarray(T_world_hand, dtype=float) @ _T_HAND_FLANGE[side], q_seed)


def arm_jacobian(side: Side, q: np.ndarray) -> np.ndarray:
    """Jacobian (6, n) of hand_link's origin: d[v; w]/d(dq), linear [m/s] over angular [rad/s], world frame."""
    return _ARM.jacobian(np.asarray(q, dtype=float), _T_WORLD_CONTROLLER[side], _T_FLANGE_HAND[side])


def _ik_solutions(side: Side, T_world_flange: np.ndarray) -> np.ndarray:
    T_controller_flange = _T_CONTROLLER_WORLD[side] @ np.asarray(T_world_flange, dtype=float)
    found = _ARM.all_ik(T_controller_flange)
    return np.array(found[np.all(np.isfinite(found), axis=1)])


@cache
def _limits(side: Side) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest angles (n,) [rad] of an arm."""
    limits, part = joint_limits(), part_indices(f"{side}_arm")
    return np.array(limits.lower[part]), np.array(limits.upper[part])  # compiled loops take no read-only ones
