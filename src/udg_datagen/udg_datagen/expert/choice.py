"""Which grasps the arms can reach without collision, nearest to the hands first (paper IV-A).

Grasps are ranked by the SE(3) distance of eq. 10 and 11 from the present hand poses, or as told, and tested one by one
on demand. A grasp is reachable when an arm, or both together, can go straight from pregrasp
to grasp and straight up from there in one branch of its inverse kinematics, free of table, arms and objects.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from udg_datagen.grasp_set import GraspSet, HandGrasp
from udg_datagen.planning.collision import CollisionScene
from udg_description.arm_kinematics import hand_ik, hand_pose
from udg_description.errors import UdgError
from udg_description.layout import SIDES, Side, part_indices
from udg_description.limits import joint_limits
from udg_description.transforms import se3_distance

REASONS = ("ik", "line", "table", "robot", "workspace", "target", "others", "arms")
"""Why a grasp is discarded: no inverse kinematics, no straight line in one branch, collision of an arm with the table,
with itself or the resting arm, with the edge of the workspace, with the target, with other objects; collision of both
arms with each other."""


class ChoiceError(UdgError):
    """A setting that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class ChoiceConfig:
    """What is asked of a grasp in its scene."""

    rotation_weight_m: float = 0.1  # lambda of eq. 10 [m/rad]
    lift_m: float = 0.2
    line_points: int = 8  # configurations on the approach and on the lift
    closing_points: int = 4  # configurations while the hand closes, between pregrasp and grasp
    max_line_step_rad: float = 0.5  # largest joint motion between two of them
    reserve_m: float = 0.004  # beyond the margins of the robot's safety filter
    # Of the grasping hands: their spheres stand out by up to 4 mm, and synthesis has kept their surface off the table.
    hand_table_margin_m: float = -0.004
    raise_m: float = 0.0  # how much higher than they were made grasps are taken
    target_margin_m: float = 0.005  # of all before the approach, and of all but the hand afterwards
    others_margin_m: float = 0.01
    max_pairs: int = 12  # pairs of branches tried for both arms

    def __post_init__(self) -> None:
        if self.line_points < 2 or self.max_pairs < 1:
            raise ChoiceError(f"line_points {self.line_points} must be >= 2 and max_pairs {self.max_pairs} >= 1")
        for name in ("lift_m", "max_line_step_rad", "rotation_weight_m"):
            if not getattr(self, name) > 0.0:
                raise ChoiceError(f"{name} is {getattr(self, name)}, valid: > 0")


@dataclass(frozen=True, kw_only=True, eq=False)
class Reach:
    """A grasp within reach: what each acting arm does. By side: joints [rad], n = `ChoiceConfig.line_points`."""

    set_index: int  # into the grasp sets
    grasp_index: int  # into that set
    sides: tuple[Side, ...]
    distance: float  # [m] eq. 10, summed over the hands
    q_pregrasp_arm: dict[Side, np.ndarray]  # (6,)
    approach: dict[Side, np.ndarray]  # (n, 6) from pregrasp to grasp
    lift: dict[Side, np.ndarray]  # (n, 6) from grasp upwards
    Ts_world_hand: dict[Side, np.ndarray]  # (4, 4) at the grasp


class Choice(NamedTuple):
    """A grasp to take: `reach.grasp_index` of `grasps`."""

    grasps: GraspSet
    reach: Reach


class _Branch(NamedTuple):
    approach: np.ndarray  # (n, 6)
    lift: np.ndarray  # (n, 6)
    motion: float  # [rad] largest joint motion from the start to the pregrasp


