"""A UR5e as a device of control."""

from __future__ import annotations

import dataclasses
import signal
import threading
import time
from collections.abc import Mapping

import numpy as np

from udg_control.command_check import as_numbers
from udg_control.device import DeviceState, Fault, Phase
from udg_control.supervised import Link, SupervisedDevice, age_ms
from udg_control.ur.config import UrArmConfig
from udg_control.ur.dashboard import stop_program
from udg_control.ur.shared import ArmMemory, Command, Report
from udg_control.ur.start import Start
from udg_control.ur.watch import ROBOT_MODES
from udg_description.layout import N_ARM_JOINTS, Side

_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)  # of ur_rtde, never of Python


class UrArm(SupervisedDevice[ArmMemory, Report]):
    """One UR5e. See `device.Device` for the meaning of the methods; they may be called from several threads."""

    worker_module = "udg_control.ur.process"
    memory_type = ArmMemory
    what = "arm"

    def __init__(self, side: Side, config: UrArmConfig, partner_serial_number: str = "") -> None:
        """Nothing is connected before `connect`. `partner_serial_number` is the configured one of the other arm."""
        super().__init__(
            f"{side} arm (UR5e at {config.host})",
            f"{side}_arm",
            connect_timeout_s=config.connect_timeout_s,
            worker_timeout_s=config.worker_timeout_s,
        )
        self.config = config
        self._side: Side = side
        self._partner_serial_number = partner_serial_number

    def start(self, descriptor: int, parent: int, arm: bool, seen: Report | None) -> Start:
        """What the process is given, with the controller's clock when it was last seen."""
        return Start(
            side=self._side,
            descriptor=descriptor,
            parent=parent,
            arm=arm,
            seen_controller_s=-1.0 if seen is None else seen.controller_s,
            seen_ns=0 if seen is None else seen.stamp_ns,
            config=dataclasses.asdict(self.config),
            partner_serial_number=self._partner_serial_number,
        )

    def read(self) -> DeviceState | None:
        """The newest measured state: q [rad], velocity [rad/s], current [A], temperature [deg C]."""
        link = self._link
        if link is None:
            return None
        report, joints = link.shared.report(), link.shared.joints()
        if joints is None or report.stamp_ns == 0:
            return None
        return DeviceState(
            q=joints[0],
            stamp_ns=report.stamp_ns,
            velocity=joints[1],
            current=joints[2],
            temperature=joints[3],
            speed_scaling=report.speed_scaling,
        )

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command q (6,) [rad], to be reached one period after `stamp_ns` (and the driver's delay)."""
        link = self._link
        if link is not None:
            link.shared.write(Command(time.monotonic_ns(), stamp_ns, as_numbers(q_command, N_ARM_JOINTS)))

    # --- supervision ------------------------------------------------------------------------------------------------

    def _rearm_needs_new_process(self, phase: Phase, fault: Fault | None) -> bool:
        """After any fault: ur_rtde's interface does not come back by itself."""
        return phase is Phase.FAULT

    def _cause_of_death(self, code: int) -> tuple[Fault, str]:
        """Name the fault that ended the process by itself.

        When the link drops, ur_rtde's receiving thread and the caller of `servoJ` both reconnect, with nothing between
        them, so that ur_rtde may crash before the process's own guard has noticed the lost link.
        """
        if -code in _CRASHES:
            text = f"ur_rtde crashed (by signal {-code}), as it does when the connection to {self.config.host} breaks"
            return Fault.LINK_LOST, text
        return super()._cause_of_death(code)

    def _after_end(self, link: Link[ArmMemory]) -> None:
        """Stop the program over the dashboard; twice, because a reconnecting library may start it again."""
        host = self.config.host

        def stop() -> None:
            link.process.wait()
            for pause_s in (0.0, 0.3):
                time.sleep(pause_s)
                if self._link is link:
                    stop_program(host)

        threading.Thread(target=stop, daemon=True).start()

    def _remedy(self, fault: Fault) -> str:
        wrong = "addresses and serial numbers in robot.yaml"
        return f"check {wrong if fault is Fault.WRONG_DEVICE else 'power, cable and address'}"

    def _advisory(self, link: Link[ArmMemory], values: Mapping[str, object]) -> str:
        speed = link.shared.report().speed_scaling
        if 0.0 < speed < 0.99:
            return f"the speed slider is at {speed:.0%}"
        if not self.config.serial_number and not self.config.host.startswith("127."):
            return f"its serial number is not configured ({values['serial_number']}): any UR5e would do"
        return ""

    def _values(self, link: Link[ArmMemory]) -> dict[str, object]:
        report, identity = link.shared.report(), link.shared.identity()
        return {
            "host": self.config.host,
            "serial_number": identity.serial_number,
            "robot_model": identity.model,
            "polyscope": identity.polyscope,
            "state_age_ms": age_ms(report.stamp_ns),
            "cycles": report.cycles,
            "missed": report.missed,
            "commands_late": report.starved,
            "commands_skipped": report.skipped,
            "targets_sent": report.sent,
            "robot_mode": ROBOT_MODES.get(report.robot_mode, str(report.robot_mode)),
            "safety_bits": f"{report.safety_bits:#x}",
            "speed_scaling": report.speed_scaling,
            "controller_uptime_s": round(report.controller_s, 1),
            "real_time_priority": bool(report.real_time),
            "fault_ns": report.fault_ns,
            "dry_run": self.config.dry_run,
        }
