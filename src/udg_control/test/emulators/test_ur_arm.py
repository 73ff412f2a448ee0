"""The emulated controller: handshake of the control script, watchdog, safety system, motion within its limits."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.emulators.ur_arm import (
    MOVE_J,
    SCRIPT_MARK,
    SERVO_J,
    SERVO_STOP,
    STOP_SCRIPT,
    WATCHDOG,
    EmulatedArm,
    EmulatedArmConfig,
)
from udg_control.emulators.ur_fields import InputRecipe
from udg_control.emulators.ur_log import SERVO_S, ArmLog
from udg_control.emulators.ur_motion import MAX_ACCELERATION, MAX_SPEED, JointMotion

RECIPE = InputRecipe(["input_int_register_0", *(f"input_double_register_{i}" for i in range(11))])
Q = (0.1, -1.5, 0.2, -1.5, 0.3, 0.4)


@pytest.fixture
def arm() -> EmulatedArm:
    return EmulatedArm(EmulatedArmConfig(q_start=Q), ArmLog("left"))


def start(arm: EmulatedArm) -> None:
    arm.upload(f'def rtde_control():\n textmsg("{SCRIPT_MARK}")\nend\n')
    arm.step(30)
    assert arm.program_running


def command(arm: EmulatedArm, number: int, *values: float) -> None:
    arm.receive(RECIPE, (number, *values, *[0.0] * (11 - len(values))))


def handshake(arm: EmulatedArm) -> int:
    return int(arm.outputs.field("output_int_register_0")[0])


def events(arm: EmulatedArm) -> list[object]:
    return [event["event"] for event in arm.log.events]


def test_a_blocking_command_is_done_only_when_the_arm_has_arrived(arm: EmulatedArm) -> None:
    start(arm)
    goal = np.array(Q) + 0.2
    command(arm, MOVE_J, *goal, 1.0, 2.0)
    arm.step()
    assert handshake(arm) == 1
    # Trapezoid: 0.2 rad at 2 rad/s^2 peaks at sqrt(0.4) rad/s and takes 2 sqrt(0.2 / 2) = 0.632 s.
    arm.step(int(0.62 / SERVO_S))
    assert handshake(arm) == 1
    arm.step(int(0.03 / SERVO_S))
    assert handshake(arm) == 2
    np.testing.assert_allclose(arm.motion.q, goal, atol=1e-9)
    command(arm, 0)
    arm.step()
    assert handshake(arm) == 1


def test_a_servo_target_is_kept_when_commands_stop_until_the_watchdog_ends_the_program(arm: EmulatedArm) -> None:
    start(arm)
    command(arm, WATCHDOG, 10.0)
    arm.step()
    command(arm, 0)
    arm.step()
    target = np.array(Q) + 0.01
    command(arm, SERVO_J, *target, 0.0, 0.0, 0.002, 0.03, 2000.0)
    arm.step()
    arm.step(49)
    assert arm.program_running and arm.motion.servoing
    arm.step(3)
    assert not arm.program_running and not arm.motion.servoing
    assert "watchdog" in events(arm)


def test_a_pause_of_the_emulator_is_not_taken_for_silence_of_the_client(arm: EmulatedArm) -> None:
    start(arm)
    command(arm, WATCHDOG, 10.0)
    arm.step()
    for _ in range(5):
        command(arm, SERVO_J, *Q, 0.0, 0.0, 0.002, 0.03, 2000.0)
        arm.step(60)
    assert arm.program_running


def test_servo_stop_brakes_and_stop_script_ends_the_program(arm: EmulatedArm) -> None:
    start(arm)
    command(arm, SERVO_J, *(np.array(Q) + 0.1), 0.0, 0.0, 0.002, 0.03, 2000.0)
    arm.step(15)
    assert not arm.motion.still
    command(arm, SERVO_STOP, 10.0)
    arm.step(int(MAX_SPEED / 10.0 / SERVO_S))
    assert arm.motion.still and handshake(arm) == 2
    command(arm, 0)
    arm.step()
    command(arm, STOP_SCRIPT)
    arm.step()
    assert not arm.program_running
    assert {"servo_stop", "motion_stopped", "stop_script"} <= set(events(arm))


@pytest.mark.parametrize(
    ("happening", "bits", "mode"),
    [
        ("protective_stop", 1 << 2, 7),
        ("emergency_stop", 1 << 6, 3),
        ("safeguard_stop", 1 << 4, 7),
        ("safety_fault", 1 << 9, 7),
    ],
)
def test_a_safety_stop_ends_program_and_motion(arm: EmulatedArm, happening: str, bits: int, mode: int) -> None:
    start(arm)
    command(arm, SERVO_J, *(np.array(Q) + 0.2), 0.0, 0.0, 0.002, 0.03, 2000.0)
    arm.step(20)
    getattr(arm, happening)()
    arm.step(int(MAX_SPEED / MAX_ACCELERATION / SERVO_S))
    assert arm.motion.still and not arm.program_running
    assert int(arm.outputs.field("safety_status_bits")[0]) & bits
    assert int(arm.outputs.field("robot_mode")[0]) == mode
    start_again = len(arm.log.events)
    arm.upload(SCRIPT_MARK)
    assert arm.log.events[start_again]["event"] == "script_refused"
    arm.restore()
    start(arm)


def test_local_mode_refuses_programs_and_the_dashboard_says_so(arm: EmulatedArm) -> None:
    assert arm.dashboard("is in remote control") == "true"
    arm.local_mode()
    assert arm.dashboard("is in remote control") == "false"
    arm.upload(SCRIPT_MARK)
    arm.step(50)
    assert not arm.program_running


def test_unlocking_waits_as_long_as_configured() -> None:
    arm = EmulatedArm(EmulatedArmConfig(q_start=Q, unlock_delay_s=5.0), ArmLog("left"))
    arm.protective_stop()
    arm.step(2400)
    assert arm.dashboard("unlock protective stop").startswith("Cannot unlock")
    arm.step(200)
    assert arm.dashboard("unlock protective stop") == "Protective stop releasing"
    assert int(arm.outputs.field("safety_status_bits")[0]) == 1


def test_beyond_two_turns_the_safety_system_stops_the_arm(arm: EmulatedArm) -> None:
    start(arm)
    command(arm, SERVO_J, *([6.5] * 6), 0.0, 0.0, 0.002, 0.03, 2000.0)
    for _ in range(3000):
        arm.step()
    assert "protective_stop" in events(arm)


@pytest.mark.parametrize(("lookahead_s", "gain"), [(0.03, 2000.0), (0.1, 300.0), (0.2, 100.0)])
def test_the_joints_keep_their_speed_and_acceleration(lookahead_s: float, gain: float) -> None:
    motion = JointMotion(np.zeros(6))
    motion.servo(np.array([2.0, -2.0, 1.0, 0.5, -0.1, 0.0]), lookahead_s, gain)
    positions, velocities = [], [motion.qd]
    for _ in range(2500):
        motion.step(SERVO_S)
        positions.append(motion.q)
        velocities.append(motion.qd)
    assert np.abs(velocities).max() <= MAX_SPEED
    assert np.abs(np.diff(velocities, axis=0)).max() <= MAX_ACCELERATION * SERVO_S * (1 + 1e-9)
    np.testing.assert_allclose(positions[-1], motion.q_target, atol=1e-3)


def test_a_ramp_is_followed_with_the_lag_of_the_model() -> None:
    """Lookahead plus two by the natural frequency 4 sqrt(gain): 0.05 + 2 / 89.4 s."""
    motion = JointMotion(np.zeros(6))
    for tick in range(1000):
        motion.servo(np.full(6, 0.3 * tick * SERVO_S), 0.05, 500.0)
        motion.step(SERVO_S)
    lag_s = (motion.q_target - motion.q) / 0.3
    np.testing.assert_allclose(lag_s, 0.05 + 2.0 / (4.0 * 500.0**0.5), atol=0.003)
