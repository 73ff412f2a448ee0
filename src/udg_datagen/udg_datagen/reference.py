"""Where a hand is expected to take an object: its home orientation, carried to the object without turning."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from udg_datagen.synthesis import GraspObject
from udg_description.arm_kinematics import hand_pose
from udg_description.frames import GRASP_CENTER_HAND, PALM_NORMAL_HAND
from udg_description.layout import HOME_Q, Side, part_indices

DEPTH_M = 0.02  # of the grasp centre below the surface, seen along the palm, of objects that are thicker
_STEP_M, _FAR_M = 0.002, 0.3  # in which a wall is looked for
LOW_M, HIGH_M = 0.03, 0.12  # objects up to the one height are taken from above, from the other on as at home


def reference_poses(obj: GraspObject, T_world_object: np.ndarray, sides: Sequence[Side]) -> np.ndarray:
    """Poses (H, 4, 4) in the world of the hands at the object: a function of the scene alone.

    One hand: oriented as at home, turned palm down the lower the object is, its grasp centre on the line through the
    centre of mass along the palm, `DEPTH_M` below the surface; of hollow objects in the wall towards the hand.
    Two hands: turned the least from home so that the palms face each other along y.
    """
    com = T_world_object[:3, :3] @ obj.com + T_world_object[:3, 3]
    height_m = float((np.asarray(obj.mesh.convex_hull.vertices) @ T_world_object[2, :3]).max() + T_world_object[2, 3])
    poses = []
    for side in sides:
        T = hand_pose(side, HOME_Q[part_indices(f"{side}_arm")]).copy()
        home = T[:3, :3] @ GRASP_CENTER_HAND[side] + T[:3, 3]
        home_palm = palm = T[:3, :3] @ PALM_NORMAL_HAND[side]
        if len(sides) == 2:
            facing = np.array([0.0, -1.0 if side == "left" else 1.0, 0.0])
            T[:3, :3] = _least_turn(palm, facing) @ T[:3, :3]
            palm = facing
        else:
            palm = _leaned(palm, height_m)
            T[:3, :3] = _least_turn(home_palm, palm) @ T[:3, :3]
        direction = T_world_object[:3, :3].T @ -palm
        out_m = _last_surface_m(obj, direction)
        centre = com - max(0.0, out_m - DEPTH_M) * palm
        if len(sides) == 1:
            centre = _in_solid(obj, T_world_object, centre, home)
        T[:3, 3] = centre - T[:3, :3] @ GRASP_CENTER_HAND[side]
        poses.append(T)
    return np.stack(poses)


def _in_solid(obj: GraspObject, T_world_object: np.ndarray, centre: np.ndarray, home: np.ndarray) -> np.ndarray:
    """The point (3,) itself where it is in the object; else the middle of the first wall on the level way to `home`.

    In the hollow of a mug there is nothing to take, and every point of its rim is as near to the middle: the wall
    towards the hand is meant.
    """
    away = (home - centre)[:2]
    steps = np.append(away / max(float(np.linalg.norm(away)), 1e-6), 0.0)
    points = centre + np.arange(0.0, _FAR_M, _STEP_M)[:, None] * steps
    depth = -obj.grid_distance((points - T_world_object[:3, 3]) @ T_world_object[:3, :3])
    if depth[0] > 0.0 or not (depth > 0.0).any():
        return centre
    first = int(np.argmax(depth > 0.0))
    wall = np.flatnonzero(depth[first:] <= 0.0)
    last = first + (int(wall[0]) if len(wall) else len(depth) - first)
    return points[first + int(np.argmax(depth[first:last]))]


def _leaned(palm: np.ndarray, height_m: float) -> np.ndarray:
    """The direction (3,) of the palm at home, leaned down for low objects."""
    down = float(np.clip((HIGH_M - height_m) / (HIGH_M - LOW_M), 0.0, 1.0))
    leaned = (1.0 - down) * palm + down * np.array([0.0, 0.0, -1.0])
    return leaned / np.linalg.norm(leaned)


def _last_surface_m(obj: GraspObject, direction: np.ndarray) -> float:
    """How far [m] the convex hull reaches from the centre of mass along a direction (3,) of the object frame."""
    hull = obj.mesh.convex_hull
    normals = np.asarray(hull.face_normals)
    gap = np.einsum("ij,ij->i", normals, np.asarray(hull.triangles)[:, 0] - obj.com)
    normals, gap = np.where(gap[:, None] < 0.0, -normals, normals), np.abs(gap)  # outward, as seen from the inside
    along = normals @ direction
    ahead = along > 1e-9
    return float((gap[ahead] / along[ahead]).min())


def _least_turn(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """The smallest rotation (3, 3) that takes the unit vector a to b; they are not opposite."""
    axis = np.cross(a, b)
    K = np.array([[0.0, -axis[2], axis[1]], [axis[2], 0.0, -axis[0]], [-axis[1], axis[0], 0.0]])
    return np.eye(3) + K + K @ K / (1.0 + a @ b)
