"""One slow arm slows both; going back to full speed is no jump."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.controller import Controller, ControllerConfig, Mode
from udg_control.pace import LATE_FREE, LATE_S, LEAST, Pace
from udg_control.safety import Reason, SafetyConfig
from udg_description.layout import HOME_Q
from udg_description.limits import joint_limits

LIMITS = joint_limits()
PERIOD_NS = 10_000_000
LEFT, RIGHT = 5, 23  # the last wrists
STEP = np.full(36, 0.1)
SAFETY = SafetyConfig(velocity_scale=0.3, acceleration_scale=0.8, arm_step_rad=0.15)


def lag_of(joint: int, by: float) -> np.ndarray:
    q = np.zeros(36)
    q[joint] = by
    return q


@pytest.mark.parametrize(("lag", "share"), [(0.0, 1.0), (0.02, 1.0), (0.03, 0.75), (0.06, LEAST), (-0.05, 0.25)])
def test_the_share_falls_when_an_arm_joint_is_where_it_was_not_told_to_be(lag: float, share: float) -> None:
    for joint in (LEFT, RIGHT):
        assert Pace(STEP).update(np.zeros(36), lag_of(joint, lag), 1.0, 0.01) == pytest.approx(share)


def test_an_arm_a_tenth_of_a_second_late_is_as_usual_until_it_is_far_behind() -> None:
    """At 0.5 rad/s it is 0.05 rad behind; at 0.8 rad/s 0.08, half way from where the share falls to where it is 0."""
    for speed, share in ((0.5, 1.0), (0.8, 0.5)):
        pace = Pace(STEP)
        for k in range(30):
            found = pace.update(lag_of(LEFT, speed * 0.01 * k), lag_of(LEFT, speed * 0.01 * max(k - 10, 0)), 1.0, 0.01)
        assert found == pytest.approx(share)


def test_fingers_may_lag_they_squeeze() -> None:
    assert Pace(STEP).update(np.zeros(36), lag_of(10, 0.5), 1.0, 0.01) == 1.0


def test_it_falls_at_once_to_what_an_arm_reports_and_rises_within_two_seconds() -> None:
    pace, still = Pace(STEP), np.zeros(36)
    assert pace.update(still, still, 0.1, 0.01) == 0.1
    shares = [pace.update(still, still, 1.0, 0.01) for _ in range(200)]
    assert np.diff(shares).max() <= 0.005 + 1e-12 and shares[100] == pytest.approx(0.605) and shares[-1] == 1.0


def test_an_arm_that_stays_behind_is_named_but_not_while_it_says_that_it_is_slow() -> None:
    for speed, complains in ((1.0, True), (0.5, False)):
        pace = Pace(STEP)
        for _ in range(round(LATE_S / 0.01) - 1):
            pace.update(np.zeros(36), lag_of(LEFT, 0.1 * (LATE_FREE + 0.1)), speed, 0.01)
            assert pace.complaint == ""
        for _ in range(2):
            pace.update(np.zeros(36), lag_of(LEFT, 0.1 * (LATE_FREE + 0.1)), speed, 0.01)
        assert ("left_wrist_3_joint" in pace.complaint) == complains


class Arms:
    """Joints that approach their commands; the left arm's the slower."""

    def __init__(self) -> None:
        self.q, self.left_share = np.array(HOME_Q), 1.0

    def step(self, command: np.ndarray) -> None:
        share = np.where(np.arange(36) < 18, self.left_share, 1.0)
        self.q = self.q + (command - self.q) * (1.0 - np.exp(-0.01 * share / 0.06))


def play(controller: Controller, arms: Arms, start: int, count: int, speed: float) -> np.ndarray:
    """Both wrists are to turn at 0.9 rad/s; return commands (count, 36)."""
    commands = []
    for k in range(start, start + count):
        if k % 10 == 0:
            chunk = np.tile(arms.q, (8, 1))
            chunk[:, [LEFT, RIGHT]] += 0.09 * np.arange(1, 9)[:, None]
            controller.set_chunk(chunk, k * PERIOD_NS)
        controller.arm_speed = speed
        cycle = controller.cycle(arms.q, k * PERIOD_NS)
        assert cycle.command is not None
        commands.append(cycle.command)
        arms.step(cycle.command)
    return np.array(commands)


