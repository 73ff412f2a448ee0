"""The line of a device on /diagnostics."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs rclpy")

from udg_control.device import DeviceStatus, Fault, Phase
from udg_control.ros.robot_node import _device_line
from udg_description.ros.diagnostics import Level

SILENT = "left hand: silent for 0.40 s"


@pytest.mark.parametrize(
    ("status", "silent", "level", "message"),
    [
        (DeviceStatus(phase=Phase.READY), "", Level.OK, "ready"),
        (DeviceStatus(phase=Phase.READY, advisory="slow"), "", Level.WARN, "slow"),
        (DeviceStatus(phase=Phase.STOPPED), SILENT, Level.ERROR, SILENT),  # stopped, and nobody measures
        (DeviceStatus(phase=Phase.READY, advisory="slow"), SILENT, Level.ERROR, SILENT),
        (DeviceStatus(phase=Phase.ARMING), SILENT, Level.OK, "arming"),
        (
            DeviceStatus(phase=Phase.FAULT, fault=Fault.TRACKING, detail="it is"),
            SILENT,
            Level.ERROR,
            "tracking_error: it is",
        ),
        (DeviceStatus(phase=Phase.CLOSED), SILENT, Level.STALE, "closed"),
    ],
)
def test_what_is_worst_is_told(status: DeviceStatus, silent: str, level: Level, message: str) -> None:
    line = _device_line(status, {}, silent)
    assert (line.level, line.message) == (level, message)
