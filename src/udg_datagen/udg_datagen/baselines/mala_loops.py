"""The energy of DexGraspNet's grasps and its gradient, as compiled loops: one grasp after the other, in doubles."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from udg_datagen.objects.sdf import GridNodes
from udg_datagen.synthesis.hand_loops import (
    Hands,
    add_moment,
    forward,
    joint_gradient,
    nearest,
    place,
    push,
    trilinear,
    trilinear_back,
)
from udg_description.compiled import compiled

_BLOCK_BITS = 2  # of the nodes along an axis of a block


class Candidates(NamedTuple):
    """Points of the hand that may touch the object."""

    link: np.ndarray  # (P,)
    point: np.ndarray  # (P, 3) [m] in the link


class Coarse(NamedTuple):
    """What tells of most spheres that they are far from the object, and fits into a processor's caches."""

    box: np.ndarray  # (2, 3) [m] of the object
    least: np.ndarray  # (N,) float32 [m]: no look-up by the nodes of a block gives less
    strides: np.ndarray  # (3,) int, of the blocks
    per_step: np.ndarray  # (3,) [1/m] of the grid


class Weights(NamedTuple):
    """Of the terms, against that of force closure."""

    distance: float
    penetration: float
    own: float
    joints: float


def coarse_of(grid: GridNodes, box: np.ndarray) -> Coarse:
    """Of an object's grid and bounds (2, 3)."""
    shape = np.array(grid.last, dtype=np.int64) + 1
    size = 1 << _BLOCK_BITS
    blocks = -(-shape // size)
    values = np.full(blocks * size, np.inf, dtype=np.float32)
    values[tuple(map(slice, shape))] = grid.nodes[:, 0].reshape(shape)
    parts = values.reshape([n for count in blocks for n in (count, size)])
    reach = 0.5 * np.linalg.norm(grid.step) + 1e-6  # of a point from its nearest node; gradients are unit vectors
    least = np.ascontiguousarray((parts.min(axis=(1, 3, 5)) - reach).ravel(), dtype=np.float32)
    strides = np.array([blocks[1] * blocks[2], blocks[2], 1], dtype=np.int64)
    return Coarse(np.ascontiguousarray(box, dtype=np.float64), least, strides, 1.0 / grid.step)


@compiled()
def energies(
    hands: Hands,
    grid: GridNodes,
    coarse: Coarse,
    com: np.ndarray,
    candidates: Candidates,
    weights: Weights,
    origin: np.ndarray,
    R: np.ndarray,
    q: np.ndarray,
    contacts: np.ndarray,
    terms: np.ndarray,
    gradient: np.ndarray,
) -> None:
    """Total, E_fc and E_dis (B, 3) into `terms`, and the gradient of the total (B, 6 + n) by shift, rotation about the
    hand's origin and joints into `gradient`.

    For hands at origin (B, 3) [m], R (B, 3, 3), q (B, n) [rad] that touch with the candidates at `contacts` (B, K); the
    first of `hands` is taken; grid, coarse and com (3,) [m] are the object's.
    """
    n, n_spheres, n_contacts = q.shape[1], len(hands.sphere_link), contacts.shape[1]
    Rs, os = np.empty((n + 1, 3, 3)), np.empty((n + 1, 3))
    force, moment = np.empty((n + 1, 3)), np.empty((n + 1, 3))
    spheres, by_sphere = np.empty((n_spheres, 3)), np.empty((n_spheres, 3))
    shape = (n_contacts, 3)
    points, arms, normals, raws = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape)
    corners, fractions, insides, distances = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(n_contacts)
    center, net_force, net_moment = np.empty(3), np.empty(3), np.empty(3)
    normal, by_normal, by_point = np.empty(3), np.empty(3), np.empty(3)
    for b in range(len(q)):
        for x in range(3):
            center[x] = origin[b, x]
            for y in range(3):
                center[x] += R[b, x, y] * hands.grasp_center[0, y]
        forward(hands, 0, center, R[b], q[b], Rs, os)
        force[:] = 0.0
        moment[:] = 0.0

        net_force[:] = 0.0
        net_moment[:] = 0.0
        away = 0.0
        for c in range(n_contacts):
            p = points[c]
            place(Rs, os, candidates.link[contacts[b, c]], candidates.point[contacts[b, c]], p)
            distances[c] = trilinear(grid, p, corners[c], fractions[c], insides[c], raws[c])
            size = max(math.sqrt(raws[c, 0] ** 2 + raws[c, 1] ** 2 + raws[c, 2] ** 2), 1e-3)
            for x in range(3):
                normals[c, x] = raws[c, x] / size
                arms[c, x] = p[x] - com[x]
                net_force[x] += normals[c, x]
            add_moment(arms[c], normals[c], net_moment)
            away += abs(distances[c])
        closure = 0.0
        for x in range(3):
            closure += net_force[x] ** 2 + net_moment[x] ** 2
            net_force[x] *= 2.0  # the gradients by them, from here on
            net_moment[x] *= 2.0
        for c in range(n_contacts):
            for x in range(3):
                by_normal[x] = net_force[x]
                by_point[x] = 0.0
            add_moment(net_moment, arms[c], by_normal)
            add_moment(normals[c], net_moment, by_point)
            slope = weights.distance if distances[c] > 0.0 else -weights.distance
            trilinear_back(grid, corners[c], fractions[c], insides[c], raws[c], slope, by_normal, by_point)
            link = candidates.link[contacts[b, c]]
            push(points[c], by_point, force[link], moment[link])

        inside = 0.0
        for s in range(n_spheres):
            place(Rs, os, hands.sphere_link[s], hands.sphere_center[s], spheres[s])
            for x in range(3):
                by_sphere[s, x] = 0.0
            if _is_apart(spheres[s], hands.sphere_radius[s], grid, coarse):
                continue
            depth = hands.sphere_radius[s] - nearest(grid, spheres[s], normal)
            if not depth <= 0.0:
                inside += depth
                for x in range(3):
                    by_sphere[s, x] = -weights.penetration * normal[x]
        overlap = _part(hands, spheres, weights.own, by_sphere)
        for s in range(n_spheres):
            if by_sphere[s, 0] == 0.0 and by_sphere[s, 1] == 0.0 and by_sphere[s, 2] == 0.0:
                continue
            link = hands.sphere_link[s]
            push(spheres[s], by_sphere[s], force[link], moment[link])

        out = gradient[b]
        joint_gradient(hands, 0, Rs, os, force, moment, out[6:])
        for x in range(3):
            out[x] = force[0, x]
            out[3 + x] = moment[0, x]
            by_point[x] = -force[0, x]
        add_moment(os[0], by_point, out[3:6])
        beyond = 0.0
        for j in range(n):
            over, under = q[b, j] - hands.upper[0, j], hands.lower[0, j] - q[b, j]
            if over > 0.0:
                beyond += over
                out[6 + j] += weights.joints
            if under > 0.0:
                beyond += under
                out[6 + j] -= weights.joints
        terms[b, 0] = closure + weights.distance * away + weights.penetration * inside
        terms[b, 0] += weights.own * overlap + weights.joints * beyond
        terms[b, 1] = closure
        terms[b, 2] = away


