"""Arm angles that follow a pose of the hand from step to step."""

from __future__ import annotations

import numpy as np

from udg_description.arm_kinematics import arm_jacobian, hand_pose, nearest_hand_ik
from udg_description.layout import Side, part_indices
from udg_description.limits import joint_limits
from udg_description.transforms import matrix_to_rotvec

MAX_JOINT_STEP_RAD = 0.5  # of an arm joint between two steps of a chunk; more means another branch of the IK
_DAMPING = 0.05
_ITERATIONS = 8


def follow_pose(side: Side, T_world_hand: np.ndarray, q_seed: np.ndarray) -> np.ndarray:
    """Arm angles (6,) [rad] near q_seed that bring hand_link to the pose, or as near to it as they can."""
    q = nearest_hand_ik(side, T_world_hand, q_seed)
    if q is not None and np.abs(q - q_seed).max() <= MAX_JOINT_STEP_RAD:
        return q
    return _damped_least_squares(side, T_world_hand, q_seed)


def _damped_least_squares(side: Side, T_world_hand: np.ndarray, q_seed: np.ndarray) -> np.ndarray:
    """Towards the pose from q_seed, each joint within MAX_JOINT_STEP_RAD of it and within its limits."""
    limits = joint_limits()
    arm = part_indices(f"{side}_arm")
    low = np.maximum(limits.lower[arm], q_seed - MAX_JOINT_STEP_RAD)
    high = np.minimum(limits.upper[arm], q_seed + MAX_JOINT_STEP_RAD)
    q = q_seed.copy()
    for _ in range(_ITERATIONS):
        T = hand_pose(side, q)
        error = np.concatenate([T_world_hand[:3, 3] - T[:3, 3], matrix_to_rotvec(T_world_hand[:3, :3] @ T[:3, :3].T)])
        J = arm_jacobian(side, q)
        q = np.clip(q + J.T @ np.linalg.solve(J @ J.T + _DAMPING**2 * np.eye(6), error), low, high)
    return q
