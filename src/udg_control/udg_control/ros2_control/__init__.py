"""The driver of an arm behind ros2_control: device in control, core of its process. See docs/ros2_control.md."""

from udg_control.ros2_control.arm import ControllerArm
from udg_control.ros2_control.config import ControllerArmConfig

__all__ = ["ControllerArm", "ControllerArmConfig"]
