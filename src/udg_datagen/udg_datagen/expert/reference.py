"""Where hands are expected to take an object: their home orientation, carried to the object and turned across it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from udg_datagen.hands.model import HandModel
from udg_datagen.synthesis import GraspObject
from udg_datagen.synthesis.near import Near
from udg_datagen.synthesis.strategies import active_contacts, hands_needed
from udg_description.arm_kinematics import hand_pose
from udg_description.layout import HOME_Q, Side, part_indices
from udg_description.robot import current_robot
from udg_description.transforms import make_transform, mirror_T, rotvec_to_matrix

DEPTH_M, DEPTH_BIMANUAL_M = 0.02, 0.005
"""Of the grasp centre below the surface, seen along the palm, of objects that are thicker."""
LOW_M, HIGH_M = 0.03, 0.12
"""Objects up to the one height are taken from above, from the other on with the palm as at home."""
TURN_COST = 0.3
"""[1/rad] of turning a hand about the vertical, against the relative width of the object between thumb and fingers."""
TURN_COST_BIMANUAL = 0.5
"""[1/rad] the same of two hands, which reach round the sides of an object sooner than in front of it and behind it."""
_MAX_TURN_RAD = 0.5 * np.pi
_TURNS = 181
_OTHERWISE_RAD = 0.25 * np.pi  # a second way to turn is at least that far from the first
_LEAST_LEVEL = 0.5  # level part of a unit vector from which its direction on the table counts
_STEP_M, _FAR_M = 0.002, 0.6  # in which the surface, or a wall, is looked for


class Preshape(NamedTuple):
    """How a hand stands at a typical grasp, and its joints."""

    T_reference_hand: np.ndarray  # (4, 4)
    q: np.ndarray  # (n,) [rad]


def reference(
    obj: GraspObject, T_world_object: np.ndarray, hands: Sequence[HandModel], strategy: str, *, second: bool = False
) -> Near:
    """Reference of the hands in the world for a strategy: `reference_poses` with its preshape."""
    shapes = [preshape(strategy, hand.spec.side) for hand in hands]
    poses = reference_poses(obj, T_world_object, hands, strategy, second=second)
    return Near(
        np.stack([T @ shape.T_reference_hand for T, shape in zip(poses, shapes, strict=True)]),
        np.stack([shape.q for shape in shapes]),
    )


@lru_cache(maxsize=16)
def preshape(strategy: str, side: Side) -> Preshape:
    """From `typical` of the right hand's description; without an entry the open hand in the reference pose.

    Raises StrategyError for an unknown strategy.
    """
    hands_needed(strategy)
    robot = current_robot()
    entry = robot.hands["right"].typical.get(strategy)
    if entry is None:
        open_hand = robot.hands[side].preshape
        return Preshape(np.eye(4), np.array([open_hand[name] for name in robot.hand_joints[side]]))
    T = make_transform(rotvec_to_matrix(np.array(entry.rotvec)), np.array(entry.shift_m))
    if side == "left":
        T = mirror_T(T)
    return Preshape(T, np.array(entry.joints_rad, dtype=float))


def reference_poses(
    obj: GraspObject, T_world_object: np.ndarray, hands: Sequence[HandModel], strategy: str, *, second: bool = False
) -> np.ndarray:
    """Poses (H, 4, 4) in the world of one or two hands at the object: a function of the scene alone.

    One hand: oriented as at home, turned palm down the lower the object is, and about the vertical so that thumb and
    fingers close across the object where it is narrow; the grasp centre is on the line through the centre of mass along
    the palm, `DEPTH_M` below the surface, of hollow objects in the wall towards the hand. Two hands: the palms face
    each other across the object where it is narrow, turned the least from home. `second` is the next best way to turn
    about the vertical, 45 degrees or more from the best.
    """
    com = T_world_object[:3, :3] @ obj.com + T_world_object[:3, 3]
    vertices = np.asarray(obj.mesh.convex_hull.vertices) @ T_world_object[:3, :3].T + T_world_object[:3, 3]
    if len(hands) == 2:
        turn = _turn_across(vertices, np.array([0.0, 1.0]), TURN_COST_BIMANUAL, second)
        facing = _about_z(turn) @ np.array([0.0, 1.0, 0.0])
        return np.stack(
            [_facing(obj, T_world_object, com, hand, -facing if hand.spec.side == "left" else facing) for hand in hands]
        )
    (hand,) = hands
    T, palm = _home(hand)
    home = _centre(T, hand)
    leaned = _leaned(palm, float(vertices[:, 2].max()))
    R = _least_turn(palm, leaned) @ T[:3, :3]
    closing = R @ hand.opposition(active_contacts(strategy, hand.spec.contact_names))
    if np.linalg.norm(closing[:2]) > _LEAST_LEVEL:
        turned = _about_z(_turn_across(vertices, closing[:2], TURN_COST, second))
        R, leaned = turned @ R, turned @ leaned
    out_m = _surface_m(obj, T_world_object, com, -leaned)
    centre = _in_solid(obj, T_world_object, com - max(0.0, out_m - DEPTH_M) * leaned, home)
    return _placed(R, centre, hand)[None]


def _facing(
    obj: GraspObject, T_world_object: np.ndarray, com: np.ndarray, hand: HandModel, facing: np.ndarray
) -> np.ndarray:
    """Pose (4, 4) of a hand whose palm looks along `facing` (3,) at the centre of mass from outside."""
    T, palm = _home(hand)
    out_m = _surface_m(obj, T_world_object, com, -facing)
    return _placed(_least_turn(palm, facing) @ T[:3, :3], com - max(0.0, out_m - DEPTH_BIMANUAL_M) * facing, hand)


def _home(hand: HandModel) -> tuple[np.ndarray, np.ndarray]:
    """Pose (4, 4) of the hand at home, and the direction (3,) of its palm there."""
    T = hand_pose(hand.spec.side, HOME_Q[part_indices(f"{hand.spec.side}_arm")]).copy()
    return T, T[:3, :3] @ hand.spec.palm_normal


def _centre(T: np.ndarray, hand: HandModel) -> np.ndarray:
    return T[:3, :3] @ hand.spec.grasp_center + T[:3, 3]


def _placed(R: np.ndarray, centre: np.ndarray, hand: HandModel) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = R
    T[:3, 3] = centre - R @ hand.spec.grasp_center
    return T


def _turn_across(vertices: np.ndarray, direction: np.ndarray, turn_cost: float, second: bool) -> float:
    """Angle [rad] about the vertical from the level `direction` (2,) to one across which the object is narrow.

    The least of width over least width plus `turn_cost` [1/rad] times the turn: along the face of a box, across a rod;
    none for what is round. The `second` is the least of those that are 45 degrees or more away.
    """
    turns = np.linspace(-_MAX_TURN_RAD, _MAX_TURN_RAD, _TURNS)
    angles = np.arctan2(direction[1], direction[0]) + turns
    width = np.ptp(vertices[:, :2] @ np.stack([np.cos(angles), np.sin(angles)]), axis=0)
    cost = np.round(width / width.min() + turn_cost * np.abs(turns), 6)
    best = turns[int(np.argmin(cost))]
    if second:
        best = turns[int(np.argmin(np.where(np.abs(turns - best) >= _OTHERWISE_RAD - 1e-9, cost, np.inf)))]
    return float(best)


def _surface_m(obj: GraspObject, T_world_object: np.ndarray, point: np.ndarray, direction: np.ndarray) -> float:
    """How far [m] from `point` along `direction` (3,) the object reaches at the most; 0 if it is never met."""
    steps = np.arange(0.0, _FAR_M, _STEP_M)
    solid = np.flatnonzero(_depth(obj, T_world_object, point + steps[:, None] * direction) > 0.0)
    return float(steps[solid[-1]] + 0.5 * _STEP_M) if len(solid) else 0.0


def _in_solid(obj: GraspObject, T_world_object: np.ndarray, centre: np.ndarray, home: np.ndarray) -> np.ndarray:
    """The point (3,) itself where it is in the object; else the middle of the first wall on the level way to `home`.

    In the hollow of a mug there is nothing to take, and every point of its rim is as near to the middle: the wall
    towards the hand is meant.
    """
    away = (home - centre)[:2]
    level = np.append(away / max(float(np.linalg.norm(away)), 1e-6), 0.0)
    points = centre + np.arange(0.0, _FAR_M, _STEP_M)[:, None] * level
    depth = _depth(obj, T_world_object, points)
    if depth[0] > 0.0 or not (depth > 0.0).any():
        return centre
    first = int(np.argmax(depth > 0.0))
    end = np.flatnonzero(depth[first:] <= 0.0)
    last = first + (int(end[0]) if len(end) else len(depth) - first)
    return points[first + int(np.argmax(depth[first:last]))]


def _depth(obj: GraspObject, T_world_object: np.ndarray, points: np.ndarray) -> np.ndarray:
    """How deep (N,) [m] points (N, 3) of the world are in the object; negative outside."""
    local = (points - T_world_object[:3, 3]) @ T_world_object[:3, :3]
    inside = ((local >= obj.mesh.bounds[0]) & (local <= obj.mesh.bounds[1])).all(axis=1)
    return np.where(inside, -obj.grid_distance(local), -1.0)


def _leaned(palm: np.ndarray, height_m: float) -> np.ndarray:
    """The direction (3,) of the palm at home, leaned down for low objects."""
    down = float(np.clip((HIGH_M - height_m) / (HIGH_M - LOW_M), 0.0, 1.0))
    leaned = (1.0 - down) * palm + down * np.array([0.0, 0.0, -1.0])
    return leaned / np.linalg.norm(leaned)


def _about_z(angle: float) -> np.ndarray:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0.0], [s, c, 0.0], [0.0, 0.0, 1.0]])


def _least_turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that takes the unit vector a to b; they are not opposite."""
    axis = np.cross(a, b)
    K = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.eye(3) + K + K @ K / (1.0 + a @ b)
