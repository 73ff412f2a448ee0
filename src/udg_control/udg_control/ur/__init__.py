"""The UR5e arms over ur_rtde: one supervised process each."""

from udg_control.ur.arm import UrArm
from udg_control.ur.config import UrArmConfig

__all__ = ["UrArm", "UrArmConfig"]
