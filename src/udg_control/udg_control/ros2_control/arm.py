"""An arm behind a controller of ros2_control as a device of control."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from udg_control.command_check import as_numbers
from udg_control.device import DeviceState, Fault, Phase
from udg_control.ros2_control.config import ControllerArmConfig
from udg_control.ros2_control.shared import Command, ControllerMemory, Report, Start
from udg_control.supervised import Link, SupervisedDevice, age_ms
from udg_description.layout import N_ARM_JOINTS, Side


class ControllerArm(SupervisedDevice[ControllerMemory, Report]):
    """One arm; its process is a node of its own. See `device.Device` for the meaning of the methods."""

    worker_module = "udg_control.ros.controller_client"
    memory_type = ControllerMemory
    what = "arm"

    def __init__(self, side: Side, config: ControllerArmConfig) -> None:
        """Nothing is connected before `connect`."""
        super().__init__(
            f"{side} arm (ros2_control, {config.controller})",
            f"{side}_arm",
            connect_timeout_s=config.connect_timeout_s,
            worker_timeout_s=config.worker_timeout_s,
        )
        self.config = config
        self._side: Side = side

    def start(self, descriptor: int, parent: int, arm: bool, seen: Report | None) -> Start:
        """What the process is given."""
        config = dataclasses.asdict(self.config)
        return Start(side=self._side, descriptor=descriptor, parent=parent, arm=arm, config=config)

    def read(self) -> DeviceState | None:
        """The newest measured state: q [rad] and, where ros2_control has it, velocity [rad/s]."""
        link = self._link
        if link is None:
            return None
        report, joints = link.shared.report(), link.shared.joints()
        if joints is None or report.stamp_ns == 0:
            return None
        velocity = joints[1] if np.isfinite(joints[1]).all() else None
        return DeviceState(q=joints[0], stamp_ns=report.stamp_ns, velocity=velocity, speed_scaling=report.speed_scaling)

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command q (n,) [rad], to be reached one period after `stamp_ns` (and the driver's delay)."""
        link = self._link
        if link is not None:
            link.shared.put_command(Command(time.monotonic_ns(), stamp_ns, as_numbers(q_command, N_ARM_JOINTS)))

    def _rearm_needs_new_process(self, phase: Phase, fault: Fault | None) -> bool:
        """After any fault: the new one asks the controller anew who it is."""
        return phase is Phase.FAULT

    def _remedy(self, fault: Fault) -> str:
        return "check hardware.*_arm_controller in robot.yaml (docs/ros2_control.md)"

    def _values(self, link: Link[ControllerMemory]) -> dict[str, object]:
        report = link.shared.report()
        return {
            "controller": self.config.controller,
            "joint_states": self.config.joint_states_topic,
            "state_age_ms": age_ms(report.stamp_ns),
            "missed": report.missed,
            "commands_late": report.starved,
            "commands_skipped": report.skipped,
            "targets_sent": report.sent,
            "speed_scaling": report.speed_scaling,
            "real_time_priority": bool(report.real_time),
            "fault_ns": report.fault_ns,
        }
