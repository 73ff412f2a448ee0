"""The two sides of the robot, left before right."""

from __future__ import annotations

from typing import Literal

Side = Literal["left", "right"]
SIDES: tuple[Side, Side] = ("left", "right")


def other_side(side: Side) -> Side:
    """The side opposite to `side`."""
    return "right" if side == "left" else "left"
