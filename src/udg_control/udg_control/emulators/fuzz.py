"""Hostile chunks through filter, driver and the real ur_rtde: `python -m udg_control.emulators.fuzz --chunks 10000`.

Judged is what the emulated controllers receive, by rules that share no code with the filter.
"""

from __future__ import annotations

import argparse
import os
import time
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import NamedTuple

import numpy as np

from udg_control.controller import Controller, ControllerConfig
from udg_control.emulators.ur_log import SERVO_S, greatest
from udg_control.emulators.ur_process import UrEmulators, loopback_pair
from udg_control.errors import ControlError, RefusedError
from udg_control.robot import Robot
from udg_control.robot_loop import Arming, RobotLoop, RobotLoopConfig
from udg_control.safety import SafetyConfig
from udg_control.simulated_device import SimulatedDevice, SimulatedDeviceConfig
from udg_control.streams import Source
from udg_control.timing import LoopTimer
from udg_control.ur import UrArm, UrArmConfig
from udg_control.worker import ask_for_real_time
from udg_description.errors import cli
from udg_description.layout import JOINT_NAMES, SIDES, part_indices
from udg_description.limits import joint_limits

ENABLED_WITHIN_S = 120.0
PERIOD_NS = 10_000_000
CYCLE_PRIORITY, ARM_PRIORITY = 30, 40  # SCHED_FIFO, where permitted
SANE, DRIFT, PLUNGE, WILD, HUGE, NOT_FINITE, MISSHAPEN, EMPTY, LONG, NAMES = range(10)
KINDS = (SANE, SANE, DRIFT, DRIFT, PLUNGE, PLUNGE, WILD, HUGE, NOT_FINITE, MISSHAPEN, EMPTY, LONG, NAMES)
AGES = (0, 0, 0, 0, -3, -30, 5, 500, -(10**6))  # periods by which a chunk's stamp is off


class FuzzError(ControlError):
    """An emulated controller has received what it must never receive."""


