"""On-policy corrections: what the expert does where a policy ends up (DAgger), as a data set like any other.

    make corrections CHECKPOINT=out/train DATA=out/demos OUT=out/corrections EPISODES=500 WORKERS=2

The policy acts in the scene of a demonstration, as in `make trials`. At a random moment, or when the policy has failed,
the expert takes over: straight from there to the grasp that it has chosen for that scene, then it closes, squeezes,
lifts. What the expert does is executed and recorded; it is kept only if the object is lifted. The policy's own steps
are not recorded: they have no label. Some attempts begin as after a grasp that has missed, without a policy.
"""

from __future__ import annotations

import argparse
import hashlib
from collections import Counter, deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from enum import Enum
from functools import partial
from pathlib import Path

import numpy as np

from udg_control.follower import FollowerConfig
from udg_control.margins import margin_keeper
from udg_datagen.demonstrations.attempt import AttemptConfig, Attempter, Scene, task_rng
from udg_datagen.demonstrations.demonstration import Rejected
from udg_datagen.demonstrations.demos import FactoryError, account_of, check_counts, make_dataset
from udg_datagen.demonstrations.execution import CommandDrive, execute
from udg_datagen.demonstrations.made_with import settings_of
from udg_datagen.demonstrations.states_file import StatesError
from udg_datagen.demonstrations.stopwatch import Stopwatch
from udg_datagen.demonstrations.tasks import Made, Preparation, Task
from udg_datagen.expert.choice import Choice
from udg_datagen.workers import Pool, add_workers, open_pool
from udg_description.arm_kinematics import hand_pose, nearest_hand_ik
from udg_description.errors import cli
from udg_description.files import user_path
from udg_description.layout import part_indices
from udg_description.limits import joint_limits
from udg_description.settings import add_config, configured, override, seed_number
from udg_description.transforms import rotation_angle, rotvec_to_matrix
from udg_policy.episodes.dataset import Episode, EpisodeDataset
from udg_policy.inference.engine import PolicyEngine
from udg_policy.inference.player import ChunkPlayer
from udg_policy.network.checkpoint import WEIGHTS_NAME, Checkpoint, load_checkpoint

NOT_NEEDED = "not_needed"
"""Result of an attempt in which the policy had lifted the object, or had not failed, before the expert's turn."""
_DRAW_SEED = 1_000_003
_OF_SCENES = (
    *("poses", "mass_factor", "mass_kg", "friction", "gain_factor"),
    *("camera_shift_m", "camera_turn_rad", "camera_rigs", "whole_images_share"),
)
_OF_STARTS = ("start_noise_arm_rad", "start_noise_hand_rad")  # in their `demo`
"""Settings of demonstrations from which their scenes follow."""


@dataclass(frozen=True, kw_only=True)
class CorrectionConfig:
    """When the expert takes over, and the scenes."""

    attempt: AttemptConfig = field(default_factory=AttemptConfig)
    policy: str = ""  # SHA-256 of its weights
    failed_share: float = 0.3  # of the attempts: taken over when the policy has failed
    missed_share: float = 0.2  # of the attempts: begun with closed hands over the object, as after a grasp that missed
    near_share: float = 0.6  # of the other attempts: taken over near the grasp, the rest at any moment
    near_m: float = 0.1  # of a hand from its grasp
    near_steps: int = 10  # at most, after a hand has come near
    steps: int = 20  # at most, of the others
    limit_steps: int = 40  # at most, for a hand to come near
    failed_limit_steps: int = 70  # at most, for the policy to fail
    lifted_m: float = 0.03  # the object is up already
    away_m: float = 0.06  # a hand that has been near its grasp and is so far from it has failed
    stalled_steps: int = 8  # a robot that has stood for so long has failed
    stalled_rad: float = 0.01
    moved_m: float = 0.03  # an object that the failure moved farther, or turned more, gets a new grasp
    moved_rad: float = 0.3
    missed_height_m: tuple[float, float] = (0.05, 0.22)  # of a hand that has missed, over its grasp
    missed_aside_m: float = 0.03  # standard deviation
    missed_turn_rad: float = 0.15  # about the vertical, standard deviation
    missed_closing: tuple[float, float] = (0.0, 1.5)  # of the fingers: 0 as in the grasp, 1 as in the squeeze

    def __post_init__(self) -> None:
        for name in ("near_share", "failed_share", "missed_share"):
            if not 0.0 <= getattr(self, name) <= 1.0:
                raise FactoryError(f"{name} is {getattr(self, name)}, valid: 0 to 1")
        if self.failed_share + self.missed_share > 1.0:
            raise FactoryError(
                f"failed_share {self.failed_share} and missed_share {self.missed_share}: must be at most 1 together"
            )
        if self.near_steps < 0 or min(self.steps, self.limit_steps, self.failed_limit_steps, self.stalled_steps) < 1:
            raise FactoryError(
                "near_steps must be at least 0, steps, limit_steps, failed_limit_steps and stalled_steps at least 1"
            )


