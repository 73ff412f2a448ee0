"""Which fault, if any, a UR controller's messages mean."""

from __future__ import annotations

from typing import NamedTuple

from udg_control.device import Fault

PLAYING = 2  # runtime_state
RUNNING = 7  # robot_mode
ROBOT_MODES = {
    -1: "no controller",
    0: "disconnected",
    1: "confirm safety",
    2: "booting",
    3: "power off",
    4: "power on",
    5: "idle (brakes on)",
    6: "backdrive",
    7: "running",
    8: "updating firmware",
}
_PROTECTIVE, _SAFEGUARD = 1 << 2, 1 << 4
_EMERGENCY = 1 << 5 | 1 << 6 | 1 << 7
_BROKEN = 1 << 8 | 1 << 9


class FaultReport(NamedTuple):
    """A fault and what the operator should know."""

    fault: Fault
    detail: str


class Sample(NamedTuple):
    """What the controller says about itself."""

    controller_s: float
    robot_mode: int
    safety_bits: int
    runtime_state: int
    remote: bool | None  # None: not asked yet


def judge(sample: Sample, *, program_expected: bool) -> FaultReport | None:
    """The gravest fault, None if the arm may move (or, with no program expected, could be armed)."""
    bits = sample.safety_bits
    if bits & _EMERGENCY:
        return FaultReport(Fault.EMERGENCY_STOP, "an emergency stop button is pressed; release it, then re-arm")
    if bits & _BROKEN:
        return FaultReport(Fault.SAFETY_FAULT, f"safety violation or fault (bits {bits:#x}); see the pendant")
    if bits & _PROTECTIVE:
        return FaultReport(Fault.PROTECTIVE_STOP, "look for the cause before you re-arm")
    if bits & _SAFEGUARD:
        return FaultReport(Fault.SAFEGUARD_STOP, "the safeguard is open; close it, then re-arm")
    if sample.robot_mode != RUNNING:
        mode = ROBOT_MODES.get(sample.robot_mode, str(sample.robot_mode))
        return FaultReport(Fault.NOT_RUNNING, f"robot mode is '{mode}'; switch on, release the brakes, re-arm")
    if sample.remote is False:
        return FaultReport(Fault.REMOTE_CONTROL_OFF, "local control; switch the pendant to remote control, then re-arm")
    if program_expected and sample.runtime_state != PLAYING:
        return FaultReport(Fault.PROGRAM_STOPPED, "the control program ended (pendant, or its own watchdog); re-arm")
    return None