def make(latch: bool = True) -> tuple[Controller, Arms]:
    controller = Controller(ControllerConfig(safety=SAFETY, latch=latch), LIMITS)
    controller.enable()
    return controller, Arms()


@pytest.mark.parametrize("reported", [True, False])
def test_a_slider_at_a_tenth_slows_both_arms_or_stops_them_and_back_at_full_nothing_jumps(reported: bool) -> None:
    controller, arms = make()
    before = play(controller, arms, 0, 100, 1.0)
    assert (np.diff(before, axis=0)[-1, [LEFT, RIGHT]] / 0.01 > 0.5).all()  # chunks start at joints that lag
    arms.left_share = 0.1
    slow = play(controller, arms, 100, 300, 0.1 if reported else 1.0)
    assert np.abs(slow - arms.q)[-1, [LEFT, RIGHT]].max() <= 0.15
    speeds = np.diff(slow[200:], axis=0)[:, [LEFT, RIGHT]] / 0.01
    if reported:
        assert controller.mode is Mode.FOLLOWING
        assert 0.0 < speeds.mean() < 0.15
    else:  # nothing but the joints tells
        assert controller.mode is Mode.FAULT and controller.fault is not None
        assert "left_wrist_3_joint does not follow" in controller.fault.detail
        assert speeds.max() == 0.0
    apart = (slow[:, LEFT] - HOME_Q[LEFT]) - (slow[:, RIGHT] - HOME_Q[RIGHT])
    assert np.abs(apart).max() < 0.3  # neither leaves the other behind
    arms.left_share = 1.0
    q = arms.q.copy()
    joints = [q]
    after = []
    for k in range(400, 800, 10):
        after.append(play(controller, arms, k, 10, 1.0))
        joints.append(arms.q.copy())
    commands = np.concatenate([before, slow, *after])
    velocity = np.diff(commands, axis=0) / 0.01
    assert np.abs(velocity).max() <= 0.3 * np.pi + 1e-9
    assert np.abs(np.diff(velocity, axis=0)).max() / 0.01 <= 100.0 * 0.8 + 1e-6
    assert np.abs(np.diff(joints, axis=0)).max() / 0.1 <= 0.3 * np.pi * 1.1  # joints don't snap either


def test_in_simulation_a_blocked_arm_can_be_led_back() -> None:
    controller, arms = make(latch=False)
    play(controller, arms, 0, 60, 1.0)
    blocked = arms.q.copy()
    for k in range(60, 900):
        chunk = np.tile(blocked, (8, 1))
        chunk[:, LEFT] += 0.5 if k < 250 else -0.3  # into what blocks it, then away
        if k % 10 == 0:
            controller.set_chunk(chunk, k * PERIOD_NS)
        command = controller.cycle(arms.q, k * PERIOD_NS).command
        assert command is not None
        arms.step(command)
        arms.q[LEFT] = min(arms.q[LEFT], blocked[LEFT])
    assert arms.q[LEFT] < blocked[LEFT] - 0.1


def test_a_stuck_arm_stops_both_with_its_name() -> None:
    controller, arms = make()
    play(controller, arms, 0, 60, 1.0)
    arms.left_share = 0.0
    commands = play(controller, arms, 60, 200, 1.0)
    assert controller.mode is Mode.FAULT and controller.fault is not None
    assert controller.fault.reason is Reason.STEP and "left_wrist_3_joint" in controller.fault.detail
    assert np.ptp(commands[-20:], axis=0).max() == 0.0
    assert np.abs(commands[-1] - arms.q).max() <= 0.15 + 0.01