class Moment(Enum):
    """When the expert takes over."""

    EARLY = "early"  # after some steps
    NEAR = "near"  # some steps after a hand has come near its grasp
    FAILED = "failed"  # the policy has failed
    MISSED = "missed"  # at the beginning, with closed hands over the object


@dataclass(frozen=True)
class CorrectionTask(Task):
    """One take-over in the scene of a demonstration."""

    draw: int  # of the moment

    @property
    def name(self) -> str:
        """Name of its files."""
        return f"{super().name}-{self.draw}"

    @property
    def noise_seed(self) -> int:
        """Of the depth images: take-overs at the same moment differ by that."""
        return self.seed + _DRAW_SEED * self.draw


class Corrector(Attempter):
    """Makes the correction of a task."""

    def __init__(self, config: CorrectionConfig, checkpoint: Checkpoint) -> None:
        super().__init__(config.attempt)
        self._corrections = config
        self._engine = PolicyEngine(checkpoint)

    def correct(self, task: CorrectionTask, watch: Stopwatch) -> Episode:
        """The expert's part of an attempt of the policy's. Raises Rejected."""
        config, world = self._corrections, self._world
        scene = self.place(task.object, task.seed, watch)
        choice = self._choice(scene, watch)
        rng = np.random.default_rng([task_rng(task.object, task.seed).integers(1 << 31), task.draw])
        moment = _drawn(config, rng)
        if moment is Moment.MISSED:
            scene = self._after_a_miss(scene, choice, rng)
        keeper = margin_keeper(self._gate.filter.check, joint_limits(), FollowerConfig())
        drive = CommandDrive(world, scene.start, gate=self._gate, keeper=keeper)
        steps, refused, failed = 0, 0, False
        if moment is not Moment.MISSED:
            steps, refused, failed = self._act(scene, choice, drive, moment, task.noise_seed, rng, watch)
        T_now = world.T_world_object
        lifted = T_now[2, 3] - scene.T_world_object[2, 3] > config.lifted_m
        if lifted or (moment is Moment.FAILED and not failed):
            raise Rejected(NOT_NEEDED, policy_steps=steps)
        drive.follower.keeper = None  # the expert's commands are executed as they are recorded, or refused
        what: dict[str, object] = {"noisy": False, "policy_steps": steps, "moment": moment.value}
        with watch.time("plan"):
            now = self._expert.again(choice, scene.target, T_now)
        if moment is Moment.FAILED and (now is None or self._has_moved(scene.T_world_object, T_now)):
            with watch.time("grasps"):
                now = next(self._expert.choices(scene.target, T_now), None)
        if now is None:
            raise Rejected("no_reach", **what)
        what |= {"sides": list(now.reach.sides), "strategy": now.grasps.strategy}
        with watch.time("plan"):
            plan = self._planner.plan_on(now, scene.target, T_now, world.q, task.seed)
        if plan is None:
            raise Rejected("no_path", **what)
        try:
            with watch.time("execute"):
                execution = execute(plan, world, config.attempt.demo, rng, self._gate, drive)
        except Rejected as rejected:
            raise Rejected(rejected.reason, **rejected.facts, **what, motion=plan.motion) from None
        correction = {
            "policy": "" if moment is Moment.MISSED else config.policy,  # none has acted
            "steps": steps,
            "draw": task.draw,
            "refused": refused,
            "moment": moment.value,
        }
        return self.episode(scene, plan, execution, task.noise_seed, watch, seed=task.seed, correction=correction)

    def _after_a_miss(self, scene: Scene, choice: Choice, rng: np.random.Generator) -> Scene:
        """The scene with the acting hands closed, over the object. Raises Rejected where they cannot be there."""
        config, limits = self._corrections, joint_limits()
        q = scene.start.copy()
        up_m, closing = rng.uniform(*config.missed_height_m), rng.uniform(*config.missed_closing)
        for hand in choice.grasps[choice.reach.grasp_index].hands:
            arm, fingers = part_indices(f"{hand.side}_arm"), part_indices(f"{hand.side}_hand")
            T = choice.reach.Ts_world_hand[hand.side].copy()
            T[:3, :3] = rotvec_to_matrix(np.array([0.0, 0.0, rng.normal() * config.missed_turn_rad])) @ T[:3, :3]
            T[:3, 3] += [*(rng.normal(size=2) * config.missed_aside_m), up_m]
            q_arm = nearest_hand_ik(hand.side, T, choice.reach.approach[hand.side][-1])
            if q_arm is None:
                raise Rejected("no_reach", moment=Moment.MISSED.value)
            q[arm] = q_arm
            q[fingers] = hand.q_grasp + closing * (hand.q_squeeze - hand.q_grasp)
        q = np.clip(q, limits.lower, limits.upper)
        self._scene.set_objects((scene.target.mesh, scene.T_world_object))
        if not (self._gate.keep_margins(q[None])[0] and self._scene.clearance(q[None]).bodies[0] > 0.0):
            raise Rejected("no_path", moment=Moment.MISSED.value)
        self._world.reset(
            q=q,
            object=scene.target,
            T_world_object=scene.T_world_object,
            mass_kg=scene.mass_kg,
            friction=scene.friction,
        )
        return replace(scene, start=q)

    def _has_moved(self, T_before: np.ndarray, T_now: np.ndarray) -> bool:
        """Whether the object lies elsewhere, or otherwise, than before the policy failed."""
        way_m = float(np.linalg.norm(T_now[:3, 3] - T_before[:3, 3]))
        return (
            way_m > self._corrections.moved_m
            or float(rotation_angle(T_before[:3, :3], T_now[:3, :3])) > self._corrections.moved_rad
        )

    def _choice(self, scene: Scene, watch: Stopwatch) -> Choice:
        """The expert's grasp of the scene, from the cache where the demonstration was made with it."""
        counts: Counter[str] = Counter()
        with watch.time("grasps"):
            choice = next(self._expert.choices(scene.target, scene.T_world_object, counts), None)
        if choice is None:
            raise Rejected("no_hold" if counts["lifted"] else "no_reach", counts=dict(counts))
        return choice

    def _act(
        self,
        scene: Scene,
        choice: Choice,
        drive: CommandDrive,
        moment: Moment,
        noise_seed: int,
        rng: np.random.Generator,
        watch: Stopwatch,
    ) -> tuple[int, int, bool]:
        """Let the policy act until the expert's turn: its steps, commands the filter held back, whether it failed."""
        config, world = self._corrections, self._world
        limit = config.failed_limit_steps if moment is Moment.FAILED else config.limit_steps
        wait = int(rng.integers(1, config.steps + 1) if moment is Moment.EARLY else rng.integers(config.near_steps + 1))
        player, steps, refused = ChunkPlayer(), 0, 0
        watcher = Watcher(config, choice)
        scene.observer.reset(noise_seed)
        while steps < limit:
            watcher.look(world.q, float(world.T_world_object[2, 3] - scene.T_world_object[2, 3]))
            if watcher.lifted:
                break
            if moment is Moment.EARLY or (watcher.failed if moment is Moment.FAILED else watcher.came_near):
                wait -= 1
                if wait < 0:
                    break
            chunk = None
            if player.wants_chunk:
                cloud = scene.observer.look(world.q, world.T_world_object, scene.target, watch, scene.whole_images)
                with watch.time("policy"):
                    chunk = self._engine.act(cloud, world.q, player.commanded)
            with watch.time("execute"):
                refused += drive.play(player.step(chunk))
            steps += 1
        return steps, refused, watcher.failed


