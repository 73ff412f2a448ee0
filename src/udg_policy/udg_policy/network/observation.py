"""The network's inputs from points, labels and joint angles: one function for training and inference."""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor

from udg_description.cloud_labels import LABEL_RIGHT, LABEL_SEEN
from udg_description.layout import N_HAND_JOINTS, N_JOINTS, SIDES, part_indices
from udg_description.limits import joint_limits
from udg_policy.config import ObservationConfig
from udg_policy.hands import rotations
from udg_policy.hands.hand_surface import N_SURFACE_TOKENS, SURFACE_FEATURES, surface_features

WORLD_ORIGIN = (0.6, 0.0, 0.0)  # [m] middle of the object area
WORLD_SCALE_M = 0.25
HAND_SCALE_M = 0.15
FOLLOWING_SCALE_RAD = 0.1  # about what a squeeze commands beyond the contact
MAX_FOLLOWING = 3.0  # of these: larger errors are motion, not contact
N_LABELS = LABEL_RIGHT + 1


def coordinate_width(config: ObservationConfig) -> int:
    """Coordinates of a point in all frames."""
    return 3 * len(config.frames)


def feature_width(config: ObservationConfig) -> int:
    """Features of a point: coordinates in all frames, and the label."""
    return coordinate_width(config) + (N_LABELS if config.label_feature else 0)


def state_width(config: ObservationConfig) -> int:
    """Numbers of the token of the robot's state, 0 without one."""
    if not config.proprioception:
        return 0
    following = len(SIDES) * N_HAND_JOINTS if config.following_error else 0
    return len(SIDES) * (9 + N_HAND_JOINTS) + following + coordinate_width(config)


def proprioception_width(config: ObservationConfig) -> int:
    """Numbers beside the points: those of the state's token, then those of the hand points."""
    return state_width(config) + (N_SURFACE_TOKENS * SURFACE_FEATURES if config.hand_surface else 0)


def network_inputs(
    config: ObservationConfig,
    points_world: Tensor,
    labels: Tensor,
    T_grasp: Tensor,
    q: Tensor,
    following: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Features of the points (B, N, feature_width), and what stands beside them (B, proprioception_width).

    points_world (B, N, 3) [m], labels (B, N), T_grasp (B, 2, 4, 4) measured grasp frames, q (B, 36) [rad];
    following (B, 36) [rad]: by how much the last command was ahead of q, default not at all.
    """
    features = point_features(config, points_world, labels, T_grasp)
    beside = proprioception(config, features, labels, T_grasp, q, following)
    if config.hand_surface:
        # The seen points come first where the classes have slots of their own.
        seen = None if config.n_seen else labels == LABEL_SEEN
        points = points_world[:, : config.n_seen] if config.n_seen else points_world
        beside = torch.cat([beside, surface_features(points, seen, T_grasp, q)], dim=-1)
    return features, beside


def point_features(config: ObservationConfig, points_world: Tensor, labels: Tensor, T_grasp: Tensor) -> Tensor:
    """(B, N, feature_width) of points (B, N, 3) [m], labels (B, N) and grasp frames T_world_grasp (B, 2, 4, 4)."""
    T_grasp_world = rotations.inverse(T_grasp)
    origin = _origin(points_world.device)
    matrices, offsets = [], []
    for frame in config.frames:
        if frame == "world":
            matrices.append(torch.eye(3, device=points_world.device).expand(len(T_grasp), 3, 3) / WORLD_SCALE_M)
            offsets.append(-origin.expand(len(T_grasp), 3) / WORLD_SCALE_M)
        else:
            T = T_grasp_world[:, 0 if frame == "left" else 1] / HAND_SCALE_M
            matrices.append(T[:, :3, :3])
            offsets.append(T[:, :3, 3])
    features = points_world.new_empty(*points_world.shape[:2], feature_width(config))
    width = coordinate_width(config)
    # One product for all frames, in which each coordinate lies together: many times faster than by points.
    features[..., :width] = torch.baddbmm(
        torch.cat(offsets, dim=1)[..., None], torch.cat(matrices, dim=1), points_world.transpose(1, 2)
    ).transpose(1, 2)
    if config.label_feature:
        features[..., width:] = labels[..., None] == torch.arange(N_LABELS, dtype=labels.dtype, device=labels.device)
    return features


@cache
def _origin(device: torch.device) -> Tensor:
    return torch.tensor(WORLD_ORIGIN, device=device)


def proprioception(
    config: ObservationConfig,
    features: Tensor,
    labels: Tensor,
    T_grasp: Tensor,
    q: Tensor,
    following: Tensor | None = None,
) -> Tensor:
    """(B, state_width): hand poses, hand joints, their following errors, the mean of the seen points in each frame."""
    batch = len(q)
    if not config.proprioception:
        return q.new_zeros(batch, 0)
    position = (T_grasp[..., :3, 3] - _origin(T_grasp.device)) / WORLD_SCALE_M
    rotation = T_grasp[..., :3, :2].flatten(-2)
    scaled = joint_scale(q)
    seen = (labels == LABEL_SEEN).to(features.dtype)
    weights = seen / seen.sum(dim=1, keepdim=True).clamp_min(1.0)
    mean_seen = (weights[:, None] @ features[..., : coordinate_width(config)])[:, 0]
    hands = [scaled[:, part_indices(f"{side}_hand")] for side in SIDES]
    if config.following_error:
        error = torch.zeros_like(q) if following is None else following
        scaled_error = (error / FOLLOWING_SCALE_RAD).clamp(-MAX_FOLLOWING, MAX_FOLLOWING)
        hands += [scaled_error[:, part_indices(f"{side}_hand")] for side in SIDES]
    return torch.cat([position.flatten(1), rotation.flatten(1), *hands, mean_seen], dim=-1)


@cache
def _limits(dtype: torch.dtype, device: torch.device) -> tuple[Tensor, Tensor]:
    limits = joint_limits()
    return (
        torch.tensor(limits.lower, dtype=dtype, device=device),
        torch.tensor(limits.upper, dtype=dtype, device=device),
    )


def joint_scale(q: Tensor) -> Tensor:
    """Joint angles (..., 36) [rad] scaled by their limits to [-1, 1]."""
    lower, upper = _limits(q.dtype, q.device)
    assert q.shape[-1] == N_JOINTS
    return 2.0 * (q - lower) / (upper - lower) - 1.0
