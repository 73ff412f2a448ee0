"""Collect demonstrations: (object, seed) in, episodes out; stopped and resumed at will."""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import threading
import time
import zlib
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch
from tqdm import tqdm

from udg_datagen.collision import CollisionScene
from udg_datagen.demonstration import DemoConfig, DemoPlanner, Execution, Rejected, execute, starts
from udg_datagen.grasp_store import GraspStore, GraspStoreConfig, resting_pose
from udg_description.camera import CameraModel, default_cameras
from udg_description.errors import UdgError, cli
from udg_description.layout import HOME_Q
from udg_description.model import RobotModel
from udg_description.spheres import CollisionSpheres
from udg_description.transforms import make_transform, rotvec_to_matrix
from udg_perception.scene_cloud import SceneCloudBuilder, SceneCloudConfig
from udg_policy.dataset import Episode, EpisodeWriter, write_atomically
from udg_sim.depth import DepthRig, KinectNoise
from udg_sim.objects import ObjectLibrary, ObjectModel
from udg_sim.trial import sample_placement
from udg_sim.world import World, WorldConfig

_CAMERA_SEED = 7
T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class CollectConfig:
    """What is randomised over episodes, besides placement and start."""

    demo: DemoConfig = field(default_factory=DemoConfig)
    grasps: GraspStoreConfig = field(default_factory=GraspStoreConfig)
    cloud: SceneCloudConfig = field(default_factory=SceneCloudConfig)
    noisy_share: float = 0.5  # episodes with noise on the executed command
    noise_arm_rad: float = 0.012
    noise_hand_rad: float = 0.04
    mass_factor: tuple[float, float] = (0.7, 1.4)
    friction: tuple[float, float] = (0.6, 1.0)
    gain_factor: tuple[float, float] = (0.8, 1.25)  # joint impedance
    camera_shift_m: float = 0.03
    camera_turn_rad: float = 0.02
    camera_rigs: int = 8  # different camera placements over all episodes

    def __post_init__(self) -> None:
        if not 0.0 <= self.noisy_share <= 1.0:
            raise UdgError(f"noisy_share is {self.noisy_share}, valid: 0 to 1")
        for name in ("mass_factor", "friction", "gain_factor"):
            low, high = getattr(self, name)
            if not 0.0 < low <= high:
                raise UdgError(f"{name} is {(low, high)}, valid: 0 < lower <= upper")


    @property
    def noisy_demo(self) -> DemoConfig:
        """The demonstration with noise on the executed command."""
        return replace(self.demo, noise_arm_rad=self.noise_arm_rad, noise_hand_rad=self.noise_hand_rad)


def task_rng(object_id: str, seed: int) -> np.random.Generator:
    """The randomness of one task: depends on nothing but the object and the seed."""
    return np.random.default_rng([zlib.crc32(object_id.encode()), seed])


