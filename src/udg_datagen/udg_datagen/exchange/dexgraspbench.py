"""The .npy layouts of DexGraspBench (one grasp a file) and of BODex (many), for one hand and for two.

Source: `convert_format.py` of DexGraspBench and BimanDexGraspBench. A file holds a dictionary; `*_qpos` are position
[m], quaternion (w, x, y, z) and joint angles of the hand's root in the world, for two hands the right one before the
left; `obj_pose` is the pose of the object's mesh there, position and quaternion. BODex's own files hold `robot_pose`
(1, N, stages, 7 + J): pregrasp, grasp, squeeze. Joint names are not part of the layouts: angles are in the hand's own
order, unless our `joint_names` says another.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from udg_datagen.exchange.plain_grasps import UNIT_WITHIN, ExchangeError, PlainGrasps, in_order
from udg_datagen.exchange.plain_npy import load_plain
from udg_description.layout import Side
from udg_description.transforms import inverse, matrix_to_quat_wxyz, quat_wxyz_to_matrix

STAGES = ("pregrasp_qpos", "grasp_qpos", "squeeze_qpos")
_POSE = 7


def qpos_dictionary(grasps: PlainGrasps, index: int, T_world_object: np.ndarray) -> dict[str, Any]:
    """The dictionary of one grasp, as DexGraspBench's task "eval" reads it."""
    hands = [grasps.sides.index(side) for side in ("right", "left") if side in grasps.sides]
    angles = (grasps.q_pregrasp, grasps.q_grasp, grasps.q_squeeze)
    written: dict[str, Any] = {
        stage: np.concatenate(
            [_qpos(T_world_object @ grasps.T_object_hand[index, h], q[index, h]) for h in hands]
        ).astype(np.float64)
        for stage, q in zip(STAGES, angles, strict=True)
    }
    return {
        **written,
        "obj_pose": _qpos(T_world_object, np.zeros(0)),
        "obj_scale": 1.0,
        "obj_path": grasps.object_id,
        "scene_path": grasps.object_id,
        "joint_names": [name for h in hands for name in grasps.joint_names[h]],
        "grasp_error": float(1.0 - grasps.confidence[index]),
    }


def read_dexgraspbench(
    paths: Sequence[Path], sides: tuple[Side, ...], joint_names: tuple[tuple[str, ...], ...]
) -> PlainGrasps:
    """The grasps of files of either layout, one after the other. Raises ExchangeError, PlainFileError."""
    stages, poses, confidence, name = [], [], [], ""
    for path in paths:
        content = load_plain(path)
        rows = _rows(content, path)
        stages.append(_ordered(rows, content, sides, joint_names, path))
        poses.append(np.tile(_object_pose(content, path), (len(rows), 1, 1)))
        error = np.ravel(np.asarray(content.get("grasp_error", np.zeros(len(rows))), dtype=float))
        confidence.append(np.clip(1.0 - error, 0.0, 1.0) if error.size == len(rows) else np.ones(len(rows)))
        name = name or str(content.get("obj_path", content.get("scene_path", "")))
    every = np.concatenate(stages)  # (N, 3, H, 7 + J)
    T_world_hand = _matrices(every[..., :_POSE], str(paths[0]))
    T_world_object = np.concatenate(poses)
    q = every[..., _POSE:]
    return PlainGrasps(
        sides=sides,
        joint_names=joint_names,
        T_object_hand=inverse(T_world_object)[:, None] @ T_world_hand[:, 1],
        q_pregrasp=q[:, 0],
        q_grasp=q[:, 1],
        q_squeeze=q[:, 2],
        confidence=np.concatenate(confidence),
        object_id=name,
    )


def _rows(content: dict[str, Any], path: Path) -> np.ndarray:
    """(N, 3, numbers): each grasp's stages."""
    if "robot_pose" in content:
        poses = np.asarray(content["robot_pose"])
        if poses.dtype.kind != "f" or poses.ndim != 4 or poses.shape[0] != 1 or poses.shape[2] < 3:
            raise ExchangeError(f"{path}: robot_pose {poses.dtype} {poses.shape}; valid: floats (1, N, >= 3, 7 + J)")
        return poses[0, :, :3].astype(float)
    missing = [stage for stage in STAGES if stage not in content]
    if missing:
        raise ExchangeError(f"{path}: has {', '.join(content)}; valid: robot_pose, or {', '.join(STAGES)}")
    rows = [np.asarray(content[stage]) for stage in STAGES]
    if any(row.dtype.kind not in "fi" or row.ndim != 1 or row.shape != rows[0].shape for row in rows):
        shapes = [row.shape for row in rows]
        raise ExchangeError(f"{path}: {', '.join(STAGES)} have shapes {shapes}; valid: one row each")
    return np.array(rows, dtype=float)[None]


def _ordered(
    rows: np.ndarray,
    content: dict[str, Any],
    sides: tuple[Side, ...],
    joint_names: tuple[tuple[str, ...], ...],
    path: Path,
) -> np.ndarray:
    """(N, 3, H, 7 + J), hands in the order of `sides`, joints in that of `joint_names`."""
    hands, joints = len(sides), len(joint_names[0])
    if rows.shape[-1] != hands * (_POSE + joints):
        raise ExchangeError(
            f"{path}: {rows.shape[-1]} numbers a grasp; valid: {hands * (_POSE + joints)} "
            f"({hands} x (position 3, quaternion 4, {joints} joints))"
        )
    if not np.isfinite(rows).all():
        raise ExchangeError(f"{path}: has numbers that are not finite")
    split = rows.reshape(*rows.shape[:2], hands, _POSE + joints)
    written = [side for side in ("right", "left") if side in sides]
    split = split[:, :, [written.index(side) for side in sides]]
    names = content.get("joint_names")
    if names is not None:
        given = tuple(str(name) for name in np.ravel(np.asarray(names)))
        for h, wanted in enumerate(joint_names):
            first = written.index(sides[h]) * joints
            places = in_order(given[first : first + joints], wanted, str(path))
            split[:, :, h, _POSE:] = split[:, :, h, [_POSE + place for place in places]]
    return split


def _object_pose(content: dict[str, Any], path: Path) -> np.ndarray:
    pose = np.ravel(np.asarray(content.get("obj_pose", [0.0, 0, 0, 1, 0, 0, 0])))
    if pose.dtype.kind not in "fi" or pose.shape != (_POSE,):
        raise ExchangeError(f"{path}: obj_pose {pose.shape}; valid: position 3, quaternion 4")
    return _matrices(pose[None].astype(float), f"{path}: obj_pose")[0]


def _matrices(poses: np.ndarray, where: str) -> np.ndarray:
    """Poses (..., 4, 4) of positions and quaternions (..., 7)."""
    length = np.linalg.norm(poses[..., 3:], axis=-1)
    if np.abs(length - 1.0).max() > UNIT_WITHIN:
        worst = float(length.flat[np.abs(length - 1.0).argmax()])
        raise ExchangeError(f"{where}: a quaternion of length {worst:.3f}; valid: 1")
    matrices = np.zeros((*poses.shape[:-1], 4, 4))
    matrices[..., :3, :3] = quat_wxyz_to_matrix(poses[..., 3:])
    matrices[..., :3, 3] = poses[..., :3]
    matrices[..., 3, 3] = 1.0
    return matrices


def _qpos(T: np.ndarray, q: np.ndarray) -> np.ndarray:
    return np.concatenate([T[:3, 3], matrix_to_quat_wxyz(T[:3, :3]), q])
