"""The hands of this process's robot, as the synthesiser sees them."""

from __future__ import annotations

import dataclasses
from functools import lru_cache
from pathlib import Path

from udg_datagen.hands.description import hand_spec
from udg_datagen.hands.model import HandModel, HandSpec
from udg_description.layout import Side
from udg_description.robot import current_robot


def robot_hand(side: Side, device: str = "cpu") -> HandModel:
    """The robot's hand of `side`, ready for `synthesize`."""
    return HandModel(robot_hand_spec(side), device)


@lru_cache(maxsize=2)
def robot_hand_spec(side: Side) -> HandSpec:
    """The robot's hand of `side`: joints in the layout's order, links and joints named as in the robot."""
    robot = current_robot()
    return hand_spec(dataclasses.replace(robot.hands[side], urdf=str(robot.urdf)), Path("/"))
