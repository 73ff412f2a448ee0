"""The device without hardware keeps to the protocol of devices."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.device import Fault, Phase
from udg_control.simulated_device import SimulatedDevice
from udg_description.layout import HOME_Q, part_indices

HOME = HOME_Q[part_indices("left_arm")]
MS = 1_000_000


class Clock:
    """A clock set by hand."""

    now_ns = 0

    def __call__(self) -> int:
        return self.now_ns


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def arm(clock: Clock) -> SimulatedDevice:
    device = SimulatedDevice("left_arm", clock_ns=clock)
    device.connect()
    return device


def follow(arm: SimulatedDevice, clock: Clock, goal: np.ndarray, cycles: int) -> None:
    for _ in range(cycles):
        clock.now_ns += 10 * MS
        arm.write(goal, clock.now_ns)


def test_before_connect_there_is_no_state_and_after_close_neither() -> None:
    device = SimulatedDevice("left_hand")
    assert device.read() is None and device.status().phase is Phase.CLOSED
    device.connect()
    assert device.read().q.shape == (12,)
    device.close()
    assert device.read() is None


def test_it_ignores_commands_until_rearm_and_then_follows(arm: SimulatedDevice, clock: Clock) -> None:
    follow(arm, clock, HOME + 0.1, 20)
    np.testing.assert_array_equal(arm.read().q, HOME)
    arm.rearm()
    follow(arm, clock, HOME + 0.1, 30)
    np.testing.assert_allclose(arm.read().q, HOME + 0.1, atol=1e-3)


def test_stop_ends_the_motion_and_is_idempotent(arm: SimulatedDevice, clock: Clock) -> None:
    arm.rearm()
    follow(arm, clock, HOME + 1.0, 5)
    arm.stop()
    q = arm.read().q
    arm.stop()
    clock.now_ns += 1000 * MS
    arm.write(HOME, clock.now_ns)
    np.testing.assert_array_equal(arm.read().q, q)
    assert arm.status().phase is Phase.STOPPED
    assert [record.event for record in arm.log].count("stop") == 1


def test_without_commands_it_stops_by_itself_but_waits_for_the_first(arm: SimulatedDevice, clock: Clock) -> None:
    arm.rearm()
    clock.now_ns += 500 * MS
    assert arm.status().phase is Phase.READY
    arm.write(HOME, clock.now_ns)
    clock.now_ns += 150 * MS
    assert arm.status().fault is Fault.COMMAND_TIMEOUT


@pytest.mark.parametrize("command", [np.full(6, np.nan), np.zeros(5)])
def test_what_is_no_command_is_a_fault(arm: SimulatedDevice, command: np.ndarray) -> None:
    arm.rearm()
    arm.write(command, 0)
    assert arm.status().fault is Fault.COMMAND_REFUSED


def test_a_fault_is_latched_and_comes_back_until_its_cause_is_gone(arm: SimulatedDevice) -> None:
    arm.rearm()
    arm.inject(Fault.PROTECTIVE_STOP)
    assert arm.status().phase is Phase.FAULT
    arm.rearm()
    assert arm.status().fault is Fault.PROTECTIVE_STOP
    arm.repair()
    assert arm.status().phase is Phase.FAULT
    arm.rearm()
    assert arm.status().phase is Phase.READY and arm.status().fault is None


def test_a_frozen_device_shows_by_its_stamp(arm: SimulatedDevice, clock: Clock) -> None:
    arm.frozen = True
    before = arm.read().stamp_ns
    clock.now_ns += 100 * MS
    assert arm.read().stamp_ns == before