def reachable(
    grasp_sets: Sequence[GraspSet],
    T_world_object: np.ndarray,
    q_start: np.ndarray,
    scene: CollisionScene,
    config: ChoiceConfig | None = None,
    *,
    order: Sequence[tuple[float, int, int]] | None = None,
    discarded: Counter[str] | None = None,
) -> Iterator[Reach]:
    """Reachable grasps, nearest first; of the collision-free branches of an arm the one with the least motion.

    Args:
        grasp_sets: grasps of the object that stands at T_world_object (4, 4).
        q_start: configuration (36,) [rad] that the robot is in; arms that do not act stay there.
        scene: with the target (`set_objects`) at T_world_object.
        order: (cost [m], set, grasp) of the grasps to test, in that order, instead of eq. 10 from `q_start`.
        discarded: counts why grasps were rejected, by `REASONS`: the last test that any of its branches reached.
    """
    config = ChoiceConfig() if config is None else config
    for distance, set_index, grasp_index in order or _ranked(grasp_sets, T_world_object, q_start, config):
        hands = grasp_sets[set_index][grasp_index].hands
        found = _reach(hands, T_world_object, np.asarray(q_start, dtype=float), scene, config)
        if isinstance(found, str):
            if discarded is not None:
                discarded[found] += 1
            continue
        sides = tuple(hand.side for hand in hands)
        yield Reach(
            set_index=set_index,
            grasp_index=grasp_index,
            sides=sides,
            distance=distance,
            q_pregrasp_arm={side: branch.approach[0] for side, branch in zip(sides, found, strict=True)},
            approach={side: branch.approach for side, branch in zip(sides, found, strict=True)},
            lift={side: branch.lift for side, branch in zip(sides, found, strict=True)},
            Ts_world_hand={hand.side: _raised(T_world_object @ hand.T_object_hand, config) for hand in hands},
        )


def _ranked(
    grasp_sets: Sequence[GraspSet], T_world_object: np.ndarray, q_start: np.ndarray, config: ChoiceConfig
) -> list[tuple[float, int, int]]:
    """(distance, set, grasp) of all grasps, nearest first."""
    ranked = []
    for set_index, grasps in enumerate(grasp_sets):
        Ts_now = np.stack([hand_pose(side, q_start[part_indices(f"{side}_arm")]) for side in grasps.sides])
        distance = se3_distance(Ts_now, T_world_object @ grasps.T_object_hand, config.rotation_weight_m).sum(axis=-1)
        ranked += [(float(d), set_index, k) for k, d in enumerate(distance)]
    return sorted(ranked)


def _reach(
    hands: Sequence[HandGrasp],
    T_world_object: np.ndarray,
    q_start: np.ndarray,
    scene: CollisionScene,
    config: ChoiceConfig,
) -> tuple[_Branch, ...] | str:
    """A collision-free branch for each hand, or the reason why there is none."""
    alone = len(hands) == 1
    free: list[list[_Branch]] = []
    for hand in hands:
        branches = _branches(hand, T_world_object, q_start, config)
        if isinstance(branches, str):
            return branches
        furthest = -1
        passed = []
        for branch in branches:
            reason = _collision((hand,), (branch,), q_start, scene, config, SIDES if alone else (hand.side,))
            if reason is None:
                passed.append(branch)
                if alone:
                    break
            else:
                furthest = max(furthest, REASONS.index(reason))
        if not passed:
            return REASONS[furthest]
        free.append(passed)
    if alone:
        return (free[0][0],)
    pairs = sorted(itertools.product(*free), key=lambda pair: max(branch.motion for branch in pair))
    for pair in pairs[: config.max_pairs]:
        if _collision(hands, pair, q_start, scene, config, SIDES) is None:
            return pair
    return "arms"


