"""One demonstration: choose a grasp, plan the four stages, execute them in the simulator (paper IV-B)."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np

from udg_datagen.collision import CollisionScene
from udg_datagen.grasps import GraspSet
from udg_datagen.planner import PlannerConfig, plan_path
from udg_datagen.trajectory import follow_path, merge_slow_steps
from udg_description.arm_kinematics import nearest_arm_ik
from udg_description.frames import PALM_NORMAL_HAND, T_flange_hand
from udg_description.layout import SIDES, Side, part_indices
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.transforms import inverse, se3_distance
from udg_sim.objects import ObjectModel
from udg_sim.trial import LiftTracker
from udg_sim.world import World


class Stage(IntEnum):
    PREGRASP = 0
    GRASP = 1
    SQUEEZE = 2
    LIFT = 3
    HOLD = 4


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """How a demonstration is planned and judged."""

    step_s: float = 0.1  # one target a step, as on the robot
    approach_m: float = 0.1  # pregrasp this far back, against the palm direction
    lift_m: float = 0.2
    arm_speed_rad_s: float = 1.2
    approach_speed_m_s: float = 0.25
    lift_speed_m_s: float = 0.25
    close_s: float = 0.4
    squeeze_s: float = 0.5
    hold_s: float = 0.6  # recorded after the lift; the judgement takes longer
    rotation_weight_m: float = 0.1  # lambda of eq. 10 [m/rad]
    table_margin_m: float = 0.003
    robot_margin_m: float = 0.01
    object_margin_m: float = 0.005
    candidates: int = 60  # best grasps by energy that are tried, per hand
    merge_arm_rad: float = 0.008
    merge_hand_rad: float = 0.02
    start_noise_arm_rad: float = 0.05
    start_noise_hand_rad: float = 0.1
    most_object_shift_m: float = 0.05  # before the squeeze
    noise_arm_rad: float = 0.0  # stationary deviation of the executed command, label from the expert
    noise_hand_rad: float = 0.0
    noise_correlation: float = 0.7
    planner: PlannerConfig = field(default_factory=PlannerConfig)

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise_correlation < 1.0:
            raise ValueError(f"noise_correlation is {self.noise_correlation}, valid: 0 <= x < 1")
        for name in ("step_s", "approach_m", "lift_m", "arm_speed_rad_s", "close_s", "squeeze_s"):
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, valid: > 0")


class Rejected(Exception):
    """An attempt that gives no demonstration; ``reason`` is a short stable name that is counted."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


@dataclass(frozen=True)
class Plan:
    """Targets (T, 36) [rad], one a step, and their stages (T,)."""

    side: Side
    start: np.ndarray
    targets: np.ndarray
    stages: np.ndarray
    T_world_hand_grasp: np.ndarray


@dataclass(frozen=True)
class Execution:
    """What happened: measured q (T, 36) and object poses (T, 4, 4) before each step, expert targets (T, 36)."""

    q: np.ndarray
    T_world_object: np.ndarray
    targets: np.ndarray
    stages: np.ndarray


@dataclass(frozen=True)
class _Reach:
    side: Side
    grasp: int
    q_pre: np.ndarray  # (6,)
    approach: np.ndarray  # (n, 6)
    lift: np.ndarray  # (n, 6)
    T_world_hand: np.ndarray


