"""The terms of the upper level (eq. 6). Distances enter in centimetres, squared: weights are per cm^2.

Energies are per candidate (B,), gradients with respect to points of the hand (B, 3, k) [1/m].
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from udg_datagen.hands.model import HandModel
from udg_datagen.objects.sdf import SdfGrid

_PER_CM2 = 1e4  # 1/cm^2 in 1/m^2


class PointEnergy(NamedTuple):
    """A term that depends on S points of a hand."""

    energy: Tensor  # (B,)
    gradient: Tensor  # (B, 3, S) [1/m]


def penetration(sdf: SdfGrid, points: Tensor, radius_with_margin: Tensor) -> PointEnergy:
    """Energy of spheres at `points` (B, 3, S) [m] that reach into the object: depth squared.

    Points are in the object frame, radii (S,) [m]; the distance is that of the nearest node of the grid.
    """
    distance, normal = sdf.nearest(points)
    depth = (radius_with_margin - distance).clamp(min=0.0)
    return PointEnergy(_PER_CM2 * depth.square().sum(-1), (-2.0 * _PER_CM2 * depth)[:, None] * normal)


class TableEnergy(NamedTuple):
    """A term that depends on S points of a hand and on its palm normal."""

    energy: Tensor  # (B,)
    gradient: Tensor  # (B, 3, S)
    palm_gradient: Tensor  # (B, 3, 1) with respect to the palm normal


def table_penetration(
    points: Tensor, radius_with_margin: Tensor, palm: Tensor, up: Tensor, offset: float, retreat: float
) -> TableEnergy:
    """Energy of spheres at `points` (B, 3, S) [m] that reach below the table, at the grasp or before it: depth squared.

    Args:
        radius_with_margin: (S,) [m].
        palm: palm normal (B, 3, 1); the hand comes from `retreat` [m] back along it, lower if it looks up.
        up, offset: the height of a point p is up . p + offset; up (3,), offset [m], in the object frame.
    """
    rise = palm[..., 0] @ up  # a palm that looks up comes from below
    drop = retreat * rise.clamp(min=0.0)
    depth = (radius_with_margin + drop[:, None] - (up @ points + offset)).clamp(min=0.0)
    slope = 2.0 * _PER_CM2 * depth
    palm_slope = retreat * (rise > 0.0) * slope.sum(-1)
    return TableEnergy(
        _PER_CM2 * depth.square().sum(-1), -slope[:, None] * up[:, None], (palm_slope[:, None] * up)[..., None]
    )


class Overlap(NamedTuple):
    """Spheres a (B, 3, k) against spheres b (B, 3, m)."""

    energy: Tensor  # (B,)
    gradient_a: Tensor  # (B, 3, k)
    gradient_b: Tensor  # (B, 3, m)
    deepest: Tensor  # (B,) [m], 0 where they do not meet


def overlap(a: Tensor, radius_a: Tensor, b: Tensor, radius_b: Tensor) -> Overlap:
    """Overlap of spheres at `a` (B, 3, k) [m] with those at `b` (B, 3, m), of radii (k,), (m,) [m]: depth squared."""
    squared = a.square().sum(1)[:, :, None] + b.square().sum(1)[:, None] - 2.0 * (a.transpose(1, 2) @ b)
    distance = squared.clamp_(min=1e-8).sqrt_()
    depth = (radius_a[:, None] + radius_b - distance).clamp(min=0.0)
    weight = (-2.0 * _PER_CM2) * depth / distance
    return Overlap(
        _PER_CM2 * depth.square().flatten(1).sum(-1),
        a * weight.sum(2)[:, None] - b @ weight.transpose(1, 2),
        b * weight.sum(1)[:, None] - a @ weight,
        depth.flatten(1).amax(-1),
    )


class SelfPenetration(NamedTuple):
    """Overlap within one hand."""

    energy: Tensor  # (B,)
    gradient: Tensor  # (B, 3, S)
    deepest: Tensor  # (B,) [m]


def self_penetration(points: Tensor, hand: HandModel) -> SelfPenetration:
    """Overlap of the two sets of spheres of the hand that must not meet (thumb and fingers); `points` (B, 3, S) [m]."""
    both = overlap(
        points[..., hand.self_a],
        hand.sphere_radius[hand.self_a],
        points[..., hand.self_b],
        hand.sphere_radius[hand.self_b],
    )
    gradient = torch.zeros_like(points)
    gradient[..., hand.self_a] = both.gradient_a
    gradient[..., hand.self_b] = both.gradient_b
    return SelfPenetration(both.energy, gradient, both.deepest)


class HandHandPenetration(NamedTuple):
    """Overlap of two hands."""

    energy: Tensor  # (B,)
    gradients: tuple[Tensor, Tensor]  # (B, 3, S) of each hand
    deepest: Tensor  # (B,) [m]


def hand_hand_penetration(
    left: Tensor, left_radius: Tensor, right: Tensor, right_radius: Tensor
) -> HandHandPenetration:
    """Overlap of the spheres of two hands (B, 3, S) [m], radii (S,) [m]; computed only where the hands are near."""
    energy, deepest = left.new_zeros(len(left)), left.new_zeros(len(left))
    gradients = torch.zeros_like(left), torch.zeros_like(right)
    gap = _gap(left, left_radius, right, right_radius)
    near = torch.nonzero(~(gap > 0.0))[:, 0]
    if len(near) > 0:
        both = overlap(left[near], left_radius, right[near], right_radius)
        energy[near], deepest[near] = both.energy, both.deepest
        gradients[0][near], gradients[1][near] = both.gradient_a, both.gradient_b
    return HandHandPenetration(energy, gradients, deepest)


def _gap(a: Tensor, radius_a: Tensor, b: Tensor, radius_b: Tensor) -> Tensor:
    """Room (B,) [m] between two sets of spheres along the line of their middles; where positive, they do not meet."""
    line = torch.nn.functional.normalize(b.mean(-1) - a.mean(-1), dim=-1)[:, None]
    return ((line @ b)[:, 0] - radius_b).amin(-1) - ((line @ a)[:, 0] + radius_a).amax(-1)


def contact_distance(distance: Tensor) -> Tensor:
    """Energy (B,) of pads whose surface is `distance` (B, C) [m] from the object's: distance squared."""
    return _PER_CM2 * distance.square().sum(-1)


def pad_alignment(pad_axis: Tensor, normal: Tensor, cosine: float) -> Tensor:
    """Energy (B,) of pads that meet the surface with their side: a squared hinge, [cosine + axis . normal]+.

    `pad_axis` and `normal` (B, 3, C) are unit vectors out of the pad and out of the object.
    """
    return (cosine + (pad_axis * normal).sum(1)).clamp(min=0.0).square().sum(-1)
