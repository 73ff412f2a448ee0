"""What the arm's process sees while its servo loop is inside ur_rtde."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest

from udg_control.device import Fault
from udg_control.ur.config import UrArmConfig
from udg_control.ur.process import STUCK_S, ArmProcess
from udg_control.ur.receive import Measurement, ReceiveError, Receiver
from udg_control.ur.shared import ArmMemory
from udg_control.ur.start import Start
from udg_control.ur.watch import PLAYING, RUNNING, FaultReport

STOPPED, PROTECTIVE = 1, 1 << 2


class Inside(ArmProcess):
    """A process inside ur_rtde, which notes the fault that ends it."""

    found: list[FaultReport]


class Ended(Exception):
    """In place of the end of the process."""


def measurement(runtime_state: int = PLAYING, safety_bits: int = 1) -> Measurement:
    joints = (0.0,) * 6
    return Measurement(1.0, joints, joints, joints, joints, RUNNING, safety_bits, runtime_state, 1.0)


@pytest.fixture
def process(monkeypatch: pytest.MonkeyPatch) -> Iterator[Inside]:
    """A process inside ur_rtde, whose end is an exception; the clock stands where the test puts it."""
    descriptor = ArmMemory.create()
    start = Start(
        side="left",
        descriptor=descriptor,
        parent=os.getppid(),
        arm=False,
        seen_controller_s=-1.0,
        seen_ns=0,
        config={},
        partner_serial_number="",
    )
    made = Inside(start, UrArmConfig(host="127.0.0.1"), ArmMemory(descriptor))
    made.found = []

    def end(fault: FaultReport) -> NoReturn:
        made.found.append(fault)
        raise Ended

    monkeypatch.setattr(made, "_give_up", end)
    monkeypatch.setattr("udg_control.ur.process.GUARD_PERIOD_S", 0.0)
    made._called = True
    yield made
    os.close(descriptor)


def receiver(newest: Measurement, read: Callable[[], object] = lambda: None) -> Receiver:
    return cast("Receiver", SimpleNamespace(newest=newest, read=read, lost=lambda: False))


@pytest.mark.parametrize(
    ("newest", "fault"),
    [
        (measurement(runtime_state=STOPPED), Fault.PROGRAM_STOPPED),
        (measurement(safety_bits=PROTECTIVE), Fault.PROTECTIVE_STOP),
        (measurement(), Fault.LINK_LOST),  # nothing explains that the call hangs
    ],
)
def test_what_the_controller_says_during_a_call_is_the_fault(
    process: Inside, newest: Measurement, fault: Fault
) -> None:
    process._receiver = receiver(newest)
    with pytest.raises(Ended):
        process._guard()  # the servo loop has begun its cycle long ago
    assert [report.fault for report in process.found] == [fault]
    assert ("has not returned" in process.found[0].detail) == (fault is Fault.LINK_LOST)


def test_a_link_that_breaks_during_a_call_is_lost(process: Inside) -> None:
    def read() -> None:
        raise ReceiveError("the controller closed the connection")

    process._receiver = receiver(measurement(), read)
    with pytest.raises(Ended):
        process._guard()
    assert process.found[0].fault is Fault.LINK_LOST and "closed the connection" in process.found[0].detail


def test_outside_of_a_call_the_servo_loop_looks_by_itself(process: Inside) -> None:
    process._receiver = receiver(measurement(runtime_state=STOPPED))
    process._called = False
    assert process._judge_during_call() is None


def test_a_call_that_hangs_is_noticed_before_control_gives_its_device_up() -> None:
    assert STUCK_S < UrArmConfig(host="127.0.0.1").worker_timeout_s
