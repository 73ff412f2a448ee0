"""Signed distance from points to the robot: what the self-filter drops the robot's own depth points by."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udg_description.model import RobotModel
from udg_description.shapes import bounding_radius, merge_capsules
from udg_description.urdf import Primitive

_SLACK = np.float32(2e-3)  # [m] rounding of the quick distances in single precision
_CHUNK = 2048  # points at a time, so that the table of quick distances stays in the cache


class _Table(NamedTuple):
    """All primitives, one row each; spheres and capsules are round, cylinders and boxes have corners."""

    link: np.ndarray  # place of its link among the model's
    T_link_shape: np.ndarray  # (P, 4, 4)
    half: np.ndarray  # (P, 3) box: half edges; else (radius, radius, half length) [m]
    is_box: np.ndarray
    is_round: np.ndarray
    outer_radius: np.ndarray  # of a ball about the shape's origin that holds it [m]
    inner_radius: np.ndarray  # of one that it holds [m]


class RobotDistance:
    """Distance to the primitives of a RobotModel; exact shapes are tried only where they can be the nearest."""

    def __init__(self, model: RobotModel) -> None:
        self._model = model
        self._table = _make_table(model)
        links = np.unique(self._table.link)
        balls = [_bounding_ball(merge_capsules(model.geometry(model.link_names[link]))) for link in links]
        self._ball_link = links
        self._ball_center = np.array([center for center, _ in balls])
        self._ball_radius = np.array([radius for _, radius in balls], dtype=np.float32)

    def __call__(self, points_world: np.ndarray, q: np.ndarray, max_distance: float = np.inf) -> np.ndarray:
        """Signed distance (N,) [m] of points (N, 3) [m] in the model's root frame, for q (n,) [rad].

        Inside is negative. Exact up to max_distance [m]; farther points get max_distance, which is faster.
        """
        points = np.asarray(points_world, dtype=np.float32)
        poses = self._model.link_pose_array(q)
        T_world_shape = (poses[self._table.link] @ self._table.T_link_shape).astype(np.float32)
        distance = np.full(len(points), max_distance, dtype=np.float32)
        near = self._near_a_link(points, poses[self._ball_link], max_distance)
        for start in range(0, len(near), _CHUNK):
            chunk = near[start : start + _CHUNK]
            distance[chunk] = self._chunk_distance(points[chunk], T_world_shape, np.float32(max_distance))
        return distance

    def _near_a_link(self, points: np.ndarray, T_world_link: np.ndarray, max_distance: float) -> np.ndarray:
        """Indices of the points that may be closer than max_distance [m] to some link."""
        if not np.isfinite(max_distance):
            return np.arange(len(points))
        centers = np.einsum("lij,lj->li", T_world_link[:, :3, :3], self._ball_center) + T_world_link[:, :3, 3]
        reach = (self._ball_radius + np.float32(max_distance)) ** 2 + _SLACK
        return np.flatnonzero((_square_distances(points, centers.astype(np.float32)) < reach).any(axis=1))

    def _chunk_distance(self, points: np.ndarray, T_world_shape: np.ndarray, max_distance: np.float32) -> np.ndarray:
        to_origin = np.sqrt(np.maximum(_square_distances(points, T_world_shape[:, :3, 3]), 0))
        bound = np.minimum((to_origin - self._table.inner_radius).min(axis=1), max_distance)
        candidate = to_origin - self._table.outer_radius < bound[:, None] + _SLACK
        point, shape = np.nonzero(candidate)
        distance = np.full(len(points), max_distance, dtype=np.float32)
        if len(point):
            T = T_world_shape[shape]
            local = np.einsum("nji,nj->ni", T[:, :3, :3], points[point] - T[:, :3, 3])
            np.minimum.at(distance, point, self._shape_distance(local, shape))
        return distance

    def _shape_distance(self, local: np.ndarray, shape: np.ndarray) -> np.ndarray:
        """Signed distance (M,) [m] of points (M, 3) in the frames of the shapes (M,) that they are asked about."""
        half, is_box, is_round = self._table.half[shape], self._table.is_box[shape], self._table.is_round[shape]
        radial = np.hypot(local[:, 0], local[:, 1])
        along = np.abs(local[:, 2]) - half[:, 2]
        round_distance = np.hypot(radial, np.maximum(along, 0)) - half[:, 0]
        # Boxes and cylinders are products of intervals: the excess over each, none in a cylinder's third.
        excess = np.stack([radial - half[:, 0], along, np.full_like(along, -np.inf)], axis=1)
        excess[is_box] = np.abs(local[is_box]) - half[is_box]
        outside = np.maximum(excess, 0)
        corner_distance = np.sqrt(np.einsum("ij,ij->i", outside, outside)) + np.minimum(excess.max(axis=1), 0)
        return np.where(is_round, round_distance, corner_distance)


def _make_table(model: RobotModel) -> _Table:
    rows = [
        (index, primitive)
        for index, name in enumerate(model.link_names)
        for primitive in merge_capsules(model.geometry(name))
    ]
    primitives = [primitive for _, primitive in rows]
    half = np.array([_half_sizes(primitive) for primitive in primitives], dtype=np.float32)
    return _Table(
        link=np.array([index for index, _ in rows]),
        T_link_shape=np.array([primitive.T_link_shape for primitive in primitives]),
        half=half,
        is_box=np.array([primitive.kind == "box" for primitive in primitives]),
        is_round=np.array([primitive.kind in ("sphere", "capsule") for primitive in primitives]),
        outer_radius=np.array([bounding_radius(primitive) for primitive in primitives], dtype=np.float32),
        inner_radius=np.array([_inner_radius(primitive) for primitive in primitives], dtype=np.float32),
    )


def _half_sizes(primitive: Primitive) -> tuple[float, float, float]:
    if primitive.kind == "box":
        x, y, z = primitive.size
        return x / 2, y / 2, z / 2
    radius = primitive.size[0]
    return radius, radius, 0.0 if primitive.kind == "sphere" else primitive.size[1] / 2


def _inner_radius(primitive: Primitive) -> float:
    half = _half_sizes(primitive)
    return half[0] if primitive.kind in ("sphere", "capsule") else min(half)


def _bounding_ball(primitives: list[Primitive]) -> tuple[np.ndarray, float]:
    """A centre (3,) and radius [m] of a ball that holds all primitives; not the smallest, near it."""
    centers = np.array([primitive.T_link_shape[:3, 3] for primitive in primitives])
    radii = np.array([bounding_radius(primitive) for primitive in primitives])
    center = ((centers + radii[:, None]).max(axis=0) + (centers - radii[:, None]).min(axis=0)) / 2
    return center, float((np.linalg.norm(centers - center, axis=1) + radii).max())


def _square_distances(points: np.ndarray, centers: np.ndarray) -> np.ndarray:
    """Squared distances (N, P) [m^2] of points (N, 3) from centers (P, 3), to within single precision."""
    squares = np.einsum("ij,ij->i", points, points)[:, None] + np.einsum("ij,ij->i", centers, centers)
    squares -= 2 * points @ centers.T
    return squares
