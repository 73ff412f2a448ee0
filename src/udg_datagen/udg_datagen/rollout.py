"""Closed-loop trials of a policy without ROS: for measuring during development and training.

The reference is the ROS graph (udg_bringup.sim_trials); this loop has the same world, cameras, cloud, engine, chunk
player and follower, but no messages and no safety filter.
"""

from __future__ import annotations

import argparse
import json
import math
import multiprocessing
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import torch
from tqdm import tqdm

from udg_control.follower import ChunkFollower, FollowerConfig
from udg_datagen.attempt import task_rng
from udg_description.camera import default_cameras
from udg_description.errors import UdgError, cli
from udg_description.layout import HOME_Q
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_perception.scene_cloud import SceneCloudBuilder, SceneCloudConfig
from udg_policy.engine import PolicyEngine
from udg_policy.player import ChunkPlayer, PlayerConfig
from udg_sim.depth import DepthRig, KinectNoise
from udg_sim.objects import ObjectLibrary
from udg_sim.trial import LiftTracker, sample_placement
from udg_sim.world import World, WorldConfig


@dataclass(frozen=True, kw_only=True)
class Trial:
    """One closed-loop trial: the object rose by ``raised_m`` at most and by ``final_m`` at the end."""

    object: str
    seed: int
    success: bool
    raised_m: float
    final_m: float
    steps: int
    position_xy: tuple[float, float]


@dataclass(frozen=True, kw_only=True)
class RolloutConfig:
    limit_s: float = 12.0
    player: PlayerConfig = field(default_factory=PlayerConfig)
    follower: FollowerConfig = field(default_factory=FollowerConfig)

    def __post_init__(self) -> None:
        if self.limit_s <= 0:
            raise UdgError(f"limit_s is {self.limit_s}, valid: > 0")


class Rollout:
    """Runs trials of one policy."""

    def __init__(self, engine: PolicyEngine, config: RolloutConfig) -> None:
        self._engine, self._config = engine, config
        self._cameras = default_cameras()
        self._cloud = SceneCloudConfig()
        self._builder = SceneCloudBuilder(self._cloud, self._cameras, RobotModel())
        self._library = ObjectLibrary()
        self._world = World(WorldConfig())

    def run(self, object_id: str, seed: int) -> Trial:
        config, world = self._config, self._world
        target = self._library.get(object_id)
        rng = task_rng(object_id, seed)
        world.reset(q=HOME_Q, object=target, T_world_object=sample_placement(target, rng))
        world.settle()
        rig = DepthRig(self._cameras, noise=KinectNoise(), seed=seed)
        placed = world.T_world_object[:3, 3].copy()
        rule = LiftTracker()
        rule.update(world.time_s, float(placed[2]))
        player, follower = ChunkPlayer(config.player), self._follower()
        step_ns, period_ns = config.follower.step_ns, config.follower.period_ns
        start_s, raised, steps = world.time_s, 0.0, 0
        while steps * step_ns * 1e-9 < config.limit_s and not rule.success:
            chunk = None
            if player.wants_chunk:
                box = (self._cloud.crop_min, self._cloud.crop_max)
                depths = rig.render(world.q, [(target, world.T_world_object)], box=box)
                chunk = self._engine.act(self._builder.build(depths, world.q).points, world.q)
            now_ns = steps * step_ns
            follower.follow(player.step(chunk), now_ns, now_ns)
            while now_ns < (steps + 1) * step_ns:
                now_ns += period_ns
                world.set_target(follower.advance(now_ns))
                world.step_until(start_s + now_ns * 1e-9)
            steps += 1
            height = float(world.T_world_object[2, 3])
            raised = max(raised, height - placed[2])
            rule.update(world.time_s, height)
        return Trial(
            object=object_id, seed=seed, success=rule.success, raised_m=round(raised, 3),
            final_m=round(float(world.T_world_object[2, 3] - placed[2]), 3), steps=steps,
            position_xy=(round(float(placed[0]), 3), round(float(placed[1]), 3)),
        )


    def _follower(self) -> ChunkFollower:
        limits = joint_limits()
        follower = ChunkFollower(
            self._config.follower,
            lower=limits.lower,
            upper=limits.upper,
            velocity=limits.velocity,
            acceleration=limits.acceleration,
        )
        follower.sync(HOME_Q)
        return follower


def wilson_interval(successes: int, trials: int, z: float = 1.96) -> tuple[float, float]:
    """95 % interval of a share (Wilson's score)."""
    if trials == 0:
        return (0.0, 1.0)
    p, n = successes / trials, trials
    centre = (p + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * math.sqrt(p * (1 - p) / n + z * z / (4 * n * n))
    return (max(0.0, centre - half), min(1.0, centre + half))


@lru_cache(maxsize=1)
def _rollout(checkpoint: Path, config: RolloutConfig) -> Rollout:
    torch.set_num_threads(1)
    return Rollout(PolicyEngine.load(checkpoint), config)


def _trial(checkpoint: Path, config: RolloutConfig, object_id: str, seed: int) -> Trial:
    return _rollout(checkpoint, config).run(object_id, seed)


def run(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Closed-loop success of a checkpoint in simulation, without ROS.")
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--objects", default="", help="comma-separated; default: the objects it was trained on")
    parser.add_argument("--trials", type=int, default=20, help="trials in all, spread over the objects (default: 20)")
    parser.add_argument("--seed", type=int, default=100_000, help="first seed (default: 100000, outside training)")
    parser.add_argument("--replan-every", type=int, default=1, help="ticks between two inferences (default: 1)")
    parser.add_argument("--blend", type=float, default=0.0, help="weight of a chunk relative to the next newer one")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1)
    options = parser.parse_args(arguments)
    engine = PolicyEngine.load(options.checkpoint)
    objects = [o for o in options.objects.split(",") if o] or list(engine.train_objects)
    config = RolloutConfig(player=PlayerConfig(replan_every=options.replan_every, blend=options.blend))
    tasks = [(objects[k % len(objects)], options.seed + k // len(objects)) for k in range(options.trials)]
    with ProcessPoolExecutor(options.workers, mp_context=multiprocessing.get_context("spawn")) as pool:
        futures = [pool.submit(_trial, options.checkpoint, config, *task) for task in tasks]
        trials = [future.result() for future in tqdm(futures, unit="trial")]
    by_object: dict[str, list[int]] = {}
    for trial in trials:
        print(trial)
        row = by_object.setdefault(trial.object, [0, 0])
        row[0] += trial.success
        row[1] += 1
    successes = sum(trial.success for trial in trials)
    low, high = wilson_interval(successes, len(trials))
    print(json.dumps({
        "trials": len(trials), "successes": successes, "success_rate": successes / len(trials),
        "interval_95": [round(low, 3), round(high, 3)], "by_object": {k: f"{s}/{n}" for k, (s, n) in by_object.items()},
    }))


def main() -> None:
    cli(run)


if __name__ == "__main__":
    main()
