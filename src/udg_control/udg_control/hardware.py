"""The devices of the real robot, from their configuration."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal

from udg_control.device import Device
from udg_control.safety import SafetyConfig
from udg_control.simulated_device import SimulatedDevice, SimulatedDeviceConfig
from udg_control.ur import UrArm, UrArmConfig
from udg_control.xhand import XHand, XHandConfig
from udg_description.layout import SIDES, Side
from udg_description.settings import setting


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Which devices the robot is made of, and the settings of each."""

    arms: Literal["ur", "simulated"] = setting("ur", "ur: UR5e over RTDE; simulated: stand-ins inside the control node")
    hands: Literal["xhand", "simulated"] = setting(
        "xhand", "xhand: XHand over its SDK; simulated: stand-ins in the control node"
    )
    left_arm: UrArmConfig = field(default_factory=UrArmConfig)
    right_arm: UrArmConfig = field(default_factory=lambda: UrArmConfig(host="127.0.0.2"))
    left_hand: XHandConfig = field(default_factory=XHandConfig)
    right_hand: XHandConfig = field(default_factory=XHandConfig)
    simulated: SimulatedDeviceConfig = field(default_factory=SimulatedDeviceConfig)


def keep_limits(config: HardwareConfig, safety: SafetyConfig) -> HardwareConfig:
    """Return the configuration with drivers whose targets keep the filter's velocity and acceleration, too."""

    def kept(arm: UrArmConfig) -> UrArmConfig:
        return dataclasses.replace(
            arm,
            velocity_scale=min(arm.velocity_scale, safety.velocity_scale),
            acceleration_scale=min(arm.acceleration_scale, safety.acceleration_scale),
        )

    return dataclasses.replace(config, left_arm=kept(config.left_arm), right_arm=kept(config.right_arm))


def make_devices(config: HardwareConfig) -> list[Device]:
    """Return the four devices, not yet connected. Raises UdgError where a vendor's library is absent."""
    devices: list[Device] = []
    for side in SIDES:
        devices.append(_make_arm(config, side))
        devices.append(_make_hand(config, side))
    return devices


def _make_arm(config: HardwareConfig, side: Side) -> Device:
    if config.arms == "simulated":
        return SimulatedDevice(f"{side}_arm", config.simulated)
    mine, partners = (config.left_arm, config.right_arm) if side == "left" else (config.right_arm, config.left_arm)
    return UrArm(side, mine, partners.serial_number)


def _make_hand(config: HardwareConfig, side: Side) -> Device:
    if config.hands == "simulated":
        return SimulatedDevice(f"{side}_hand", config.simulated)
    return XHand(side, config.left_hand if side == "left" else config.right_hand)
