"""The 36 joints: names, order, parts, home configuration and the left/right mirror. Nowhere else in the project."""

from __future__ import annotations

import math
from typing import Literal

import numpy as np

from udg_description.errors import LayoutError

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")

ARM_JOINTS = (
    "shoulder_pan_joint",
    "shoulder_lift_joint",
    "elbow_joint",
    "wrist_1_joint",
    "wrist_2_joint",
    "wrist_3_joint",
)
# The index order of the XHand SDK.
HAND_JOINTS = (
    "hand_thumb_bend_joint",
    "hand_thumb_rota_joint1",
    "hand_thumb_rota_joint2",
    "hand_index_bend_joint",
    "hand_index_joint1",
    "hand_index_joint2",
    "hand_mid_joint1",
    "hand_mid_joint2",
    "hand_ring_joint1",
    "hand_ring_joint2",
    "hand_pinky_joint1",
    "hand_pinky_joint2",
)
JOINT_NAMES: tuple[str, ...] = tuple(f"{side}_{name}" for side in SIDES for name in ARM_JOINTS + HAND_JOINTS)
N_ARM_JOINTS = len(ARM_JOINTS)
N_HAND_JOINTS = len(HAND_JOINTS)
N_SIDE_JOINTS = N_ARM_JOINTS + N_HAND_JOINTS
N_JOINTS = len(JOINT_NAMES)

_PARTS: dict[str, slice] = {
    "left_arm": slice(0, N_ARM_JOINTS),
    "left_hand": slice(N_ARM_JOINTS, N_SIDE_JOINTS),
    "right_arm": slice(N_SIDE_JOINTS, N_SIDE_JOINTS + N_ARM_JOINTS),
    "right_hand": slice(N_SIDE_JOINTS + N_ARM_JOINTS, N_JOINTS),
    "left": slice(0, N_SIDE_JOINTS),
    "right": slice(N_SIDE_JOINTS, N_JOINTS),
    "all": slice(0, N_JOINTS),
}
PARTS: tuple[str, ...] = tuple(_PARTS)

# The configuration of the mirrored scene (y -> -y) is, per arm joint, OFFSET - q of the other arm.
_ARM_MIRROR_OFFSET = np.array([0.0, -math.pi, 0.0, math.pi, 0.0, 0.0])

_HAND_HOME = np.deg2rad([20.0, 20.0, 20.0, 5.0] + [20.0] * 8)
_RIGHT_ARM_HOME = math.pi * np.array([1 / 2, -7 / 16, 7 / 16, 1 / 8, 1 / 2, 1 / 4])
HOME_Q = np.concatenate([_ARM_MIRROR_OFFSET - _RIGHT_ARM_HOME, _HAND_HOME, _RIGHT_ARM_HOME, _HAND_HOME])  # [rad]
HOME_Q.flags.writeable = False


def part_indices(part: str) -> slice:
    """Where a part's joints stand in the layout. Raises LayoutError on an unknown part."""
    try:
        return _PARTS[part]
    except KeyError:
        raise LayoutError(f"unknown part {part!r} of the robot: valid are {', '.join(PARTS)}") from None


def other_side(side: Side) -> Side:
    """The side opposite to `side`."""
    return "right" if side == "left" else "left"


def mirror_arm(q: np.ndarray) -> np.ndarray:
    """Arm angles (..., 6) [rad] of the other arm in the mirrored scene; its own inverse."""
    return _ARM_MIRROR_OFFSET - np.asarray(q)


def mirror_q(q: np.ndarray) -> np.ndarray:
    """Joint angles (..., 36) [rad] of the mirrored scene (y -> -y), sides swapped; its own inverse."""
    q = np.asarray(q)
    if q.shape[-1] != N_JOINTS:
        raise LayoutError(f"mirror_q: got {q.shape[-1]} joints in the last axis, expected {N_JOINTS}")
    left, right = q[..., _PARTS["left"]], q[..., _PARTS["right"]]
    swapped = [
        mirror_arm(right[..., :N_ARM_JOINTS]),
        right[..., N_ARM_JOINTS:],
        mirror_arm(left[..., :N_ARM_JOINTS]),
        left[..., N_ARM_JOINTS:],
    ]
    return np.concatenate(swapped, axis=-1)
