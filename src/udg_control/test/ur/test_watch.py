"""What a controller says is a fault or none."""

from __future__ import annotations

import pytest

from udg_control.device import Fault
from udg_control.ur.watch import Sample, judge

GOOD = Sample(controller_s=1.0, robot_mode=7, safety_bits=1, runtime_state=2, remote=True)


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        ({"safety_bits": 1 << 2 | 1 << 10}, Fault.PROTECTIVE_STOP),
        ({"safety_bits": 1 << 4}, Fault.SAFEGUARD_STOP),
        ({"safety_bits": 1 << 5}, Fault.EMERGENCY_STOP),
        ({"safety_bits": 1 << 6 | 1 << 7, "robot_mode": 3, "runtime_state": 1}, Fault.EMERGENCY_STOP),
        ({"safety_bits": 1 << 8}, Fault.SAFETY_FAULT),
        ({"robot_mode": 5}, Fault.NOT_RUNNING),
        ({"remote": False}, Fault.REMOTE_CONTROL_OFF),
        ({"runtime_state": 1}, Fault.PROGRAM_STOPPED),
        ({"runtime_state": 4}, Fault.PROGRAM_STOPPED),
        ({"remote": None}, None),
    ],
)
def test_what_the_controller_says_is_named(change: dict[str, int], fault: Fault | None) -> None:
    assert judge(GOOD, program_expected=True) is None
    report = judge(GOOD._replace(**change), program_expected=True)
    assert (report and report.fault) == fault


def test_without_a_program_its_absence_is_no_fault() -> None:
    assert judge(GOOD._replace(runtime_state=1), program_expected=False) is None