def _collision(
    hands: Sequence[HandGrasp],
    branches: Sequence[_Branch],
    q_start: np.ndarray,
    scene: CollisionScene,
    config: ChoiceConfig,
    sides: Sequence[Side],
) -> str | None:
    """The first collision of the acting arms from pregrasp to lift, with only the arms of `sides` there."""
    n, closing = config.line_points, config.closing_points
    q = np.repeat(q_start[None], 2 * n + closing, axis=0)
    share = np.linspace(0.0, 1.0, closing + 2)[1:-1, None]
    for hand, branch in zip(hands, branches, strict=True):
        q[:n, part_indices(f"{hand.side}_arm")] = branch.approach
        q[n : 2 * n, part_indices(f"{hand.side}_arm")] = branch.lift
        q[2 * n :, part_indices(f"{hand.side}_arm")] = branch.lift[0]
        q[:n, part_indices(f"{hand.side}_hand")] = hand.q_pregrasp
        q[n : 2 * n, part_indices(f"{hand.side}_hand")] = hand.q_grasp
        q[2 * n :, part_indices(f"{hand.side}_hand")] = (1.0 - share) * hand.q_pregrasp + share * hand.q_grasp
    grasping = tuple(hand.side for hand in hands)
    shift = np.zeros((len(q), 3))
    shift[n : 2 * n, 2] = np.linspace(0.0, config.lift_m, n)
    first = scene.clearance(q[:1], sides=sides, low=grasping)
    along = scene.clearance(q[1:], sides=sides, low=grasping, grasping=grasping, target_shift=shift[1:])
    for name, field, margin in (
        ("table", "table", config.reserve_m),
        ("table", "hand_table", config.hand_table_margin_m),
        ("robot", "robot", config.reserve_m),
        ("workspace", "workspace", config.reserve_m),
        ("target", "object", config.target_margin_m),
        ("others", "others", config.others_margin_m),
    ):
        if min(getattr(first, field).min(), getattr(along, field).min()) < margin:
            return name
    return None


def _raised(T_world_hand: np.ndarray, config: ChoiceConfig) -> np.ndarray:
    T = T_world_hand.copy()
    T[2, 3] += config.raise_m
    return T


def _branches(
    hand: HandGrasp, T_world_object: np.ndarray, q_start: np.ndarray, config: ChoiceConfig
) -> list[_Branch] | str:
    """Branches in which the arm can follow approach and lift, least motion first, or the reason why there is none."""
    arm = part_indices(f"{hand.side}_arm")
    T_grasp = _raised(T_world_object @ hand.T_object_hand, config)
    back = (T_world_object @ (hand.T_object_pregrasp - hand.T_object_hand))[:3, 3]
    along = np.linspace(0.0, 1.0, config.line_points)
    offsets = np.concatenate([(1.0 - along)[:, None] * back, along[1:, None] * [0.0, 0.0, config.lift_m]])
    solutions = []
    for offset in offsets:
        T = T_grasp.copy()
        T[:3, 3] += offset
        solutions.append(hand_ik(hand.side, T))
        if len(solutions[-1]) == 0:
            return "ik"
    lines = [
        line
        for q in _near(solutions[0], q_start[arm], hand.side)
        if (line := _follow(q, solutions, hand.side, config.max_line_step_rad)) is not None
    ]
    if not lines:
        return "line"
    n = config.line_points
    branches = [_Branch(line[:n], line[n - 1 :], float(np.abs(line[0] - q_start[arm]).max())) for line in lines]
    return sorted(branches, key=lambda branch: branch.motion)


def _near(solutions: np.ndarray, q: np.ndarray, side: Side) -> np.ndarray:
    """Solutions (K, 6) with each angle modulo 2 pi as near to `q` (6,) as the limits allow."""
    lower, upper = _limits(side)
    turns = np.round((solutions - q) / (2.0 * np.pi))
    near = solutions - 2.0 * np.pi * turns
    near = np.where(near > upper, near - 2.0 * np.pi, near)
    near = np.where(near < lower, near + 2.0 * np.pi, near)
    return near[((near >= lower) & (near <= upper)).all(axis=1)]


def _follow(q: np.ndarray, solutions: Sequence[np.ndarray], side: Side, max_step: float) -> np.ndarray | None:
    """The line (m, 6) that begins with `q` and continues with the nearest solutions; None where it would jump."""
    lower, upper = _limits(side)
    line = [q]
    for candidates in solutions[1:]:
        step = (candidates - line[-1] + np.pi) % (2.0 * np.pi) - np.pi
        best = step[int(np.argmin(np.abs(step).max(axis=1)))]
        following = line[-1] + best
        if np.abs(best).max() > max_step or (following < lower).any() or (following > upper).any():
            return None
        line.append(following)
    return np.stack(line)


def _limits(side: Side) -> tuple[np.ndarray, np.ndarray]:
    limits = joint_limits()
    arm = part_indices(f"{side}_arm")
    return limits.lower[arm] - 1e-9, limits.upper[arm] + 1e-9
