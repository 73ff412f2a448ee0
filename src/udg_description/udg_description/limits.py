"""Limits of the joints, in the layout's order."""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np

from udg_description.robot import Robot, current_robot
from udg_description.sides import SIDES
from udg_description.urdf import load_urdf

POSITION_TOLERANCE_RAD = 1e-6
"""Beyond a limit that is rounding."""


class JointLimits(NamedTuple):
    """Each (N,), read-only: lower, upper [rad], velocity [rad/s], acceleration [rad/s^2], effort [Nm]."""

    lower: np.ndarray
    upper: np.ndarray
    velocity: np.ndarray
    acceleration: np.ndarray
    effort: np.ndarray

    def clip(self, q: np.ndarray) -> np.ndarray:
        """Positions (..., N) [rad] brought inside lower and upper."""
        return np.clip(q, self.lower, self.upper)

    def contains(self, q: np.ndarray, tolerance: float = POSITION_TOLERANCE_RAD) -> bool:
        """Whether every position of q (..., N) [rad] lies inside lower and upper, with a tolerance [rad]."""
        q = np.asarray(q)
        return bool(np.all((q >= self.lower - tolerance) & (q <= self.upper + tolerance)))


def joint_limits() -> JointLimits:
    """Limits of this process's robot."""
    return robot_limits(current_robot())


@lru_cache(maxsize=8)
def robot_limits(robot: Robot) -> JointLimits:
    """Limits of a robot: position, velocity, effort from its URDF; acceleration from the files of arm and hands."""
    urdf = load_urdf(robot.urdf)
    joints = [urdf.joints[name] for name in robot.joint_names]
    acceleration = np.zeros(len(joints))
    for side in SIDES:
        acceleration[robot.parts[f"{side}_arm"]] = robot.arm.acceleration
        acceleration[robot.parts[f"{side}_hand"]] = robot.hands[side].acceleration
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
