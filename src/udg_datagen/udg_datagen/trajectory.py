"""Joint paths to steps of equal duration."""

from __future__ import annotations

import numpy as np


def time_law(length: float, speed: float, acceleration: float, dt_s: float) -> np.ndarray:
    """Positions along a path of ``length`` at multiples of ``dt_s``: a trapezoidal velocity profile.

    The first entry is the position after one step, the last is exactly ``length``; no step for an empty path.
    """
    if length <= 0.0:
        return np.zeros(0)
    ramp_s = min(speed / acceleration, np.sqrt(length / acceleration))
    peak = acceleration * ramp_s
    cruise_s = max(0.0, length / peak - ramp_s)
    total_s = 2.0 * ramp_s + cruise_s
    t = np.minimum(np.arange(1, int(np.ceil(total_s / dt_s - 1e-9)) + 1) * dt_s, total_s)
    up = 0.5 * acceleration * np.minimum(t, ramp_s) ** 2
    cruise = peak * np.clip(t - ramp_s, 0.0, cruise_s)
    down_t = np.clip(t - ramp_s - cruise_s, 0.0, ramp_s)
    down = peak * down_t - 0.5 * acceleration * down_t**2
    return np.minimum(up + cruise + down, length)


def follow_path(
    waypoints: np.ndarray, velocity: np.ndarray, dt_s: float, acceleration_time_s: float = 0.2
) -> np.ndarray:
    """Steps of ``dt_s`` along the polyline ``waypoints`` (n, d) without any joint exceeding ``velocity`` (d,).

    Returns (T, d) positions; the last is the last waypoint. The path is measured in seconds at full speed, so the
    slowest joint of each segment moves at its limit during the cruise.
    """
    seconds = (np.abs(np.diff(waypoints, axis=0)) / velocity).max(axis=1)
    arrival = np.concatenate([[0.0], np.cumsum(seconds)])
    s = time_law(float(arrival[-1]), 1.0, 1.0 / acceleration_time_s, dt_s)
    return np.stack([np.interp(s, arrival, column) for column in waypoints.T], axis=1)


def merge_slow_steps(targets: np.ndarray, previous: np.ndarray, threshold: np.ndarray) -> np.ndarray:
    """Indices of the steps to keep: a step that moves no joint by its ``threshold`` (d,) is merged into the next.

    The last step is always kept, so the path still ends where it did (paper IV-B: no hesitation in the data).
    """
    kept = []
    last = previous
    for index, target in enumerate(targets):
        if index == len(targets) - 1 or np.any(np.abs(target - last) >= threshold):
            kept.append(index)
            last = target
    return np.array(kept, dtype=int)
