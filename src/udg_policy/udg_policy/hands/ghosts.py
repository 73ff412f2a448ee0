"""Hands where a chunk would bring them: for pictures. Each link is the convex hull of its shapes, a few facets only."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import ConvexHull

from udg_description.layout import SIDES, Side
from udg_description.shapes import merge_capsules
from udg_description.urdf import Primitive
from udg_policy.hands.poses import robot_model

SIDE_RGB: dict[Side, tuple[float, float, float]] = {"left": (0.20, 0.50, 0.95), "right": (0.95, 0.45, 0.15)}
STILL_M = 0.01  # a hand that moves less within the chunk has no ghosts: they would lie in the hand itself
_SAME_M = 5e-4  # corners of a hull that are nearer are one


class Hull(NamedTuple):
    """Triangles of a link in its own frame, seen from outside counter-clockwise."""

    vertices: np.ndarray  # (V, 3) [m]
    faces: np.ndarray  # (F, 3) into vertices


class HandHulls(NamedTuple):
    """The links of one hand that have a shape."""

    links: tuple[str, ...]
    hulls: tuple[Hull, ...]


@lru_cache(maxsize=2)
def hand_hulls(side: Side) -> HandHulls:
    """The hand of one side."""
    model = robot_model()
    links = tuple(name for name in model.link_names if name.startswith(f"{side}_hand_") and model.geometry(name))
    return HandHulls(links, tuple(convex_hull(merge_capsules(model.geometry(name))) for name in links))


def shown_steps(length: int) -> tuple[int, ...]:
    """Steps of a chunk at which its hands are shown: the distinct ones of first, middle and last."""
    return tuple(sorted({0, length // 2, length - 1}))


def hand_poses(targets: np.ndarray) -> dict[Side, np.ndarray]:
    """T_world_link (K, L, 4, 4) of the links of `hand_hulls` by side, for joint targets (K, 36) [rad]."""
    links = [name for side in SIDES for name in hand_hulls(side).links]
    poses = robot_model().link_poses(torch.from_numpy(np.asarray(targets, dtype=np.float64)), links).numpy()
    first = len(hand_hulls(SIDES[0]).links)
    return {SIDES[0]: poses[:, :first], SIDES[1]: poses[:, first:]}


def convex_hull(primitives: Sequence[Primitive]) -> Hull:
    """A hull of the primitives' farthest points in fixed directions: inside the true one, and touching it there."""
    directions = _directions()
    points = np.stack([_support(primitive, directions) for primitive in primitives])  # (P, D, 3)
    farthest = np.einsum("pdi,di->pd", points, directions).argmax(axis=0)
    corners = points[farthest, np.arange(len(directions))]
    _, first = np.unique(np.rint(corners / _SAME_M), axis=0, return_index=True)
    corners = corners[np.sort(first)]
    hull = ConvexHull(corners)
    used, faces = np.unique(hull.simplices, return_inverse=True)
    vertices, faces = corners[used], faces.reshape(-1, 3)
    a, b, c = (vertices[faces[:, k]] for k in range(3))
    inward = np.einsum("fi,fi->f", np.cross(b - a, c - a), hull.equations[:, :3]) < 0.0
    faces[inward] = faces[inward][:, ::-1]
    return Hull(vertices, faces)


@lru_cache(maxsize=1)
def _directions() -> np.ndarray:
    """Corners of an icosahedron and the middles of its edges (42, 3), of length 1."""
    golden = (1.0 + 5.0**0.5) / 2.0
    corners = [(0.0, a, b * golden) for a in (-1.0, 1.0) for b in (-1.0, 1.0)]
    vertices = np.array([np.roll(corner, k) for k in range(3) for corner in corners])
    apart = np.linalg.norm(vertices[:, None] - vertices[None], axis=-1)
    i, j = np.nonzero(np.triu(np.abs(apart - 2.0) < 1e-9))
    every = np.concatenate([vertices, vertices[i] + vertices[j]])
    return every / np.linalg.norm(every, axis=1, keepdims=True)


def _support(primitive: Primitive, directions: np.ndarray) -> np.ndarray:
    """The farthest point (D, 3) of a primitive in each direction (D, 3), all in the link's frame."""
    rotation, centre = primitive.T_link_shape[:3, :3], primitive.T_link_shape[:3, 3]
    local = directions @ rotation
    if primitive.kind == "box":
        point = 0.5 * np.sign(local) * primitive.size
    elif primitive.kind == "sphere":
        point = primitive.size[0] * local
    else:
        radius, length = primitive.size
        across = local.copy()
        if primitive.kind == "cylinder":
            across[:, 2] = 0.0
            across /= np.maximum(np.linalg.norm(across, axis=1, keepdims=True), 1e-12)
        point = radius * across
        point[:, 2] += 0.5 * length * np.sign(local[:, 2])
    return point @ rotation.T + centre
