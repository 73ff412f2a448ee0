"""Episodes without a simulator, for tests and measurements: a hand moves to a ball, closes and lifts it."""

from __future__ import annotations

import numpy as np

from udg_description.arm_kinematics import hand_pose, nearest_hand_ik
from udg_description.frames import GRASP_CENTER_HAND
from udg_description.layout import HOME_Q, Side, part_indices
from udg_description.limits import joint_limits
from udg_description.transforms import make_transform
from udg_policy.episodes.episode import CLOUD_POINTS, Episode, Stage
from udg_policy.hands.poses import robot_model


def _cloud(rng: np.random.Generator, ball: np.ndarray, q: np.ndarray, n_seen: int) -> tuple[np.ndarray, np.ndarray]:
    direction = rng.normal(size=(n_seen, 3))
    seen = ball + 0.035 * direction / np.linalg.norm(direction, axis=1, keepdims=True)
    poses = robot_model().link_poses_np(q)
    points, labels = [seen], [np.zeros(n_seen)]
    sizes = {"left": (CLOUD_POINTS - n_seen) // 2, "right": CLOUD_POINTS - n_seen - (CLOUD_POINTS - n_seen) // 2}
    for label, (side, n) in enumerate(sizes.items(), start=1):
        links = [pose[:3, 3] for name, pose in poses.items() if name.startswith(f"{side}_hand")]
        points.append(np.array(links)[rng.integers(len(links), size=n)] + 0.02 * rng.normal(size=(n, 3)))
        labels.append(np.full(n, label))
    return np.concatenate(points).astype(np.float32), np.concatenate(labels).astype(np.uint8)


def make_episode(seed: int, steps: int = 24, n_seen: int = 300) -> Episode:
    """One episode of `steps` frames; everything follows from the seed."""
    rng = np.random.default_rng(seed)
    side: Side = "left" if rng.random() < 0.5 else "right"
    sign = 1.0 if side == "left" else -1.0
    ball = np.array([rng.uniform(0.5, 0.6), sign * rng.uniform(0.1, 0.3), 0.05])
    limits = joint_limits()
    arm, hand = part_indices(f"{side}_arm"), part_indices(f"{side}_hand")
    T = hand_pose(side, HOME_Q[arm])
    goal = ball - T[:3, :3] @ GRASP_CENTER_HAND[side]
    start = T[:3, 3].copy()
    q, target = HOME_Q.copy(), HOME_Q.copy()
    keys = ("cloud_xyz", "cloud_label", "q", "target", "stage", "T_world_object")
    arrays: dict[str, list[np.ndarray]] = {key: [] for key in keys}
    for t in range(steps):
        s = (t + 1) / steps
        approach, close, lift = min(s / 0.5, 1.0), np.clip((s - 0.5) / 0.25, 0.0, 1.0), max((s - 0.75) / 0.25, 0.0)
        T_t = T.copy()
        T_t[:3, 3] = start + approach * (goal - start) + [0.0, 0.0, 0.15 * lift]
        arm_target = nearest_hand_ik(side, T_t, q[arm])
        target = target.copy()
        if arm_target is not None and np.abs(arm_target - q[arm]).max() < 0.5:
            target[arm] = arm_target
        target[hand] = limits.clip(HOME_Q + 0.6 * close)[hand]
        T_world_object = make_transform(np.eye(3), ball + [0.0, 0.0, 0.15 * lift])
        xyz, label = _cloud(rng, T_world_object[:3, 3], q, n_seen)
        stage = Stage.PREGRASP if s <= 0.5 else Stage.GRASP if s <= 0.75 else Stage.LIFT
        for key, value in zip(arrays, (xyz, label, q, target, stage, T_world_object), strict=True):
            arrays[key].append(np.asarray(value))
        q = target.copy()
    stacked = {key: np.stack(value) for key, value in arrays.items()}
    meta = {
        "object": "ball",
        "strategy": "whole_hand",
        "sides": [side],
        "seed": seed,
        "success": True,
        "size_class": "medium",
    }
    return Episode(**stacked, meta=meta)