class DemoPlanner:
    """Chooses the grasp with the least motion among the feasible ones and plans its stages."""

    def __init__(self, config: DemoConfig, model: RobotModel, scene: CollisionScene) -> None:
        self._config = config
        self._model = model
        self._scene = scene
        self._limits = joint_limits()

    def plan(
        self,
        grasps: dict[Side, GraspSet],
        target: ObjectModel,
        T_world_object: np.ndarray,
        start: np.ndarray,
        seed: int,
    ) -> Plan:
        """A plan from the configuration ``start`` (36,); ``grasps`` by side, in the object's frame.

        Raises Rejected: no_grasp, no_ik, no_path.
        """
        self._scene.set_object(target.mesh, T_world_object)
        ranked = self._rank(grasps, T_world_object, start)
        if not ranked:
            raise Rejected("no_grasp")
        reached = False
        for side, index in ranked:
            reach = self._reach(side, index, grasps[side], T_world_object, start)
            if reach is None:
                continue
            reached = True
            plan = self._stages(reach, grasps[side], start, seed)
            if plan is not None:
                return plan
        raise Rejected("no_path" if reached else "no_ik")

    def _rank(
        self, grasps: dict[Side, GraspSet], T_world_object: np.ndarray, start: np.ndarray
    ) -> list[tuple[Side, int]]:
        poses = self._model.link_poses_np(start)
        scored = []
        for side, batch in grasps.items():
            T_world_hand = poses[f"{side}_hand_link"]
            for index in range(min(len(batch.energy), self._config.candidates)):
                T = T_world_object @ batch.T_object_hand[index, 0]
                distance = se3_distance(T_world_hand, T, self._config.rotation_weight_m)
                scored.append((float(distance), side, index))
        return [(side, index) for _, side, index in sorted(scored)]

    def _reach(
        self, side: Side, index: int, batch: GraspSet, T_world_object: np.ndarray, start: np.ndarray
    ) -> _Reach | None:
        """Arm configurations of pregrasp, approach and lift, free of the table and of the other arm."""
        config = self._config
        T_grasp = T_world_object @ batch.T_object_hand[index, 0]
        back = -T_grasp[:3, :3] @ PALM_NORMAL_HAND[side]
        arm = part_indices(f"{side}_arm")
        q_pre = _arm_for_hand(side, _moved(T_grasp, config.approach_m * back), start[arm])
        if q_pre is None:
            return None
        n = 8
        approach = _arm_line(side, T_grasp, -back * config.approach_m, q_pre, n, from_end=True)
        if approach is None:
            return None
        lift = _arm_line(side, T_grasp, np.array([0.0, 0.0, config.lift_m]), approach[-1], n)
        if lift is None:
            return None
        q = np.repeat(start[None], 2 * n, axis=0)
        q[:, arm] = np.concatenate([approach, lift])
        q[:, part_indices(f"{side}_hand")] = batch.q_grasp[index, 0]
        q[:n, part_indices(f"{side}_hand")] = batch.q_pregrasp[index, 0]
        clearance = self._scene.clearance(q)
        if clearance.table.min() < config.table_margin_m - 0.002 or clearance.robot.min() < config.robot_margin_m:
            return None
        if clearance.object[0] < config.object_margin_m:
            return None
        return _Reach(side, index, q_pre, approach, lift, T_grasp)

    def _stages(self, reach: _Reach, batch: GraspSet, start: np.ndarray, seed: int) -> Plan | None:
        config = self._config
        side, index = reach.side, reach.grasp
        arm, hand = part_indices(f"{side}_arm"), part_indices(f"{side}_hand")
        moving = np.r_[np.arange(36)[arm], np.arange(36)[hand]]
        goal = start.copy()
        goal[arm], goal[hand] = reach.q_pre, batch.q_pregrasp[index, 0]

        def is_free(q_moving: np.ndarray) -> np.ndarray:
            q = np.repeat(start[None], len(q_moving), axis=0)
            q[:, moving] = q_moving
            c = self._scene.clearance(q)
            return (
                (c.table > config.table_margin_m)
                & (c.robot > config.robot_margin_m)
                & (c.object > config.object_margin_m)
            )

        limits = self._limits
        path = plan_path(
            start[moving], goal[moving], limits.lower[moving], limits.upper[moving], is_free, config.planner, seed
        )
        if path is None:
            return None
        q_path = np.repeat(start[None], len(path), axis=0)
        q_path[:, moving] = path
        approach = np.repeat(goal[None], len(reach.approach), axis=0)
        approach[:, arm] = reach.approach
        return self._time(reach, batch, start, q_path, approach)

    def _time(
        self, reach: _Reach, batch: GraspSet, start: np.ndarray, to_pregrasp: np.ndarray, approach: np.ndarray
    ) -> Plan:
        config, dt = self._config, self._config.step_s
        arm, hand = part_indices(f"{reach.side}_arm"), part_indices(f"{reach.side}_hand")
        speed = np.minimum(self._limits.velocity, config.arm_speed_rad_s)
        speed[hand] = 3.0
        pre = follow_path(to_pregrasp, speed, dt)
        near = follow_path(approach, _line_speed(approach, config.approach_m, config.approach_speed_m_s), dt)
        closed = _ramp(approach[-1], hand, batch.q_grasp[reach.grasp, 0], round(config.close_s / dt))
        squeezed = _ramp(closed[-1], hand, batch.q_squeeze[reach.grasp, 0], round(config.squeeze_s / dt))
        up = np.repeat(squeezed[-1][None], len(reach.lift), axis=0)
        up[:, arm] = reach.lift
        lifted = follow_path(up, _line_speed(up, config.lift_m, config.lift_speed_m_s), dt)
        parts = [(Stage.PREGRASP, pre), (Stage.GRASP, near), (Stage.GRASP, closed), (Stage.SQUEEZE, squeezed)]
        parts.append((Stage.LIFT, lifted))
        targets = np.concatenate([steps for _, steps in parts])
        stages = np.concatenate([np.full(len(steps), stage, dtype=np.uint8) for stage, steps in parts])
        threshold = np.full(36, config.merge_hand_rad)
        for side in SIDES:
            threshold[part_indices(f"{side}_arm")] = config.merge_arm_rad
        kept = merge_slow_steps(targets, start, threshold)
        hold = round(config.hold_s / dt)
        return Plan(
            side=reach.side,
            start=start,
            targets=np.concatenate([targets[kept], np.repeat(targets[-1:], hold, axis=0)]),
            stages=np.concatenate([stages[kept], np.full(hold, Stage.HOLD, dtype=np.uint8)]),
            T_world_hand_grasp=reach.T_world_hand,
        )