def hostile_chunk(rng: np.random.Generator, last: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return a chunk of a random kind, of any shape, and its joint names; `last` (36,) [rad] is what is commanded."""
    lower, upper = joint_limits().lower, joint_limits().upper
    points = int(rng.integers(1, 17))
    kind = rng.choice(KINDS)
    ahead = np.arange(1, points + 1)[:, None]
    chunk = last + ahead * 10.0 ** rng.uniform(-3, -1) * rng.standard_normal(36)
    if kind == SANE:
        chunk = last + np.cumsum(10.0 ** rng.uniform(-4, -1.3) * rng.standard_normal((points, 36)), axis=0)
    elif kind == PLUNGE:  # both arms far, joint by joint
        chunk = last + ahead * 0.25 * rng.choice([-1.0, 0.0, 1.0], 36)
    elif kind == WILD:
        chunk = rng.uniform(lower - 0.1, upper + 0.1, (points, 36))
    elif kind == HUGE:
        chunk = rng.choice([1e3, 1e12, 1e300, -1e300]) * rng.standard_normal((points, 36))
    elif kind == NOT_FINITE:
        chunk[rng.integers(points), rng.integers(36)] = rng.choice([np.nan, np.inf, -np.inf])
    elif kind == MISSHAPEN:
        shapes = [(points, 35), (points, 37), (36,), (points, 0), (0,), (), (2, points, 36)]
        return np.zeros(shapes[rng.integers(len(shapes))]), JOINT_NAMES
    elif kind == EMPTY:
        chunk = np.zeros((0, 36))
    elif kind == LONG:
        chunk = np.tile(last, (int(rng.integers(200, 4000)), 1))
    elif kind == NAMES:
        names = list(JOINT_NAMES)
        rng.shuffle(names)
        return chunk, tuple(names[: int(rng.integers(0, 37))])
    return chunk, JOINT_NAMES


class FuzzResult(NamedTuple):
    """What came of it."""

    targets: int  # servo targets that both controllers received
    furthest_rad: float  # from where a controller's first target was
    enablings: int  # how often it had to be enabled
    rejections: Mapping[str, int]  # by reason


def fuzz(emulators: UrEmulators, chunks: int, seed: int = 0) -> FuzzResult:
    """Feed as many chunks, one a cycle. Raises FuzzError if a controller received anything outside the limits."""
    rng = np.random.default_rng(seed)
    clients = {"left": emulators.left, "right": emulators.right}
    patient = {"command_timeout_s": 1.0, "worker_timeout_s": 1.0, "state_timeout_s": 0.5, "watchdog_hz": 4.0}
    patient |= {"connect_timeout_s": ENABLED_WITHIN_S, "real_time_priority": ARM_PRIORITY}
    arms = [UrArm(side, UrArmConfig(host=clients[side].address, **patient)) for side in SIDES]  # type: ignore[arg-type]
    calm = SimulatedDeviceConfig(command_timeout_s=1.0)
    robot = Robot([*arms, *(SimulatedDevice(f"{side}_hand", calm) for side in SIDES)])
    safety = SafetyConfig(velocity_scale=0.5, max_state_age_s=0.5)
    loop_config = RobotLoopConfig(clock_step_s=1.0, arm_timeout_s=ENABLED_WITHIN_S)
    loop = RobotLoop(loop_config, robot, Controller(ControllerConfig(safety=safety, max_gap_s=2.0), joint_limits()))
    robot.connect()
    timer = LoopTimer(PERIOD_NS * 1e-9)
    timer.start()
    before, enablings = os.sched_getscheduler(0), 1
    ask_for_real_time(CYCLE_PRIORITY)
    try:
        _enable(loop, timer)
        for _ in range(chunks):
            now_ns = timer.wait()
            assert loop.controller.filter.command is not None
            chunk, names = hostile_chunk(rng, loop.controller.filter.command)
            stamp_ns = now_ns + int(rng.choice(AGES)) * PERIOD_NS
            loop.controller.set_chunk(chunk, stamp_ns, names, Source(f"run {enablings}"))
            loop.watch_clock(now_ns, now_ns)
            loop.cycle(now_ns)
            if not loop.controller.filter.enabled:
                enablings += 1
                _enable(loop, timer)
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))
        loop.close()
    commands = {side: client.full_log().commands for side, client in clients.items()}
    furthest_rad = max(check_targets(side, rows, safety) for side, rows in commands.items())
    counts = Counter({reason.value: count for reason, count in loop.controller.counts.items()})
    return FuzzResult(sum(len(rows) for rows in commands.values()), furthest_rad, enablings, counts)


def _enable(loop: RobotLoop, timer: LoopTimer) -> None:
    """As the operator does; the cycle goes on meanwhile."""
    deadline_s = time.monotonic() + ENABLED_WITHIN_S
    while not loop.controller.filter.enabled:
        now_ns = timer.wait()
        loop.watch_clock(now_ns, now_ns)
        if loop.arming is not Arming.UNDER_WAY:
            with suppress(RefusedError):  # a state was late
                loop.enable(now_ns)
        loop.cycle(now_ns)
        if time.monotonic() > deadline_s:
            raise FuzzError(f"can't be enabled: {loop.arming_detail}; {'; '.join(loop.robot.not_ready())}")


def check_targets(side: str, commands: np.ndarray, safety: SafetyConfig) -> float:
    """Judge the servo targets (ur_log.COMMANDS) that an emulated arm received; return how far they went [rad]."""
    where, limits = part_indices(f"{side}_arm"), joint_limits()
    targets = commands["q"]
    fastest = greatest(commands)
    velocity = limits.velocity[where] * safety.velocity_scale * (1 + 1e-6) + 1e-9 / SERVO_S
    acceleration = limits.acceleration[where] * safety.acceleration_scale * (1 + 1e-6) + 1e-9 / SERVO_S**2
    broken = {
        "not finite": not np.isfinite(targets).all(),
        "position": bool((targets < limits.lower[where] - 1e-9).any() or (targets > limits.upper[where] + 1e-9).any()),
        "velocity": bool((fastest.velocity > velocity).any()),
        "acceleration": bool((fastest.acceleration > acceleration).any()),
    }
    found = [name for name, is_broken in broken.items() if is_broken]
    if found:
        raise FuzzError(f"{side} arm received targets outside the limits: {', '.join(found)}")
    return float(np.abs(targets - targets[0]).max())


def main() -> None:
    """Feed hostile chunks to emulated arms over ur_rtde and judge each servo target."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--chunks", type=int, default=10_000, help="100 a second (default: 10000)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    left, right = loopback_pair()
    with UrEmulators(left=left, right=right, arguments=["--real-time"]) as emulators:
        result = fuzz(emulators, options.chunks, options.seed)
    print(f"{options.chunks} chunks, {result.targets} servo targets, none outside the limits of position, velocity and")
    print(f"acceleration; joints went up to {result.furthest_rad:.2f} rad; enabled {result.enablings} times; rejected:")
    print(", ".join(f"{name} {count}" for name, count in sorted(result.rejections.items())))


if __name__ == "__main__":
    main()
