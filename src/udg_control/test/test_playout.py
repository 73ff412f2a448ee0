"""The curve through the commands keeps their velocities and accelerations, and every limit whatever comes."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.joint_motion import next_velocity
from udg_control.playout import Playout

PERIOD_S, TICKS, TICK_S = 0.01, 5, 0.002
LOWER, UPPER = np.full(6, -2.0), np.full(6, 2.0)
VELOCITY, ACCELERATION = np.full(6, 3.0), np.full(6, 10.0)


def make(delay_ticks: int = 3) -> Playout:
    return Playout(
        period_s=PERIOD_S,
        ticks=TICKS,
        delay_ticks=delay_ticks,
        lower=LOWER,
        upper=UPPER,
        velocity=VELOCITY,
        acceleration=ACCELERATION,
    )


def play(playout: Playout, commands: np.ndarray, ticks_after: int = 0) -> np.ndarray:
    """Push a command every TICKS ticks; return all targets (n, 6)."""
    targets = []
    for command in commands:
        playout.push(command)
        targets += [playout.step() for _ in range(TICKS)]
    targets += [playout.step() for _ in range(ticks_after)]
    return np.array(targets)


def speeds(targets: np.ndarray) -> np.ndarray:
    return np.diff(targets, axis=0) / TICK_S


def assert_within_limits(targets: np.ndarray) -> None:
    velocity = speeds(targets)
    assert (targets >= LOWER - 1e-9).all() and (targets <= UPPER + 1e-9).all()
    assert np.abs(velocity).max() <= VELOCITY[0] * (1 + 1e-9)
    assert np.abs(np.diff(velocity, axis=0)).max() / TICK_S <= ACCELERATION[0] * (1 + 1e-6)


def test_it_stands_still_without_commands() -> None:
    playout = make()
    playout.start(np.arange(6) * 0.1)
    targets = np.array([playout.step() for _ in range(23)])
    np.testing.assert_array_equal(targets, np.tile(np.arange(6) * 0.1, (23, 1)))
    assert playout.at_rest


def test_an_arm_of_seven_joints_moves_each_as_one_of_six_would() -> None:
    commands = 0.2 * np.sin(np.arange(60)[:, None] * PERIOD_S * np.arange(1, 8))
    seven = Playout(
        period_s=PERIOD_S,
        ticks=TICKS,
        delay_ticks=3,
        lower=np.full(7, -2.0),
        upper=np.full(7, 2.0),
        velocity=np.full(7, 3.0),
        acceleration=np.full(7, 10.0),
    )
    targets = play(seven, commands, ticks_after=40)
    np.testing.assert_array_equal(targets[:, :6], play(make(), commands[:, :6], ticks_after=40))
    np.testing.assert_array_equal(targets[:, 1:], play(make(), commands[:, 1:], ticks_after=40))


def test_the_curve_is_the_quadratic_spline_of_the_commands() -> None:
    """At the middle between two commands it is their mean; there its velocity is their difference."""
    commands = 0.2 * (1.0 - np.cos(np.arange(200) * PERIOD_S * np.pi))[:, None] * np.ones(6)
    playout = make(delay_ticks=0)
    playout.start(commands[0])
    targets = play(playout, commands)
    # The interval that command k opens ends in the middle between k - 1 and k.
    middles = targets[TICKS - 1 :: TICKS]
    np.testing.assert_allclose(middles[1:], 0.5 * (commands[1:] + commands[:-1]), atol=1e-12)
    # In the middle of an interval: (before + 6 here + after) / 8.
    fine = Playout(
        period_s=PERIOD_S,
        ticks=2,
        delay_ticks=0,
        lower=LOWER,
        upper=UPPER,
        velocity=VELOCITY,
        acceleration=ACCELERATION,
    )
    fine.start(commands[0])
    halves = []
    for command in commands:
        fine.push(command)
        halves.append(fine.step())
        fine.step()
    expected = (commands[:-2] + 6.0 * commands[1:-1] + commands[2:]) / 8.0
    np.testing.assert_allclose(halves[2:], expected, atol=1e-12)
    assert playout.starved == playout.skipped == 0


def test_a_smooth_stream_keeps_its_acceleration() -> None:
    time_s = np.arange(300) * PERIOD_S
    commands = 0.5 * np.sin(2 * np.pi * 0.5 * time_s**1.2)[:, None] * np.linspace(0.2, 1.0, 6)
    playout = make()
    playout.start(commands[0])
    targets = play(playout, commands)
    most = np.abs(np.diff(commands, 2, axis=0)).max() / PERIOD_S**2
    assert np.abs(np.diff(targets, 2, axis=0)).max() / TICK_S**2 <= most * (1 + 1e-6)


@pytest.mark.parametrize("seed", range(5))
def test_hostile_commands_never_exceed_a_limit(seed: int) -> None:
    rng = np.random.default_rng(seed)
    playout = make()
    playout.start(np.zeros(6))
    targets = [np.zeros((1, 6))]
    for _ in range(200):
        for _ in range(rng.integers(0, 3)):
            playout.push(rng.uniform(-2.0, 2.0, 6), int(rng.integers(1, 4)))
        if rng.random() < 0.02:
            playout.brake()
        targets.append(np.array([playout.step() for _ in range(rng.integers(1, 12))]))
    assert_within_limits(np.concatenate(targets))


def test_it_brakes_when_commands_fail_to_come() -> None:
    commands = np.cumsum(np.minimum(np.arange(60) * 0.001, 0.01))[:, None] * np.ones(6)  # up to 1 rad/s
    playout = make()
    playout.start(commands[0])
    play(playout, commands)
    after = np.array([playout.step() for _ in range(400)])
    assert_within_limits(after)
    assert playout.starved > 0
    # v^2 / 2a = 0.05 rad beyond the last command, then back to it.
    assert after.max() < commands[-1, 0] + 0.05 + 0.02
    np.testing.assert_allclose(after[-1], commands[-1], atol=1e-9)
    assert playout.at_rest


def test_brake_comes_to_rest_where_it_can_and_stays() -> None:
    commands = np.cumsum(np.minimum(np.arange(60) * 0.001, 0.01))[:, None] * np.ones(6)
    playout = make()
    playout.start(commands[0])
    targets = play(playout, commands)
    playout.brake()
    braking = []
    while not playout.at_rest:
        braking.append(playout.step())
        assert len(braking) * TICK_S < 0.15  # 1 rad/s at 10 rad/s^2 takes 0.1 s
    assert_within_limits(np.concatenate([targets, braking]))
    np.testing.assert_array_equal(playout.step(), braking[-1])


def test_brake_starts_at_the_next_target_wherever_the_interval_stands() -> None:
    """At 1 rad/s and 10 rad/s^2 it takes 0.1 s and 0.05 rad from the target at which it is told to."""
    commands = np.cumsum(np.minimum(np.arange(60) * 0.001, 0.01))[:, None] * np.ones(6)
    for ticks in range(TICKS):
        playout = make()
        playout.start(commands[0])
        targets = list(play(playout, commands))
        playout.push(commands[-1] + 0.01)
        targets += [playout.step() for _ in range(ticks)]
        playout.brake()
        braking = [playout.step() for _ in range(60)]
        assert_within_limits(np.array(targets + braking))
        assert np.ptp(braking[49:], axis=0).max() < 1e-12
        np.testing.assert_allclose(braking[-1] - targets[-1], 0.05, atol=1e-9)


# --- the limits of a stream, whatever gaps it has -------------------------------------------------------------------

STREAM_VELOCITY, STREAM_ACCELERATION = 0.3 * np.full(6, np.pi), np.full(6, 8.0)  # those of the filter, as shipped
GAPS = 10_000


class Stream:
    """Commands as follower and filter give them, at their limits: what comes late moves on for at most five periods."""

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng, self._left = rng, 0
        self.q, self._v, self._wanted = np.zeros(6), np.zeros(6), np.zeros(6)

    def next(self, periods: int) -> np.ndarray:
        for _ in range(periods):
            if self._left == 0:
                self._left = int(self._rng.integers(5, 60))
                self._wanted = self._rng.choice([-1.0, -0.5, 0.0, 0.7, 1.0], 6) * STREAM_VELOCITY
            self._left -= 1
            self._v = next_velocity(
                self._wanted,
                self._v,
                self.q,
                lower=LOWER,
                upper=UPPER,
                velocity_limit=STREAM_VELOCITY,
                acceleration_limit=STREAM_ACCELERATION,
                dt_s=PERIOD_S,
            )
            self.q = self.q + self._v * PERIOD_S
        return self.q


def one_gap(rng: np.random.Generator) -> tuple[int, int, int, int]:
    """Intervals until the next gap, its length [ticks], commands at once after it, ticks for which the driver slept."""
    return int(rng.integers(1, 12)), int(rng.integers(1, 75)), int(rng.integers(0, 8)), int(rng.choice([0, 0, 0, 20]))


@pytest.mark.parametrize("seed", range(4))
def test_no_gap_stall_or_catching_up_exceeds_the_limits_of_the_stream(seed: int) -> None:
    """10,000 gaps in all four runs, of 2 to 150 ms each, at up to the limit of velocity."""
    rng = np.random.default_rng(seed)
    playout = Playout(
        period_s=PERIOD_S,
        ticks=TICKS,
        delay_ticks=3,
        lower=LOWER,
        upper=UPPER,
        velocity=STREAM_VELOCITY,
        acceleration=STREAM_ACCELERATION,
    )
    stream, targets = Stream(rng), []
    playout.start(stream.q)
    for gap in range(GAPS // 4):
        intervals, ticks, burst, stalled = one_gap(rng)
        for _ in range(intervals):
            playout.push(stream.next(1), 1)
            targets += [playout.step() for _ in range(TICKS)]
        targets += [playout.step() for _ in range(ticks)]
        periods = min(max(round(ticks / TICKS), 1), 5)  # as control and the arm's process count them
        playout.push(stream.next(periods), periods)
        for _ in range(burst if not stalled else burst + stalled // TICKS):  # what the driver had slept through
            playout.push(stream.next(1), 1)
        if gap % 50 == 49:  # a stop, and a new start where it has come to rest
            playout.brake()
            targets += [playout.step() for _ in range(100)]
            assert playout.at_rest
            stream.q, stream._v = np.array(targets[-1]), np.zeros(6)
            playout.start(stream.q)
    velocity = np.diff(np.array(targets), axis=0) / TICK_S
    assert np.abs(velocity).max() <= STREAM_VELOCITY[0] * (1 + 1e-9)
    assert np.abs(np.diff(velocity, axis=0)).max() / TICK_S <= STREAM_ACCELERATION[0] * (1 + 1e-6)
    assert np.abs(velocity).max() > 0.99 * STREAM_VELOCITY[0]  # it was asked for
    assert playout.starved > GAPS // 10 and playout.skipped > GAPS // 100


def test_a_command_up_to_the_delay_late_has_no_effect() -> None:
    commands = 0.2 * (1.0 - np.cos(np.arange(100) * PERIOD_S * np.pi))[:, None] * np.ones(6)
    on_time, late = make(delay_ticks=3), make(delay_ticks=3)
    reference = play(on_time, commands, ticks_after=20)
    late.start(np.zeros(6))
    rng = np.random.default_rng(0)
    due = {TICKS * k + int(rng.integers(0, 4)) * (k > 0): command for k, command in enumerate(commands)}
    targets = []
    for tick in range(len(reference)):
        if tick in due:
            late.push(due[tick])
        targets.append(late.step())
    np.testing.assert_allclose(targets, reference, atol=1e-12)


def test_after_a_pause_of_its_own_it_catches_up_within_the_limits() -> None:
    """The process slept for 20 commands: the queue is worked off without a jump."""
    commands = 0.4 * (1.0 - np.cos(np.arange(400) * PERIOD_S * np.pi * 0.5))[:, None] * np.ones(6)
    playout = make()
    playout.start(commands[0])
    first = play(playout, commands[:100])
    for command in commands[100:120]:
        playout.push(command)
    rest = play(playout, commands[120:], ticks_after=10)
    assert_within_limits(np.concatenate([first, rest]))
    assert playout.skipped >= 15
    np.testing.assert_allclose(rest[-1], commands[-1], atol=0.03)


def test_a_command_for_several_periods_is_spread_over_them() -> None:
    single, double = make(), make()
    single.push(np.full(6, 0.0005))
    single.push(np.full(6, 0.001))
    double.push(np.full(6, 0.001), periods=2)
    for _ in range(40):
        np.testing.assert_allclose(single.step(), double.step(), atol=1e-15)