class Collector:
    """Makes the episode of a task; holds what is costly to build."""

    def __init__(self, config: CollectConfig) -> None:
        torch.set_num_threads(1)
        self._config = config
        self._model = RobotModel()
        self._planner = DemoPlanner(config.demo, self._model, CollisionScene(CollisionSpheres(self._model)))
        self._store = GraspStore(config.grasps)
        self._library = ObjectLibrary()
        self._observers: dict[int, Observer] = {}

    def prepare(self, object_id: str) -> None:
        """Synthesise the grasps of every resting pose of an object."""
        target = self._library.get(object_id)
        for index in range(len(target.stable_poses)):
            self._store.get(target, index)

    def collect(self, object_id: str, seed: int) -> Episode:
        """The episode of a task. Raises Rejected."""
        config = self._config
        rng = task_rng(object_id, seed)
        target = self._library.get(object_id)
        noisy = rng.random() < config.noisy_share
        demo = config.noisy_demo if noisy else config.demo
        stiffness, damping = _log_uniform(rng, config.gain_factor), _log_uniform(rng, config.gain_factor)
        world = World(WorldConfig(stiffness_scale=stiffness, damping_scale=damping))
        start = starts(HOME_Q, demo, rng)
        mass_kg = target.mass_kg * _log_uniform(rng, config.mass_factor)
        friction = float(rng.uniform(*config.friction))
        placed = sample_placement(target, rng)
        observer = self._observer(int(rng.integers(config.camera_rigs)))
        world.reset(q=start, object=target, T_world_object=placed, mass_kg=mass_kg, friction=friction)
        world.settle()
        T_world_object = world.T_world_object
        plan = self._planner.plan(
            self._store.get(target, resting_pose(target, T_world_object)), target, T_world_object, start, seed
        )
        execution = execute(plan, world, demo, rng)
        meta = {
            "object": object_id, "side": plan.side, "seed": seed, "success": True, "noisy": bool(noisy),
            "mass_kg": mass_kg, "friction": friction, "size_class": target.size_class, "category": target.category,
        }
        cloud = observer.observe(execution, target, seed)
        return Episode(
            cloud_xyz=cloud[..., :3].astype(np.float16),
            cloud_label=cloud[..., 3].astype(np.uint8),
            q=execution.q.astype(np.float32),
            target=execution.targets.astype(np.float32),
            stage=execution.stages,
            meta=meta,
        )

    def _observer(self, index: int) -> Observer:
        if index not in self._observers:
            rng = np.random.default_rng([_CAMERA_SEED, index])
            cameras = [_moved_camera(camera, self._config, rng) for camera in default_cameras()]
            self._observers[index] = Observer(cameras, self._config.cloud, self._model)
        return self._observers[index]


class Observer:
    """Depth cameras at fixed places and the scene cloud made from them."""

    def __init__(self, cameras: Sequence[CameraModel], config: SceneCloudConfig, model: RobotModel) -> None:
        self._rig = DepthRig(cameras, noise=KinectNoise())
        self._builder = SceneCloudBuilder(config, cameras, model)
        self._box = (config.crop_min, config.crop_max)

    def observe(self, execution: Execution, target: ObjectModel, seed: int) -> np.ndarray:
        """Scene clouds (T, N, 4) of an episode: x, y, z [m, world], label. The seed is that of the depth noise."""
        self._rig.reset(seed)
        clouds = []
        for q, T_world_object in zip(execution.q, execution.T_world_object, strict=True):
            depths = self._rig.render(q, [(target, T_world_object)], box=self._box)
            clouds.append(self._builder.build(depths, q).points)
        return np.stack(clouds)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _moved_camera(camera: CameraModel, config: CollectConfig, rng: np.random.Generator) -> CameraModel:
    """The camera somewhere else; its pose stays known, as after a calibration."""
    turn = rotvec_to_matrix(rng.uniform(-1.0, 1.0, 3) * config.camera_turn_rad)
    shift = rng.uniform(-1.0, 1.0, 3) * config.camera_shift_m
    return replace(camera, T_world_camera=camera.T_world_camera @ make_transform(turn, shift))


@lru_cache(maxsize=1)
def _collector(config: CollectConfig) -> Collector:
    return Collector(config)


def _end_with_parent() -> None:
    """Let a worker end when the process that started it is gone, however it went."""
    parent = multiprocessing.parent_process()

    def watch() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def _prepare(config: CollectConfig, object_id: str) -> str:
    _collector(config).prepare(object_id)
    return object_id


def _attempt(config: CollectConfig, object_id: str, seed: int, folder: Path) -> dict[str, Any]:
    """One task in a worker: writes the episode (if any) and the account of the attempt; returns the account."""
    began = time.perf_counter()
    account: dict[str, Any] = {"object": object_id, "seed": seed, "result": "success", "frames": 0}
    try:
        episode = _collector(config).collect(object_id, seed)
        account["frames"] = len(episode)
        account["side"] = episode.meta["side"]
        EpisodeWriter(folder).write(_name(object_id, seed), episode)
    except Rejected as rejected:
        account["result"] = rejected.reason
    account["seconds"] = round(time.perf_counter() - began, 2)
    path = _account_path(folder, object_id, seed)
    path.parent.mkdir(exist_ok=True)
    write_atomically(path, json.dumps(account).encode())
    return account


def _name(object_id: str, seed: int) -> str:
    safe = "".join(c if c.isalnum() else "-" for c in object_id)
    return f"{safe}_{seed:06d}"