@compiled()
def _is_apart(point: np.ndarray, radius: float, grid: GridNodes, coarse: Coarse) -> bool:
    """Whether a sphere surely does not touch: it lies beyond a side of the object's box, or far enough by its block."""
    for x in range(3):
        if point[x] + radius < coarse.box[0, x] or point[x] - radius > coarse.box[1, x]:
            return True
    block = 0
    for x in range(3):
        place = (point[x] - grid.lower[x]) * coarse.per_step[x]
        if not 0.0 <= place <= grid.last[x]:
            return False  # beyond the grid, or not finite
        block += (int(place + 0.5) >> _BLOCK_BITS) * coarse.strides[x]
    return coarse.least[block] > radius


@compiled()
def _part(hands: Hands, spheres: np.ndarray, weight: float, by_sphere: np.ndarray) -> float:
    """Sum of the overlaps [m] of spheres (S, 3) that must not meet; `weight` times its gradient is added."""
    overlap = 0.0
    for pair in range(len(hands.self_pairs)):
        i, j = hands.self_pairs[pair, 0], hands.self_pairs[pair, 1]
        x, y, z = spheres[i, 0] - spheres[j, 0], spheres[i, 1] - spheres[j, 1], spheres[i, 2] - spheres[j, 2]
        reach = hands.sphere_radius[i] + hands.sphere_radius[j]
        square = x * x + y * y + z * z
        if square >= reach * reach:
            continue
        distance = math.sqrt(max(square, 1e-8))
        overlap += reach - distance
        slope = -weight / distance
        by_sphere[i, 0] += slope * x
        by_sphere[i, 1] += slope * y
        by_sphere[i, 2] += slope * z
        by_sphere[j, 0] -= slope * x
        by_sphere[j, 1] -= slope * y
        by_sphere[j, 2] -= slope * z
    return overlap
