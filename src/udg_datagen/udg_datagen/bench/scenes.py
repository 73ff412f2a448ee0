"""Grasps chosen in full scenes: how many of the reachable, ranked ones lift the object with the whole robot.

Each scene is an object in one of its resting poses, placed at random where demonstrations place it, and the robot near
home. Grasps come from the store that demonstrations use; the nearest reachable one with a path is executed, once.
"""

from __future__ import annotations

from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch

from udg_datagen.bench.cell import library
from udg_datagen.bench.settings import BenchConfig
from udg_datagen.demonstrations.demonstration import UNPLANNED, DemoConfig, DemoPlanner, Rejected, starts
from udg_datagen.demonstrations.execution import execute
from udg_datagen.expert.expert import Expert
from udg_datagen.planning.collision import CollisionScene
from udg_description.layout import HOME_Q
from udg_sim.physics.world import World
from udg_sim.trials.trial import TrialError, place_in, sample_placement

_POSES = 2  # resting poses of an object, likeliest first


class SceneTask(NamedTuple):
    object_id: str
    size: str
    seed: int


class SceneOutcome(NamedTuple):
    """One scene: was a grasp found reachable and planned (`executed`), did it lift; else the reason."""

    object_id: str
    size: str
    seed: int
    strategy: str
    executed: bool
    lifted: bool
    reason: str = ""


class _Cell(NamedTuple):
    planner: DemoPlanner
    expert: Expert
    world: World


def scene_tasks(objects: dict[str, list[str]], config: BenchConfig) -> list[SceneTask]:
    """`config.scenes` scenes, as many of each size, over the objects in turn."""
    tasks = []
    sizes = [size for size, names in objects.items() if names]
    for k in range(config.scenes if sizes else 0):
        size = sizes[k % len(sizes)]
        names = objects[size]
        turn = k // len(sizes)
        tasks.append(SceneTask(names[turn % len(names)], size, 100 * config.seed + turn))
    return tasks


def run_scene(task: SceneTask, config: BenchConfig) -> SceneOutcome:
    """Choose, plan and execute a grasp in one scene."""
    del config
    torch.set_num_threads(1)
    demo = DemoConfig()
    cell, target = _cell(), library().get(task.object_id)
    rng = np.random.default_rng([task.seed, sum(task.object_id.encode())])
    pose = task.seed % min(_POSES, len(target.stable_poses))
    start = starts(HOME_Q, demo, rng)
    strategy = ""
    try:
        place_in(cell.world, target, lambda: sample_placement(target, rng, pose_index=pose), q=start)
        T_world_object = cell.world.T_world_object
        choices = cell.expert.choices(target, T_world_object)
        plan = cell.planner.plan(choices, target, T_world_object, start, task.seed)
        if plan is None:
            raise Rejected("no_reach")
        strategy = plan.strategy
        execute(plan, cell.world, demo, rng)
    except (Rejected, TrialError) as error:
        reason = error.reason if isinstance(error, Rejected) else "no_rest"
        executed = bool(strategy) and reason not in UNPLANNED
        return SceneOutcome(task.object_id, task.size, task.seed, strategy, executed, False, reason)
    return SceneOutcome(task.object_id, task.size, task.seed, strategy, True, True)


@lru_cache(maxsize=1)
def _cell() -> _Cell:
    scene = CollisionScene()
    return _Cell(DemoPlanner(DemoConfig(), scene), Expert(scene), World())