def _drawn(config: CorrectionConfig, rng: np.random.Generator) -> Moment:
    kind, near = rng.random(2)
    if kind < config.failed_share:
        return Moment.FAILED
    if kind > 1.0 - config.missed_share:
        return Moment.MISSED
    return Moment.NEAR if near < config.near_share else Moment.EARLY


class Watcher:
    """Sees whether a policy has come near its grasp, has lifted the object, or has failed."""

    def __init__(self, config: CorrectionConfig, choice: Choice) -> None:
        self._config, self._choice = config, choice
        self._places: deque[np.ndarray] = deque(maxlen=config.stalled_steps + 1)
        self.came_near = self.lifted = self.failed = False

    def look(self, q: np.ndarray, raised_m: float) -> None:
        """Look at the robot (36,) [rad] and how far the object has risen, once a step.

        Failed: a hand that has been near its grasp is away from it again, or the robot stands; and the object is down.
        """
        config = self._config
        away_m = _distance_m(self._choice, q)
        self.came_near = self.came_near or away_m < config.near_m
        self._places.append(q.copy())
        stands = len(self._places) > config.stalled_steps and np.ptp(self._places, axis=0).max() < config.stalled_rad
        self.lifted = raised_m > config.lifted_m
        away = self.came_near and away_m > config.near_m + config.away_m
        self.failed = self.failed or (not self.lifted and bool(stands or away))


def _distance_m(choice: Choice, q: np.ndarray) -> float:
    """Distance of the acting hand that is nearest to its grasp."""
    return min(
        float(np.linalg.norm(hand_pose(side, q[part_indices(f"{side}_arm")])[:3, 3] - T[:3, 3]))
        for side, T in choice.reach.Ts_world_hand.items()
    )


