"""Laws of the clamp that commands and servo targets share."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.joint_motion import next_velocity, stopping_speed

DT_S = 0.01
N = 2000


def test_stopping_speed_ends_exactly_at_the_distance() -> None:
    acceleration = np.array([10.0])
    for distance in np.linspace(1e-5, 0.5, 400):
        left, speed = distance, float(stopping_speed(np.array([distance]), acceleration, DT_S)[0])
        while speed > 0.0:
            left -= speed * DT_S
            speed -= 10.0 * DT_S
        assert left == pytest.approx(0.0, abs=2.6e-4)  # less than half the last step of 10 rad/s^2 * (0.01 s)^2
        assert left >= -1e-12


def step(wanted: np.ndarray, velocity: np.ndarray, q: np.ndarray, limit: float = 1.0) -> np.ndarray:
    return next_velocity(
        wanted,
        velocity,
        q,
        lower=np.full(N, -1.0),
        upper=np.full(N, 1.0),
        velocity_limit=np.full(N, limit),
        acceleration_limit=np.full(N, 8.0),
        dt_s=DT_S,
    )


def test_whatever_is_wanted_no_limit_is_exceeded() -> None:
    rng = np.random.default_rng(0)
    q, velocity = rng.uniform(-1.0, 1.0, N), np.zeros(N)
    for _ in range(400):
        wanted = rng.choice([-np.inf, -3.0, 0.0, 0.5, 3.0, np.inf], N)
        new = step(wanted, velocity, q)
        assert np.abs(new - velocity).max() <= 8.0 * DT_S + 1e-12
        assert np.abs(new).max() <= 1.0
        q, velocity = q + new * DT_S, new
        assert np.abs(q).max() <= 1.0 + 1e-12


def test_what_may_be_had_is_what_is_wanted() -> None:
    wanted = np.linspace(-0.08, 0.08, N)
    np.testing.assert_array_equal(step(wanted, np.zeros(N), np.zeros(N)), wanted)


def test_a_lowered_limit_is_reached_by_braking_not_at_once() -> None:
    velocity, speeds = np.ones(N), []
    for _ in range(8):
        velocity = step(np.ones(N), velocity, np.full(N, -0.9), limit=0.5)
        speeds.append(velocity[0])
    np.testing.assert_allclose(speeds, [0.92, 0.84, 0.76, 0.68, 0.60, 0.52, 0.5, 0.5], atol=1e-12)