def _account_path(folder: Path, object_id: str, seed: int) -> Path:
    return folder / "attempts" / f"{_name(object_id, seed)}.json"


def _results(pool: ProcessPoolExecutor, call: Callable[..., T], tasks: Sequence[tuple[object, ...]]) -> Iterator[T]:
    futures = [pool.submit(call, *task) for task in tasks]
    for future in as_completed(futures):
        yield future.result()


def collect(
    config: CollectConfig, objects: Sequence[str], episodes: int, seed: int, folder: Path, workers: int
) -> dict[str, Any]:
    """Attempt ``episodes`` tasks for each object, skipping those already done; returns the summary."""
    library = ObjectLibrary()
    for object_id in objects:
        library.get(object_id)
    folder.mkdir(parents=True, exist_ok=True)
    tasks = [(object_id, seed + k) for k in range(episodes) for object_id in objects]
    left = [task for task in tasks if not _account_path(folder, *task).exists()]
    began = time.perf_counter()
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(workers, mp_context=spawn, initializer=_end_with_parent) as pool:
        if left:
            pending = sorted({object_id for object_id, _ in left}, key=list(objects).index)
            calls = [(config, object_id) for object_id in pending]
            for _ in tqdm(_results(pool, _prepare, calls), total=len(calls), desc="grasps", unit="object"):
                pass
        counts: Counter[str] = Counter()
        with tqdm(total=len(left), desc="demonstrations", unit="attempt", smoothing=0.05) as bar:
            for account in _results(pool, _attempt, [(config, *task, folder) for task in left]):
                counts[account["result"]] += 1
                bar.set_postfix_str(f"{counts['success']} kept")
                bar.update()
    accounts = [json.loads(_account_path(folder, *task).read_text()) for task in tasks]
    summary = summarise(accounts)
    summary["wall_s"] = round(time.perf_counter() - began, 1)
    if summary["successes"]:
        EpisodeWriter(folder).finish(config=asdict(config), summary=summary)
    return summary


def summarise(accounts: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Counts of attempts, by result and by object. ``executed`` leaves out attempts without a feasible plan."""
    unplanned = ("no_grasp", "no_ik", "no_path")
    executed = [a for a in accounts if a["result"] not in unplanned]
    successes = [a for a in accounts if a["result"] == "success"]
    by_object: dict[str, dict[str, int]] = {}
    for account in accounts:
        row = by_object.setdefault(account["object"], {"attempted": 0, "successes": 0})
        row["attempted"] += 1
        row["successes"] += account["result"] == "success"
    return {
        "attempted": len(accounts),
        "executed": len(executed),
        "successes": len(successes),
        "success_rate": round(len(successes) / len(executed), 4) if executed else 0.0,
        "frames": sum(a["frames"] for a in accounts),
        "reasons": dict(Counter(a["result"] for a in accounts if a["result"] != "success")),
        "by_object": by_object,
    }


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Collect demonstrations of grasps in simulation.")
    parser.add_argument(
        "--objects", default="", help="comma-separated ids or path.obj@size; default: the medium training objects"
    )
    parser.add_argument("--episodes", type=int, default=10, help="attempts per object (default: 10)")
    parser.add_argument("--seed", type=int, default=0, help="first seed (default: 0)")
    parser.add_argument("--out", type=Path, required=True, help="folder of the dataset; resumed when it exists")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (default: one per core)")
    parser.add_argument(
        "--noisy-share", type=float, default=0.5, help="episodes with noise on the executed command (default: 0.5)"
    )
    return parser


def main() -> None:
    cli(run)


def run(arguments: Sequence[str] | None = None) -> None:
    options = build_parser().parse_args(arguments)
    if options.episodes < 1 or options.workers < 1:
        raise UdgError(f"--episodes {options.episodes} and --workers {options.workers} must be at least 1")
    objects = [o for o in options.objects.split(",") if o] or ObjectLibrary().ids(split="train", size="medium")
    config = CollectConfig(noisy_share=options.noisy_share)
    summary = collect(config, objects, options.episodes, options.seed, options.out, options.workers)
    print(json.dumps(summary))


if __name__ == "__main__":
    main()
