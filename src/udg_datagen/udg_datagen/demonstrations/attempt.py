"""One attempt at a demonstration: from (object, seed) to an episode or the reason why there is none."""

from __future__ import annotations

import zlib
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
import torch

from udg_control.offline import OfflineFilter
from udg_datagen.demonstrations.demonstration import DemoConfig, DemoPlanner, Plan, Rejected, starts
from udg_datagen.demonstrations.execution import Execution, execute
from udg_datagen.demonstrations.observer import Observer
from udg_datagen.demonstrations.stopwatch import Stopwatch
from udg_datagen.expert.choice import Choice
from udg_datagen.expert.expert import VERSION as EXPERT_VERSION
from udg_datagen.expert.expert import Expert, ExpertConfig
from udg_datagen.expert.spread import spread_choices
from udg_datagen.grasps.grasp_store import GraspStore, GraspStoreConfig
from udg_datagen.planning.collision import CollisionScene
from udg_description.camera import CameraModel, default_cameras
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q
from udg_description.model import RobotModel
from udg_description.transforms import make_transform, rotvec_to_matrix
from udg_perception.scene_cloud import SceneCloudConfig
from udg_policy.episodes.dataset import Episode
from udg_policy.episodes.episode import CLOUD_POINTS
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.physics.world import World, WorldConfig
from udg_sim.trials.trial import TrialError, place_in, sample_placement

_CAMERA_SEED = 7
_POSE_STREAM = 1  # of a task's randomness, beside that of its scene


