"""Action spaces: what the network predicts for each step of a chunk, and how that becomes joint targets.

An action has 36 numbers in the layout of the joints. `joint_absolute`: the joint targets [rad]. `wrist_relative`: in
the six places of an arm stands the target of the hand, position [m] and rotation vector [rad] of the grasp frame,
relative to the measured grasp frame and expressed in it; in the twelve places of a hand stand its joint targets [rad].
`wrist_absolute`: the same, but relative to the grasp frame of the home pose, which does not move.
The network sees actions scaled to [-1, 1] by bounds (K, 36) that the checkpoint keeps.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from udg_description.arm_kinematics import arm_jacobian, hand_pose, nearest_hand_ik
from udg_description.layout import HOME_Q, N_JOINTS, SIDES, Side, mirror_q, part_indices
from udg_description.limits import joint_limits
from udg_description.transforms import make_transform, matrix_to_rotvec, rotvec_to_matrix
from udg_policy import rotations
from udg_policy.hands import T_grasp_hand, grasp_frames_np

ARMS: tuple[slice, slice] = (part_indices("left_arm"), part_indices("right_arm"))
HANDS: tuple[slice, slice] = (part_indices("left_hand"), part_indices("right_hand"))
MAX_JOINT_STEP_RAD = 0.5  # of an arm joint between two steps of a chunk; more means another branch of the IK
_DAMPING = 0.05
_ITERATIONS = 8
_LEAST_WIDTH = 1e-3  # of bounds, so that a dimension that never moves can be scaled


@dataclass(frozen=True, kw_only=True)
class ActionBounds:
    """Range of each action number, lower and upper (K, 36) float32, in the action's own units."""

    lower: np.ndarray
    upper: np.ndarray

    def normalise(self, actions: Tensor) -> Tensor:
        """(..., K, 36) to [-1, 1]; not clipped."""
        lower, upper = torch.from_numpy(self.lower), torch.from_numpy(self.upper)
        return 2.0 * (actions - lower) / (upper - lower) - 1.0

    def denormalise(self, actions: np.ndarray) -> np.ndarray:
        """(..., K, 36) from [-1, 1] to the action's units."""
        return self.lower + 0.5 * (actions + 1.0) * (self.upper - self.lower)


@lru_cache(maxsize=1)
def home_grasp_frames() -> np.ndarray:
    """T_world_grasp (2, 4, 4) of both hands in the home pose."""
    return grasp_frames_np(HOME_Q)


def encode(space: str, T_now: Tensor, T_targets: Tensor, q_targets: Tensor) -> Tensor:
    """Actions (B, K, 36) of joint targets q_targets (B, K, 36) [rad].

    T_now (B, 2, 4, 4): measured grasp frames in the world. T_targets (B, K, 2, 4, 4): grasp frames at q_targets.
    """
    if space == "joint_absolute":
        return q_targets
    if space == "wrist_absolute":
        T_now = torch.from_numpy(home_grasp_frames()).to(T_now.dtype).expand(len(T_targets), -1, -1, -1)
    actions = q_targets.clone()
    relative = rotations.inverse(T_now)[:, None] @ T_targets
    for side, arm in enumerate(ARMS):
        actions[..., arm] = torch.cat([relative[:, :, side, :3, 3],
                                       rotations.matrix_to_rotvec(relative[:, :, side, :3, :3])], dim=-1)
    return actions


def mirror_actions(space: str, actions: Tensor) -> Tensor:
    """Actions (..., 36) of the mirrored scene (y -> -y)."""
    if space == "joint_absolute":
        return torch.from_numpy(mirror_q(actions.numpy())).to(actions.dtype)
    sign = torch.tensor([1.0, -1.0, 1.0, -1.0, 1.0, -1.0], dtype=actions.dtype)
    out = torch.empty_like(actions)
    for side in range(2):
        out[..., ARMS[side]] = actions[..., ARMS[1 - side]] * sign
        out[..., HANDS[side]] = actions[..., HANDS[1 - side]]
    return out


def bounds_of(space: str, actions: Tensor, margin: float, symmetric: bool) -> ActionBounds:
    """Bounds of actions (M, K, 36): joint limits for joints; the data's range and a margin for relative poses.

    symmetric: the bounds are made their own mirror image, as mirrored data need.
    """
    limits = joint_limits()
    steps = actions.shape[1]
    lower = np.tile(limits.lower.astype(np.float32), (steps, 1))
    upper = np.tile(limits.upper.astype(np.float32), (steps, 1))
    if space != "joint_absolute":
        both = torch.cat([actions, mirror_actions(space, actions)]) if symmetric else actions
        least, most = both.amin(dim=0).numpy(), both.amax(dim=0).numpy()
        spread = margin * (most - least) + _LEAST_WIDTH
        for arm in ARMS:
            lower[:, arm] = least[:, arm] - spread[:, arm]
            upper[:, arm] = most[:, arm] + spread[:, arm]
    return ActionBounds(lower=lower, upper=upper)


def decode(space: str, actions: np.ndarray, q: np.ndarray) -> np.ndarray:
    """Joint targets (K, 36) [rad], finite and within the limits, of actions (K, 36) given the measured q (36,)."""
    limits = joint_limits()
    targets = np.asarray(actions, dtype=np.float64).copy()
    if space != "joint_absolute":
        T_now = home_grasp_frames() if space == "wrist_absolute" else grasp_frames_np(q)
        for index, side in enumerate(SIDES):
            relative = targets[:, ARMS[index]]
            T_grasp_target = make_transform(rotvec_to_matrix(relative[:, 3:]), relative[:, :3])
            T_world_hand = T_now[index] @ T_grasp_target @ T_grasp_hand()[index]
            seed = limits.clip(q)[ARMS[index]]
            for step in range(len(targets)):
                seed = follow_pose(side, T_world_hand[step], seed)
                targets[step, ARMS[index]] = seed
    return limits.clip(targets)


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


def joint_scale(q: Tensor) -> Tensor:
    """Joint angles (..., 36) [rad] scaled by their limits to [-1, 1]."""
    limits = joint_limits()
    lower = torch.tensor(limits.lower, dtype=q.dtype)
    upper = torch.tensor(limits.upper, dtype=q.dtype)
    assert q.shape[-1] == N_JOINTS
    return 2.0 * (q - lower) / (upper - lower) - 1.0
