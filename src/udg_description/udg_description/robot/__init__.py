"""A robot from data: arms, hands, mounts and home; the robot of this process."""

from udg_description.robot.hand import HandDescription, Pad, read_hand
from udg_description.robot.robot import Robot, current_robot, load_robot, shipped_robots

__all__ = ["HandDescription", "Pad", "Robot", "current_robot", "load_robot", "read_hand", "shipped_robots"]