class CorrectionWorker:
    """Does the jobs of a worker."""

    def __init__(self, config: CorrectionConfig, checkpoint: Checkpoint) -> None:
        self._corrector = Corrector(config, checkpoint)

    def __call__(self, job: CorrectionTask | Preparation) -> Made:
        watch = Stopwatch()
        if isinstance(job, Preparation):
            with watch.time("object"):
                size_class = self._corrector.prepare(job.object, job.pose, watch).size_class
            return Made(account={"size_class": size_class, "seconds_by_stage": watch.seconds})
        return account_of(job, partial(self._corrector.correct, job, watch), watch)


def correction_tasks(data: EpisodeDataset, attempts: int, seed: int) -> list[CorrectionTask]:
    """Take-overs spread evenly over the demonstrations of a data set: each once with the first draw, then the next, ...

    In an order of their own that follows from the seed, which is also the first draw.
    """
    scenes = sorted(
        {
            (str(meta["object"]), int(meta["seed"]))
            for meta in map(data.meta, range(len(data)))
            if "correction" not in meta
        }
    )
    if not scenes:
        raise FactoryError(f"{data.folder}: holds no demonstrations; valid: a data set of `make demos`")
    order = np.random.default_rng(seed).permutation(len(scenes))
    chosen = [(scenes[order[k % len(scenes)]], seed + k // len(scenes)) for k in range(attempts)]
    return [CorrectionTask(object_id, scene_seed, draw) for (object_id, scene_seed), draw in chosen]


def scenes_of(data: Path) -> AttemptConfig:
    """What the scenes of a data set were made with, so that they come again; nothing is deviated from on purpose."""
    try:
        settings = settings_of(data)
    except StatesError:  # of another origin
        settings = {}
    known = {name: settings[name] for name in _OF_SCENES if name in settings}
    known["demo"] = {name: settings["demo"][name] for name in _OF_STARTS if name in settings.get("demo", {})}
    return replace(override(AttemptConfig(), known, str(data), FactoryError), noisy_share=0.0)


def build_parser() -> argparse.ArgumentParser:
    """Options of the command."""
    parser = argparse.ArgumentParser(description="The expert takes over where a policy has come; what lifts is kept.")
    parser.add_argument("--checkpoint", type=user_path, required=True)
    parser.add_argument("--data", type=user_path, required=True, help="demonstrations whose scenes are used")
    parser.add_argument("--out", type=user_path, required=True, help="folder of the data set; resumed when it exists")
    parser.add_argument("--episodes", type=int, default=90, help="total attempts, spread over the scenes (default: 90)")
    parser.add_argument(
        "--seed", type=seed_number, default=0, help="of the moments; another one adds others (default: 0)"
    )
    add_workers(parser)
    parser.add_argument(
        "--near-share",
        type=float,
        default=None,
        help=f"of the other attempts: taken over near the grasp (default: {CorrectionConfig.near_share})",
    )
    parser.add_argument(
        "--failed-share",
        type=float,
        default=None,
        help=f"attempts that are taken over when the policy has failed (default: {CorrectionConfig.failed_share})",
    )
    parser.add_argument(
        "--missed-share",
        type=float,
        default=None,
        help="attempts that begin with closed hands over the object, as after a grasp that has missed "
        f"(default: {CorrectionConfig.missed_share})",
    )
    add_config(parser, CorrectionConfig(), "{attempt: {friction: [0.4, 1.0]}}")
    parser.add_argument("--timeout", type=float, default=900.0, help="time limit per job [s] (default: 900)")
    return parser


def make_pool(config: CorrectionConfig, checkpoint: Checkpoint, workers: int | None, timeout_s: float) -> Pool:
    """Workers of this machine, or of the Ray cluster at RAY_ADDRESS."""
    return open_pool(partial(CorrectionWorker, config, checkpoint), workers, timeout_s)


def run(arguments: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    options = build_parser().parse_args(arguments)
    check_counts(options)
    checkpoint = load_checkpoint(options.checkpoint)
    digest = hashlib.sha256((options.checkpoint / WEIGHTS_NAME).read_bytes()).hexdigest()[:16]
    base = CorrectionConfig(attempt=scenes_of(options.data))
    config = replace(configured(options.config, base, "corrections"), policy=digest)
    if config.attempt.noisy_share or config.attempt.expert != "scene":
        raise FactoryError(
            "corrections: attempt.noisy_share must be 0 and attempt.expert scene: who acts is the expert"
        )
    given = {name: getattr(options, name) for name in ("near_share", "failed_share", "missed_share")}
    config = replace(config, **{name: value for name, value in given.items() if value is not None})
    tasks = correction_tasks(EpisodeDataset(options.data), options.episodes, options.seed)
    make_dataset(
        options.out,
        config,
        config.attempt,
        tasks,
        lambda: make_pool(config, checkpoint, options.workers, options.timeout),
    )


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
