"""The compiled loops that all descents on a CPU share: a hand's links and points, an object's distance, and back.

In doubles, one hand at a time; a gradient is collected as a force and a moment about the origin at each link.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from udg_datagen.objects.sdf import GridNodes
from udg_description.compiled import compiled


class Hands(NamedTuple):
    """H hands with n joints each; spheres (S) and contacts (C) of all hands, one hand's after the other's."""

    parent: np.ndarray  # (H, n) link that carries a joint; link 0 is the root, joint j moves link j + 1
    constant: np.ndarray  # (H, n, 3, 3): R_parent_link(q) = constant + sin * sin(q) + cos * cos(q)
    sin: np.ndarray
    cos: np.ndarray
    offset: np.ndarray  # (H, n, 3) [m] of the joint in its parent
    axis: np.ndarray  # (H, n, 3) of the joint in the link that it moves
    lower: np.ndarray  # (H, n) [rad]
    upper: np.ndarray
    grasp_center: np.ndarray  # (H, 3) [m] in the root
    palm: np.ndarray  # (H, 3) normal in the root
    sphere_begin: np.ndarray  # (H + 1,)
    sphere_link: np.ndarray  # (S,)
    sphere_center: np.ndarray  # (S, 3) [m] in the link
    sphere_radius: np.ndarray  # (S,) [m]
    object_radius: np.ndarray  # (S,) [m] with margin
    table_radius: np.ndarray  # (S,) [m] with margin
    hands_radius: np.ndarray  # (S,) [m] with half of the margin between hands
    self_pairs: np.ndarray  # (P, 2) spheres of one hand that must not meet
    contact_begin: np.ndarray  # (H + 1,)
    contact_link: np.ndarray  # (C,)
    contact_center: np.ndarray  # (C, 3) [m] in the link
    contact_axis: np.ndarray  # (C, 3) in the link
    contact_radius: np.ndarray  # (C,) [m]


@compiled()
def forward(
    hands: Hands, h: int, center: np.ndarray, R: np.ndarray, q: np.ndarray, Rs: np.ndarray, os: np.ndarray
) -> None:
    """Rotations (L, 3, 3) and origins (L, 3) of the links of hand h, into `Rs` and `os`."""
    for x in range(3):
        os[0, x] = center[x]
        for y in range(3):
            Rs[0, x, y] = R[x, y]
            os[0, x] -= R[x, y] * hands.grasp_center[h, y]
    for j in range(len(q)):
        parent = hands.parent[h, j]
        s, c = math.sin(q[j]), math.cos(q[j])
        for x in range(3):
            os[j + 1, x] = os[parent, x]
            for y in range(3):
                os[j + 1, x] += Rs[parent, x, y] * hands.offset[h, j, y]
                Rs[j + 1, x, y] = 0.0
        for k in range(3):
            for y in range(3):
                local = hands.constant[h, j, k, y] + s * hands.sin[h, j, k, y] + c * hands.cos[h, j, k, y]
                for x in range(3):
                    Rs[j + 1, x, y] += Rs[parent, x, k] * local


@compiled()
def place(Rs: np.ndarray, os: np.ndarray, link: int, local: np.ndarray, out: np.ndarray) -> None:
    """A point of a link, into `out` (3,)."""
    for x in range(3):
        out[x] = os[link, x] + Rs[link, x, 0] * local[0] + Rs[link, x, 1] * local[1] + Rs[link, x, 2] * local[2]


@compiled()
def push(point: np.ndarray, g: np.ndarray, force: np.ndarray, moment: np.ndarray) -> None:
    """Add the gradient `g` at a point to its link's force and moment about the origin."""
    for x in range(3):
        force[x] += g[x]
    add_moment(point, g, moment)


@compiled()
def add_moment(arm: np.ndarray, g: np.ndarray, moment: np.ndarray) -> None:
    """Add arm x g to `moment`, all (3,)."""
    moment[0] += arm[1] * g[2] - arm[2] * g[1]
    moment[1] += arm[2] * g[0] - arm[0] * g[2]
    moment[2] += arm[0] * g[1] - arm[1] * g[0]


@compiled()
def nearest(grid: GridNodes, p: np.ndarray, normal: np.ndarray) -> float:
    """Distance at a point by the nearest node; its gradient into `normal`. See `SdfGrid.nearest`."""
    index = 0
    for x in range(3):
        place = (p[x] - grid.lower[x]) / grid.step[x]
        node = min(max(np.rint(place), 0.0), grid.last[x]) if math.isfinite(place) else 0.0
        index += int(node) * grid.strides[x]
        normal[x] = p[x] - (grid.lower[x] + node * grid.step[x])
    distance = float(grid.nodes[index, 0])
    for x in range(3):
        g = float(grid.nodes[index, 1 + x])
        distance += g * normal[x]
        normal[x] = g
    return distance


