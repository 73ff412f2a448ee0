"""10,000 random and hostile chunks: nothing outside position, velocity, acceleration limits or in collision leaves."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from udg_control.collision import CollisionCheck, CollisionConfig
from udg_control.controller import Controller, ControllerConfig
from udg_control.emulators.fuzz import hostile_chunk
from udg_control.safety import Reason, SafetyConfig
from udg_control.streams import Source
from udg_description.layout import HOME_Q
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.spheres import CollisionSpheres

LIMITS = joint_limits()
PERIOD_NS, NS_PER_S = 10_000_000, 1_000_000_000
CHUNKS = 10_000
RUNS = 4  # each with a seed of its own, so that workers share the work


def fuzz(seed: int, chunks: int, config: ControllerConfig) -> tuple[np.ndarray, np.ndarray, np.ndarray, Controller]:
    """Feed hostile chunks; return what left (N, 36), when [s] (N,), whether a new start from the state (N,)."""
    rng = np.random.default_rng(seed)
    controller = Controller(config, LIMITS)
    controller.enable()
    q = np.array(HOME_Q)
    now, runs = 100, 0
    out, when, anew = [], [], []
    for number in range(chunks):
        stamp = now + int(rng.choice([0, 0, 0, 0, -3, -30, 5, 500, -(10**6)]))
        chunk, names = hostile_chunk(rng, controller.filter.command if out else q)
        controller.set_chunk(chunk, stamp * PERIOD_NS, names, Source(f"run {runs}"))
        started = not out
        if not controller.enabled or number % 50 == 0:  # the operator, at a new place
            controller.disable()
            controller.enable()
            q = np.array(HOME_Q) if number % 200 == 0 else q
            started = True
            runs += 1
        for _ in range(int(rng.integers(1, 4))):
            cycle = controller.cycle(q + 1e-3 * rng.standard_normal(36), now * PERIOD_NS)
            out.append(cycle.command)
            when.append(now * PERIOD_NS / NS_PER_S)
            anew.append(started)
            started = False
            q = q + 0.6 * (cycle.command - q)
            now += int(rng.choice([1, 1, 1, 1, 1, 2, 4]))
    return np.array(out), np.array(when), np.array(anew), controller


def check(out: np.ndarray, when: np.ndarray, anew: np.ndarray, config: ControllerConfig) -> None:
    """Judge what left by rules of our own, without the filter's code."""
    velocity_limit = LIMITS.velocity * config.safety.velocity_scale
    acceleration_limit = LIMITS.acceleration * config.safety.acceleration_scale
    assert np.isfinite(out).all()
    assert ((out >= LIMITS.lower) & (out <= LIMITS.upper)).all()
    dt = np.diff(when)
    velocity = np.diff(out, axis=0) / dt[:, None]
    velocity[anew[1:]] = 0.0
    assert (np.abs(velocity) <= velocity_limit + 1e-5).all()
    middle = 0.5 * (dt[1:] + dt[:-1])
    change = np.abs(np.diff(velocity, axis=0)) / middle[:, None]
    change[anew[2:] | anew[1:-1]] = 0.0
    # The time of a step counts from the command before; after standing still it may have begun with this one.
    moving_since = np.abs(velocity[:-1]).max(axis=1) > 0
    slack = np.where(moving_since, 1.0, np.maximum(dt[1:], dt[:-1]) / middle)
    assert (change <= acceleration_limit * slack[:, None] + 1e-3).all()


def clearances(out: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Smallest overlap of left against right (N,) and height of palms above the table (N,) [m], by torch."""
    spheres = CollisionSpheres(RobotModel(dtype=torch.float64))
    side = np.array([name.split("_")[0] for name in spheres.link_of_sphere])
    palm = np.array([name.endswith("hand_link") for name in spheres.link_of_sphere])
    radii = spheres.radii.numpy()
    arms, palms = [], []
    for part in np.array_split(out, max(1, len(out) // 500)):
        centers = spheres.centers_world(torch.tensor(part)).numpy()
        left, right = centers[:, side == "left"], centers[:, side == "right"]
        distance = np.linalg.norm(left[:, :, None] - right[:, None], axis=-1)
        gap = distance - radii[side == "left"][:, None] - radii[side == "right"][None]
        arms.append(gap.min(axis=(1, 2)))
        palms.append((centers[:, palm, 2] - radii[palm]).min(axis=1))
    return np.concatenate(arms), np.concatenate(palms)


@pytest.mark.parametrize("seed", range(RUNS))
@pytest.mark.parametrize("latch", [False, True])
def test_no_command_outside_the_limits_ever_leaves(seed: int, latch: bool) -> None:
    safety = SafetyConfig(velocity_scale=0.3, acceleration_scale=0.8) if latch else SafetyConfig()
    config = ControllerConfig(safety=safety, latch=latch)
    out, when, anew, controller = fuzz(seed + RUNS * latch, CHUNKS // RUNS // 2, config)
    check(out, when, anew, config)
    arms, palms = clearances(out[::5])
    assert arms.min() > -1e-6
    assert palms.min() > -1e-6
    assert Reason.INTERNAL_ERROR not in controller.counts
    expected = {Reason.NOT_FINITE, Reason.LENGTH, Reason.POSITION, Reason.JOINT_NAMES, Reason.STALE_CHUNK}
    assert expected <= set(controller.counts)
    moved = np.abs(out - HOME_Q).max()
    assert moved > 0.1  # it was no standing still


def test_each_command_that_left_could_be_stopped_without_a_collision() -> None:
    config = ControllerConfig()
    out, when, anew, _ = fuzz(99, 300, config)
    collision = CollisionCheck(  # 2 mm less margin, for the way of braking is put down in short here
        CollisionConfig(
            self_margin_m=0.003,
            arms_margin_m=0.018,
            arms_finger_margin_m=-0.002,
            table_margin_m=0.008,
            table_palm_margin_m=-0.002,
            table_finger_margin_m=-0.017,
            workspace_min_m=(-0.352, -1.002, -0.052),
            workspace_max_m=(1.102, 1.002, 1.102),
        )
    )
    velocity = np.diff(out, axis=0) / np.diff(when)[:, None]
    velocity[anew[1:]] = 0.0
    for command, speed in list(zip(out[1:], velocity, strict=True))[::3]:
        way = np.sign(speed) * np.maximum(speed**2 / (2 * LIMITS.acceleration) - np.abs(speed) * 0.005, 0.0)
        assert collision.worst(collision.gaps(command + way)) is None
