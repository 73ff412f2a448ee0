"""The safety filter: each reason once by hand, and that nothing hostile ever leaves."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.errors import SafetyConfigError
from udg_control.safety import Reason, SafetyConfig, SafetyFilter
from udg_description.layout import HOME_Q, JOINT_NAMES, part_indices
from udg_description.limits import joint_limits

LIMITS = joint_limits()
DT_S = 0.01
ARM_JOINT = 18  # limits: 3.14 rad/s, 10 rad/s^2: from rest 1 mrad in 10 ms
HAND_JOINT = 10


def make_filter(**config: float) -> SafetyFilter:
    safety = SafetyFilter(SafetyConfig(**config), LIMITS)
    safety.sync(HOME_Q)
    safety.enable()
    return safety


def moved(joint: int, by: float, base: np.ndarray = HOME_Q) -> np.ndarray:
    q = np.array(base)
    q[joint] += by
    return q


def with_value(joint: int, value: float) -> np.ndarray:
    q = np.array(HOME_Q)
    q[joint] = value
    return q


def test_a_small_step_passes_unchanged() -> None:
    safety = make_filter()
    verdict = safety.judge(moved(ARM_JOINT, 0.0009), HOME_Q, dt_s=DT_S)
    assert verdict.accepted
    np.testing.assert_array_equal(verdict.command, moved(ARM_JOINT, 0.0009))
    assert not safety.counts


def test_the_filter_is_disabled_at_the_start() -> None:
    safety = SafetyFilter(SafetyConfig(), LIMITS)
    safety.sync(HOME_Q)
    verdict = safety.judge(moved(ARM_JOINT, 0.0001), HOME_Q, dt_s=DT_S)
    assert verdict.reason is Reason.DISABLED
    np.testing.assert_array_equal(verdict.command, HOME_Q)


def test_an_emergency_stop_outlasts_disable_and_ends_with_enable() -> None:
    safety = make_filter()
    safety.emergency_stop()
    assert safety.judge(HOME_Q, HOME_Q, dt_s=DT_S).reason is Reason.EMERGENCY_STOP
    safety.disable()
    assert safety.judge(HOME_Q, HOME_Q, dt_s=DT_S).reason is Reason.EMERGENCY_STOP
    safety.enable()
    assert safety.judge(HOME_Q, HOME_Q, dt_s=DT_S).accepted


@pytest.mark.parametrize(
    ("command", "reason"),
    [
        (with_value(3, np.nan), Reason.NOT_FINITE),
        (with_value(30, -np.inf), Reason.NOT_FINITE),
        (HOME_Q[:35], Reason.LENGTH),
        (np.zeros((1, 36)), Reason.LENGTH),
        (with_value(ARM_JOINT, LIMITS.upper[ARM_JOINT] + 1e-6), Reason.POSITION),
        (with_value(HAND_JOINT, LIMITS.lower[HAND_JOINT] - 1e-6), Reason.POSITION),
        (moved(ARM_JOINT, 0.032), Reason.VELOCITY),  # 3.2 rad/s
        (moved(ARM_JOINT, 0.0011), Reason.ACCELERATION),  # 11 rad/s^2
        (moved(HAND_JOINT, 0.011), Reason.ACCELERATION),  # 110 rad/s^2
    ],
)
def test_a_bad_command_is_rejected_with_its_reason_and_the_last_one_held(command: np.ndarray, reason: Reason) -> None:
    safety = make_filter()
    verdict = safety.judge(command, HOME_Q, dt_s=DT_S)
    assert verdict.reason is reason
    assert safety.counts == {reason: 1}
    np.testing.assert_array_equal(verdict.command, HOME_Q)


def test_names_in_another_order_are_rejected() -> None:
    safety = make_filter()
    names = [JOINT_NAMES[1], JOINT_NAMES[0], *JOINT_NAMES[2:]]
    assert safety.judge(HOME_Q, HOME_Q, dt_s=DT_S, names=names).reason is Reason.JOINT_NAMES
    assert safety.judge(HOME_Q, HOME_Q, dt_s=DT_S, names=list(JOINT_NAMES)).accepted


def test_a_stale_or_broken_state_is_rejected() -> None:
    safety = make_filter(max_state_age_s=0.1)
    assert safety.judge(HOME_Q, HOME_Q, dt_s=DT_S, state_age_s=0.101).reason is Reason.STALE_STATE
    assert safety.judge(HOME_Q, HOME_Q, dt_s=DT_S, state_age_s=np.nan).reason is Reason.STALE_STATE
    assert safety.judge(HOME_Q, with_value(0, np.nan), dt_s=DT_S).reason is Reason.BAD_STATE
    assert safety.judge(HOME_Q, HOME_Q[:6], dt_s=DT_S).reason is Reason.BAD_STATE
    assert safety.judge(moved(ARM_JOINT, 1e-4), HOME_Q, dt_s=0.0).reason is Reason.STALE_STATE


def test_an_arm_must_stay_near_its_measured_position_a_hand_may_squeeze() -> None:
    step = 0.0005
    safety = make_filter(arm_step_rad=0.3, hand_step_rad=1.2)
    far_arm = moved(ARM_JOINT, -0.3)
    assert safety.judge(moved(ARM_JOINT, step), far_arm, dt_s=DT_S).reason is Reason.STEP
    assert safety.judge(moved(HAND_JOINT, step), moved(HAND_JOINT, -0.3), dt_s=DT_S).accepted
    assert safety.judge(moved(HAND_JOINT, 2 * step), moved(HAND_JOINT, -1.2), dt_s=DT_S).reason is Reason.STEP


def test_a_far_arm_may_always_come_nearer() -> None:
    safety = make_filter(arm_step_rad=0.3)
    blocked = moved(ARM_JOINT, -0.5)
    assert safety.judge(HOME_Q, blocked, dt_s=DT_S).accepted
    assert safety.judge(moved(ARM_JOINT, -0.0005), blocked, dt_s=DT_S).accepted


def test_scales_tighten_the_limits() -> None:
    safety = make_filter(velocity_scale=0.1, acceleration_scale=1.0)
    assert safety.judge(moved(ARM_JOINT, 0.0032), HOME_Q, dt_s=DT_S).reason is Reason.VELOCITY
    with pytest.raises(SafetyConfigError, match="velocity_scale"):
        SafetyConfig(velocity_scale=1.5)
    with pytest.raises(SafetyConfigError, match="arm_step_rad"):
        SafetyConfig(arm_step_rad=float("nan"))


def test_sync_brings_a_measured_position_inside_the_limits() -> None:
    safety = make_filter()
    command = safety.sync(np.full(36, 50.0))
    np.testing.assert_array_equal(command, LIMITS.upper)


def test_the_last_command_cannot_be_changed_from_outside() -> None:
    safety = make_filter()
    verdict = safety.judge(HOME_Q, HOME_Q, dt_s=DT_S)
    with pytest.raises(ValueError, match="read-only"):
        verdict.command[0] = 9.0


def test_nothing_hostile_ever_leaves() -> None:
    rng = np.random.default_rng(1)
    safety = make_filter()
    last, velocity = np.array(HOME_Q), np.zeros(36)
    accepted = 0
    for _ in range(6_000):
        measured = last + 0.02 * rng.standard_normal(36)
        dt_s = float(rng.choice([0.01, 0.01, 0.01, 0.02, 0.05, 0.0, -0.01]))
        command = hostile(rng, last, velocity * dt_s)
        verdict = safety.judge(command, measured, dt_s=dt_s)
        out = verdict.command
        assert out.shape == (36,) and np.isfinite(out).all()
        assert np.all((out >= LIMITS.lower) & (out <= LIMITS.upper))
        if verdict.accepted:
            accepted += 1
            assert np.array_equal(out, command)
            assert np.all(np.abs(out - last) <= LIMITS.velocity * dt_s + 1e-7)
            near = np.abs(out - measured) <= safety.step
            assert np.all(near | (np.abs(out - measured) <= np.abs(last - measured) + 1e-9))
            velocity = (out - last) / dt_s
        else:
            slower = np.maximum(np.abs(velocity) - LIMITS.acceleration * DT_S / 2, 0.0)
            assert np.all(np.abs(out - last) <= slower * max(dt_s, DT_S) + 1e-9)  # it brakes
            velocity = safety.command_velocity
        last = out
    assert 600 < accepted < 5_400
    assert {Reason.NOT_FINITE, Reason.LENGTH, Reason.POSITION, Reason.VELOCITY, Reason.ACCELERATION} <= set(
        safety.counts
    )


def hostile(rng: np.random.Generator, last: np.ndarray, drift: np.ndarray) -> np.ndarray:
    """A command of a random kind: harmless, noisy, jumping, huge, not finite, too short."""
    kind = rng.integers(7)
    if kind <= 1:
        return last + drift + 2e-4 * rng.standard_normal(36)
    if kind == 2:
        return last + drift + 10.0 ** rng.uniform(-4, 1) * rng.standard_normal(36)
    if kind == 3:
        return rng.choice([1e6, 1e300, -1e9]) * rng.standard_normal(36)
    if kind == 4:
        command = np.array(last)
        command[rng.integers(36)] = rng.choice([np.nan, np.inf, -np.inf])
        return command
    if kind == 5:
        return last[: rng.integers(36)]
    command = np.array(last)
    joint = rng.integers(36)
    command[joint] = rng.uniform(LIMITS.lower[joint] - 0.1, LIMITS.upper[joint] + 0.1)
    return command


def test_parts_have_the_step_limit_of_their_kind() -> None:
    safety = make_filter(arm_step_rad=0.25, hand_step_rad=1.0)
    assert np.all(safety.step[part_indices("left_arm")] == 0.25)
    assert np.all(safety.step[part_indices("right_hand")] == 1.0)


def test_holding_brakes_within_the_acceleration_limit_then_stands() -> None:
    safety = make_filter()
    command = np.array(HOME_Q)
    for speed in (0.1, 0.2, 0.3):  # [rad/s], 10 rad/s^2
        command = command + 0.0
        command[ARM_JOINT] += speed * DT_S
        assert safety.judge(command, HOME_Q, dt_s=DT_S).accepted
    held = [safety.hold(Reason.STALE_CHUNK, dt_s=DT_S).command[ARM_JOINT] - command[ARM_JOINT] for _ in range(5)]
    np.testing.assert_allclose(held, [0.002, 0.003, 0.003, 0.003, 0.003], atol=1e-9)  # 0.2, 0.1, 0 rad/s
    assert safety.at_rest


def test_a_command_from_which_the_limit_could_not_be_kept_any_more_is_rejected() -> None:
    safety = make_filter()
    start = np.array(HOME_Q)
    start[ARM_JOINT] = LIMITS.upper[ARM_JOINT] - 0.010
    safety.sync(start)
    command, reasons = start, []
    for speed in (0.1, 0.2, 0.3, 0.4, 0.5):  # would pass the limit while braking from 0.4 rad/s
        command = command + 0.0
        command[ARM_JOINT] += speed * DT_S
        reasons.append(safety.judge(command, start, dt_s=DT_S).reason)
        if reasons[-1] is not None:
            break
    assert Reason.POSITION in reasons
    for _ in range(10):
        held = safety.hold(Reason.POSITION, dt_s=DT_S).command
    assert held[ARM_JOINT] <= LIMITS.upper[ARM_JOINT]


def test_a_predicted_collision_is_rejected_by_name_and_the_way_back_passes() -> None:
    from udg_description.layout import JOINT_NAMES

    lift = JOINT_NAMES.index("right_shoulder_lift_joint")
    safety = make_filter(arm_step_rad=1.0)
    command = np.array(HOME_Q)
    verdict = None
    while verdict is None or verdict.accepted:
        command = command + 0.0
        command[lift] += 0.001
        verdict = safety.judge(command, HOME_Q, dt_s=DT_S)
        assert command[lift] - HOME_Q[lift] < 0.6
    assert verdict.reason is Reason.COLLISION_TABLE and "table" in verdict.detail
    while not safety.at_rest:
        verdict = safety.hold(Reason.COLLISION_TABLE, dt_s=DT_S)
    back = np.array(safety.command)
    back[lift] -= 0.0005
    assert safety.judge(back, HOME_Q, dt_s=DT_S).accepted
