"""A plan executed in the simulator, as on the robot, and judged."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from udg_control.follower import ChunkFollower, FollowerConfig
from udg_control.margins import MarginKeeper
from udg_control.offline import OfflineFilter
from udg_datagen.demonstrations.demonstration import DemoConfig, Plan, Rejected
from udg_description.layout import N_JOINTS, Side, part_indices
from udg_description.limits import joint_limits
from udg_policy.episodes.episode import Stage
from udg_sim.physics.world import World
from udg_sim.trials.trial import LiftTracker

_SWAY_M = 0.03  # by which a held object may hang lower than before
_SHARES = np.array([1.0, 0.5, 0.25])  # of the noise on a command, the first that is allowed


@dataclass(frozen=True)
class Execution:
    """What happened: measured q (T, 36) and object poses (T, 4, 4) before each step, expert targets (T, 36)."""

    q: np.ndarray
    T_world_object: np.ndarray
    targets: np.ndarray
    stages: np.ndarray


def execute(
    plan: Plan,
    world: World,
    config: DemoConfig,
    rng: np.random.Generator,
    gate: OfflineFilter | None = None,
    drive: CommandDrive | None = None,
) -> Execution:
    """Run a plan in a world that was reset to its start and settled.

    The targets go through the follower of the control node: one chunk of one point a step, commands at 100 Hz within
    the joints' limits. With command noise the robot follows deviating targets while the expert's are recorded.
    ``gate`` is the robot's safety filter, which every command must pass. ``drive`` starts from its last command;
    by default a new one begins at the plan's start.

    Raises:
        Rejected: refused, touched_early, moved_early, pushed_away, tipped, touched_table, touched_other_part,
            touched_itself, hands_touched, not_lifted, dropped, lifted_too_little.
    """
    noise, scale = np.zeros(N_JOINTS), np.zeros(N_JOINTS)
    for side in plan.sides:
        scale[part_indices(f"{side}_arm")] = config.noise_arm_rad
        scale[part_indices(f"{side}_hand")] = config.noise_hand_rad
    drive = CommandDrive(world, plan.start, gate=gate) if drive is None else drive
    judge = Judge(world, plan.sides, config)
    measured, objects = [], []
    for target, stage in zip(plan.targets, plan.stages, strict=True):
        measured.append(world.q)
        objects.append(world.T_world_object)
        fresh = rng.normal(size=N_JOINTS) * np.sqrt(1.0 - config.noise_correlation**2)
        noise = config.noise_correlation * noise + fresh * scale
        share = _noise_share(Stage(stage), config)
        drive.step(_deviating(target, share * noise, gate), judge, Stage(stage))
    for _ in range(round(config.judged_s / config.step_s)):
        drive.step(plan.targets[-1], judge, Stage.HOLD)
        if judge.success:
            break
    judge.conclude()
    return Execution(q=np.array(measured), T_world_object=np.array(objects), targets=plan.targets, stages=plan.stages)


def _deviating(target: np.ndarray, noise: np.ndarray, gate: OfflineFilter | None) -> np.ndarray:
    """The target (36,) with the noise, or with as much of it as the filter's margins allow."""
    if gate is None or not noise.any():
        return target + noise
    free = gate.keep_margins(target + _SHARES[:, None] * noise)
    return target + (_SHARES[int(np.argmax(free))] if free.any() else 0.0) * noise


def _noise_share(stage: Stage, config: DemoConfig) -> float:
    """How much of the command noise there is in a stage."""
    if stage == Stage.PREGRASP:
        return 1.0
    return config.noise_near if stage == Stage.GRASP else config.noise_holding


class CommandDrive:
    """Drives a world by one target a step through the follower of the control node."""

    def __init__(
        self,
        world: World,
        start: np.ndarray,
        config: FollowerConfig | None = None,
        gate: OfflineFilter | None = None,
        keeper: MarginKeeper | None = None,
    ) -> None:
        limits = joint_limits()
        self.follower = ChunkFollower(
            FollowerConfig() if config is None else config,
            lower=limits.lower,
            upper=limits.upper,
            velocity=limits.velocity,
            acceleration=limits.acceleration,
            keeper=keeper,
        )
        self.follower.sync(start)
        self._gate = gate
        if gate is not None:
            gate.start(start)
        self._world, self._start_s, self._now_ns = world, world.time_s, 0

    def step(self, target: np.ndarray, judge: Judge, stage: Stage) -> None:
        """One step towards ``target`` (36,) [rad]. Raises Rejected when the filter or the judge sees a reason."""
        config = self.follower.config
        self.follower.follow(target[None], self._now_ns, self._now_ns)
        end_ns = self._now_ns + config.step_ns
        while self._now_ns < end_ns:
            self._now_ns += config.period_ns
            command = self.follower.advance(self._now_ns)
            if self._gate is not None:
                verdict = self._gate.judge(command)
                if not verdict.accepted:
                    raise Rejected("refused", at=stage.name.lower(), filter=f"{verdict.reason}: {verdict.detail}")
            self._world.set_target(command)
            self._world.step_until(self._start_s + self._now_ns * 1e-9)
            judge.look(stage)

    def play(self, chunk: np.ndarray) -> int:
        """One step of a policy's chunk (K, 36) [rad]; returns how many commands the filter held back."""
        config = self.follower.config
        self.follower.follow(chunk, self._now_ns, self._now_ns)
        end_ns, refused = self._now_ns + config.step_ns, 0
        while self._now_ns < end_ns:
            self._now_ns += config.period_ns
            command = self.follower.advance(self._now_ns)
            if self._gate is not None:
                verdict = self._gate.judge(command, self._world.q)
                if not verdict.accepted:
                    refused += 1
                    last, velocity = self._gate.filter.command, self._gate.filter.command_velocity
                    assert last is not None
                    self.follower.hold_at(last, velocity)
                command = verdict.command
            self._world.set_target(command)
            self._world.step_until(self._start_s + self._now_ns * 1e-9)
        return refused


