"""The control cycle: modes, watchdogs, and that no hostile chunk gets through."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.controller import Controller, ControllerConfig, Cycle, Mode
from udg_control.errors import RefusedError, SafetyConfigError
from udg_control.safety import Reason, SafetyConfig
from udg_description.layout import HOME_Q, JOINT_NAMES
from udg_description.limits import joint_limits

LIMITS = joint_limits()
PERIOD_NS, STEP_NS, NS_PER_S = 10_000_000, 100_000_000, 1_000_000_000
DT_S = 0.01
JOINT = 18


def make_controller(enabled: bool = True, **config: object) -> Controller:
    controller = Controller(ControllerConfig(**config), LIMITS)
    if enabled:
        controller.enable()
    return controller


def chunk_to(value: float, points: int = 16) -> np.ndarray:
    """A chunk that brings one joint to home + value and stays."""
    chunk = np.tile(HOME_Q, (points, 1))
    chunk[:, JOINT] += value
    return chunk


def run(controller: Controller, q: np.ndarray, start: int, count: int) -> list[Cycle]:
    """Cycles with a robot that is always where it was told to be."""
    cycles = []
    for k in range(start, start + count):
        cycles.append(controller.cycle(q, k * PERIOD_NS))
        q = cycles[-1].command
    return cycles


def test_disabled_it_holds_where_it_was_first_measured() -> None:
    controller = make_controller(enabled=False)
    controller.set_chunk(chunk_to(0.05), 0)
    first = controller.cycle(HOME_Q, 0)
    second = controller.cycle(HOME_Q + 0.01, PERIOD_NS)
    np.testing.assert_array_equal(first.command, HOME_Q)
    np.testing.assert_array_equal(second.command, HOME_Q)
    assert first.report.mode is Mode.DISABLED and first.report.reason is Reason.DISABLED


def test_a_chunk_is_reached_when_it_is_due() -> None:
    controller = make_controller()
    controller.set_chunk(chunk_to(0.01), 0)
    cycles = run(controller, HOME_Q, 0, 10)
    assert cycles[-1].command[JOINT] == pytest.approx(HOME_Q[JOINT] + 0.01, abs=1e-8)
    assert cycles[-1].report.mode is Mode.FOLLOWING
    assert not controller.counts


def test_an_empty_chunk_holds_without_a_complaint() -> None:
    controller = make_controller()
    controller.set_chunk(np.zeros((0, 36)), 0)
    cycles = run(controller, HOME_Q, 0, 5)
    np.testing.assert_array_equal(cycles[-1].command, HOME_Q)
    assert cycles[-1].report.mode is Mode.WAITING and cycles[-1].report.reason is None


def test_a_chunk_that_is_not_replaced_becomes_stale_and_the_arms_brake() -> None:
    controller = make_controller(max_chunk_age_s=0.4)
    controller.set_chunk(np.tile(HOME_Q, (16, 1)) + np.outer(0.02 * np.arange(1, 17), np.eye(36)[JOINT]), 0)
    cycles = run(controller, HOME_Q, 0, 60)
    reasons = [cycle.report.reason for cycle in cycles]
    assert reasons.index(Reason.STALE_CHUNK) == 41
    assert controller.counts[Reason.STALE_CHUNK] == 1
    moved = np.array([cycle.command[JOINT] for cycle in cycles]) - HOME_Q[JOINT]
    np.testing.assert_allclose(moved[45:], moved[45])
    assert 0.08 < moved[-1] < 0.09


@pytest.mark.parametrize(
    ("chunk", "reason"),
    [
        (np.full((4, 36), np.nan), Reason.NOT_FINITE),
        (chunk_to(np.inf), Reason.NOT_FINITE),
        (np.zeros((4, 35)), Reason.LENGTH),
        (np.zeros(36), Reason.LENGTH),
        (chunk_to(20.0), Reason.POSITION),
        (chunk_to(1.2), Reason.VELOCITY),  # 12 rad/s, more than three times the limit
    ],
)
def test_a_senseless_chunk_is_rejected_as_a_whole(chunk: np.ndarray, reason: Reason) -> None:
    controller = make_controller()
    controller.set_chunk(chunk, 0)
    cycles = run(controller, HOME_Q, 0, 10)
    assert cycles[0].report.reason is reason
    assert controller.counts == {reason: 1}
    for cycle in cycles:
        np.testing.assert_array_equal(cycle.command, HOME_Q)


def test_a_chunk_with_other_joint_names_is_rejected() -> None:
    controller = make_controller()
    controller.set_chunk(chunk_to(0.01), 0, names=JOINT_NAMES[::-1])
    np.testing.assert_array_equal(run(controller, HOME_Q, 0, 3)[-1].command, HOME_Q)
    assert controller.counts == {Reason.JOINT_NAMES: 1}


def test_small_excess_is_limited_not_rejected() -> None:
    controller = make_controller()
    chunk = chunk_to(0.4)  # 4 rad/s for a joint of 3.14 rad/s, and at once
    chunk[:, 10] = LIMITS.lower[10] - 0.05
    controller.set_chunk(chunk, 0)
    run(controller, HOME_Q, 0, 40)
    assert not controller.counts
    assert controller.follower.clamped_points == 16
    assert controller.follower.limited_steps > 0
    assert controller.filter.command[JOINT] == pytest.approx(HOME_Q[JOINT] + 0.4)
    assert controller.filter.command[10] == LIMITS.lower[10]


def test_chunks_too_old_or_of_the_future_are_rejected() -> None:
    controller = make_controller()
    run(controller, HOME_Q, 0, 50)
    controller.set_chunk(chunk_to(0.01), 0)
    assert controller.cycle(HOME_Q, 50 * PERIOD_NS).report.reason is Reason.STALE_CHUNK
    controller.set_chunk(chunk_to(0.01), 3600 * NS_PER_S)
    assert controller.cycle(HOME_Q, 51 * PERIOD_NS).report.reason is Reason.FUTURE_CHUNK
    controller.set_chunk(chunk_to(0.01), 52 * PERIOD_NS)  # a little early: waits for its time
    assert controller.cycle(HOME_Q, int(51.6 * PERIOD_NS)).report.reason is None
    assert controller.mode is Mode.WAITING
    assert controller.cycle(HOME_Q, 53 * PERIOD_NS).report.mode is Mode.FOLLOWING


def test_a_broken_state_holds() -> None:
    controller = make_controller()
    assert controller.cycle(HOME_Q[:35], 0).command is None
    controller.set_chunk(chunk_to(0.01), 0)
    last = run(controller, HOME_Q, 0, 5)[-1].command
    for bad in (np.full(36, np.nan), HOME_Q[:35]):
        cycle = controller.cycle(bad, 5 * PERIOD_NS)
        assert cycle.report.reason is Reason.BAD_STATE
        np.testing.assert_array_equal(cycle.command, last)
    assert controller.counts[Reason.BAD_STATE] == 3


def test_a_broken_state_ends_the_motion_where_faults_latch() -> None:
    controller = make_controller(latch=True)
    controller.set_chunk(chunk_to(0.01), 0)
    run(controller, HOME_Q, 0, 5)
    controller.cycle(np.full(36, np.nan), 5 * PERIOD_NS)
    controller.set_chunk(chunk_to(0.01), 6 * PERIOD_NS)
    assert controller.cycle(HOME_Q, 6 * PERIOD_NS).report.mode is Mode.FAULT
    assert controller.fault is not None and controller.fault.reason is Reason.BAD_STATE


def test_an_old_state_holds() -> None:
    controller = make_controller()
    run(controller, HOME_Q, 0, 2)
    assert controller.cycle(HOME_Q, 0, now_ns=20 * PERIOD_NS).report.reason is Reason.STALE_STATE


def test_a_blocked_arm_holds_and_goes_on_when_it_is_free() -> None:
    controller = make_controller(safety=SafetyConfig(arm_step_rad=0.1))
    for tick in range(20):
        controller.set_chunk(chunk_to(min(0.1 * (tick + 1), 0.5)), tick * STEP_NS)
        for k in range(10):
            cycle = controller.cycle(HOME_Q, (10 * tick + k) * PERIOD_NS)  # it never moves
    assert cycle.report.reason is Reason.STEP and "right_shoulder_pan_joint" in cycle.report.detail
    assert cycle.command[JOINT] - HOME_Q[JOINT] <= 0.1 + 1.4**2 / (2 * LIMITS.acceleration[JOINT])  # and braked
    controller.set_chunk(chunk_to(0.5), 20 * STEP_NS)
    cycles = run(controller, cycle.command, 200, 30)
    assert cycles[-1].report.reason is None and cycles[-1].command[JOINT] > cycle.command[JOINT]


def test_enable_starts_at_the_measured_state() -> None:
    controller = make_controller()
    run(controller, HOME_Q, 0, 5)
    controller.disable()
    elsewhere = HOME_Q + 0.03
    np.testing.assert_array_equal(controller.cycle(elsewhere, 5 * PERIOD_NS).command, HOME_Q)
    controller.enable()
    np.testing.assert_allclose(controller.cycle(elsewhere, 6 * PERIOD_NS).command, elsewhere)


@pytest.mark.parametrize("then_ns", [0, 100 * NS_PER_S])
def test_a_leap_of_the_clock_starts_again_at_the_measured_state(then_ns: int) -> None:
    controller = make_controller()
    controller.set_chunk(chunk_to(0.05), 0)
    run(controller, HOME_Q, 0, 30)
    assert controller.mode is Mode.FOLLOWING
    controller.set_chunk(chunk_to(0.02), then_ns)  # the answer to the new state is there already
    cycle = controller.cycle(HOME_Q, then_ns)
    assert controller.counts[Reason.CLOCK_JUMP] == 1
    assert cycle.report.mode is Mode.FOLLOWING
    np.testing.assert_allclose(cycle.command, HOME_Q, atol=1e-2)


def test_disabled_too_a_leap_of_the_clock_gives_up_the_old_position() -> None:
    controller = make_controller(enabled=False)
    controller.cycle(HOME_Q + 0.03, 0)
    np.testing.assert_array_equal(controller.cycle(HOME_Q, 100 * NS_PER_S).command, HOME_Q)


def test_the_same_state_again_gets_the_same_command_again() -> None:
    controller = make_controller()
    controller.set_chunk(chunk_to(0.01), 0)
    first = controller.cycle(HOME_Q, 0)
    again = controller.cycle(HOME_Q, 0)
    np.testing.assert_array_equal(first.command, again.command)
    assert run(controller, HOME_Q, 1, 9)[-1].command[JOINT] == pytest.approx(HOME_Q[JOINT] + 0.01, abs=1e-8)


def test_in_lockstep_a_tick_wants_the_chunk_of_its_own_stamp() -> None:
    controller = make_controller(enabled=False)
    assert not controller.wants_chunk(0)
    controller.enable()
    assert controller.wants_chunk(0) and not controller.wants_chunk(PERIOD_NS)
    controller.set_chunk(chunk_to(0.01), 0)
    assert not controller.wants_chunk(0)
    controller.cycle(HOME_Q, 0)
    assert not controller.wants_chunk(0) and controller.wants_chunk(STEP_NS)
    controller.home()
    assert not controller.wants_chunk(STEP_NS)


def test_home_is_reached_from_any_pose_within_the_limits() -> None:
    rng = np.random.default_rng(2)
    controller = make_controller()
    q = np.clip(HOME_Q + rng.uniform(-0.5, 0.5, 36), LIMITS.lower, LIMITS.upper)
    controller.cycle(q, 0)
    controller.home()
    cycles = run(controller, q, 1, 300)
    commands = np.array([cycle.command for cycle in cycles])
    np.testing.assert_allclose(commands[-1], HOME_Q, atol=1e-9)
    assert controller.mode is Mode.WAITING and not controller.counts
    speed = np.abs(np.diff(commands, axis=0)) / DT_S
    assert np.all(speed <= controller.config.home_speed * LIMITS.velocity * 1.01)


def test_home_is_refused_while_disabled() -> None:
    with pytest.raises(RefusedError, match="/control/enable"):
        make_controller(enabled=False).home()


def test_a_parameter_outside_its_range_is_refused_by_name() -> None:
    with pytest.raises(SafetyConfigError, match="ControllerConfig: home_speed is 2.0; valid: 0.01 to 1.0"):
        ControllerConfig(home_speed=2.0)


def test_an_unknown_error_stops(monkeypatch: pytest.MonkeyPatch) -> None:
    controller = make_controller()
    run(controller, HOME_Q, 0, 3)
    monkeypatch.setattr(controller.follower, "advance", lambda *_: 1 / 0)
    cycle = controller.cycle(HOME_Q, 3 * PERIOD_NS)
    assert cycle.report.reason is Reason.INTERNAL_ERROR and controller.mode is Mode.STOPPED
    assert controller.fault is not None and "ZeroDivisionError" in controller.fault.detail  # it stays told
    np.testing.assert_array_equal(cycle.command, HOME_Q)


def test_no_hostile_chunk_moves_the_robot_outside_its_limits() -> None:
    rng = np.random.default_rng(3)
    controller = make_controller()
    q = last = controller.cycle(HOME_Q, 0).command
    last_k, k = 0, 1
    for _ in range(2000):
        controller.set_chunk(hostile_chunk(rng, last), (k - int(rng.choice([0, 0, 0, 5, 80, -3]))) * PERIOD_NS)
        for _ in range(int(rng.integers(1, 6))):
            measured = q + 0.01 * rng.standard_normal(36)
            if rng.random() < 0.01:
                measured[rng.integers(36)] = np.nan
            cycle = controller.cycle(measured, k * PERIOD_NS)
            out = cycle.command
            assert out.shape == (36,) and np.isfinite(out).all()
            assert np.all((out >= LIMITS.lower) & (out <= LIMITS.upper))
            assert np.all(np.abs(out - last) <= LIMITS.velocity * (k - last_k) * DT_S + 1e-7)
            last, q = out, q + 0.5 * (out - q)
            last_k, k = k, k + int(rng.choice([1, 1, 1, 1, 2, 4]))
    assert {Reason.NOT_FINITE, Reason.LENGTH, Reason.POSITION, Reason.STALE_CHUNK, Reason.BAD_STATE} <= set(
        controller.counts
    )
    assert Reason.INTERNAL_ERROR not in controller.counts


def hostile_chunk(rng: np.random.Generator, last: np.ndarray) -> np.ndarray:
    """A chunk of a random kind: sensible, noisy, wild, huge, not finite, of a wrong shape, empty."""
    points = int(rng.integers(1, 17))
    kind = rng.integers(8)
    if kind <= 2:
        return last + np.cumsum(10.0 ** rng.uniform(-3, -1) * rng.standard_normal((points, 36)), axis=0)
    if kind == 3:
        return rng.uniform(LIMITS.lower - 0.1, LIMITS.upper + 0.1, (points, 36))
    if kind == 4:
        return rng.choice([1e3, 1e12, 1e300]) * rng.standard_normal((points, 36))
    if kind == 5:
        chunk = np.tile(last, (points, 1))
        chunk[rng.integers(points), rng.integers(36)] = rng.choice([np.nan, np.inf, -np.inf])
        return chunk
    if kind == 6:
        return np.zeros((points, int(rng.choice([0, 1, 35, 37]))))
    return np.zeros((0, 36))
