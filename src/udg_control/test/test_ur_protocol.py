"""RTDE as the emulator speaks it, and the memory between control and an arm's process."""

from __future__ import annotations

import os
import struct

import numpy as np
import pytest

from udg_control.device import Fault
from udg_control.emulators import ur_fields as rtde
from udg_control.errors import SafetyConfigError
from udg_control.ur import UrArmConfig
from udg_control.ur.shared import RING, ArmMemory, Command, Report
from udg_control.ur.watch import Sample, judge
from udg_control.worker import Order


def test_messages_survive_any_cutting() -> None:
    sent = [(ord("O"), b"abc"), (ord("S"), b""), (ord("U"), bytes(range(200)))]
    stream = b"".join(rtde.message(kind, payload) for kind, payload in sent)
    for cut in range(len(stream)):
        buffer = bytearray(stream[:cut])
        got = rtde.split_packages(buffer)
        buffer += stream[cut:]
        got += rtde.split_packages(buffer)
        assert [tuple(package) for package in got] == sent
        assert not buffer


def test_a_message_shorter_than_its_header_is_an_error() -> None:
    with pytest.raises(ValueError, match="2 bytes"):
        rtde.split_packages(bytearray(b"\x00\x02V"))


def test_a_data_package_is_what_the_guide_says() -> None:
    outputs = rtde.Outputs()
    outputs.field("timestamp")[0] = 12.5
    outputs.field("actual_q")[0] = np.arange(6)
    outputs.field("robot_mode")[0] = -1
    outputs.field("safety_status_bits")[0] = 0x401
    recipe = rtde.OutputRecipe(7, ["robot_mode", "actual_q", "timestamp", "safety_status_bits"], outputs)
    assert recipe.types == ["INT32", "VECTOR6D", "DOUBLE", "UINT32"]
    payload = struct.pack(">Bi7dI", 7, -1, 0, 1, 2, 3, 4, 5, 12.5, 0x401)
    assert recipe.packet(outputs) == struct.pack(">HB", 3 + len(payload), ord("U")) + payload


def test_unknown_fields_are_not_found() -> None:
    outputs = rtde.Outputs()
    assert rtde.OutputRecipe(1, ["actual_q", "colour"], outputs).types == ["VECTOR6D", "NOT_FOUND"]
    assert rtde.InputRecipe(["input_int_register_0", "colour"]).types == ["INT32", "NOT_FOUND"]


def test_a_short_input_package_is_filled_with_zeros() -> None:
    """ur_rtde sends one when servoJ is given fewer than 6 joints."""
    recipe = rtde.InputRecipe(["input_int_register_0", *(f"input_double_register_{i}" for i in range(11))])
    assert recipe.n_doubles == 11
    assert recipe.unpack(struct.pack(">i3d", 11, 1.0, 2.0, 3.0)) == (11, 1.0, 2.0, 3.0, *[0.0] * 8)


def shared_pair() -> tuple[ArmMemory, ArmMemory]:
    descriptor = ArmMemory.create()
    try:
        return ArmMemory(descriptor), ArmMemory(descriptor)
    finally:
        os.close(descriptor)


def test_commands_and_reports_arrive_whole_and_in_order() -> None:
    control, process = shared_pair()
    assert process.commands() == [] and control.joints() is None and control.report() == Report()
    commands = [Command(k, 10 * k, tuple(float(k + j) for j in range(6))) for k in range(5)]
    for command in commands:
        control.write(command)
    assert process.commands() == commands
    assert process.commands() == []
    report = Report(alive_ns=5, fault=3, controller_s=1.5)
    process.put_report(report)
    process.put_joints([1.0] * 6, [2.0] * 6, [3.0] * 6, [4.0] * 6)
    process.detail.put("wire \u00fcber")
    assert control.report() == report
    np.testing.assert_array_equal(control.joints(), np.repeat([[1.0], [2.0], [3.0], [4.0]], 6, axis=1))
    assert control.detail.get() == "wire \u00fcber"


def test_of_too_many_commands_the_newest_are_read() -> None:
    control, process = shared_pair()
    for k in range(3 * RING):
        control.write(Command(k, k, (0.0,) * 6))
    assert [command.stamp_ns for command in process.commands()] == list(range(3 * RING - RING // 2, 3 * RING))


def test_the_newest_order_counts() -> None:
    control, process = shared_pair()
    assert process.order() == (0, Order.NONE)
    control.give(Order.ARM)
    assert control.give(Order.STOP) == 2
    assert process.order() == (2, Order.STOP)


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


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"gain": 50.0}, "gain"),
        ({"lookahead_s": 0.01}, "lookahead_s"),
        ({"host": ""}, "host"),
        ({"command_period_s": 0.0031}, "command_period_s"),
        ({"payload_centre_m": (0.0, 0.1)}, "payload_centre_m"),
    ],
)
def test_a_bad_parameter_is_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(SafetyConfigError, match=named):
        UrArmConfig(**values)  # type: ignore[arg-type]


def test_by_default_no_real_arm_is_reached() -> None:
    assert UrArmConfig().host == "127.0.0.1"
