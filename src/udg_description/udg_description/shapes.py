"""Primitive shapes: exact signed distance, surface samples, capsules put together again from their three parts."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from udg_description.urdf import Primitive

_SAME = 1e-6  # [m] how equal the parts of a capsule must be


def merge_capsules(primitives: Sequence[Primitive]) -> list[Primitive]:
    """The same union with every cylinder that has a sphere of its radius on both ends written as one capsule."""
    merged: list[Primitive] = []
    used: list[Primitive] = []
    for cylinder in [primitive for primitive in primitives if primitive.kind == "cylinder"]:
        radius, length = cylinder.size
        ends = cylinder.T_link_shape[:3, 3] + np.outer([-0.5, 0.5], cylinder.T_link_shape[:3, 2] * length)
        caps = [cap for end in ends if (cap := _sphere_at(primitives, end, radius)) is not None]
        if len(caps) < 2:
            continue
        used += [cylinder, *caps]
        merged.append(Primitive(kind="capsule", size=cylinder.size, T_link_shape=cylinder.T_link_shape))
    return merged + [primitive for primitive in primitives if primitive not in used]


def _sphere_at(primitives: Sequence[Primitive], center: np.ndarray, radius: float) -> Primitive | None:
    for primitive in primitives:
        if primitive.kind != "sphere" or abs(primitive.size[0] - radius) > _SAME:
            continue
        if np.linalg.norm(primitive.T_link_shape[:3, 3] - center) < _SAME:
            return primitive
    return None


def signed_distance(primitive: Primitive, points_link: np.ndarray) -> np.ndarray:
    """Signed distance (N,) [m] (inside negative) from points (N, 3) in the link's frame to one primitive."""
    T = primitive.T_link_shape.astype(points_link.dtype)
    local = (points_link - T[:3, 3]) @ T[:3, :3]
    if primitive.kind == "sphere":
        return np.sqrt(np.einsum("ij,ij->i", local, local)) - primitive.size[0]
    if primitive.kind == "box":
        excess = np.abs(local) - np.asarray(primitive.size, dtype=local.dtype) / 2
        return _corner_distance(excess)
    radius, length = primitive.size
    radial = np.hypot(local[:, 0], local[:, 1])
    if primitive.kind == "capsule":
        beyond = np.maximum(np.abs(local[:, 2]) - length / 2, 0)
        return np.hypot(radial, beyond) - radius
    return _corner_distance(np.stack([radial - radius, np.abs(local[:, 2]) - length / 2], axis=1))


def _corner_distance(excess: np.ndarray) -> np.ndarray:
    """Distance to a product of intervals from the signed excess (N, k) over each of them."""
    outside = np.maximum(excess, 0)
    return np.sqrt(np.einsum("ij,ij->i", outside, outside)) + np.minimum(excess.max(axis=1), 0)


def union_distance(primitives: Sequence[Primitive], points_link: np.ndarray) -> np.ndarray:
    """Signed distance (N,) [m] to the union: exact outside, at most the true depth inside; inf without primitives."""
    distance = np.full(len(points_link), np.inf, dtype=points_link.dtype)
    for primitive in primitives:
        np.minimum(distance, signed_distance(primitive, points_link), out=distance)
    return distance


def bounding_radius(primitive: Primitive) -> float:
    """Radius [m] of the smallest sphere about the primitive's own origin that holds it."""
    if primitive.kind == "sphere":
        return primitive.size[0]
    if primitive.kind == "box":
        return float(np.linalg.norm(primitive.size)) / 2
    radius, length = primitive.size
    return radius + length / 2 if primitive.kind == "capsule" else math.hypot(radius, length / 2)


def area(primitive: Primitive) -> float:
    """Surface area [m^2]."""
    if primitive.kind == "box":
        a, b, c = primitive.size
        return 2 * (a * b + b * c + c * a)
    radius = primitive.size[0]
    if primitive.kind == "sphere":
        return 4 * math.pi * radius**2
    side = 2 * math.pi * radius * primitive.size[1]
    return side + (4 if primitive.kind == "capsule" else 2) * math.pi * radius**2


def sample_surface(primitive: Primitive, n: int, rng: np.random.Generator) -> np.ndarray:
    """Points (n, 3) [m] in the link's frame, uniform by area on the primitive's surface."""
    local = _SAMPLERS[primitive.kind](primitive.size, n, rng)
    return local @ primitive.T_link_shape[:3, :3].T + primitive.T_link_shape[:3, 3]


def sample_union(primitives: Sequence[Primitive], n: int, rng: np.random.Generator) -> np.ndarray:
    """About n points (m, 3) [m], uniform by area on the outer surface of a union (m <= n: those inside are dropped)."""
    areas = np.array([area(primitive) for primitive in primitives])
    counts = np.ceil(n * areas / areas.sum()).astype(int)
    kept = []
    for index, (primitive, count) in enumerate(zip(primitives, counts, strict=True)):
        points = sample_surface(primitive, int(count), rng)
        others = [other for place, other in enumerate(primitives) if place != index]
        kept.append(points[union_distance(others, points) > 0])
    return np.concatenate(kept)


def _directions(n: int, rng: np.random.Generator) -> np.ndarray:
    vectors = rng.normal(size=(n, 3))
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def _sample_sphere(size: tuple[float, ...], n: int, rng: np.random.Generator) -> np.ndarray:
    return size[0] * _directions(n, rng)


def _sample_box(size: tuple[float, ...], n: int, rng: np.random.Generator) -> np.ndarray:
    edges = np.asarray(size)
    face_areas = np.prod(edges) / edges
    axis = rng.choice(3, size=n, p=face_areas / face_areas.sum())
    points = rng.uniform(-0.5, 0.5, size=(n, 3)) * edges
    points[np.arange(n), axis] = rng.choice([-0.5, 0.5], size=n) * edges[axis]
    return points


def _sample_side(radius: float, length: float, n: int, rng: np.random.Generator) -> np.ndarray:
    angle = rng.uniform(0, 2 * math.pi, n)
    return np.stack([radius * np.cos(angle), radius * np.sin(angle), rng.uniform(-0.5, 0.5, n) * length], axis=1)


def _sample_cylinder(size: tuple[float, ...], n: int, rng: np.random.Generator) -> np.ndarray:
    radius, length = size
    n_ends = rng.binomial(n, radius / (radius + length))
    spread, angle = radius * np.sqrt(rng.uniform(size=n_ends)), rng.uniform(0, 2 * math.pi, n_ends)
    height = rng.choice([-0.5, 0.5], size=n_ends) * length
    ends = np.stack([spread * np.cos(angle), spread * np.sin(angle), height], axis=1)
    return np.concatenate([_sample_side(radius, length, n - n_ends, rng), ends])


def _sample_capsule(size: tuple[float, ...], n: int, rng: np.random.Generator) -> np.ndarray:
    radius, length = size
    n_ends = rng.binomial(n, 2 * radius / (2 * radius + length))
    ends = radius * _directions(n_ends, rng)
    ends[:, 2] += np.where(ends[:, 2] > 0, 0.5, -0.5) * length
    return np.concatenate([_sample_side(radius, length, n - n_ends, rng), ends])


_SAMPLERS = {"box": _sample_box, "sphere": _sample_sphere, "cylinder": _sample_cylinder, "capsule": _sample_capsule}