@compiled()
def trilinear(
    grid: GridNodes, p: np.ndarray, corner: np.ndarray, fraction: np.ndarray, inside: np.ndarray, raw: np.ndarray
) -> float:
    """Distance between the nodes. Into the arrays: first node, place beyond it, 1 where the point is inside the grid
    along an axis, and the gradient (3,) before it is made a unit vector. See `SdfGrid.trilinear`."""
    for x in range(3):
        place = (p[x] - grid.lower[x]) / grid.step[x]
        if not math.isfinite(place):
            place = 0.0
        within = min(max(place, 0.0), grid.last[x])
        first = min(math.floor(within), grid.last[x] - 1.0)
        corner[x], fraction[x] = first, within - first
        inside[x] = 1.0 if 0.0 <= place <= grid.last[x] else 0.0
        raw[x] = 0.0
    distance = 0.0
    for i in range(2):
        for j in range(2):
            for k in range(2):
                weight = _share(fraction[0], i) * _share(fraction[1], j) * _share(fraction[2], k)
                row = _row(grid, corner, i, j, k)
                distance += weight * float(grid.nodes[row, 0])
                for x in range(3):
                    raw[x] += weight * float(grid.nodes[row, 1 + x])
    size = max(math.sqrt(raw[0] ** 2 + raw[1] ** 2 + raw[2] ** 2), 1e-3)
    for x in range(3):
        beyond = p[x] - (grid.lower[x] + (corner[x] + fraction[x]) * grid.step[x])
        distance += raw[x] / size * beyond
    return distance


@compiled()
def _share(fraction: float, corner: int) -> float:
    return fraction if corner else 1.0 - fraction


@compiled()
def _row(grid: GridNodes, corner: np.ndarray, i: int, j: int, k: int) -> int:
    row = (
        (int(corner[0]) + i) * grid.strides[0]
        + (int(corner[1]) + j) * grid.strides[1]
        + (int(corner[2]) + k) * grid.strides[2]
    )
    return min(row, len(grid.nodes) - 1)


@compiled()
def trilinear_back(
    grid: GridNodes,
    corner: np.ndarray,
    fraction: np.ndarray,
    inside: np.ndarray,
    raw: np.ndarray,
    by_distance: float,
    by_normal: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add to `out` (3,) the gradient by the point, from those by distance and by unit normal (3,)."""
    size = math.sqrt(raw[0] ** 2 + raw[1] ** 2 + raw[2] ** 2)
    divided = max(size, 1e-3)
    along = (raw[0] * by_normal[0] + raw[1] * by_normal[1] + raw[2] * by_normal[2]) / divided**2
    if size < 1e-3:
        along = 0.0
    a = np.empty(3)
    for x in range(3):
        a[x] = (by_normal[x] - raw[x] * along) / divided
    f = np.zeros(3)
    for i in range(2):
        for j in range(2):
            for k in range(2):
                node = grid.nodes[_row(grid, corner, i, j, k)]
                value = by_distance * float(node[0])
                value += a[0] * float(node[1]) + a[1] * float(node[2]) + a[2] * float(node[3])
                u, v, w = _share(fraction[0], i), _share(fraction[1], j), _share(fraction[2], k)
                f[0] += (2 * i - 1) * v * w * value
                f[1] += (2 * j - 1) * u * w * value
                f[2] += (2 * k - 1) * u * v * value
    for x in range(3):
        out[x] += f[x] / grid.step[x] * inside[x] + by_distance * raw[x] / divided * (1.0 - inside[x])


@compiled()
def rotate(R: np.ndarray, turn: np.ndarray) -> None:
    """exp(turn) R in place, by a unit quaternion."""
    half = 0.5 * math.sqrt(turn[0] ** 2 + turn[1] ** 2 + turn[2] ** 2)
    w = math.cos(half)
    scale = 0.5 * (math.sin(half) / half if half > 1e-9 else 1.0)
    a, b, c = scale * turn[0], scale * turn[1], scale * turn[2]
    for y in range(3):
        v0, v1, v2 = R[0, y], R[1, y], R[2, y]
        t0, t1, t2 = 2.0 * (b * v2 - c * v1), 2.0 * (c * v0 - a * v2), 2.0 * (a * v1 - b * v0)
        R[0, y] = v0 + w * t0 + (b * t2 - c * t1)
        R[1, y] = v1 + w * t1 + (c * t0 - a * t2)
        R[2, y] = v2 + w * t2 + (a * t1 - b * t0)


@compiled()
def joint_gradient(
    hands: Hands, h: int, Rs: np.ndarray, os: np.ndarray, force: np.ndarray, moment: np.ndarray, out: np.ndarray
) -> None:
    """Gradient (n,) by the joints into `out`, from the links' forces (L, 3) and moments (L, 3).

    Those are summed on the way down to the root's.
    """
    arm = np.empty(3)
    for j in range(len(out) - 1, -1, -1):  # from the tips to the root
        f, m, o, parent = force[j + 1], moment[j + 1], os[j + 1], hands.parent[h, j]
        arm[0] = m[0] - (o[1] * f[2] - o[2] * f[1])
        arm[1] = m[1] - (o[2] * f[0] - o[0] * f[2])
        arm[2] = m[2] - (o[0] * f[1] - o[1] * f[0])
        out[j] = 0.0
        for x in range(3):
            axis = 0.0
            for y in range(3):
                axis += Rs[j + 1, x, y] * hands.axis[h, j, y]
            out[j] += axis * arm[x]
            force[parent, x] += f[x]
            moment[parent, x] += m[x]
