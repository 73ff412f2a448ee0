"""Any hand: from a URDF and a short description file to a `HandModel` (synthesis) and a `HandBody` (physics)."""

from udg_datagen.hands.body import load_body
from udg_datagen.hands.description import HandDescription, Pad, load_hand, read_description

__all__ = ["HandDescription", "Pad", "load_body", "load_hand", "read_description"]