@dataclass(frozen=True, kw_only=True)
class AttemptConfig:
    """What is randomised over the episodes, besides placement and start."""

    demo: DemoConfig = field(default_factory=DemoConfig)
    expert: Literal["scene", "spread"] = "scene"  # one grasp a scene (`Expert`), or the nearest of few that differ
    choice: ExpertConfig = field(default_factory=ExpertConfig)  # of the expert "scene"
    grasps: GraspStoreConfig = field(default_factory=GraspStoreConfig)  # of the expert "spread"
    expert_version: str = EXPERT_VERSION
    cloud: SceneCloudConfig = field(default_factory=SceneCloudConfig)
    poses: int = 0  # how many resting poses are used, the likeliest, in turn; 0: all, each as likely as it is
    noisy_share: float = 0.5  # episodes with noise on the executed command
    noise_arm_rad: float = 0.012
    noise_hand_rad: float = 0.04
    mass_factor: tuple[float, float] = (0.5, 2.0)  # log-uniform about the object's own mass, within mass_kg
    mass_kg: tuple[float, float] = (0.005, 1.0)
    friction: tuple[float, float] = (0.6, 1.0)  # uniform
    gain_factor: tuple[float, float] = (0.8, 1.25)  # joint stiffness and damping, log-uniform
    camera_shift_m: float = 0.03
    camera_turn_rad: float = 0.02
    camera_rigs: int = 8  # different camera placements over all episodes
    whole_images_share: float = 0.1  # episodes with depth far from the object too, so stray points of the robot's noise

    def __post_init__(self) -> None:
        for name in ("noisy_share", "whole_images_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise UdgError(f"{name} is {getattr(self, name)}, valid: 0 to 1")
        for name in ("mass_factor", "mass_kg", "friction", "gain_factor"):
            pair = getattr(self, name)
            if len(pair) != 2 or not 0.0 < pair[0] <= pair[1]:
                raise UdgError(f"{name} is {pair}, valid: [lower, upper], 0 < lower <= upper")
        if self.cloud.n_points != CLOUD_POINTS:
            raise UdgError(f"cloud.n_points is {self.cloud.n_points}, valid: {CLOUD_POINTS}, as episodes have")
        if self.poses < 0 or self.camera_rigs < 1:
            raise UdgError(f"poses {self.poses} must be at least 0, camera_rigs {self.camera_rigs} at least 1")

    @property
    def noisy_demo(self) -> DemoConfig:
        """The demonstration with noise on the executed command."""
        return replace(self.demo, noise_arm_rad=self.noise_arm_rad, noise_hand_rad=self.noise_hand_rad)


def task_rng(object_id: str, seed: int) -> np.random.Generator:
    """The randomness of one task: depends on nothing but the object and the seed."""
    return np.random.default_rng(_task_key(object_id, seed))


def _task_key(object_id: str, seed: int) -> list[int]:
    return [zlib.crc32(object_id.encode()), seed]


def drawn_pose(target: ObjectModel, seed: int, poses: int) -> int:
    """The resting pose of a task: of the `poses` likeliest in turn, or of all, each as likely as it is (0)."""
    if poses:
        return seed % poses % len(target.stable)
    rng = np.random.default_rng([*_task_key(target.id, seed), _POSE_STREAM])
    return int(rng.choice(len(target.stable), p=target.stable_probabilities))


@dataclass(frozen=True, kw_only=True)
class Draws:
    """What is drawn for a task before its object is placed."""

    noisy: bool
    stiffness: float  # factors of the joints' own
    damping: float
    start: np.ndarray  # (36,) [rad]
    mass_factor: float  # of the object's own
    friction: float
    rig: int  # which of the placements of the cameras
    whole_images: bool


def draw(config: AttemptConfig, rng: np.random.Generator) -> Draws:
    """The first draws of a task's randomness (`task_rng`), in the order that all data sets have been made with."""
    noisy = bool(rng.random() < config.noisy_share)
    return Draws(
        noisy=noisy,
        stiffness=_log_uniform(rng, config.gain_factor),
        damping=_log_uniform(rng, config.gain_factor),
        start=starts(HOME_Q, config.noisy_demo if noisy else config.demo, rng),
        mass_factor=_log_uniform(rng, config.mass_factor),
        friction=float(rng.uniform(*config.friction)),
        rig=int(rng.integers(config.camera_rigs)),
        whole_images=bool(rng.random() < config.whole_images_share),
    )


@dataclass(frozen=True, kw_only=True)
class Scene:
    """What a task places in the world, and how it is seen."""

    object: str
    target: ObjectModel
    T_world_object: np.ndarray  # (4, 4), at rest
    pose_index: int
    start: np.ndarray  # (36,) [rad]
    demo: DemoConfig
    noisy: bool
    mass_kg: float
    friction: float
    stiffness: float  # factors of the joints' own
    damping: float
    whole_images: bool
    observer: Observer
    rng: np.random.Generator  # continues with the execution


class Attempter:
    """Makes the episode of a task; holds what is costly to build."""

    def __init__(self, config: AttemptConfig) -> None:
        torch.set_num_threads(1)
        self._config = config
        self._model = RobotModel()
        self._scene = CollisionScene(model=self._model)
        self._planner = DemoPlanner(config.demo, self._scene)
        self._expert = Expert(self._scene, config.choice)
        self._store = GraspStore(config.grasps)
        self._gate = OfflineFilter()
        self._library = ObjectLibrary()
        self._world = World()
        self._cameras = default_cameras()
        self._observer_of_rig: dict[int, Observer] = {}
        self._fixed_observer: Observer | None = None

    def prepare(self, object_id: str, pose: int, watch: Stopwatch) -> ObjectModel:
        """Make the object and the grasps of a resting pose that is used. Raises UdgError for unusable meshes."""
        with watch.time("object"):
            target = self._library.get(object_id)
        if self._config.expert == "spread":
            with watch.time("grasps"):
                self._store.get(target, pose % len(target.stable))
        return target

    def attempt(self, object_id: str, seed: int, watch: Stopwatch) -> Episode:
        """The episode of a task; time is added to the watch by step. Raises Rejected."""
        scene = self.place(object_id, seed, watch)
        plan = self._plan(scene, seed, watch)
        what = {
            "strategy": plan.strategy,
            "sides": list(plan.sides),
            "noisy": scene.noisy,
            "mass_kg": scene.mass_kg,
            "motion": plan.motion,
        }
        try:
            with watch.time("execute"):
                execution = execute(plan, self._world, scene.demo, scene.rng, self._gate)
        except Rejected as rejected:
            raise Rejected(rejected.reason, **rejected.facts, **what) from None
        return self.episode(scene, plan, execution, seed, watch, seed=seed)

    def place(self, object_id: str, seed: int, watch: Stopwatch) -> Scene:
        """The scene of a task in the world, at rest. Raises Rejected."""
        config, world = self._config, self._world
        rng = task_rng(object_id, seed)
        with watch.time("object"):
            target = self._library.get(object_id)
        drawn = draw(config, rng)
        demo = config.noisy_demo if drawn.noisy else config.demo
        mass_kg = float(np.clip(target.mass_kg * drawn.mass_factor, *config.mass_kg))
        pose_index = drawn_pose(target, seed, config.poses)
        with watch.time("place"):
            world.config = WorldConfig(stiffness_scale=drawn.stiffness, damping_scale=drawn.damping)
            try:
                place_in(
                    world,
                    target,
                    lambda: sample_placement(target, rng, pose_index=pose_index),
                    q=drawn.start,
                    mass_kg=mass_kg,
                    friction=drawn.friction,
                )
            except TrialError as error:
                raise Rejected("no_rest") from error
        return Scene(
            object=object_id,
            target=target,
            T_world_object=world.T_world_object,
            pose_index=pose_index,
            start=drawn.start,
            demo=demo,
            noisy=drawn.noisy,
            mass_kg=mass_kg,
            friction=drawn.friction,
            stiffness=drawn.stiffness,
            damping=drawn.damping,
            whole_images=drawn.whole_images,
            observer=self._observer(drawn.rig, watch),
            rng=rng,
        )

    def episode(
        self, scene: Scene, plan: Plan, execution: Execution, noise_seed: int, watch: Stopwatch, **meta: object
    ) -> Episode:
        """The episode of what was executed in a scene; `meta` is added to its meta data."""
        config, target = self._config, scene.target
        cloud = scene.observer.observe(
            execution.q, execution.T_world_object, target, noise_seed, watch, scene.whole_images
        )
        return Episode(
            cloud_xyz=cloud[..., :3],
            cloud_label=cloud[..., 3].astype(np.uint8),
            q=execution.q,
            target=execution.targets,
            stage=execution.stages,
            T_world_object=execution.T_world_object,
            meta={
                "object": scene.object,
                "success": True,
                "noisy": scene.noisy,
                "sides": list(plan.sides),
                "strategy": plan.strategy,
                "motion": plan.motion,
                "pose": scene.pose_index,
                "expert": f"{config.expert} {config.expert_version}",
                "mass_kg": scene.mass_kg,
                "friction": scene.friction,
                "stiffness_scale": scene.stiffness,
                "damping_scale": scene.damping,
                "size_class": target.size_class,
                "category": target.category,
                "split": target.split,
                "cameras": [
                    {"name": camera.name, "T_world_camera": np.asarray(camera.T_world_camera).tolist()}
                    for camera in scene.observer.cameras
                ],
                **meta,
            },
        )

    def _plan(self, scene: Scene, seed: int, watch: Stopwatch) -> Plan:
        target, T_world_object, start = scene.target, scene.T_world_object, scene.start
        counts: Counter[str] = Counter()
        if self._config.expert == "scene":
            choices = self._expert.choices(target, T_world_object, counts)
        else:
            with watch.time("grasps"):
                sets = self._store.get(target, scene.pose_index)
            counts["candidates"] = sum(len(grasps) for grasps in sets)
            choices = spread_choices(sets, target, T_world_object, start, self._scene, counts=counts)
        offered = 0

        def timed() -> Iterator[Choice]:
            nonlocal offered
            while True:
                with watch.time("grasps"):
                    choice = next(choices, None)
                if choice is None:
                    return
                offered += 1
                yield choice

        with watch.time("plan"):
            plan = self._planner.plan(timed(), target, T_world_object, start, seed)
        if plan is not None:
            return plan
        if offered:
            reason = "no_path"
        elif counts["lifted"]:
            reason = "no_hold"
        else:
            reason = "no_reach" if counts["candidates"] else "no_grasp"
        raise Rejected(reason, counts=dict(counts))

    def _observer(self, index: int, watch: Stopwatch) -> Observer:
        if index not in self._observer_of_rig:
            with watch.time("set_up"):
                if self._fixed_observer is None:
                    self._fixed_observer = Observer(self._cameras, self._config.cloud, self._model)
                rng = np.random.default_rng([_CAMERA_SEED, index])
                cameras = [_moved_camera(camera, self._config, rng) for camera in self._cameras]
                self._observer_of_rig[index] = self._fixed_observer.with_cameras(cameras)
        return self._observer_of_rig[index]


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(np.log(bounds[0]), np.log(bounds[1]))))


def _moved_camera(camera: CameraModel, config: AttemptConfig, rng: np.random.Generator) -> CameraModel:
    """The camera somewhere else; its pose stays known, as after a calibration."""
    turn = rotvec_to_matrix(rng.uniform(-1.0, 1.0, 3) * config.camera_turn_rad)
    shift = rng.uniform(-1.0, 1.0, 3) * config.camera_shift_m
    return camera.with_pose(camera.T_world_camera @ make_transform(turn, shift))
