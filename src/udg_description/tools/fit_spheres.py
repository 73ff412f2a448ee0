"""Write udg_description/data/collision_spheres.yaml (cuRobo's layout): spheres that cover the primitives of the URDF.

Usage: python fit_spheres.py [--output PATH]. Per link, spheres are moved by gradient descent until their union
lies on the primitives' (coverage counts more than excess, the hand's palmar side more than its back), then inflated.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
import yaml

from udg_description.files import write_atomically
from udg_description.layout import HOME_Q, JOINT_NAMES, SIDES
from udg_description.model import RobotModel
from udg_description.shapes import merge_capsules, sample_union, union_distance
from udg_description.urdf import Primitive

OUTPUT = Path(__file__).resolve().parent.parent / "udg_description" / "data" / "collision_spheres.yaml"
HAND_INFLATION = 0.00175  # [m] between the spheres of a union the surface lies deeper than on them
ARM_INFLATION = 0.004  # [m]
ARM_COUNTS = {
    "base_link_inertia": 3,
    "shoulder_link": 4,
    "upper_arm_link": 9,
    "forearm_link": 8,
    "wrist_1_link": 4,
    "wrist_2_link": 4,
    "wrist_3_link": 2,
}
_FINGER_COUNTS = {f"hand_{finger}_link{number}": 3 for finger in ("mid", "ring", "pinky") for number in (1, 2)}
HAND_COUNTS = {
    "hand_link": 24,
    "hand_thumb_bend_link": 2,
    "hand_thumb_rota_link1": 6,
    "hand_thumb_rota_link2": 5,
    "hand_index_bend_link": 2,
    "hand_index_rota_link1": 3,
    "hand_index_rota_link2": 3,
    **_FINGER_COUNTS,
}
# Axis of each link that faces an object in the right hand, for the weight of the palmar side.
_PALMAR = {"hand_thumb_rota_link1": (0, 0, -1), "hand_thumb_rota_link2": (0, 0, -1)}
_STEPS, _SAMPLES, _COVERAGE_WEIGHT, _PALMAR_WEIGHT = 800, 3000, 3.0, 3.0
# Fingers that move in parallel planes side by side: inflated spheres overlap where the fingers do not.
_SIDE_BY_SIDE = ("index", "mid", "ring", "pinky")


def fit_link(primitives: list[Primitive], count: int, palmar: np.ndarray | None, seed: int) -> np.ndarray:
    """(count, 4) centres and radii [m] of spheres fitted to a union of primitives."""
    rng = np.random.default_rng(seed)
    surface = sample_union(primitives, _SAMPLES, rng)
    scale = float(np.ptp(surface, axis=0).max())
    spread = scale * np.concatenate([np.full(len(surface), 0.04), np.full(len(surface), 0.15)])
    around = np.tile(surface, (2, 1)) + rng.normal(size=(2 * len(surface), 3)) * spread[:, None]
    outside_distance = union_distance(primitives, around)
    around, outside_distance = around[outside_distance > 0], outside_distance[outside_distance > 0]
    weight = np.ones(len(surface))
    if palmar is not None:
        weight[(surface - surface.mean(axis=0)) @ palmar > 0.15 * np.ptp(surface @ palmar)] = _PALMAR_WEIGHT
    inside = np.concatenate([0.5 * (surface + surface[rng.permutation(len(surface))]) for _ in range(4)])
    inside = inside[union_distance(primitives, inside) < 0]
    start = inside[_spread(inside, count)]
    depth = np.maximum(-union_distance(primitives, start), 0.05 * scale)
    surface_t, around_t, distance_t, weight_t, center, radius = (
        torch.tensor(array / unit, dtype=torch.float32)
        for array, unit in (
            (surface, scale),
            (around, scale),
            (outside_distance, scale),
            (weight, 1.0),
            (start, scale),
            (depth, scale),
        )
    )
    center.requires_grad_(True)
    radius.requires_grad_(True)
    optimizer = torch.optim.Adam([center, radius], lr=0.01)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, _STEPS)
    for _ in range(_STEPS):
        optimizer.zero_grad()
        on_surface = (torch.cdist(surface_t, center) - radius).min(dim=1).values
        off_surface = (torch.cdist(around_t, center) - radius).min(dim=1).values
        uncovered = (weight_t * on_surface.clamp(min=0) ** 2).mean()
        excess = (weight_t * on_surface.clamp(max=0) ** 2).mean()
        excess = excess + ((distance_t - off_surface).clamp(min=0) ** 2).mean()
        (_COVERAGE_WEIGHT * uncovered + excess).backward()
        optimizer.step()
        schedule.step()
    return np.concatenate([center.detach().numpy(), radius.detach().numpy()[:, None]], axis=1) * scale


def _spread(points: np.ndarray, count: int) -> list[int]:
    chosen = [0]
    distance = np.full(len(points), np.inf)
    while len(chosen) < count:
        distance = np.minimum(distance, np.linalg.norm(points - points[chosen[-1]], axis=1))
        chosen.append(int(np.argmax(distance)))
    return chosen


def touching_pairs(model: RobotModel, links: list[str], spheres: dict[str, np.ndarray]) -> dict[str, list[str]]:
    """Link -> later links that self-collision ignores: neighbours over one joint, fingers side by side, and links whose
    spheres overlap in the home pose with open hands."""
    frame_of = dict(zip(model.link_names, model.moving_frames, strict=True))
    parent_of = model.parent_frames
    q_open = HOME_Q.copy()
    for index, name in enumerate(JOINT_NAMES):
        if "_hand_" in name:
            q_open[index] = 0.0
    poses = [model.link_poses_np(HOME_Q), model.link_poses_np(q_open)]
    pairs: dict[str, list[str]] = {}
    for i, a in enumerate(links):
        for b in links[i + 1 :]:
            frame_a, frame_b = frame_of[a], frame_of[b]
            neighbours = frame_a == frame_b or frame_b == parent_of[frame_a] or frame_a == parent_of[frame_b]
            if neighbours or _side_by_side(a, b) or any(_overlap(pose, a, b, spheres) for pose in poses):
                pairs.setdefault(a, []).append(b)
    return pairs


def _side_by_side(a: str, b: str) -> bool:
    fingers = [next((finger for finger in _SIDE_BY_SIDE if f"_hand_{finger}_" in name), None) for name in (a, b)]
    return a.split("_")[0] == b.split("_")[0] and None not in fingers and fingers[0] != fingers[1]


def _overlap(poses: dict[str, np.ndarray], a: str, b: str, spheres: dict[str, np.ndarray]) -> bool:
    centers = [spheres[name][:, :3] @ poses[name][:3, :3].T + poses[name][:3, 3] for name in (a, b)]
    gap = np.linalg.norm(centers[0][:, None] - centers[1], axis=2) - spheres[a][:, 3:] - spheres[b][:, 3]
    return bool(gap.min() < 0)


def _fit_all(model: RobotModel) -> dict[str, np.ndarray]:
    spheres: dict[str, np.ndarray] = {}
    for seed, (name, count) in enumerate((ARM_COUNTS | HAND_COUNTS).items()):
        is_hand = name in HAND_COUNTS
        palmar = np.array(_PALMAR.get(name, (0, 1, 0)), dtype=float) if is_hand else None
        fitted = fit_link(merge_capsules(model.geometry(f"right_{name}")), count, palmar, seed)
        fitted[:, 3] += HAND_INFLATION if is_hand else ARM_INFLATION
        fitted = np.round(fitted, 4) + 0.0
        spheres[f"right_{name}"] = fitted
        spheres[f"left_{name}"] = fitted * [1.0, -1.0 if is_hand else 1.0, 1.0, 1.0] + 0.0
    return spheres


def document(model: RobotModel) -> dict[str, object]:
    """The YAML document in cuRobo's layout."""
    spheres = _fit_all(model)
    links = [f"{side}_{name}" for side in SIDES for name in ARM_COUNTS | HAND_COUNTS]
    kinematics = {
        "urdf_path": "udg_robot.urdf",
        "base_link": "world",
        "ee_link": "right_hand_link",
        "link_names": ["left_hand_link", "right_hand_link"],
        "collision_link_names": links,
        "collision_spheres": {
            name: [{"center": sphere[:3].tolist(), "radius": float(sphere[3])} for sphere in spheres[name]]
            for name in links
        },
        "collision_sphere_buffer": 0.0,
        "self_collision_ignore": touching_pairs(model, links, spheres),
        "self_collision_buffer": dict.fromkeys(links, 0.0),
        "cspace": {
            "joint_names": list(JOINT_NAMES),
            "retract_config": np.round(HOME_Q, 6).tolist(),
        },
    }
    return {"robot_cfg": {"kinematics": kinematics}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    torch.set_num_threads(1)
    text = "# Written by tools/fit_spheres.py from the URDF's primitives. Lengths in m.\n"
    text += yaml.safe_dump(document(RobotModel()), sort_keys=False, default_flow_style=None, width=120)
    write_atomically(args.output, text)


if __name__ == "__main__":
    main()