class Judge:
    """Watches what is touched and moved, and whether the object is lifted and held."""

    def __init__(self, world: World, sides: tuple[Side, ...], config: DemoConfig) -> None:
        self._world, self._sides, self._config = world, sides, config
        self._placed = world.T_world_object
        self._rule = LiftTracker()
        self._rule.update(world.time_s, float(self._placed[2, 3]))
        self._highest_m = 0.0
        self._reasons: dict[tuple[str, str, Stage], str] = {}

    @property
    def success(self) -> bool:
        """Whether the object has been up for long enough."""
        return self._rule.success

    def look(self, stage: Stage) -> None:
        """Look at the world after one control period. Raises Rejected."""
        T_world_object = self._world.T_world_object
        self._rule.update(self._world.time_s, float(T_world_object[2, 3]))
        self._highest_m = max(self._highest_m, float(T_world_object[2, 3] - self._placed[2, 3]))
        reason = self._touched(stage) or self._moved(T_world_object, stage)
        if reason is not None:
            raise Rejected(reason[0], at=stage.name.lower(), **reason[1])

    def conclude(self) -> None:
        """Raise Rejected unless the object was lifted and held to the end."""
        height_m = float(self._world.T_world_object[2, 3] - self._placed[2, 3])
        if self._rule.success and height_m > self._highest_m - _SWAY_M:
            return
        if self._highest_m < 0.02:
            reason = "not_lifted"
        else:
            reason = "dropped" if height_m < self._highest_m - _SWAY_M else "lifted_too_little"
        raise Rejected(reason, highest_m=round(self._highest_m, 3), height_m=round(height_m, 3))

    def _touched(self, stage: Stage) -> tuple[str, dict[str, object]] | None:
        """Why a contact of this moment is not as it should be, and what it is."""
        for contact in self._world.contacts(self._config.touch_n, lambda a, b: bool(self._against_touch(a, b, stage))):
            pair = {contact.a, contact.b}
            if "table" in pair and self._of_acting_hands(pair - {"table"}) and contact.force_n < self._config.table_n:
                continue
            facts: dict[str, object] = {"contact": [contact.a, contact.b], "force_n": round(contact.force_n, 2)}
            return self._against_touch(contact.a, contact.b, stage), facts
        return None

    def _against_touch(self, a: str, b: str, stage: Stage) -> str:
        """The reason why two bodies should not touch in a stage; empty if they may."""
        key = (a, b, stage)
        if key not in self._reasons:
            self._reasons[key] = self._reason({a, b}, stage)
        return self._reasons[key]

    def _reason(self, pair: set[str], stage: Stage) -> str:
        robot = sorted(pair - {"object", "table"})
        if not robot:
            return ""
        hands = self._of_acting_hands(robot)
        if "table" in pair:
            return "touched_table"
        if "object" not in pair:
            return "hands_touched" if hands else "touched_itself"
        if not hands:
            return "touched_other_part"
        return "touched_early" if stage == Stage.PREGRASP else ""

    def _of_acting_hands(self, names: Iterable[str]) -> bool:
        return all(name.startswith(tuple(f"{side}_hand" for side in self._sides)) for name in names)

    def _moved(self, T_world_object: np.ndarray, stage: Stage) -> tuple[str, dict[str, object]] | None:
        """Why the object is not where it should be, and how far it went."""
        if stage > Stage.SQUEEZE:
            return None
        config = self._config
        shift_m = float(np.linalg.norm(T_world_object[:3, 3] - self._placed[:3, 3]))
        turn_rad = _turn_rad(self._placed[:3, :3], T_world_object[:3, :3])
        facts: dict[str, object] = {"shift_m": round(shift_m, 4), "turn_rad": round(turn_rad, 3)}
        if stage == Stage.PREGRASP and shift_m > config.most_early_shift_m:
            return "moved_early", facts
        if shift_m > config.most_shift_m:
            return "pushed_away", facts
        return ("tipped", facts) if turn_rad > config.most_turn_rad else None


def _turn_rad(rotation_a: np.ndarray, rotation_b: np.ndarray) -> float:
    """Angle [rad] between rotations (3, 3), by the chord: it is asked for at every control period."""
    return 2.0 * math.asin(min(1.0, float(np.linalg.norm(rotation_a - rotation_b)) / math.sqrt(8.0)))