def execute(plan: Plan, world: World, config: DemoConfig, rng: np.random.Generator) -> Execution:
    """Run a plan in a world that was reset to its start.

    With command noise the robot follows deviating targets while the expert's are recorded.
    Raises Rejected: touched_too_early, moved_too_early, not_lifted, dropped.
    """
    noise = np.zeros(36)
    scale = np.zeros(36)
    scale[part_indices(f"{plan.side}_arm")] = config.noise_arm_rad
    scale[part_indices(f"{plan.side}_hand")] = config.noise_hand_rad
    rule = LiftTracker()
    rule.update(world.time_s, float(world.T_world_object[2, 3]))
    first_position = world.T_world_object[:3, 3].copy()
    measured, objects = [], []
    command = plan.start
    limits = joint_limits()
    for target, stage in zip(plan.targets, plan.stages, strict=True):
        measured.append(world.q.copy())
        objects.append(world.T_world_object.copy())
        fresh = rng.normal(size=36) * np.sqrt(1.0 - config.noise_correlation**2)
        noise = config.noise_correlation * noise + fresh * scale
        noisy = np.clip(target + noise, limits.lower, limits.upper)
        step_towards(world, command, noisy, config.step_s)
        command = noisy
        shift = float(np.linalg.norm(world.T_world_object[:3, 3] - first_position))
        if stage == Stage.PREGRASP and shift > 0.005:
            raise Rejected("touched_too_early")
        if stage <= Stage.GRASP and shift > config.most_object_shift_m:
            raise Rejected("moved_too_early")
        rule.update(world.time_s, float(world.T_world_object[2, 3]))
    for _ in range(round(1.6 / config.step_s)):
        step_towards(world, command, command, config.step_s)
        rule.update(world.time_s, float(world.T_world_object[2, 3]))
        if rule.success:
            break
    if not rule.success:
        raised = float(world.T_world_object[2, 3] - first_position[2])
        raise Rejected("not_lifted" if raised < 0.02 else "dropped")
    return Execution(
        q=np.array(measured), T_world_object=np.array(objects), targets=plan.targets, stages=plan.stages
    )


def step_towards(world: World, previous: np.ndarray, target: np.ndarray, duration_s: float) -> None:
    """Command linearly from ``previous`` to ``target`` at 100 Hz, as the control node does, and step the world."""
    start_s = world.time_s
    n = round(duration_s / 0.01)
    for i in range(1, n + 1):
        world.set_target(previous + (target - previous) * (i / n))
        world.step_until(start_s + i * 0.01)


def _moved(T: np.ndarray, offset_world_m: np.ndarray) -> np.ndarray:
    moved = T.copy()
    moved[:3, 3] += offset_world_m
    return moved


def _arm_for_hand(side: Side, T_world_hand: np.ndarray, seed: np.ndarray) -> np.ndarray | None:
    return nearest_arm_ik(side, T_world_hand @ inverse(T_flange_hand(side)), seed)


def _arm_line(
    side: Side, T: np.ndarray, offset_m: np.ndarray, seed: np.ndarray, n: int, from_end: bool = False
) -> np.ndarray | None:
    """Arm configurations (n, 6) along a straight line of the hand, without a jump between branches.

    The line leads from T by ``offset_m`` or, with ``from_end``, from T - offset_m to T.
    """
    line = []
    for s in np.linspace(0.0, 1.0, n):
        q = _arm_for_hand(side, _moved(T, offset_m * (s - 1.0 if from_end else s)), seed)
        if q is None or np.abs(q - seed).max() > 0.5:
            return None
        line.append(q)
        seed = q
    return np.array(line)


def _ramp(q: np.ndarray, hand: slice, q_hand: np.ndarray, steps: int) -> np.ndarray:
    """Steps (n, 36) that move the hand's joints linearly to ``q_hand`` (12,)."""
    goal = q.copy()
    goal[hand] = q_hand
    return q + (np.arange(1, steps + 1) / steps)[:, None] * (goal - q)


def _line_speed(path: np.ndarray, length_m: float, speed_m_s: float) -> np.ndarray:
    """Joint speeds (36,) with which a joint path of a line of ``length_m`` is run at about ``speed_m_s``."""
    travel = np.abs(np.diff(path, axis=0)).max(axis=1).sum()
    return np.full(path.shape[1], max(travel, 1e-6) / (length_m / speed_m_s))


def starts(q_home: np.ndarray, config: DemoConfig, rng: np.random.Generator) -> np.ndarray:
    """A start near home: uniform noise on every joint, inside the limits."""
    noise = np.full(36, config.start_noise_hand_rad)
    for side in SIDES:
        noise[part_indices(f"{side}_arm")] = config.start_noise_arm_rad
    limits = joint_limits()
    return np.clip(q_home + rng.uniform(-1.0, 1.0, size=36) * noise, limits.lower, limits.upper)


