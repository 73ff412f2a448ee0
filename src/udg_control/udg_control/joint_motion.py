"""The one place where a joint's next velocity is kept inside its limits: for the follower and for servo targets."""

from __future__ import annotations

import numpy as np


def next_velocity(
    wanted: np.ndarray,
    velocity: np.ndarray,
    position: np.ndarray,
    *,
    lower: np.ndarray,
    upper: np.ndarray,
    velocity_limit: np.ndarray,
    acceleration_limit: np.ndarray,
    dt_s: float,
) -> np.ndarray:
    """The velocity (n,) [rad/s] nearest to `wanted` that a joint may have for the next `dt_s` [s].

    It differs from `velocity` by no more than `acceleration_limit` * dt_s, stays within `velocity_limit`, and from
    `position` + it * dt_s the joint can still stop, in steps of dt_s, between `lower` and `upper`. Where the velocity
    limit has been lowered, it is reached as quickly as the acceleration limit allows. All (n,), in rad and s.
    """
    most = acceleration_limit * dt_s
    velocity_limit = np.maximum(velocity_limit, np.abs(velocity) - most)
    down, up = stopping_speed(np.stack([position - lower, upper - position]), acceleration_limit, dt_s)
    low = np.maximum(np.maximum(velocity - most, -velocity_limit), -down)
    high = np.minimum(np.minimum(velocity + most, velocity_limit), up)
    return np.minimum(np.maximum(wanted, low), high)


def stopping_speed(distance: np.ndarray, acceleration: np.ndarray, dt_s: float) -> np.ndarray:
    """The speed [rad/s] from which steps of dt_s that slow down by `acceleration` end exactly at `distance`.

    Speeds n a dt, (n - 1) a dt, ..., a dt cover n (n + 1) / 2 a dt^2; between whole n the speed is linear.
    """
    unit = acceleration * dt_s
    scaled = np.maximum(distance, 0.0) / (unit * dt_s)
    n = np.maximum(np.ceil(np.sqrt(0.25 + 2.0 * scaled) - 0.5), 1.0)
    return (scaled / n + 0.5 * (n - 1.0)) * unit
