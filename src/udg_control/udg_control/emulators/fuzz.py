"""Hostile chunks through filter, driver and the real ur_rtde: `python -m udg_control.emulators.fuzz --chunks 10000`.

Judged is what the emulated controllers receive, by rules that share no code with the filter. With `--offline` no
controller is there and time is simulated: what is judged then are the targets that the drivers would send.
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

from udg_control.command_check import MOST_PERIODS
from udg_control.controller import Controller, ControllerConfig
from udg_control.emulators.lag import SHIPPED
from udg_control.emulators.ur_log import COMMANDS, SERVO_S, greatest
from udg_control.emulators.ur_process import UrEmulators, loopback_pair
from udg_control.errors import ControlError, RefusedError
from udg_control.playout import Playout
from udg_control.robot import Robot
from udg_control.robot_loop import Arming, RobotLoop, RobotLoopConfig
from udg_control.safety import SafetyConfig
from udg_control.simulated_device import SimulatedDevice, SimulatedDeviceConfig
from udg_control.streams import Source
from udg_control.timing import LoopTimer
from udg_control.ur import UrArm, UrArmConfig
from udg_control.worker import ask_for_real_time
from udg_description.clock import STEP_S
from udg_description.errors import cli
from udg_description.layout import HOME_Q, JOINT_NAMES, N_JOINTS, SIDES, part_indices
from udg_description.limits import joint_limits
from udg_description.settings import seed_number

ENABLED_WITHIN_S = 120.0
PERIOD_NS = 10_000_000
CYCLE_PRIORITY, ARM_PRIORITY = 30, 40  # SCHED_FIFO, where permitted
SANE, DRIFT, PLUNGE, WILD, HUGE, NOT_FINITE, MISSHAPEN, EMPTY, LONG, NAMES = range(10)
KINDS = (SANE, SANE, DRIFT, DRIFT, PLUNGE, PLUNGE, WILD, HUGE, NOT_FINITE, MISSHAPEN, EMPTY, LONG, NAMES)
AGES = (0, 0, 0, 0, -3, -30, 5, 500, -(10**6))  # periods by which a chunk's stamp is off


class FuzzError(ControlError):
    """An emulated controller has received what it must never receive."""


def hostile_chunk(rng: np.random.Generator, last: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """A chunk of a random kind, of any shape, and its joint names; `last` (36,) [rad] is what is commanded."""
    lower, upper = joint_limits().lower, joint_limits().upper
    points = int(rng.integers(1, 17))
    kind = rng.choice(KINDS)
    ahead = np.arange(1, points + 1)[:, None]
    chunk = last + ahead * 10.0 ** rng.uniform(-3, -1) * rng.standard_normal(N_JOINTS)
    if kind == SANE:
        chunk = last + np.cumsum(10.0 ** rng.uniform(-4, -1.3) * rng.standard_normal((points, N_JOINTS)), axis=0)
    elif kind == PLUNGE:  # both arms far, joint by joint
        chunk = last + ahead * 0.25 * rng.choice([-1.0, 0.0, 1.0], N_JOINTS)
    elif kind == WILD:
        chunk = rng.uniform(lower - 0.1, upper + 0.1, (points, N_JOINTS))
    elif kind == HUGE:
        chunk = rng.choice([1e3, 1e12, 1e300, -1e300]) * rng.standard_normal((points, N_JOINTS))
    elif kind == NOT_FINITE:
        chunk[rng.integers(points), rng.integers(N_JOINTS)] = rng.choice([np.nan, np.inf, -np.inf])
    elif kind == MISSHAPEN:
        shapes = [
            (points, N_JOINTS - 1),
            (points, N_JOINTS + 1),
            (N_JOINTS,),
            (points, 0),
            (0,),
            (),
            (2, points, N_JOINTS),
        ]
        return np.zeros(shapes[rng.integers(len(shapes))]), JOINT_NAMES
    elif kind == EMPTY:
        chunk = np.zeros((0, N_JOINTS))
    elif kind == LONG:
        chunk = np.tile(last, (int(rng.integers(200, 4000)), 1))
    elif kind == NAMES:
        names = list(JOINT_NAMES)
        rng.shuffle(names)
        return chunk, tuple(names[: int(rng.integers(0, N_JOINTS + 1))])
    return chunk, JOINT_NAMES


EDGE, BANG, ZIGZAG, TOGETHER, DOWN, TAIL, TYPES, ONE, AGAIN = range(9)
MOST_HELD_UP = 14  # periods without a cycle of control: less than makes a fault of it


def sly_chunk(rng: np.random.Generator, last: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """A chunk that looks like one of a policy and goes to the edges of what is allowed; see `hostile_chunk`."""
    limits, points = joint_limits(), int(rng.integers(1, 17))
    kind = int(rng.integers(9))
    ahead = np.arange(1, points + 1)[:, None]
    way = limits.velocity * STEP_S * float(rng.choice([0.1, 0.3, 0.3, 1.0, 2.9]))  # shipped limit: 0.3
    chunk = last + ahead * way * rng.choice([-1.0, 0.0, 0.0, 1.0], N_JOINTS)
    if kind == EDGE:  # to the last bit of the position limits, or a little beyond
        near = np.where(rng.random(N_JOINTS) < 0.5, limits.lower, limits.upper) + rng.choice([-1e-7, 0.0, 1e-7, 0.1])
        chunk = last + np.clip(near - last, -ahead * way, ahead * way)
    elif kind == BANG:  # full speed there, full speed back
        chunk = last + way * (points / 2 - np.abs(ahead - points / 2)) * rng.choice([-1.0, 1.0], N_JOINTS)
    elif kind == ZIGZAG:  # a turn at each point
        chunk = last + way * (ahead % 2) * rng.choice([-1.0, 0.0, 1.0], N_JOINTS)
    elif kind in (TOGETHER, DOWN):  # the arms towards each other, or onto the table
        chunk = np.tile(last, (points, 1))
        for side, sign in zip(SIDES, (-1.0, 1.0), strict=True):
            joint = part_indices(f"{side}_arm").start + (kind == DOWN)
            chunk[:, joint] += ahead[:, 0] * way[joint] * (sign if kind == TOGETHER else rng.choice([-1.0, 1.0]))
    elif kind == TAIL:  # well but for the end
        chunk[-1, rng.integers(N_JOINTS)] = rng.choice([np.nan, 1e300, limits.upper.max() + 1.0])
    elif kind == TYPES:
        chunk = chunk.astype(("f4", "f2", "i8")[int(rng.integers(3))])
        chunk = np.asfortranarray(chunk) if rng.random() < 0.5 else chunk
        chunk.flags.writeable = bool(rng.random() < 0.5)
    elif kind == ONE:  # one joint leaps
        chunk = np.tile(last, (points, 1))
        chunk[:, rng.integers(N_JOINTS)] += rng.choice([-1.0, 1.0]) * 10.0 ** rng.uniform(-4, 0.5)
    elif kind == AGAIN:  # rest, but for what rounding makes of it
        chunk = np.tile(last, (points, 1)) * (1.0 + rng.choice([0.0, 1e-16, -1e-12]))
    return chunk, JOINT_NAMES


GENERATORS = (hostile_chunk, sly_chunk)


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
    safety = SafetyConfig(velocity_scale=0.5, acceleration_scale=0.8, max_state_age_s=0.5)
    patient |= {"velocity_scale": safety.velocity_scale, "acceleration_scale": safety.acceleration_scale}
    arms = [UrArm(side, UrArmConfig(host=clients[side].address, **patient)) for side in SIDES]  # type: ignore[arg-type]
    calm = SimulatedDeviceConfig(command_timeout_s=1.0)
    robot = Robot([*arms, *(SimulatedDevice(f"{side}_hand", calm) for side in SIDES)])
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
            if rng.random() < 0.01:  # control is held up
                for _ in range(int(rng.integers(1, MOST_HELD_UP))):
                    now_ns = timer.wait()
            assert loop.controller.filter.command is not None
            chunk, names = GENERATORS[rng.integers(2)](rng, loop.controller.filter.command)
            stamp_ns = now_ns + int(rng.choice(AGES)) * PERIOD_NS
            loop.controller.set_chunk(chunk, stamp_ns, names, Source(f"run {enablings}"))
            loop.watch_clock(now_ns, now_ns)
            loop.cycle(now_ns)
            if not loop.controller.enabled:
                enablings += 1
                _enable(loop, timer)
    finally:
        os.sched_setscheduler(0, before, os.sched_param(0))
        loop.close()
    commands = {side: client.full_log().commands for side, client in clients.items()}
    furthest_rad = max(check_targets(side, rows, safety) for side, rows in commands.items())
    counts = Counter({reason.value: count for reason, count in loop.controller.counts.items()})
    return FuzzResult(sum(len(rows) for rows in commands.values()), furthest_rad, enablings, counts)


def fuzz_offline(chunks: int, seed: int = 0, safety: SafetyConfig = SHIPPED) -> FuzzResult:
    """As `fuzz`, in simulated time, on joints that follow the targets with a lag; control is held up more often."""
    rng = np.random.default_rng(seed)
    controller = Controller(ControllerConfig(safety=safety, latch=True), joint_limits())
    drivers = {side: _Driver(side, safety) for side in SIDES}
    q, now, sent, enablings = np.array(HOME_Q), 100, -1, 0
    for number in range(chunks):
        if not controller.enabled or number % 400 == 0:
            for driver in drivers.values():
                driver.stop()
            controller.enable()
            enablings += 1
            now, sent = now + 50, -1
            if number % 2000 == 0:
                q = np.array(HOME_Q)
            controller.cycle(q, now * PERIOD_NS)
        last = q if controller.filter.command is None else controller.filter.command
        chunk, names = GENERATORS[rng.integers(2)](rng, last)
        stamp_ns = (now + int(rng.choice(AGES))) * PERIOD_NS
        controller.set_chunk(chunk, stamp_ns, names, Source(f"run {enablings}"))
        for _ in range(int(rng.integers(1, 6))):
            periods = int(rng.integers(1, MOST_HELD_UP)) if rng.random() < 0.03 else 1
            now += periods
            command = controller.cycle(q, now * PERIOD_NS).command
            assert command is not None
            for side, driver in drivers.items():
                where = part_indices(f"{side}_arm")
                if sent < 0:
                    driver.start(q[where])
                q[where] += 0.15 * (driver.play(command[where], periods if sent >= 0 else 1) - q[where])
            hands = np.r_[part_indices("left_hand"), part_indices("right_hand")]
            q[hands] += 0.3 * (command[hands] - q[hands])
            sent = now
    rows = {side: np.concatenate(driver.rows) for side, driver in drivers.items()}
    furthest_rad = max(check_targets(side, commands, safety) for side, commands in rows.items())
    counts = Counter({reason.value: count for reason, count in controller.counts.items()})
    return FuzzResult(sum(len(commands) for commands in rows.values()), furthest_rad, enablings, counts)


class _Driver:
    """What the process of an arm does with commands: its playout, without ur_rtde."""

    def __init__(self, side: str, safety: SafetyConfig) -> None:
        where, limits = part_indices(f"{side}_arm"), joint_limits()
        config = UrArmConfig()
        self._ticks = config.ticks_per_command
        self._playout = Playout(
            period_s=config.command_period_s,
            ticks=self._ticks,
            delay_ticks=3,
            lower=limits.lower[where],
            upper=limits.upper[where],
            velocity=limits.velocity[where] * safety.velocity_scale,
            acceleration=limits.acceleration[where] * safety.acceleration_scale,
        )
        self._playout.start(HOME_Q[where])
        self.rows: list[np.ndarray] = []
        self._t_ns = 0

    def start(self, q: np.ndarray) -> None:
        """Get ready at q (6,) [rad]: what comes now is a stream of its own."""
        self._playout.start(q)
        self._t_ns += PERIOD_NS * 100

    def play(self, command: np.ndarray, periods: int) -> np.ndarray:
        """Go on for as many periods, then take the command (6,) [rad] that came late by them; return the target."""
        self._send(self._ticks * (periods - 1))
        self._playout.push(command, min(periods, MOST_PERIODS))
        return self._send(self._ticks)

    def stop(self) -> None:
        """Brake, and stand."""
        self._playout.brake()
        self._send(self._ticks * 60)
        if not self._playout.at_rest:
            raise FuzzError("a driver does not come to rest")

    def _send(self, ticks: int) -> np.ndarray:
        rows = np.zeros(max(ticks, 1), COMMANDS)
        for row in rows[:ticks]:
            self._t_ns += round(SERVO_S * 1e9)
            row["t_ns"], row["q"] = self._t_ns, self._playout.step()
        if ticks:
            self.rows.append(rows)
        return rows["q"][-1]


def _enable(loop: RobotLoop, timer: LoopTimer) -> None:
    """As the operator does; the cycle continues meanwhile."""
    deadline_s = time.monotonic() + ENABLED_WITHIN_S
    while not loop.controller.enabled:
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
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--offline", action="store_true", help="in simulated time, without controllers")
    options = parser.parse_args()
    if options.offline:
        result = fuzz_offline(options.chunks, options.seed)
    else:
        left, right = loopback_pair()
        with UrEmulators(left=left, right=right, arguments=["--real-time"]) as emulators:
            result = fuzz(emulators, options.chunks, options.seed)
    print(f"{options.chunks} chunks, {result.targets} servo targets, none outside the limits of position, velocity and")
    print(f"acceleration; joints went up to {result.furthest_rad:.2f} rad; enabled {result.enablings} times; rejected:")
    print(", ".join(f"{name} {count}" for name, count in sorted(result.rejections.items())))


if __name__ == "__main__":
    main()
