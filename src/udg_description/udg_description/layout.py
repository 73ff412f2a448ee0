"""The joints of this process's robot (`current_robot`): names, order, parts, home and the left/right mirror.

Nowhere else in the project. The constants are set when the module is first imported; what works on any robot takes a
`Robot` instead.
"""

from __future__ import annotations

import numpy as np

from udg_description.errors import LayoutError
from udg_description.robot import current_robot
from udg_description.sides import SIDES, Side, other_side

__all__ = [
    "ARM_JOINTS",
    "ARM_PLACES",
    "HAND_JOINTS",
    "HOME_Q",
    "JOINT_NAMES",
    "N_ARM_JOINTS",
    "N_HAND_JOINTS",
    "N_JOINTS",
    "PARTS",
    "SIDES",
    "Side",
    "mirror_arm",
    "mirror_q",
    "other_side",
    "part_indices",
]

_ROBOT = current_robot()
ARM_JOINTS: tuple[str, ...] = tuple(_ROBOT.arm.joints)
HAND_JOINTS: tuple[str, ...] = tuple(name.partition("_")[2] for name in _ROBOT.hand_joints["right"])
JOINT_NAMES: tuple[str, ...] = _ROBOT.joint_names
N_ARM_JOINTS = _ROBOT.n_arm_joints
N_HAND_JOINTS = _ROBOT.n_hand_joints
N_JOINTS = len(JOINT_NAMES)
PARTS: tuple[str, ...] = tuple(_ROBOT.parts)
HOME_Q = _ROBOT.home_q  # [rad]
ARM_PLACES = np.concatenate([np.arange(N_JOINTS)[_ROBOT.parts[f"{side}_arm"]] for side in SIDES])
"""Where the joints of both arms stand (2 n,), the left one's first."""
ARM_PLACES.flags.writeable = False


def part_indices(part: str) -> slice:
    """Where a part's joints stand in the layout. Raises LayoutError on an unknown part."""
    try:
        return _ROBOT.parts[part]
    except KeyError:
        raise LayoutError(f"unknown part {part!r} of the robot: valid are {', '.join(PARTS)}") from None


def mirror_arm(q: np.ndarray) -> np.ndarray:
    """Arm angles (..., n) [rad] of the other arm in the mirrored scene; its own inverse."""
    return _ROBOT.mirror_offset - np.asarray(q)


def mirror_q(q: np.ndarray) -> np.ndarray:
    """Joint angles (..., N) [rad] of the mirrored scene (y -> -y), sides swapped; its own inverse."""
    q = np.asarray(q)
    if q.shape[-1] != N_JOINTS:
        raise LayoutError(f"mirror_q: got {q.shape[-1]} joints in the last axis, expected {N_JOINTS}")
    left, right = q[..., part_indices("left")], q[..., part_indices("right")]
    swapped = [
        mirror_arm(right[..., :N_ARM_JOINTS]),
        right[..., N_ARM_JOINTS:],
        mirror_arm(left[..., :N_ARM_JOINTS]),
        left[..., N_ARM_JOINTS:],
    ]
    return np.concatenate(swapped, axis=-1)
