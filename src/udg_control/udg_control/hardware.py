"""The devices of the real robot, from their configuration."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from typing import Literal, TypeVar

from udg_control.device import Device
from udg_control.errors import ControlError
from udg_control.ros2_control import ControllerArm, ControllerArmConfig
from udg_control.ros2_control.config import default_config
from udg_control.safety import SafetyConfig
from udg_control.simulated_device import SimulatedDevice, SimulatedDeviceConfig
from udg_control.ur import UrArm, UrArmConfig
from udg_control.xhand import XHand, XHandConfig
from udg_description.layout import SIDES, Side
from udg_description.robot import current_robot
from udg_description.settings import setting

Arms = Literal["ur", "ros2_control", "simulated"]
UR_KINEMATICS = "ur5e"  # of the arms that ur_rtde drives here
Arm = TypeVar("Arm", UrArmConfig, ControllerArmConfig)


@dataclass(frozen=True, kw_only=True)
class HardwareConfig:
    """Which devices the robot is made of, and the settings of each."""

    arms: Arms = setting(
        "ur", "ur: UR5e over RTDE; ros2_control: behind its controllers; simulated: stand-ins inside the control node"
    )
    hands: Literal["xhand", "simulated"] = setting(
        "xhand", "xhand: XHand over its SDK; simulated: stand-ins in the control node"
    )
    left_arm: UrArmConfig = field(default_factory=UrArmConfig)
    right_arm: UrArmConfig = field(default_factory=lambda: UrArmConfig(host="127.0.0.2"))
    left_arm_controller: ControllerArmConfig = field(default_factory=lambda: default_config("left"))
    right_arm_controller: ControllerArmConfig = field(default_factory=lambda: default_config("right"))
    left_hand: XHandConfig = field(default_factory=XHandConfig)
    right_hand: XHandConfig = field(default_factory=XHandConfig)
    simulated: SimulatedDeviceConfig = field(default_factory=SimulatedDeviceConfig)


def keep_limits(config: HardwareConfig, safety: SafetyConfig) -> HardwareConfig:
    """The configuration with drivers whose targets keep the filter's velocity and acceleration, too."""

    def kept(arm: Arm) -> Arm:
        return dataclasses.replace(
            arm,
            velocity_scale=min(arm.velocity_scale, safety.velocity_scale),
            acceleration_scale=min(arm.acceleration_scale, safety.acceleration_scale),
        )

    return dataclasses.replace(
        config,
        left_arm=kept(config.left_arm),
        right_arm=kept(config.right_arm),
        left_arm_controller=kept(config.left_arm_controller),
        right_arm_controller=kept(config.right_arm_controller),
    )


def make_devices(config: HardwareConfig) -> list[Device]:
    """The four devices, not yet connected.

    Raises UdgError where a vendor's library is absent, or where both arms would be one.
    """
    check_arms(config.arms)
    check_hands(config.hands)
    if config.arms == "ros2_control":
        _check_apart(config.left_arm_controller, config.right_arm_controller)
    devices: list[Device] = []
    for side in SIDES:
        devices.append(_make_arm(config, side))
        devices.append(_make_hand(config, side))
    return devices


def check_arms(arms: str) -> None:
    """Check that the devices drive the robot's arms. Raises ControlError."""
    robot = current_robot()
    if arms == "ur" and robot.arm.kinematics != UR_KINEMATICS:
        raise ControlError(
            f"hardware.arms is ur, robot {robot.name} has arms of kinematics {robot.arm.kinematics}; valid: simulated, "
            "ros2_control, or a device of your own, see docs/any_hand.md#another-arm"
        )


def check_hands(hands: str) -> None:
    """Check that the devices drive the robot's hands. Raises ControlError."""
    robot = current_robot()
    own = robot.hands["right"].name
    if hands not in ("simulated", own):
        raise ControlError(
            f"hardware.hands is {hands}, robot {robot.name} has {own}; valid: simulated, or a device of your own, "
            "see docs/any_hand.md"
        )


def _check_apart(left: ControllerArmConfig, right: ControllerArmConfig) -> None:
    if left.controller == right.controller:
        raise ControlError(f"both arms have the controller {left.controller}; valid: one each")
    both = sorted(set(left.joints) & set(right.joints))
    if both and left.joint_states_topic == right.joint_states_topic:
        raise ControlError(f"both arms have the joint {both[0]} of {left.joint_states_topic}; valid: joints of its own")


def _make_arm(config: HardwareConfig, side: Side) -> Device:
    if config.arms == "simulated":
        return SimulatedDevice(f"{side}_arm", config.simulated)
    if config.arms == "ros2_control":
        return ControllerArm(side, config.left_arm_controller if side == "left" else config.right_arm_controller)
    mine, partners = (config.left_arm, config.right_arm) if side == "left" else (config.right_arm, config.left_arm)
    return UrArm(side, mine, partners.serial_number)


def _make_hand(config: HardwareConfig, side: Side) -> Device:
    if config.hands == "simulated":
        return SimulatedDevice(f"{side}_hand", config.simulated)
    return XHand(side, config.left_hand if side == "left" else config.right_hand)
