"""The terms of the upper level (eq. 6). Distances enter in centimetres, squared: weights are per cm^2.

Energies are per candidate (B,), gradients with respect to points of the hand (B, 3, k) [1/m].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from udg_datagen.synthesis.hand import HandModel
from udg_datagen.synthesis.sdf import SdfGrid

_PER_CM2 = 1e4  # 1/cm^2 in 1/m^2


class PointEnergy(NamedTuple):
    energy: Tensor  # (B,)
    gradient: Tensor  # (B, 3, S)


def penetration(sdf: SdfGrid, points: Tensor, radius_with_margin: Tensor) -> PointEnergy:
    """Spheres (B, 3, S) of radius (S,) inside the object's surface."""
    distance, normal = sdf.nearest(points)
    depth = (radius_with_margin - distance).clamp(min=0.0)
    return PointEnergy(_PER_CM2 * depth.square().sum(-1), (-2.0 * _PER_CM2 * depth)[:, None] * normal)


class TableEnergy(NamedTuple):
    energy: Tensor  # (B,)
    gradient: Tensor  # (B, 3, S)
    palm_gradient: Tensor  # (B, 3, 1) with respect to the palm normal


def table_penetration(
    points: Tensor, radius_with_margin: Tensor, palm: Tensor, up: Tensor, offset: float, retreat: float
) -> TableEnergy:
    """Spheres below the table, at the grasp and `retreat` [m] back along the palm normal `palm` (B, 3, 1)."""
    rise = palm[..., 0] @ up  # a palm that looks up comes from below
    drop = retreat * rise.clamp(min=0.0)
    depth = (radius_with_margin + drop[:, None] - (up @ points + offset)).clamp(min=0.0)
    slope = 2.0 * _PER_CM2 * depth
    palm_slope = retreat * (rise > 0.0) * slope.sum(-1)
    return TableEnergy(
        _PER_CM2 * depth.square().sum(-1), -slope[:, None] * up[:, None], (palm_slope[:, None] * up)[..., None]
    )


def self_penetration(points: Tensor, hand: HandModel) -> PointEnergy:
    """Overlap of the two sets of spheres of the hand that must not meet (thumb and fingers)."""
    a, b = points[..., hand.self_a], points[..., hand.self_b]  # (B, 3, k)
    radii = hand.sphere_radius[hand.self_a][:, None] + hand.sphere_radius[hand.self_b]
    squared = a.square().sum(1)[:, :, None] + b.square().sum(1)[:, None] - 2.0 * (a.transpose(1, 2) @ b)
    distance = squared.clamp_(min=1e-8).sqrt_()
    depth = (radii - distance).clamp(min=0.0)
    weight = (-2.0 * _PER_CM2) * depth / distance
    gradient = torch.zeros_like(points)
    gradient[..., hand.self_a] = a * weight.sum(2)[:, None] - b @ weight.transpose(1, 2)
    gradient[..., hand.self_b] = b * weight.sum(1)[:, None] - a @ weight
    return PointEnergy(_PER_CM2 * depth.square().flatten(1).sum(-1), gradient)


def contact_distance(distance: Tensor) -> Tensor:
    """Energy (B,) of pads whose surface is `distance` (B, C) [m] from the object's."""
    return _PER_CM2 * distance.square().sum(-1)


def pad_alignment(pad_axis: Tensor, normal: Tensor, cosine: float) -> Tensor:
    """Energy (B,) of pads (B, 3, C) that meet the surface with their side: hinge on the cosine."""
    return (cosine + (pad_axis * normal).sum(1)).clamp(min=0.0).square().sum(-1)
