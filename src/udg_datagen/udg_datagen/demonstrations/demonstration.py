"""The plan of one demonstration: the four stages of a grasp (paper IV-B)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import NamedTuple

import numpy as np

from udg_datagen.expert.choice import Choice, ChoiceConfig, Reach
from udg_datagen.grasp_set import GraspSet
from udg_datagen.planning.collision import CollisionScene
from udg_datagen.planning.planner import How, MotionPlanner, MotionProblem, dense
from udg_datagen.planning.planners import PLANNERS
from udg_datagen.planning.trajectory import merge_slow_steps, time_path
from udg_datagen.planning.vias import shifted, vias
from udg_description.arm_kinematics import hand_pose
from udg_description.clock import STEP_S
from udg_description.errors import UdgError
from udg_description.layout import ARM_PLACES, HOME_Q, N_JOINTS, SIDES, Side, part_indices
from udg_description.limits import joint_limits
from udg_policy.episodes.episode import Stage
from udg_sim.objects.library import ObjectModel

_RUN_UP_RAD = 0.2  # in which an arm has come to its speed
_SAME_BRANCH_RAD = 1.2  # between an arm and the approach, for it to go there straight
_TURN_M = 0.1  # a radian of the hand counts as this many metres, as in eq. 10
_BACK_OFF_M = 0.08  # straight up, where nothing else is free
_LEFT_HOME_RAD = 0.12  # of an arm joint: more than the noise of the start
_JOINED_M = 0.004  # from a configuration of the approach: it is there
_AT_GRASP_M = 0.015  # hands nearer than this are at the grasp
_CLOSING_SHARE = 0.3  # of the way from pregrasp to grasp, from which on fingers count as closing


@dataclass(frozen=True, kw_only=True)
class DemoConfig:
    """How a demonstration is planned, executed and judged."""

    step_s: float = STEP_S  # one target a step, as on the robot
    planner: str = "ompl"  # of motions: one of planners.PLANNERS
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
    table_n: float = 15.0  # with which the acting hands may touch the table: their fingers give way
    most_early_shift_m: float = 0.003  # of the object before the approach
    most_shift_m: float = 0.04  # of the object before the lift
    most_turn_rad: float = 0.5  # of the object before the lift
    noise_arm_rad: float = 0.0  # stationary deviation of the executed command, label from the expert
    noise_hand_rad: float = 0.0
    noise_correlation: float = 0.7
    noise_near: float = 0.15  # share of the noise on the approach and while the hands close
    noise_holding: float = 0.1  # share of it from the squeeze on: two arms would open their grip

    def __post_init__(self) -> None:
        if self.planner not in PLANNERS:
            raise UdgError(f"planner is {self.planner!r}, valid: {', '.join(PLANNERS)}")
        if not 0.0 <= self.noise_correlation < 1.0:
            raise UdgError(f"noise_correlation is {self.noise_correlation}, valid: 0 <= x < 1")
        if self.step_s != STEP_S:
            raise UdgError(f"step_s is {self.step_s}, valid: {STEP_S}, the step of episodes and commands")
        if min(self.hold_s, self.judged_s) < 0.0:
            raise UdgError(f"hold_s {self.hold_s} and judged_s {self.judged_s} must be at least 0")
        positive = (
            "arm_speed_rad_s",
            "arm_acceleration_rad_s2",
            "hand_speed_rad_s",
            "close_s",
            "squeeze_s",
            "hand_acceleration_rad_s2",
            "approach_speed_m_s",
            "lift_speed_m_s",
            "corner_rad",
            "paths_tried",
        )
        for name in positive:
            if getattr(self, name) <= 0:
                raise UdgError(f"{name} is {getattr(self, name)}, valid: > 0")


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
        self._motion = PLANNERS[config.planner]() if motion is None else motion
        self._limits = joint_limits()
        self._velocity = np.full(N_JOINTS, config.hand_speed_rad_s)
        self._acceleration = np.full(N_JOINTS, config.hand_acceleration_rad_s2)
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

    def plan_on(
        self, choice: Choice, target: ObjectModel, T_world_object: np.ndarray, q: np.ndarray, seed: int
    ) -> Plan | None:
        """A plan from wherever a robot that moves has come to (36,): what the expert would do there, without a stop.

        Beside the approach, no farther from it than it has to go along it: straight to its nearest place, and on. At
        the grasp the hands close from where they are. Farther away: as `plan`, straight up first if that is not free.
        An arm that does not act goes home if it has left. None where the way is not free.
        """
        reach, grasp = choice.reach, choice.grasps[choice.reach.grasp_index]
        self._scene.set_objects((target.mesh, T_world_object))
        entry = _entry(choice, q)
        if entry is None:
            obstacle = (target.mesh, T_world_object)
            plan = self._stages(reach, choice.grasps, q, obstacle, seed, moving=True)
            if plan is not None:
                return plan
            up = shifted(q, {side: np.array([0.0, 0.0, _BACK_OFF_M]) for side in _displaced(q, reach.sides)})
            return None if up is None else self._stages(reach, choice.grasps, q, obstacle, seed, moving=True, first=up)
        approach = np.repeat(_idle_home(q, reach.sides)[None], len(reach.approach[reach.sides[0]]), axis=0)
        for hand in grasp.hands:
            approach[:, part_indices(f"{hand.side}_arm")] = reach.approach[hand.side]
            if not entry.closing:
                approach[:, part_indices(f"{hand.side}_hand")] = hand.q_pregrasp
        config = self._config
        waypoints = np.concatenate([q[None], approach[entry.first :]])
        lengths_m = np.full(len(waypoints) - 1, choice.grasps.pregrasp_distance / (len(approach) - 1))
        lengths_m[0] = entry.distance_m
        moves = np.abs(np.diff(waypoints, axis=0)).max(axis=1)
        piece_s = np.maximum(lengths_m / config.approach_speed_m_s, 1e-3)
        velocity = np.minimum(self._velocity, np.maximum(moves / piece_s, 1e-3)[:, None])
        near = self._timed(waypoints, velocity, 0.2 * config.corner_rad, moving=True)[0]
        if len(near) == 0:
            near = approach[-1:]
        return self._whole(reach, choice.grasps, q, near, np.full(len(near), Stage.GRASP), "straight")

    def _stages(
        self,
        reach: Reach,
        batch: GraspSet,
        start: np.ndarray,
        obstacle: tuple,
        seed: int,
        moving: bool = False,
        first: np.ndarray | None = None,
    ) -> Plan | None:
        """From the start, by `first` if it is given, with a robot that moves already or is at rest."""
        sides, grasp = reach.sides, batch[reach.grasp_index]
        arms = {side: part_indices(f"{side}_arm") for side in sides}
        goal = _idle_home(start, sides) if moving else start.copy()
        for hand in grasp.hands:
            goal[arms[hand.side]] = reach.q_pregrasp_arm[hand.side]
            goal[part_indices(f"{hand.side}_hand")] = hand.q_pregrasp
        begin = start if first is None else first
        moved = ARM_PLACES[(goal != start)[ARM_PLACES]]
        found = self._motion.plan(
            MotionProblem(
                start=begin,
                goal=goal,
                moving=moved,
                lower=self._limits.lower,
                upper=self._limits.upper,
                is_free=partial(self._is_free, sides),
                obstacles=(obstacle,),
                vias=vias(begin, goal, sides),
            ),
            seed,
        )
        if found is None:
            return None
        path = found.waypoints if first is None else np.concatenate([start[None], found.waypoints])
        approach = np.repeat(goal[None], len(reach.approach[sides[0]]), axis=0)
        for side in sides:
            approach[:, arms[side]] = reach.approach[side]
        near = self._arrive(path, approach, batch.pregrasp_distance, sides, moving)
        if near is None:
            return None
        return self._whole(reach, batch, start, *near, found.how)

    def _whole(
        self, reach: Reach, batch: GraspSet, start: np.ndarray, near: np.ndarray, stages: np.ndarray, motion: How
    ) -> Plan | None:
        """The plan that continues from the targets to the grasp and their stages; None if the safety filter objects."""
        sides = reach.sides
        hands = {hand.side: (part_indices(f"{hand.side}_hand"), hand) for hand in batch[reach.grasp_index].hands}
        closed, squeezed = near[-1].copy(), near[-1].copy()
        for part, hand in hands.values():
            closed[part], squeezed[part] = hand.q_grasp, hand.q_squeeze
        lift = np.repeat(squeezed[None], len(reach.lift[sides[0]]), axis=0)
        for side in sides:
            lift[:, part_indices(f"{side}_arm")] = reach.lift[side]
        config = self._config
        close = _ramp(near[-1], closed, round(config.close_s / config.step_s))
        squeeze = _ramp(closed, squeezed, round(config.squeeze_s / config.step_s))
        up = self._raise(lift)
        targets = np.concatenate([near, close, squeeze, up])
        after = np.repeat([Stage.GRASP, Stage.SQUEEZE, Stage.LIFT], [len(close), len(squeeze), len(up)])
        stages = np.concatenate([stages, after]).astype(np.uint8)
        threshold = np.full(N_JOINTS, config.merge_hand_rad)
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
            motion=motion,
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
        self, path: np.ndarray, approach: np.ndarray, length_m: float, sides: tuple[Side, ...], moving: bool
    ) -> tuple[np.ndarray, np.ndarray] | None:
        """Steps to the pregrasp and on to the grasp without a stop, and their stages; None if corners touch."""
        config = self._config
        waypoints = np.concatenate([path, approach[1:]])
        velocity = np.tile(self._velocity, (len(waypoints) - 1, 1))
        piece_s = length_m / (len(approach) - 1) / config.approach_speed_m_s
        moves = np.abs(np.diff(approach, axis=0)).max(axis=1, keepdims=True)
        velocity[len(path) - 1 :] = np.minimum(velocity[len(path) - 1 :], np.maximum(moves, 1e-6) / piece_s)
        for corner_rad in (config.corner_rad, 0.2 * config.corner_rad):
            q, at = self._timed(waypoints, velocity, corner_rad, moving)
            far = q[at < len(path) - 1.3]
            if len(far) == 0 or self._is_free(sides, dense(np.concatenate([path[:1], far]), 0.06)[1:]).all():
                return q, np.where(at <= len(path) - 1, Stage.PREGRASP, Stage.GRASP)
        return None

    def _timed(
        self, waypoints: np.ndarray, velocity: np.ndarray, corner_rad: float, moving: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """`time_path` from rest, or at the speed that a robot that was moving would have at the first waypoint."""
        reach = np.abs(waypoints[1] - waypoints[0]).max()
        if not moving or reach < 1e-6:
            return time_path(waypoints, velocity, self._acceleration, self._config.step_s, corner_rad)
        before = waypoints[0] - _RUN_UP_RAD / reach * (waypoints[1] - waypoints[0])
        q, at = time_path(
            np.concatenate([before[None], waypoints]),
            np.concatenate([velocity[:1], velocity]),
            self._acceleration,
            self._config.step_s,
            corner_rad,
        )
        # Steps that begin at the first waypoint, whenever that is passed.
        q, at, number = np.concatenate([before[None], q]), np.concatenate([[0.0], at]), np.arange(len(q) + 1.0)
        when = np.append(np.arange(np.interp(1.0, at, number) + 1.0, len(q) - 1.0), len(q) - 1.0)
        return np.stack([np.interp(when, number, joint) for joint in q.T], axis=1), np.interp(when, number, at) - 1.0

    def _raise(self, waypoints: np.ndarray) -> np.ndarray:
        config = self._config
        moves = np.abs(np.diff(waypoints, axis=0)).max(axis=1, keepdims=True)
        piece_s = self._choice.lift_m / (len(waypoints) - 1) / config.lift_speed_m_s
        velocity = np.minimum(self._velocity, np.maximum(moves, 1e-6) / piece_s)
        return time_path(waypoints, velocity, self._acceleration, config.step_s, config.corner_rad)[0]


def _displaced(q: np.ndarray, acting: Sequence[Side]) -> tuple[Side, ...]:
    """The acting sides, and others whose arm has left home."""
    arms = {side: part_indices(f"{side}_arm") for side in SIDES}
    return tuple(s for s in SIDES if s in acting or np.abs(q[arms[s]] - HOME_Q[arms[s]]).max() > _LEFT_HOME_RAD)


def _idle_home(q: np.ndarray, acting: Sequence[Side]) -> np.ndarray:
    """q (36,) with arms and hands at home that do not act and have left."""
    out = q.copy()
    for side in set(_displaced(q, acting)) - set(acting):
        for part in (part_indices(f"{side}_arm"), part_indices(f"{side}_hand")):
            out[part] = HOME_Q[part]
    return out


class _Entry(NamedTuple):
    """Where a robot joins the approach."""

    first: int  # of the configurations of the approach
    distance_m: float  # to there; turns count as eq. 10 does
    closing: bool  # the hands are at the grasp and have begun to close


def _entry(choice: Choice, q: np.ndarray) -> _Entry | None:
    """Where a robot at q (36,) joins the approach of a grasp, all its hands together; None if it is too far away."""
    reach, length_m = choice.reach, choice.grasps.pregrasp_distance
    n = len(reach.approach[reach.sides[0]])
    least_m, closed = 0.0, True
    for hand in choice.grasps[reach.grasp_index].hands:
        arm, fingers = part_indices(f"{hand.side}_arm"), q[part_indices(f"{hand.side}_hand")]
        if np.abs(reach.approach[hand.side] - q[arm]).max() > _SAME_BRANCH_RAD:
            return None
        T_grasp, T = reach.Ts_world_hand[hand.side], hand_pose(hand.side, q[arm])
        back = hand_pose(hand.side, reach.approach[hand.side][0])[:3, 3] - T_grasp[:3, 3]
        off = T[:3, 3] - T_grasp[:3, 3]
        along_m = float(off @ back) / length_m
        aside_m = float(np.linalg.norm(off - along_m * back / length_m))
        least_m = max(least_m, along_m, aside_m + _TURN_M * _angle(T[:3, :3].T @ T_grasp[:3, :3]))
        way = hand.q_grasp - hand.q_pregrasp
        closed &= bool((fingers - hand.q_pregrasp) @ way > _CLOSING_SHARE * way @ way)
    if least_m > length_m:
        return None
    first = max(0, math.ceil((1.0 - least_m / length_m) * (n - 1) - 1e-6))  # ahead, not back
    if first < n - 1 and _distance_m(reach, first, q) < _JOINED_M:
        first += 1
    return _Entry(first, _distance_m(reach, first, q), closed and least_m < _AT_GRASP_M)


def _distance_m(reach: Reach, index: int, q: np.ndarray) -> float:
    """From q (36,) to a configuration of the approach, of the hand that is farthest."""
    return max(
        float(
            np.linalg.norm(
                hand_pose(side, reach.approach[side][index])[:3, 3]
                - hand_pose(side, q[part_indices(f"{side}_arm")])[:3, 3]
            )
        )
        for side in reach.sides
    )


def _angle(rotation: np.ndarray) -> float:
    return float(np.arccos(np.clip(0.5 * (np.trace(rotation) - 1.0), -1.0, 1.0)))


def _ramp(start: np.ndarray, goal: np.ndarray, steps: int) -> np.ndarray:
    return start + np.linspace(0.0, 1.0, steps + 1)[1:, None] * (goal - start)


def starts(q_home: np.ndarray, config: DemoConfig, rng: np.random.Generator) -> np.ndarray:
    """A start near home: uniform noise on every joint, inside the limits."""
    noise = np.full(N_JOINTS, config.start_noise_hand_rad)
    for side in SIDES:
        noise[part_indices(f"{side}_arm")] = config.start_noise_arm_rad
    limits = joint_limits()
    return np.clip(q_home + rng.uniform(-1.0, 1.0, size=N_JOINTS) * noise, limits.lower, limits.upper)
