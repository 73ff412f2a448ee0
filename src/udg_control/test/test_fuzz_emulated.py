"""Hostile chunks through filter, driver and the real ur_rtde: what emulated controllers receive keeps the limits."""

from __future__ import annotations

import importlib.util
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

pytest.importorskip("rtde_control", reason="ur_rtde is not installed")

from udg_control.controller import Controller, ControllerConfig
from udg_control.emulators.ur_process import UrEmulators, loopback_pair
from udg_control.robot import Robot
from udg_control.robot_loop import Arming, RobotLoop, RobotLoopConfig
from udg_control.safety import SafetyConfig
from udg_control.simulated_device import SimulatedDevice, SimulatedDeviceConfig
from udg_control.timing import LoopTimer
from udg_control.ur import UrArm, UrArmConfig
from udg_description.layout import part_indices
from udg_description.limits import joint_limits

LIMITS = joint_limits()
QUICK, ALL = 300, 10_000
ENABLED_WITHIN_S = 30.0
SERVO_S = 0.002
_pause = threading.Event()


def fuzz_module() -> ModuleType:
    """The neighbour that makes hostile chunks."""
    spec = importlib.util.spec_from_file_location("fuzz", Path(__file__).with_name("test_fuzz.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


hostile_chunk = fuzz_module().hostile_chunk


@pytest.fixture(scope="module")
def emulators() -> Iterator[UrEmulators]:
    left, right = loopback_pair()
    with UrEmulators(left=left, right=right) as running:
        yield running


def enable(loop: RobotLoop, timer: LoopTimer) -> None:
    """As the operator does; the cycle goes on meanwhile."""
    deadline_s = time.monotonic() + ENABLED_WITHIN_S
    loop.enable(timer.wait())
    while not loop.controller.filter.enabled:
        now_ns = timer.wait()
        loop.watch_clock(now_ns, now_ns)
        loop.cycle(now_ns)
        if loop.arming is Arming.FAILED:
            loop.enable(now_ns)
        assert time.monotonic() < deadline_s, (loop.arming, loop.arming_detail, loop.robot.not_ready())


@pytest.mark.parametrize("chunks", [QUICK, pytest.param(ALL, marks=pytest.mark.slow)])
def test_the_controllers_never_receive_a_target_outside_the_limits(emulators: UrEmulators, chunks: int) -> None:
    rng = np.random.default_rng(chunks)
    patient = {"command_timeout_s": 1.0, "worker_timeout_s": 1.0, "state_timeout_s": 0.5}
    arms = [
        UrArm("left", UrArmConfig(host=emulators.left.address, **patient)),
        UrArm("right", UrArmConfig(host=emulators.right.address, **patient)),
    ]
    calm = SimulatedDeviceConfig(command_timeout_s=1.0)
    robot = Robot([*arms, *(SimulatedDevice(f"{side}_hand", calm) for side in ("left", "right"))])
    config = ControllerConfig(safety=SafetyConfig(velocity_scale=0.5, max_state_age_s=0.5), max_gap_s=2.0)
    loop_config = RobotLoopConfig(clock_step_s=1.0, arm_timeout_s=ENABLED_WITHIN_S)
    loop = RobotLoop(loop_config, robot, Controller(config, LIMITS))
    robot.connect()
    timer = LoopTimer(0.01)
    timer.start()
    try:
        enable(loop, timer)
        for _ in range(chunks):
            now_ns = timer.wait()
            chunk, names = hostile_chunk(rng, loop.controller.filter.command)
            stamp_ns = now_ns + int(rng.choice([0, 0, 0, 0, -3, -30, 5, 500, -(10**6)])) * 10_000_000
            loop.controller.set_chunk(chunk, stamp_ns, names)
            loop.watch_clock(now_ns, now_ns)
            loop.cycle(now_ns)
            if not loop.controller.filter.enabled:
                enable(loop, timer)
    finally:
        loop.close()
    moved = 0.0
    for side, client in (("left", emulators.left), ("right", emulators.right)):
        moved = max(moved, check(side, client.full_log().commands, config.safety))
    assert moved > 0.02  # some of it was harmless, and was followed


def check(side: str, commands: np.ndarray, safety: SafetyConfig) -> float:
    """Judge the servo targets that an emulated arm received; return how far they went [rad]."""
    where = part_indices(f"{side}_arm")
    targets = commands["q"]
    assert len(targets) > 100 and np.isfinite(targets).all()
    assert (targets >= LIMITS.lower[where] - 1e-9).all() and (targets <= LIMITS.upper[where] + 1e-9).all()
    step = np.diff(targets, axis=0)
    gap_s = np.diff(commands["t_ns"]) * 1e-9
    streaming = gap_s < 0.1  # after a pause the stream starts anew at the joints
    velocity_limit = LIMITS.velocity[where] * safety.velocity_scale
    assert (np.abs(step[streaming]) <= velocity_limit * SERVO_S * (1 + 1e-6) + 1e-9).all()
    change = np.abs(np.diff(step, axis=0))[streaming[1:] & streaming[:-1]]
    assert (change <= LIMITS.acceleration[where] * SERVO_S**2 * (1 + 1e-6) + 1e-9).all()
    return float(np.abs(targets - targets[0]).max())
