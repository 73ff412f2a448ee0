"""Lagging arms: do they ever touch although each command passes? `python -m udg_control.emulators.lag --cases 10000`.

A case is a pair of arms close to each other, set in motion together in a random way, each lagging in a way of its own:
slow, late, held back, stuck, or on a slider that somebody moves. Judged is where the joints are, by distances of
spheres that share no code with the filter.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from typing import NamedTuple

import numpy as np

from udg_control.collision import CollisionCheck
from udg_control.errors import ControlError
from udg_control.safety import Reason, SafetyConfig, SafetyFilter
from udg_description.errors import cli
from udg_description.layout import HOME_Q, N_JOINTS, SIDES, part_indices
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.settings import seed_number
from udg_description.spheres import CollisionSpheres

DT_S = 0.01
STEPS, AFTER = 50, 30  # with commands, and standing
NEAR_M = 0.12  # between the arms at the start
SHIPPED = SafetyConfig(velocity_scale=0.3, acceleration_scale=0.8, arm_step_rad=0.15)
"""The speeds and the distance from the joints of config/safety.yaml, against which a test holds them."""
_BATCH = 64
_ARMS = {side: part_indices(f"{side}_arm") for side in SIDES}

Lag = Callable[[np.ndarray, int], np.ndarray]  # commands (k + 1, 6) so far and k to joints (6,)


class LagError(ControlError):
    """Measured arms overlapped although each command had passed."""


class LagResult(NamedTuple):
    """What came of the cases."""

    cases: int
    overlaps: int  # cases in which the arms' spheres overlapped
    nearest_m: float  # smallest gap of measured arms in all of them; negative: overlap
    rejected: int  # cases in which the filter stopped
    by_reason: dict[str, int]


def random_lag(rng: np.random.Generator, start: np.ndarray) -> Lag:
    """A way to lag behind commands, at rest at `start` (6,) [rad]."""
    kind = rng.choice(["slow", "late", "held", "stuck", "slider", "prompt"])
    q, time_constant_s = start.copy(), float(rng.uniform(0.01, 0.25))
    periods, when = int(rng.integers(1, 16)), int(rng.integers(5, STEPS))
    share = float(rng.uniform(0.0, 0.9))

    def lag(commands: np.ndarray, k: int) -> np.ndarray:
        nonlocal q
        command = commands[k]
        if kind == "late":
            q = commands[max(0, k - periods)]
        elif kind == "held":  # moves at a share of the speed that is asked for
            wanted = command - q
            step = np.abs(commands[k] - commands[max(0, k - 1)]) * share + 1e-4
            q = q + np.clip(wanted, -step, step)
        elif kind == "stuck" and k >= when:
            q = q.copy()
        else:
            slow = 10.0 if kind == "slider" and when <= k < when + 30 else 1.0
            constant_s = 0.005 if kind == "prompt" else time_constant_s
            q = q + (command - q) * (1.0 - np.exp(-DT_S / (constant_s * slow)))
        return q

    return lag


def close_starts(rng: np.random.Generator, check: CollisionCheck) -> Iterator[np.ndarray]:
    """Configurations (36,) [rad] that may be commanded, with the arms close to each other."""
    gaps, limits = ArmGaps(), joint_limits()
    while True:
        q = np.tile(HOME_Q, (_BATCH, 1))
        for where in _ARMS.values():
            q[:, where] += rng.normal(size=(_BATCH, 6)) * [0.0, 0.3, 0.3, 0.5, 0.5, 0.5]
            q[:, where.start] += rng.uniform(-1.2, 1.2, _BATCH)
        q = limits.clip(q)
        for row in np.flatnonzero(gaps(q) < NEAR_M):
            if check.worst(check.gaps(q[row])) is None:
                yield q[row]


class ArmGaps:
    """Smallest gap of the left side's spheres from the right side's."""

    def __init__(self) -> None:
        self._model = RobotModel()
        spheres = CollisionSpheres(self._model)
        self._link = np.array([self._model.link_names.index(name) for name in spheres.link_of_sphere])
        self._centers = np.pad(spheres.centers_link.numpy().astype(float), [(0, 0), (0, 1)], constant_values=1.0)
        side = np.array([name.split("_")[0] for name in spheres.link_of_sphere])
        self._left, self._right = (np.flatnonzero(side == name) for name in SIDES)
        radii = spheres.radii.numpy().astype(float)
        self._reach = radii[self._left][:, None] + radii[self._right]

    def __call__(self, q: np.ndarray) -> np.ndarray:
        """The gaps (n,) [m] of configurations q (n, N_JOINTS) [rad]; negative where spheres overlap."""
        poses = self._model.link_pose_array(q)[:, self._link]
        centers = np.einsum("nsij,sj->nsi", poses[..., :3, :], self._centers)
        gaps = [
            (np.linalg.norm(left[:, None] - right, axis=-1) - self._reach).min()
            for left, right in zip(centers[:, self._left], centers[:, self._right], strict=True)
        ]
        return np.array(gaps)


def one_case(rng: np.random.Generator, safety: SafetyFilter, start: np.ndarray) -> tuple[np.ndarray, Reason | None]:
    """Where the joints were (n, N_JOINTS) [rad], and why the filter stopped them."""
    safety.sync(start)
    safety.enable()
    lags = {side: random_lag(rng, start[where]) for side, where in _ARMS.items()}
    speed = np.zeros(N_JOINTS)
    for where in _ARMS.values():
        chosen = rng.choice([0.0, 0.0, 1.0, -1.0], 6) * rng.uniform(0.3, 1.0)
        chosen[0] = rng.choice([-1.0, 1.0]) if rng.random() < 0.7 else chosen[0]
        speed[where] = chosen
    if rng.random() < 0.5:  # both the same way, one behind the other
        speed[_ARMS["right"]] = speed[_ARMS["left"]]
    turn_at = int(rng.integers(15, STEPS + 20))
    velocity, commands, joints, reason = np.zeros(N_JOINTS), [np.array(start)], [np.array(start)], None
    for k in range(1, STEPS + AFTER):
        if reason is None and k < STEPS:
            if k == turn_at:
                speed = np.roll(speed, 1) * np.isin(np.arange(N_JOINTS), np.r_[_ARMS["left"], _ARMS["right"]])
            most = safety.acceleration * DT_S * 0.999
            velocity = velocity + np.clip(0.95 * speed * safety.velocity - velocity, -most, most)
            assert safety.command is not None
            verdict = safety.judge(safety.command + velocity * DT_S, joints[-1], dt_s=DT_S)
            reason = verdict.reason
        else:
            verdict = safety.hold(Reason.DISABLED, dt_s=DT_S)
        commands.append(np.array(verdict.command))
        q, so_far = np.array(verdict.command), np.array(commands)
        for side, where in _ARMS.items():
            q[where] = lags[side](so_far[:, where], k)
        joints.append(q)
    return np.array(joints), reason


def lag_cases(cases: int, seed: int = 0, config: SafetyConfig = SHIPPED) -> LagResult:
    """Play as many random cases; see the module."""
    rng = np.random.default_rng(seed)
    safety, gaps = SafetyFilter(config, joint_limits(), DT_S), ArmGaps()
    starts = close_starts(rng, CollisionCheck(config.collision))
    overlaps, nearest_m, reasons = 0, np.inf, []
    for _ in range(cases):
        joints, reason = one_case(rng, safety, next(starts))
        gap_m = float(gaps(joints[::3]).min())
        overlaps += gap_m < -1e-6
        nearest_m = min(nearest_m, gap_m)
        if reason is not None:
            reasons.append(reason.value)
    counts = {name: reasons.count(name) for name in sorted(set(reasons))}
    return LagResult(cases, overlaps, nearest_m, len(reasons), counts)


def _part(arguments: tuple[int, int]) -> LagResult:
    return lag_cases(*arguments)


def main() -> None:
    """Play random cases of arms that lag and judge where their joints were."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--cases", type=int, default=10_000)
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--workers", type=int, default=2)
    options = parser.parse_args()
    each = -(-options.cases // options.workers)
    with ProcessPoolExecutor(options.workers) as pool:
        parts = list(pool.map(_part, [(each, options.seed + worker) for worker in range(options.workers)]))
    reasons = sorted({name for part in parts for name in part.by_reason})
    overlaps = sum(part.overlaps for part in parts)
    print(
        f"{sum(part.cases for part in parts)} cases of arms that lag, nearest {min(p.nearest_m for p in parts):+.4f} m;"
    )
    print(f"stopped in {sum(part.rejected for part in parts)} of them:")
    print(", ".join(f"{name} {sum(part.by_reason.get(name, 0) for part in parts)}" for name in reasons))
    print(f"measured arms overlapped in {overlaps} cases")
    if overlaps:
        raise LagError(f"measured arms overlapped in {overlaps} cases")


if __name__ == "__main__":
    main()
