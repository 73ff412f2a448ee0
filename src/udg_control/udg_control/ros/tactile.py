"""Tactile forces of a hand as messages."""

from __future__ import annotations

from geometry_msgs.msg import Vector3, WrenchStamped

from udg_control.device import DeviceState
from udg_description.layout import Side
from udg_description.ros.convert import make_header

FINGERTIP_LINKS = ("thumb_rota_link2", "index_rota_link2", "mid_link2", "ring_link2", "pinky_link2")


def tactile_messages(side: Side, state: DeviceState, stamp_ns: int) -> list[WrenchStamped]:
    """One message a fingertip, in its link's frame; none where the hand has no tactile data."""
    if state.tactile_force is None:
        return []
    messages = []
    for link, force in zip(FINGERTIP_LINKS, state.tactile_force, strict=True):
        message = WrenchStamped(header=make_header(stamp_ns, f"{side}_hand_{link}"))
        message.wrench.force = Vector3(x=float(force[0]), y=float(force[1]), z=float(force[2]))
        messages.append(message)
    return messages
