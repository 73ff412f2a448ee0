"""The plan of one demonstration: the four stages of a grasp (paper IV-B)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from itertools import islice

import numpy as np

from udg_datagen.choice import Choice, ChoiceConfig, Reach
from udg_datagen.collision import CollisionScene
from udg_datagen.grasps import GraspSet
from udg_datagen.planner import How, MotionPlanner, MotionProblem, OmplPlanner, dense
from udg_datagen.trajectory import merge_slow_steps, time_path
from udg_datagen.vias import vias
from udg_description.layout import SIDES, Side, part_indices
from udg_description.limits import joint_limits
from udg_policy.episode import Stage
from udg_sim.objects import ObjectModel


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """How a demonstration is planned, executed and judged."""

    step_s: float = 0.1  # one target a step, as on the robot
    arm_speed_rad_s: float = 1.2
    arm_acceleration_rad_s2: float = 4.0
    hand_speed_rad_s: float = 3.0
    hand_acceleration_rad_s2: float = 30.0
    approach_speed_m_s: float = 0.25
    lift_speed_m_s: float = 0.25
    close_s: float = 0.4
    squeeze_s: float = 0.5
    hold_s: float = 0.6  # recorded after the lift
    judged_s: float = 1.2  # at most, after what is recorded
    corner_rad: float = 0.1  # of the path to the pregrasp, on either side of a waypoint
    paths_tried: int = 4  # grasps for which a path is searched before the attempt is given up
    merge_arm_rad: float = 0.008
    merge_hand_rad: float = 0.02
    start_noise_arm_rad: float = 0.05
    start_noise_hand_rad: float = 0.1
    touch_n: float = 0.1  # contact forces below are no touch
    most_early_shift_m: float = 0.003  # of the object before the approach
    most_shift_m: float = 0.04  # of the object before the lift
    most_turn_rad: float = 0.5  # of the object before the lift
    noise_arm_rad: float = 0.0  # stationary deviation of the executed command, label from the expert
    noise_hand_rad: float = 0.0
    noise_correlation: float = 0.7
    noise_near: float = 0.15  # share of the noise on the approach and while the hands close
    noise_holding: float = 0.1  # share of it from the squeeze on: two arms would open their grip

    def __post_init__(self) -> None:
        if not 0.0 <= self.noise_correlation < 1.0:
            raise ValueError(f"noise_correlation is {self.noise_correlation}, valid: 0 <= x < 1")
        positive = ("step_s", "arm_speed_rad_s", "arm_acceleration_rad_s2", "hand_speed_rad_s", "close_s", "squeeze_s",
                    "hand_acceleration_rad_s2", "approach_speed_m_s", "lift_speed_m_s", "corner_rad", "paths_tried")
        for name in positive:
            if getattr(self, name) <= 0:
                raise ValueError(f"{name} is {getattr(self, name)}, valid: > 0")


class Rejected(Exception):
    """An attempt that gives no demonstration; ``reason`` is a short stable name that is counted, ``facts`` more."""

    def __init__(self, reason: str, **facts: object) -> None:
        super().__init__(reason)
        self.reason = reason
        self.facts = facts


UNPLANNED = ("no_grasp", "no_reach", "no_hold", "no_path")
"""Reasons of attempts without a feasible plan: nothing was executed."""


@dataclass(frozen=True)
class Plan:
    """Targets (T, 36) [rad], one a step, and their stages (T,); the grasp that they make."""

    sides: tuple[Side, ...]
    strategy: str
    start: np.ndarray
    targets: np.ndarray
    stages: np.ndarray
    Ts_world_hand: dict[Side, np.ndarray]  # at the grasp
    motion: How  # how the path to the pregrasp was found


class DemoPlanner:
    """Plans the four stages of the first grasp that can be taken on a free path."""

    def __init__(
        self,
        config: DemoConfig,
        scene: CollisionScene,
        choice: ChoiceConfig | None = None,
        motion: MotionPlanner | None = None,
    ) -> None:
        self._config = config
        self._scene = scene
        self._choice = ChoiceConfig() if choice is None else choice
        self._motion = OmplPlanner() if motion is None else motion
        self._limits = joint_limits()
        self._velocity = np.full(36, config.hand_speed_rad_s)
        self._acceleration = np.full(36, config.hand_acceleration_rad_s2)
        for side in SIDES:
            self._velocity[part_indices(f"{side}_arm")] = config.arm_speed_rad_s
            self._acceleration[part_indices(f"{side}_arm")] = config.arm_acceleration_rad_s2
        self._velocity = np.minimum(self._velocity, self._limits.velocity)
        self._acceleration = np.minimum(self._acceleration, self._limits.acceleration)

    def plan(
        self,
        choices: Iterable[Choice],
        target: ObjectModel,
        T_world_object: np.ndarray,
        start: np.ndarray,
        seed: int,
    ) -> Plan | None:
        """A plan from the configuration ``start`` (36,); None if no grasp that was tried is reached on a free path.

        The first of ``choices`` to which there is a path is taken. The same arguments give the same plan.
        """
        self._scene.set_objects((target.mesh, T_world_object))
        for choice in islice(choices, self._config.paths_tried):
            plan = self._stages(choice.reach, choice.grasps, start, (target.mesh, T_world_object), seed)
            if plan is not None:
                return plan
        return None

    def _stages(
        self, reach: Reach, batch: GraspSet, start: np.ndarray, obstacle: tuple, seed: int
    ) -> Plan | None:
        sides, grasp = reach.sides, batch[reach.grasp_index]
        arms = {side: part_indices(f"{side}_arm") for side in sides}
        hands = {hand.side: (part_indices(f"{hand.side}_hand"), hand) for hand in grasp.hands}
        goal = start.copy()
        for side in sides:
            goal[arms[side]] = reach.q_pregrasp_arm[side]
            part, hand = hands[side]
            goal[part] = hand.q_pregrasp
        moving = np.concatenate([np.arange(36)[arms[side]] for side in sides])
        found = self._motion.plan(
            MotionProblem(
                start=start,
                goal=goal,
                moving=moving,
                lower=self._limits.lower,
                upper=self._limits.upper,
                is_free=partial(self._is_free, sides),
                obstacles=(obstacle,),
                vias=vias(start, goal, sides),
            ),
            seed,
        )
        if found is None:
            return None
        path = found.waypoints
        approach = np.repeat(goal[None], len(reach.approach[sides[0]]), axis=0)
        for side in sides:
            approach[:, arms[side]] = reach.approach[side]
        near = self._arrive(path, approach, batch.pregrasp_distance, sides)
        if near is None:
            return None
        closed, squeezed = near[0][-1].copy(), near[0][-1].copy()
        for part, hand in hands.values():
            closed[part], squeezed[part] = hand.q_grasp, hand.q_squeeze
        lift = np.repeat(squeezed[None], len(reach.lift[sides[0]]), axis=0)
        for side in sides:
            lift[:, arms[side]] = reach.lift[side]
        config = self._config
        close = _ramp(near[0][-1], closed, round(config.close_s / config.step_s))
        squeeze = _ramp(closed, squeezed, round(config.squeeze_s / config.step_s))
        up = self._raise(lift)
        targets = np.concatenate([near[0], close, squeeze, up])
        after = np.repeat([Stage.GRASP, Stage.SQUEEZE, Stage.LIFT], [len(close), len(squeeze), len(up)])
        stages = np.concatenate([near[1], after]).astype(np.uint8)
        threshold = np.full(36, config.merge_hand_rad)
        for side in SIDES:
            threshold[part_indices(f"{side}_arm")] = config.merge_arm_rad
        kept = merge_slow_steps(targets, start, threshold)
        if not self._passes(start, targets[kept]):
            return None
        hold = round(config.hold_s / config.step_s)
        return Plan(
            sides=tuple(sides),
            strategy=batch.strategy,
            start=start,
            targets=np.concatenate([targets[kept], np.repeat(targets[-1:], hold, axis=0)]),
            stages=np.concatenate([stages[kept], np.full(hold, Stage.HOLD, dtype=np.uint8)]),
            Ts_world_hand=dict(reach.Ts_world_hand),
            motion=found.how,
        )

    def _is_free(self, sides: tuple[Side, ...], q: np.ndarray) -> np.ndarray:
        """Configurations (B, 36) without collision; as in the choice."""
        config, clearance = self._choice, self._scene.clearance(q, low=sides)
        return (
            (clearance.commands > config.reserve_m)
            & (clearance.hand_table > config.hand_table_margin_m)
            & (clearance.object > config.target_margin_m)
            & (clearance.others > config.others_margin_m)
        )

    def _passes(self, start: np.ndarray, targets: np.ndarray) -> bool:
        """Whether the safety filter lets the targets (T, 36) pass: each, and where the robot could stop after it."""
        q = np.concatenate([start[None], targets])
        velocity = np.clip(np.diff(q, axis=0) / self._config.step_s, -self._limits.velocity, self._limits.velocity)
        stops = targets + 0.5 * velocity * np.abs(velocity) / self._limits.acceleration
        stops = np.clip(stops, self._limits.lower, self._limits.upper)
        return bool((self._scene.clearance(np.concatenate([targets, stops])).commands > 0.0).all())

    def _arrive(
        self, path: np.ndarray, approach: np.ndarray, length_m: float, sides: tuple[Side, ...]
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Steps to the pregrasp and on to the grasp without a stop, and their stages; None if corners touch."""
        config = self._config
        waypoints = np.concatenate([path, approach[1:]])
        velocity = np.tile(self._velocity, (len(waypoints) - 1, 1))
        piece_s = length_m / (len(approach) - 1) / config.approach_speed_m_s
        moves = np.abs(np.diff(approach, axis=0)).max(axis=1, keepdims=True)
        velocity[len(path) - 1 :] = np.minimum(velocity[len(path) - 1 :], np.maximum(moves, 1e-6) / piece_s)
        for corner_rad in (config.corner_rad, 0.2 * config.corner_rad):
            q, at = time_path(waypoints, velocity, self._acceleration, config.step_s, corner_rad)
            far = q[at < len(path) - 1.3]
            if len(far) == 0 or self._is_free(sides, dense(np.concatenate([path[:1], far]), 0.06)[1:]).all():
                return q, np.where(at <= len(path) - 1, Stage.PREGRASP, Stage.GRASP)
        return None

    def _raise(self, waypoints: np.ndarray) -> np.ndarray:
        config = self._config
        moves = np.abs(np.diff(waypoints, axis=0)).max(axis=1, keepdims=True)
        piece_s = self._choice.lift_m / (len(waypoints) - 1) / config.lift_speed_m_s
        velocity = np.minimum(self._velocity, np.maximum(moves, 1e-6) / piece_s)
        return time_path(waypoints, velocity, self._acceleration, config.step_s, config.corner_rad)[0]


def _ramp(start: np.ndarray, goal: np.ndarray, steps: int) -> np.ndarray:
    return start + np.linspace(0.0, 1.0, steps + 1)[1:, None] * (goal - start)


def starts(q_home: np.ndarray, config: DemoConfig, rng: np.random.Generator) -> np.ndarray:
    """A start near home: uniform noise on every joint, inside the limits."""
    noise = np.full(36, config.start_noise_hand_rad)
    for side in SIDES:
        noise[part_indices(f"{side}_arm")] = config.start_noise_arm_rad
    limits = joint_limits()
    return np.clip(q_home + rng.uniform(-1.0, 1.0, size=36) * noise, limits.lower, limits.upper)
