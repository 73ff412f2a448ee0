"""The UR5e arms over ur_rtde: one supervised process each."""

from udg_control.ur.arm import StopTogether, UrArm, stop_together
from udg_control.ur.config import UrArmConfig

__all__ = ["StopTogether", "UrArm", "UrArmConfig", "stop_together"]
