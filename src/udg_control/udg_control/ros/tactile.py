"""Tactile forces of a hand as messages."""

from __future__ import annotations

from geometry_msgs.msg import Vector3, WrenchStamped

from udg_control.device import DeviceState
from udg_description.layout import Side
from udg_description.robot import current_robot
from udg_description.ros.convert import make_header


def tactile_messages(side: Side, state: DeviceState, stamp_ns: int) -> list[WrenchStamped]:
    """One message a fingertip, in its link's frame; none where the hand has no tactile data."""
    if state.tactile_force is None:
        return []
    messages = []
    pads = current_robot().hands[side].contacts.values()
    for pad, force in zip(pads, state.tactile_force, strict=True):
        message = WrenchStamped(header=make_header(stamp_ns, pad.link))
        message.wrench.force = Vector3(x=float(force[0]), y=float(force[1]), z=float(force[2]))
        messages.append(message)
    return messages
