"""Any hand: from a URDF and a short description file to a `HandModel` (synthesis) and a `HandBody` (physics)."""

from udg_datagen.hands.body import load_body
from udg_datagen.hands.description import load_hand
from udg_datagen.hands.robot_hand import robot_hand

__all__ = ["load_body", "load_hand", "robot_hand"]
