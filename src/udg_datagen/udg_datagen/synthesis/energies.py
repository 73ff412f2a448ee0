"""The terms of the upper level (eq. 6). Distances enter in centimetres, squared: weights are per cm^2.

Each function returns the energy per candidate (B,) and gradients with respect to points of the hand [1/m].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from udg_datagen.synthesis.hand import HandModel, HandState
from udg_datagen.synthesis.sdf import SdfGrid

_PER_CM2 = 1e4  # 1/cm^2 in 1/m^2


class PointEnergy(NamedTuple):
    energy: Tensor  # (B,)
    gradient: Tensor  # (B, S, 3)


def penetration(sdf: SdfGrid, points: Tensor, radius_with_margin: Tensor) -> PointEnergy:
    """Spheres (B, S, 3) of radius (S,) inside the object's surface."""
    distance, normal = sdf.nearest(points)
    depth = (radius_with_margin - distance).clamp(min=0.0)
    return PointEnergy(_PER_CM2 * depth.square().sum(-1), (-2.0 * _PER_CM2 * depth)[..., None] * normal)


class TableEnergy(NamedTuple):
    energy: Tensor  # (B,)
    gradient: Tensor  # (B, S, 3)
    palm_gradient: Tensor  # (B, 3) with respect to the palm normal


def table_penetration(
    points: Tensor, radius_with_margin: Tensor, palm: Tensor, up: Tensor, offset: float, retreat: float
) -> TableEnergy:
    """Spheres below the table, at the grasp and `retreat` [m] back along the palm normal `palm` (B, 3)."""
    rise = palm @ up  # a palm that looks up comes from below
    drop = retreat * rise.clamp(min=0.0)
    depth = (radius_with_margin + drop[:, None] - (points @ up + offset)).clamp(min=0.0)
    slope = 2.0 * _PER_CM2 * depth
    palm_slope = retreat * (rise > 0.0) * slope.sum(-1)
    return TableEnergy(_PER_CM2 * depth.square().sum(-1), -slope[..., None] * up, palm_slope[:, None] * up)


def self_penetration(points: Tensor, hand: HandModel) -> PointEnergy:
    """Overlap of the two sets of spheres of the hand that must not meet (thumb and fingers)."""
    a, b = points[:, hand.self_a], points[:, hand.self_b]
    radii = hand.sphere_radius[hand.self_a][:, None] + hand.sphere_radius[hand.self_b]
    distance = torch.cdist(a, b, compute_mode="donot_use_mm_for_euclid_dist").clamp(min=1e-6)
    depth = (radii - distance).clamp(min=0.0)
    weight = 2.0 * _PER_CM2 * depth / distance
    gradient = torch.zeros_like(points)
    gradient.index_add_(1, hand.self_a, -(a * weight.sum(2)[..., None] - weight @ b))
    gradient.index_add_(1, hand.self_b, -(b * weight.sum(1)[..., None] - weight.transpose(1, 2) @ a))
    return PointEnergy(_PER_CM2 * depth.square().flatten(1).sum(-1), gradient)


def contact_distance(distance: Tensor) -> Tensor:
    """Energy (B,) of pads whose surface is `distance` (B, C) [m] from the object's."""
    return _PER_CM2 * distance.square().sum(-1)


def pad_alignment(pad_axis: Tensor, normal: Tensor, cosine: float) -> Tensor:
    """Energy (B,) of pads (B, C, 3) that meet the surface with their side: hinge on the cosine."""
    return (cosine + (pad_axis * normal).sum(-1)).clamp(min=0.0).square().sum(-1)


def palm_direction(hand: HandModel, state: HandState) -> Tensor:
    """Palm normal (B, 3) in the frame of the poses."""
    return state.R[:, 0] @ hand.palm_normal
