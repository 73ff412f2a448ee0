"""Joint paths to steps of equal duration, within limits of speed and acceleration."""

from __future__ import annotations

import numpy as np

_CURVE_SAMPLES = 16  # points of a rounded corner
_SAMPLES = 120  # points of a whole path, at least
_TOLERANCE = 0.02  # of the acceleration
_CURVE_SHARE = 0.5  # of the acceleration that curvature may use; the rest changes the speed


def time_path(
    waypoints: np.ndarray,
    velocity: np.ndarray,
    acceleration: np.ndarray,
    dt_s: float,
    corner_rad: float = 0.1,
) -> tuple[np.ndarray, np.ndarray]:
    """Steps of ``dt_s`` along the polyline ``waypoints`` (n, d), from rest to rest.

    All joints run in step on the path, its corners rounded from at most ``corner_rad`` before to as much after; no
    joint exceeds ``velocity`` (d,) or, by segment, (n - 1, d), nor ``acceleration`` (d,) by more than 2 %.
    Returns positions (T, d), the last of which is the last waypoint, and where they are on the path (T,): 1.5 is
    halfway from waypoint 1 to 2. No step for a path of no length.
    """
    lengths = np.abs(np.diff(waypoints, axis=0)).max(axis=1)
    moving = np.concatenate([[True], lengths > 1e-9])
    at_waypoint = np.flatnonzero(moving).astype(float)
    velocity = np.broadcast_to(velocity, (len(lengths), waypoints.shape[1]))[moving[1:]]
    waypoints = waypoints[moving]
    if len(waypoints) < 2:
        return np.zeros((0, waypoints.shape[1])), np.zeros(0)
    path, at = _rounded(waypoints, corner_rad)
    ds = np.linalg.norm(np.diff(path, axis=0), axis=1)
    slope = np.diff(path, axis=0) / ds[:, None]
    bend = np.zeros_like(path)
    bend[1:-1] = np.abs(np.diff(slope, axis=0)) / (0.5 * (ds[1:] + ds[:-1]))[:, None]
    steepest = np.abs(slope)
    steepest = np.concatenate([steepest[:1], np.maximum(steepest[1:], steepest[:-1]), steepest[-1:]])
    before = np.clip(np.ceil(at).astype(int) - 1, 0, len(velocity) - 1)
    after = np.clip(np.floor(at).astype(int), 0, len(velocity) - 1)
    speed = np.minimum(velocity[before], velocity[after])
    square = np.minimum(
        (speed / np.maximum(steepest, 1e-12)).min(axis=1) ** 2,
        (_CURVE_SHARE * acceleration / np.maximum(bend, 1e-12)).min(axis=1),
    )
    square[[0, -1]] = 0.0
    for order in (range(len(ds)), range(len(ds) - 1, -1, -1)):  # speed up, then slow down
        forward = order.step > 0
        for i in order:
            here, there = (i, i + 1) if forward else (i + 1, i)
            spare = ((acceleration - bend[here] * square[here]) / np.maximum(steepest[here], 1e-12)).min()
            square[there] = min(square[there], square[here] + 2.0 * ds[i] * spare)
    root = np.sqrt(square)
    arrival = np.concatenate([[0.0], np.cumsum(2.0 * ds / (root[1:] + root[:-1]))])
    travelled = np.concatenate([[0.0], np.cumsum(ds)])
    n = max(1, int(np.ceil(arrival[-1] / dt_s - 1e-9)))
    excess = np.inf
    while excess > 1.0 + _TOLERANCE:  # at first, where the samples of a tight corner were too few
        s = _positions(np.arange(1, n + 1) * (arrival[-1] / n), arrival, root, ds)
        q = np.stack([np.interp(s, travelled, column) for column in path.T], axis=1)
        q[-1] = waypoints[-1]
        held = np.concatenate([path[:1], path[:1], q, q[-1:]])
        excess = float((np.abs(np.diff(held, 2, axis=0)) / dt_s**2 / acceleration).max())
        n = max(n + 1, int(np.ceil(n * np.sqrt(min(excess, 4.0)))))
    where = np.interp(np.interp(s, travelled, at), np.arange(len(at_waypoint)), at_waypoint)
    where[-1] = at_waypoint[-1]
    return q, where


def _positions(times: np.ndarray, arrival: np.ndarray, speed: np.ndarray, ds: np.ndarray) -> np.ndarray:
    """Distance travelled at times, with constant acceleration between the points of a path."""
    i = np.clip(np.searchsorted(arrival, times, side="right") - 1, 0, len(ds) - 1)
    elapsed = times - arrival[i]
    acceleration = (speed[i + 1] ** 2 - speed[i] ** 2) / (2.0 * ds[i])
    travelled = np.concatenate([[0.0], np.cumsum(ds)])
    return np.minimum(travelled[i] + speed[i] * elapsed + 0.5 * acceleration * elapsed**2, travelled[-1])


def _rounded(waypoints: np.ndarray, corner_rad: float) -> tuple[np.ndarray, np.ndarray]:
    """Dense points (m, d) of the polyline with parabolas for corners, and their place on the polyline (m,)."""
    steps = np.diff(waypoints, axis=0)
    lengths = np.abs(steps).max(axis=1)
    spacing = lengths.sum() / _SAMPLES
    cuts = np.zeros(len(waypoints))
    cuts[1:-1] = np.minimum(corner_rad, 0.5 * np.minimum(lengths[1:], lengths[:-1]))
    points, at = [], []
    for k in range(len(steps)):
        low, high = cuts[k] / lengths[k], 1.0 - cuts[k + 1] / lengths[k]
        if k > 0:
            share = np.linspace(0.0, 1.0, _CURVE_SAMPLES + 1)[1:-1] if cuts[k] > 0 else np.zeros(0)
            entry = waypoints[k] - cuts[k] / lengths[k - 1] * steps[k - 1]
            leave = waypoints[k] + low * steps[k]
            weights = np.stack([(1 - share) ** 2, 2 * share * (1 - share), share**2], axis=1)
            points.append(weights @ np.stack([entry, waypoints[k], leave]))
            entry_at = k - cuts[k] / lengths[k - 1]
            at.append(entry_at + share * (k + low - entry_at))
        if high - low > 1e-9:
            share = np.linspace(low, high, max(2, int(np.ceil((high - low) * lengths[k] / spacing)) + 1))
        else:
            share = np.array([low])
        points.append(waypoints[k] + share[:, None] * steps[k])
        at.append(k + share)
    path, where = np.concatenate(points), np.concatenate(at)
    fresh = np.concatenate([[True], np.abs(np.diff(path, axis=0)).max(axis=1) > 1e-9])
    return path[fresh], where[fresh]


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
