"""An XHand as a device of control."""

from __future__ import annotations

import dataclasses
import time

import numpy as np

from udg_control.command_check import as_numbers
from udg_control.device import DeviceState, Fault, Phase
from udg_control.supervised import Link, SupervisedDevice, age_ms
from udg_control.xhand.config import XHandConfig
from udg_control.xhand.shared import Command, HandMemory, Report
from udg_control.xhand.start import Start
from udg_description.layout import N_HAND_JOINTS, Side


class XHand(SupervisedDevice[HandMemory, Report]):
    """One XHand. See `device.Device` for the meaning of the methods; they may be called from several threads.

    When its process ends, the hand holds by itself.
    """

    worker_module = "udg_control.xhand.process"
    memory_type = HandMemory
    what = "hand"

    def __init__(self, side: Side, config: XHandConfig) -> None:
        """Nothing is connected before `connect`, which tells the hand to let go (mode 0)."""
        super().__init__(
            f"{side} hand (XHand{' ' + config.serial_number if config.serial_number else ''})",
            f"{side}_hand",
            connect_timeout_s=config.connect_timeout_s,
            worker_timeout_s=config.worker_timeout_s,
        )
        self.config = config
        self._side: Side = side

    def start(self, descriptor: int, parent: int, arm: bool, seen: Report | None) -> Start:
        """What the process is given."""
        del seen
        settings = dataclasses.asdict(self.config)
        return Start(side=self._side, descriptor=descriptor, parent=parent, arm=arm, config=settings)

    def read(self) -> DeviceState | None:
        """The newest measured state: q [rad], current [A], temperature [deg C], tactile_force."""
        link = self._link
        if link is None:
            return None
        stamp_ns, joints = link.shared.report().stamp_ns, link.shared.joints()
        if joints is None or stamp_ns == 0:
            return None
        return DeviceState(
            q=joints.q,
            stamp_ns=stamp_ns,
            current=joints.current,
            temperature=joints.temperature,
            tactile_force=joints.force if np.isfinite(joints.force).all() else None,
        )

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command q (12,) [rad]; the newest one goes out with the next exchange."""
        del stamp_ns
        link = self._link
        if link is not None:
            link.shared.write(Command(time.monotonic_ns(), as_numbers(q_command, N_HAND_JOINTS)))

    # --- supervision ------------------------------------------------------------------------------------------------

    def _rearm_needs_new_process(self, phase: Phase, fault: Fault | None) -> bool:
        """Where the port has gone; other faults pass by themselves or come again."""
        return fault is Fault.LINK_LOST

    def _values(self, link: Link[HandMemory]) -> dict[str, object]:
        report, joints = link.shared.report(), link.shared.joints()
        port, _, rest = link.shared.identity.get().partition("|")
        serial_number, _, version = rest.partition("|")
        return {
            "port": port,
            "serial_number": serial_number,
            "sdk_version": version,
            "state_age_ms": age_ms(report.stamp_ns),
            "rate_hz": round(report.rate_hz, 1),
            "exchanges": report.exchanges,
            "crc_errors": report.crc_errors,
            "other_errors": report.other_errors,
            "stalls": report.stalls,
            "out_of_range": report.out_of_range,
            "over_current_advisories": report.over_currents,
            "motor_heat": round(report.heat, 3),
            "last_code": report.last_code,
            "largest_current_ma": float("nan") if joints is None else round(1e3 * float(np.abs(joints.current).max())),
            "hottest_joint_c": float("nan") if joints is None else float(joints.temperature.max()),
            "fault_ns": report.fault_ns,
        }
