"""Drivers keep the filter's limits."""

from __future__ import annotations

from udg_control.hardware import HardwareConfig, keep_limits
from udg_control.safety import SafetyConfig
from udg_control.ur import UrArmConfig


def test_drivers_may_be_slower_than_the_filter_but_not_faster() -> None:
    hardware = HardwareConfig(left_arm=UrArmConfig(velocity_scale=0.2), right_arm=UrArmConfig(acceleration_scale=0.5))
    kept = keep_limits(hardware, SafetyConfig(velocity_scale=0.3, acceleration_scale=0.8))
    assert (kept.left_arm.velocity_scale, kept.left_arm.acceleration_scale) == (0.2, 0.8)
    assert (kept.right_arm.velocity_scale, kept.right_arm.acceleration_scale) == (0.3, 0.5)
