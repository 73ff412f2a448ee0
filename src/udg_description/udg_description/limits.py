"""Limits of the 36 joints, in the layout's order."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from udg_description.layout import JOINT_NAMES, SIDES, part_indices
from udg_description.urdf import load_urdf

ARM_ACCELERATION = 10.0  # [rad/s^2] ours: the vendor gives none
HAND_ACCELERATION = 100.0  # [rad/s^2] ours


class JointLimits(NamedTuple):
    """Each (36,), read-only: lower, upper [rad], velocity [rad/s], acceleration [rad/s^2], effort [Nm]."""

    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    effort: np.ndarray

    def clip(self, q: np.ndarray) -> np.ndarray:
        """Positions (..., 36) [rad] brought inside lower and upper."""
        return np.clip(q, self.lower, self.upper)

    def contains(self, q: np.ndarray, tolerance: float = 1e-6) -> bool:
        """Whether every position of q (..., 36) [rad] lies inside lower and upper, with a tolerance [rad]."""
        q = np.asarray(q)
        return bool(np.all((q >= self.lower - tolerance) & (q <= self.upper + tolerance)))


@lru_cache(maxsize=1)
def joint_limits() -> JointLimits:
    """Limits of the shipped robot: position, velocity, effort from the URDF; acceleration ours."""
    joints = [load_urdf().joints[name] for name in JOINT_NAMES]
    acceleration = np.full(len(joints), HAND_ACCELERATION)
    for side in SIDES:
        acceleration[part_indices(f"{side}_arm")] = ARM_ACCELERATION
    limits = JointLimits(
        lower=np.array([joint.lower for joint in joints]),
        upper=np.array([joint.upper for joint in joints]),
        velocity=np.array([joint.velocity for joint in joints]),
        acceleration=acceleration,
        effort=np.array([joint.effort for joint in joints]),
    )
    for values in limits:
        values.flags.writeable = False
    return limits
