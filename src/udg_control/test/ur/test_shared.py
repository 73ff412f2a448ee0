"""The memory between control and an arm's process."""

from __future__ import annotations

import os

import numpy as np

from udg_control.ur.shared import RING, ArmMemory, Command, Report
from udg_control.worker import Order


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
