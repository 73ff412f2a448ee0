"""The benchmark of control: its figures on logs made by hand, and once for real."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from udg_bringup import bench_control
from udg_bringup.bench_control import (
    ArmLimits,
    BenchControlConfig,
    BenchControlError,
    bench,
    figures,
    limits_in_force,
    summary,
)
from udg_bringup.sine import Sine
from udg_control.emulators.ur_log import COMMANDS, MOTION
from udg_control.emulators.ur_process import EmulatorLog
from udg_description.layout import HOME_Q

SINE = Sine()
HOME = np.zeros(6)
S = 1_000_000_000
LIMITS = ArmLimits(velocity=np.full(6, 2.0), acceleration=np.full(6, 10.0))
CONFIG = Path(__file__).parents[3] / "config"


def log_of(sent_ns: np.ndarray, delay_s: float, noise_rad: float = 0.0) -> EmulatorLog:
    """A stream of targets at these times, and joints that follow the sine with a delay."""
    commands = np.zeros(len(sent_ns), COMMANDS)
    commands["t_ns"] = sent_ns
    motion = np.zeros(5000, MOTION)
    motion["t_ns"] = np.arange(5000) * 2_000_000
    motion["q"] = SINE.offset(motion["t_ns"] * 1e-9 - delay_s)[:, None] + noise_rad
    return EmulatorLog(events=[], commands=commands, motion=motion)


def test_a_steady_stream_has_no_jitter_and_misses_nothing() -> None:
    arm = figures(log_of(np.arange(5000) * 2_000_000, 0.0), SINE, 0, 4 * S, 10 * S, HOME)
    assert (arm.cycles, arm.missed, arm.pauses) == (3000, 0, 0)
    assert arm.jitter_ms.max() < 1e-9
    assert arm.error_mrad < 1e-6 and arm.delay_ms == 0.0


def test_lacking_targets_and_pauses_are_counted() -> None:
    sent_ns = np.arange(5000) * 2_000_000
    log = log_of(np.delete(sent_ns, [2500, 2501, 3000]), 0.0)
    log = log._replace(motion=np.delete(log.motion, [2500, 2501, 2502]))
    arm = figures(log, SINE, 0, 4 * S, 10 * S, HOME)
    assert arm.missed == 3 and arm.pauses == 1
    assert arm.jitter_ms.max() == pytest.approx(4.0)
    assert summary([arm, arm], LIMITS)["missed"] == 6


def test_delay_and_error_are_told_apart() -> None:
    """0.1 rad at 0.5 Hz moves at 0.314 rad/s: 80 ms late is 0.2 sin(pi 0.5 0.08) = 25.1 mrad."""
    arm = figures(log_of(np.arange(5000) * 2_000_000, 0.08, 0.001), SINE, 0, 4 * S, 10 * S, HOME)
    assert arm.delay_ms == pytest.approx(80.0, abs=1.0)
    assert arm.error_mrad == pytest.approx(200.0 * np.sin(np.pi * 0.5 * 0.08) + 1.0, abs=0.1)
    assert arm.shape_error_mrad == pytest.approx(1.0, abs=0.3)


def test_the_greatest_velocity_and_acceleration_of_the_targets_are_told() -> None:
    """From rest to 0.5 rad/s within 0.1 s, 5 rad/s^2; after a pause of 0.2 s the stream starts elsewhere."""
    speed = np.minimum(np.arange(5000) * 0.002 * 5.0, 0.5)
    log = log_of(np.arange(5000) * 2_000_000, 0.0)
    log.commands["q"] = 0.0
    log.commands["q"][:, 3] = np.cumsum(speed * 0.002)
    log.commands["q"][4000:] = 1.0
    log.commands["t_ns"][4000:] += 200_000_000
    arm = figures(log, SINE, 0, 4 * S, 10 * S, HOME)
    assert arm.fastest.velocity[3] == pytest.approx(0.5) and arm.fastest.velocity[0] == 0.0
    assert summary([arm, arm], LIMITS)["right_arm"] == {
        "velocity_rad_s": 0.5,
        "velocity_limit_rad_s": 2.0,
        "acceleration_rad_s2": 5.0,
        "acceleration_limit_rad_s2": 10.0,
    }


def test_the_limits_in_force_are_those_of_the_files() -> None:
    """Emulation has 0.5 of pi rad/s on top of safety.yaml's 0.3, and its 0.8 of 10 rad/s^2."""
    limits = limits_in_force(BenchControlConfig(config=CONFIG))
    np.testing.assert_allclose(limits.velocity, 0.5 * np.pi)
    np.testing.assert_allclose(limits.acceleration, 8.0)


def test_a_stream_that_ended_early_gives_no_figures() -> None:
    with pytest.raises(BenchControlError, match="ended early"):
        figures(log_of(np.arange(4000) * 2_000_000, 0.0), SINE, 0, 4 * S, 10 * S, HOME)


def test_the_chunk_is_the_sine_of_its_times() -> None:
    chunk = SINE.chunk(3.0)
    np.testing.assert_allclose(chunk[:, 0] - HOME_Q[0], SINE.offset(3.0 + 0.1 * np.arange(1, 17)), atol=1e-12)
    np.testing.assert_array_equal(chunk[:, 6:18], np.tile(HOME_Q[6:18], (16, 1)))  # the hands rest
    np.testing.assert_array_equal(SINE.chunk(-5.0), np.tile(HOME_Q, (16, 1)))


@pytest.mark.parametrize("values", [{"seconds": 0.0}, {"cores": 0}])
def test_bad_numbers_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(BenchControlError):
        BenchControlConfig(**values)  # type: ignore[arg-type]


def test_a_nice_value_that_is_refused_is_a_warning(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def refuse(*_: int) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "setpriority", refuse)
    bench_control._favour(os.getpid())
    told = capsys.readouterr().err
    assert told.count("\n") == 1 and told.startswith("warning: nice -15 for control is refused")
    assert "docker/limits-udg.conf" in told


@pytest.mark.ros
@pytest.mark.real_time
@pytest.mark.slow
def test_both_arms_are_streamed_to() -> None:
    """Control, safety filter and driver against the emulated arms, without the load of cameras and policy."""
    pytest.importorskip("rclpy", reason="no ROS")
    pytest.importorskip("rtde_control", reason="ur_rtde is not installed")
    arms = bench(BenchControlConfig(config=CONFIG, seconds=2.0, load=False))
    for arm in arms:
        assert arm.missed < 0.2 * arm.cycles
        assert -60.0 < arm.delay_ms < 400.0
        assert arm.shape_error_mrad < 80.0  # a robot that stands still: 100
