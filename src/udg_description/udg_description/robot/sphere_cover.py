"""A few spheres for a link's primitives: those that together reach its surface, chosen greedily."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from udg_description.shapes import merge_capsules
from udg_description.urdf import Primitive

_SPACING = 0.4  # of a radius, between candidates
_TARGET = 0.95  # share of the points to be covered
_LEAST_GAIN = 0.02  # share of the points below which no further sphere is added


def cover_with_spheres(
    primitives: Sequence[Primitive], points: np.ndarray, *, grow: float, gap: float
) -> tuple[np.ndarray, np.ndarray]:
    """Centres (k, 3) and radii (k,) [m] of spheres inside the primitives, their radii grown by `grow`.

    They reach to within `gap` [m] of nearly all `points` (n, 3), which lie on the surface in the link's frame.
    """
    candidates = [_candidates(primitive) for primitive in merge_capsules(primitives)]
    centers = np.concatenate([c for c, _ in candidates])
    radii = np.concatenate([np.full(len(c), r) for c, r in candidates]) + grow
    covers = np.linalg.norm(points[:, None] - centers, axis=-1) <= radii + gap
    uncovered = np.ones(len(points), dtype=bool)
    chosen: list[int] = []
    while uncovered.mean() > 1.0 - _TARGET:
        gain = covers[uncovered].sum(axis=0)
        best = int(gain.argmax())
        if gain[best] < max(1.0, _LEAST_GAIN * len(points)):
            break
        chosen.append(best)
        uncovered &= ~covers[:, best]
    return centers[chosen], radii[chosen]


def _candidates(shape: Primitive) -> tuple[np.ndarray, float]:
    if shape.kind == "sphere":
        return shape.T_link_shape[None, :3, 3], shape.size[0]
    if shape.kind == "capsule":
        radius, length = shape.size
        half = np.array([0.0, 0.0, length / 2])
    else:
        edges = shape.size if shape.kind == "box" else (2 * shape.size[0], 2 * shape.size[0], shape.size[1])
        radius = min(edges) / 2
        half = np.array(edges) / 2 - radius
    axes = [np.linspace(-e, e, 1 + int(np.ceil(2 * e / (_SPACING * radius)))) for e in half]
    local = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3)
    if shape.kind == "cylinder":
        local = local[np.hypot(local[:, 0], local[:, 1]) <= shape.size[0] - radius + 1e-9]
    return local @ shape.T_link_shape[:3, :3].T + shape.T_link_shape[:3, 3], radius
