"""Laws of the follower."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.errors import SafetyConfigError
from udg_control.follower import ChunkFollower, FollowerConfig, SmoothMove
from udg_description.layout import HOME_Q
from udg_description.limits import joint_limits

PERIOD_NS, STEP_NS = 10_000_000, 100_000_000
DT_S = 0.01
LIMITS = joint_limits()
JOINT = 18  # right shoulder pan, with room on both sides of home


def make_follower() -> ChunkFollower:
    follower = ChunkFollower(
        FollowerConfig(),
        lower=LIMITS.lower,
        upper=LIMITS.upper,
        velocity=LIMITS.velocity,
        acceleration=LIMITS.acceleration,
    )
    follower.sync(HOME_Q)
    return follower


def run(follower: ChunkFollower, start: int, count: int) -> np.ndarray:
    """The commands (count, 36) of the cycles start, start + 1, ..."""
    return np.array([follower.advance(k * PERIOD_NS) for k in range(start, start + count)])


def ramp(slope_rad_s: float, points: int, first: float) -> np.ndarray:
    """A chunk in which one joint moves with constant velocity."""
    chunk = np.tile(HOME_Q, (points, 1))
    chunk[:, JOINT] = first + slope_rad_s * 0.1 * np.arange(1, points + 1)
    return chunk


def test_a_feasible_chunk_is_interpolated_linearly_and_reached_on_time() -> None:
    follower = make_follower()
    follower.follow(ramp(0.1, 3, HOME_Q[JOINT]), 0, 0)  # 0.1 rad/s at once: exactly 10 rad/s^2 for one period
    moved = run(follower, 0, 30)[:, JOINT] - HOME_Q[JOINT]
    np.testing.assert_allclose(moved, 0.1 * DT_S * np.arange(1, 31), atol=1e-8)


@pytest.mark.parametrize("speed", [0.5, 1.0, 2.0])
def test_a_constant_velocity_is_tracked_without_lag_that_grows(speed: float) -> None:
    follower = make_follower()
    start = HOME_Q[JOINT] - 1.0
    q = HOME_Q.copy()
    q[JOINT] = start
    follower.sync(q)
    lags = []
    for tick in range(8):  # re-planned at each tick, as in closed loop
        follower.follow(ramp(speed, 8, start + speed * 0.1 * tick), tick * STEP_NS, tick * STEP_NS)
        command = run(follower, 10 * tick, 10)[-1, JOINT]
        lags.append(start + speed * 0.1 * (tick + 1) - command)
    assert 0.0 <= lags[0] <= speed**2 / (2 * 10.0) + 1e-3  # while it gathers speed from rest at 10 rad/s^2
    assert np.abs(lags[-3:]).max() < 3e-3 and abs(lags[-1]) < 1e-6


def test_a_newer_chunk_starts_at_the_last_command() -> None:
    follower = make_follower()
    follower.follow(ramp(0.1, 4, HOME_Q[JOINT]), 0, 0)
    before = run(follower, 0, 5)[-1, JOINT]
    newer = ramp(0.0, 4, before)
    follower.follow(newer, 0, 5 * PERIOD_NS)
    after = run(follower, 5, 20)[:, JOINT]
    np.testing.assert_allclose(after, before, atol=2e-3)  # it overshoots by what braking takes, then is back
    np.testing.assert_allclose(after[-1], before, atol=1e-9)


def test_a_late_chunk_is_joined_where_it_should_be_by_now() -> None:
    follower = make_follower()
    follower.follow(ramp(0.1, 4, HOME_Q[JOINT]), 0, 15 * PERIOD_NS)  # its first point is past
    moved = run(follower, 15, 15)[-1, JOINT] - HOME_Q[JOINT]
    assert moved == pytest.approx(0.03, abs=1e-6)  # point 2, due at 0.3 s


def test_every_command_keeps_to_the_limits_whatever_the_chunks() -> None:
    rng = np.random.default_rng(0)
    follower = make_follower()
    commands = [np.array(HOME_Q)]
    for tick in range(200):
        if rng.random() < 0.1:
            follower.stop()
        else:
            spread = rng.choice([0.05, 0.5, 10.0])
            chunk = follower.command + spread * rng.standard_normal((rng.integers(1, 17), 36))
            follower.follow(chunk, tick * STEP_NS, tick * STEP_NS)
        commands.extend(run(follower, 10 * tick, 10))
    q = np.array(commands)
    v = np.diff(q, axis=0, prepend=q[:1]) / DT_S
    a = np.diff(v, axis=0) / DT_S
    assert np.all((q >= LIMITS.lower) & (q <= LIMITS.upper))
    assert np.all(np.abs(v) <= LIMITS.velocity + 1e-9)
    assert np.all(np.abs(a) <= LIMITS.acceleration + 1e-6)
    assert follower.clamped_points > 0 and follower.limited_steps > 0


def test_a_target_at_the_position_limit_is_reached_without_overshoot() -> None:
    follower = make_follower()
    chunk = np.tile(HOME_Q, (20, 1))
    chunk[:, JOINT] = LIMITS.upper[JOINT] + 0.05
    follower.follow(chunk, 0, 0)
    q = run(follower, 0, 200)[:, JOINT]
    assert np.all(np.diff(q) >= -1e-12)
    assert q[-1] == pytest.approx(LIMITS.upper[JOINT], abs=1e-9)
    assert follower.clamped_points == 20


def test_stopping_brakes_within_the_acceleration_limit_and_then_rests() -> None:
    follower = make_follower()
    follower.follow(ramp(1.0, 10, HOME_Q[JOINT]), 0, 0)
    run(follower, 0, 30)
    follower.stop()
    q = run(follower, 30, 15)[:, JOINT]
    assert follower.at_rest
    np.testing.assert_allclose(np.diff(np.diff(q)) / DT_S**2, [-10.0] * 8 + [0.0] * 5, atol=0.01)


def test_smooth_move_keeps_its_speed_and_rests_at_both_ends() -> None:
    start, end = np.zeros(36), np.linspace(-1.0, 1.0, 36)
    move = SmoothMove(start, end, 0, np.full(36, 0.5), np.full(36, 2.0))
    t = np.arange(0, move.end_ns + STEP_NS, PERIOD_NS // 10)
    q = np.array([move.at(int(time_ns)) for time_ns in t])
    v = np.gradient(q, 1e-3, axis=0)
    assert np.abs(v).max() == pytest.approx(0.5, rel=1e-3)
    assert np.abs(np.gradient(v, 1e-3, axis=0)).max() <= 2.0 * 1.01
    np.testing.assert_array_equal(q[0], start)
    np.testing.assert_array_equal(q[-1], end)


def test_a_period_longer_than_a_step_is_refused() -> None:
    with pytest.raises(SafetyConfigError, match="period_s"):
        FollowerConfig(period_s=0.05, step_s=0.02)


def test_with_a_lead_the_arms_are_ahead_of_the_chunk_by_it_and_the_hands_are_not() -> None:
    finger = JOINT + 6 + 4  # right index, free to bend
    follower = ChunkFollower(
        FollowerConfig(arm_lead_s=0.05),
        lower=LIMITS.lower,
        upper=LIMITS.upper,
        velocity=LIMITS.velocity,
        acceleration=LIMITS.acceleration,
    )
    follower.sync(HOME_Q)
    for tick in range(6):
        chunk = np.tile(HOME_Q, (8, 1))
        chunk[:, [JOINT, finger]] += 0.05 * (tick + np.arange(1, 9))[:, None]  # 0.5 rad/s
        follower.follow(chunk, tick * STEP_NS, tick * STEP_NS)
        moved = run(follower, 10 * tick, 10)[-1] - HOME_Q
    np.testing.assert_allclose(moved[[JOINT, finger]], [0.5 * (0.6 + 0.05), 0.5 * 0.6], atol=1e-6)
