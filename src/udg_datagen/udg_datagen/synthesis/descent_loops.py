"""The loops of `Descent` and of `pregrasp` on a CPU: compiled loops, one candidate after the other, in doubles.

The same energies as in `energies`, `wrench` and `near`, with their gradients written out; a test compares both. One
candidate's numbers stay in the processor's caches: a step takes some 20 us, in place of hundreds of calls for a batch.
The functions keep the interpreter's lock, as all that `compiled` makes.
"""

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
    rotate,
    trilinear,
    trilinear_back,
)
from udg_description.compiled import compiled

_PER_CM, _PER_CM2 = 1e2, 1e4
_BETA_1, _BETA_2 = 0.9, 0.99


class Surroundings(NamedTuple):
    """Object, table and reference."""

    grid: GridNodes
    up: np.ndarray  # (3,) away from the table
    offset: float  # [m] height of the origin above the table
    com: np.ndarray  # (3,) [m]
    targets: np.ndarray  # (J, 6) wrenches
    edges: np.ndarray  # (E, 3) of a friction pyramid
    near_R: np.ndarray  # (H, 3, 3); without a reference the weight below is 0
    near_origin: np.ndarray  # (H, 3) [m]
    near_q: np.ndarray  # (H, n) [rad]


class Settings(NamedTuple):
    """Numbers of `SynthesisConfig`."""

    steps: int
    qp_steps: int
    qp_every: int
    qp_iterations: int
    self_every: int
    hands_every: int
    contact_first: float
    contact_last: float
    penetration_first: float
    penetration_last: float
    table: float
    own: float
    hands: float
    pad: float
    pad_cosine: float
    wrench: float
    force_penalty: float
    wrench_scale: float
    retreat: float
    near: float
    near_rotation_m: float
    near_posture_m: float
    near_least_m: float
    near_least_rad: float
    lr_translation: float
    lr_rotation: float
    lr_joints: float


@compiled()
def _frame(normal: np.ndarray, reference: int, frame: np.ndarray) -> float:
    """Rows: inward normal and two tangents; the length of the first tangent before it is made a unit vector."""
    for x in range(3):
        frame[0, x] = -normal[x]
    along = frame[0, reference]
    for x in range(3):
        frame[1, x] = (1.0 if x == reference else 0.0) - along * frame[0, x]
    size = max(math.sqrt(frame[1, 0] ** 2 + frame[1, 1] ** 2 + frame[1, 2] ** 2), 1e-6)
    for x in range(3):
        frame[1, x] /= size
    u, t = frame[0], frame[1]
    frame[2, 0] = u[1] * t[2] - u[2] * t[1]
    frame[2, 1] = u[2] * t[0] - u[0] * t[2]
    frame[2, 2] = u[0] * t[1] - u[1] * t[0]
    return size


@compiled()
def _least_aligned(normal: np.ndarray) -> int:
    """The coordinate axis that is least along the normal, the first of equal ones."""
    best = 0
    for x in range(1, 3):
        if abs(normal[x]) < abs(normal[best]):
            best = x
    return best


@compiled()
def _lower_level(
    world: Surroundings,
    settings: Settings,
    frames: np.ndarray,
    arms: np.ndarray,
    edge_weights: np.ndarray,
    forces: np.ndarray,
) -> None:
    """Forces (J, C, 3) in the contact frames (C, 3, 3), rows; from edge weights (J, C * E), which are improved.

    See `wrench.solve_forces`; the products with A' A are done as two with A.
    """
    n_contacts, n_edges, n_targets = len(frames), len(world.edges), len(world.targets)
    width = n_contacts * n_edges
    A = np.empty((6, width))
    for c in range(n_contacts):
        for e in range(n_edges):
            f = np.zeros(3)
            for i in range(3):
                for x in range(3):
                    f[x] += world.edges[e, i] * frames[c, i, x]
            m = np.zeros(3)
            add_moment(arms[c], f, m)
            for x in range(3):
                A[x, c * n_edges + e] = f[x]
                A[3 + x, c * n_edges + e] = m[x] / settings.wrench_scale
    total = 0.0
    for i in range(6):
        for k in range(6):
            dot = 0.0
            for p in range(width):
                dot += A[i, p] * A[k, p]
            total += dot * dot
    rate = 1.0 / max(math.sqrt(total) + settings.force_penalty, 1e-6)
    old, y, new = np.empty(width), np.empty(width), np.empty(width)
    for target in range(n_targets):
        for p in range(width):
            old[p] = y[p] = edge_weights[target, p]
        t = 1.0
        for _ in range(settings.qp_iterations):
            for p in range(width):
                new[p] = (1.0 - rate * settings.force_penalty) * y[p]
            for i in range(6):
                lack = world.targets[target, i]
                for p in range(width):
                    lack -= A[i, p] * y[p]
                lack *= rate
                for p in range(width):
                    new[p] += lack * A[i, p]
            t_new = 0.5 * (1.0 + math.sqrt(1.0 + 4.0 * t * t))
            beyond = 1.0 + (t - 1.0) / t_new
            for p in range(width):
                new[p] = max(new[p], 0.0)
                y[p] = old[p] + beyond * (new[p] - old[p])
                old[p] = new[p]
            t = t_new
        for p in range(width):
            edge_weights[target, p] = old[p] if math.isfinite(old[p]) else 0.0
        for c in range(n_contacts):
            for i in range(3):
                forces[target, c, i] = 0.0
                for e in range(n_edges):
                    forces[target, c, i] += edge_weights[target, c * n_edges + e] * world.edges[e, i]


@compiled()
def gradient(
    hands: Hands,
    world: Surroundings,
    settings: Settings,
    k: int,
    center: np.ndarray,
    R: np.ndarray,
    q: np.ndarray,
    edge_weights: np.ndarray,
    forces: np.ndarray,
    references: np.ndarray,
    out: np.ndarray,
) -> None:
    """Gradient (H, 6 + n) of one candidate at step k into `out`: by shift, rotation about the grasp centre, joints.

    center (H, 3), R (H, 3, 3), q (H, n); edge_weights (J, C * E), forces (J, C, 3) and references (C,) are those of the
    lower level, which is solved anew every `qp_every` steps.
    """
    n_hands, n = q.shape
    progress = k / max(settings.steps - 1, 1)
    weight_contact = settings.contact_first * (settings.contact_last / settings.contact_first) ** progress
    weight_penetration = (
        settings.penetration_first * (settings.penetration_last / settings.penetration_first) ** progress
    )
    n_spheres = len(hands.sphere_link)
    Rs, os = np.empty((n_hands, n + 1, 3, 3)), np.empty((n_hands, n + 1, 3))
    force, moment = np.zeros((n_hands, n + 1, 3)), np.zeros((n_hands, n + 1, 3))
    points, by_points = np.empty((n_spheres, 3)), np.zeros((n_spheres, 3))
    normal, direction = np.empty(3), np.empty(3)
    for h in range(n_hands):
        forward(hands, h, center[h], R[h], q[h], Rs[h], os[h])
        rise = 0.0
        for x in range(3):
            direction[x] = R[h, x, 0] * hands.palm[h, 0] + R[h, x, 1] * hands.palm[h, 1] + R[h, x, 2] * hands.palm[h, 2]
            rise += direction[x] * world.up[x]
        drop, sunk = settings.retreat * max(rise, 0.0), 0.0
        for s in range(hands.sphere_begin[h], hands.sphere_begin[h + 1]):
            p = points[s]
            place(Rs[h], os[h], hands.sphere_link[s], hands.sphere_center[s], p)
            depth = hands.object_radius[s] - nearest(world.grid, p, normal)
            if not depth <= 0.0:
                slope = -2.0 * _PER_CM2 * weight_penetration * depth
                for x in range(3):
                    by_points[s, x] += slope * normal[x]
            height = world.up[0] * p[0] + world.up[1] * p[1] + world.up[2] * p[2] + world.offset
            depth = hands.table_radius[s] + drop - height
            if not depth <= 0.0:
                slope = 2.0 * _PER_CM2 * settings.table * depth
                sunk += slope
                for x in range(3):
                    by_points[s, x] -= slope * world.up[x]
        if rise > 0.0:
            for x in range(3):
                normal[x] = settings.retreat * sunk * world.up[x]
            add_moment(direction, normal, moment[h, 0])
    if k % settings.self_every == 0:
        weight = settings.own * settings.self_every
        for pair in range(len(hands.self_pairs)):
            a, b = hands.self_pairs[pair]
            _part(points, by_points, a, b, hands.sphere_radius[a] + hands.sphere_radius[b], weight)
    if n_hands == 2 and k % settings.hands_every == 0:
        weight = settings.hands * settings.hands_every
        middle = hands.sphere_begin[1]
        for a in range(middle):
            for b in range(middle, n_spheres):
                _part(points, by_points, a, b, hands.hands_radius[a] + hands.hands_radius[b], weight)
    for h in range(n_hands):
        for s in range(hands.sphere_begin[h], hands.sphere_begin[h + 1]):
            link = hands.sphere_link[s]
            push(points[s], by_points[s], force[h, link], moment[h, link])
    _add_contacts(hands, world, settings, k, weight_contact, Rs, os, edge_weights, forces, references, force, moment)
    for h in range(n_hands):
        joint_gradient(hands, h, Rs[h], os[h], force[h], moment[h], out[h, 6:])
        f, m, o = force[h, 0], moment[h, 0], center[h]
        for x in range(3):
            out[h, x] = f[x]
        out[h, 3] = m[0] - (o[1] * f[2] - o[2] * f[1])
        out[h, 4] = m[1] - (o[2] * f[0] - o[0] * f[2])
        out[h, 5] = m[2] - (o[0] * f[1] - o[1] * f[0])
        if settings.near > 0.0:
            _add_near(hands, world, settings, h, center[h], R[h], q[h], out[h])


@compiled()
def _part(points: np.ndarray, by_points: np.ndarray, a: int, b: int, reach: float, weight: float) -> None:
    """Push two spheres apart that are nearer than `reach` [m]."""
    x, y, z = points[a, 0] - points[b, 0], points[a, 1] - points[b, 1], points[a, 2] - points[b, 2]
    square = x * x + y * y + z * z
    if square >= reach * reach:
        return
    distance = math.sqrt(max(square, 1e-8))
    slope = -2.0 * _PER_CM2 * weight * (reach - distance) / distance
    by_points[a, 0] += slope * x
    by_points[a, 1] += slope * y
    by_points[a, 2] += slope * z
    by_points[b, 0] -= slope * x
    by_points[b, 1] -= slope * y
    by_points[b, 2] -= slope * z


@compiled()
def _add_contacts(
    hands: Hands,
    world: Surroundings,
    settings: Settings,
    k: int,
    weight_contact: float,
    Rs: np.ndarray,
    os: np.ndarray,
    edge_weights: np.ndarray,
    forces: np.ndarray,
    references: np.ndarray,
    force: np.ndarray,
    moment: np.ndarray,
) -> None:
    """Add the gradients of contact distance, pads and wrenches to the links' forces and moments."""
    n_contacts, n_targets = len(hands.contact_link), len(world.targets)
    shape = (n_contacts, 3)
    tips, pads, normals, raws = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape)
    corners, fractions, insides, arms = np.empty(shape), np.empty(shape), np.empty(shape), np.empty(shape)
    by_distance, by_tip, by_normal, by_pad = np.empty(n_contacts), np.zeros(shape), np.zeros(shape), np.zeros(shape)
    frames, sizes = np.empty((n_contacts, 3, 3)), np.empty(n_contacts)
    hand_of = np.zeros(n_contacts, dtype=np.int64)
    for h in range(len(hands.contact_begin) - 1):
        for c in range(hands.contact_begin[h], hands.contact_begin[h + 1]):
            hand_of[c] = h
            link = hands.contact_link[c]
            place(Rs[h], os[h], link, hands.contact_center[c], tips[c])
            for x in range(3):
                pads[c, x] = 0.0
                for y in range(3):
                    pads[c, x] += Rs[h, link, x, y] * hands.contact_axis[c, y]
            distance = trilinear(world.grid, tips[c], corners[c], fractions[c], insides[c], raws[c])
            size = max(math.sqrt(raws[c, 0] ** 2 + raws[c, 1] ** 2 + raws[c, 2] ** 2), 1e-3)
            sideways = settings.pad_cosine
            for x in range(3):
                normals[c, x] = raws[c, x] / size
                sideways += pads[c, x] * normals[c, x]
                arms[c, x] = tips[c, x] - hands.contact_radius[c] * normals[c, x] - world.com[x]
            by_distance[c] = 2.0 * weight_contact * _PER_CM2 * (distance - hands.contact_radius[c])
            if sideways > 0.0:
                for x in range(3):
                    by_pad[c, x] = 2.0 * settings.pad * sideways * normals[c, x]
                    by_normal[c, x] = 2.0 * settings.pad * sideways * pads[c, x]
    if k < settings.qp_steps:
        fresh = k % settings.qp_every == 0
        for c in range(n_contacts):
            if fresh:
                references[c] = _least_aligned(normals[c])
            sizes[c] = _frame(normals[c], references[c], frames[c])
        if fresh:
            _lower_level(world, settings, frames, arms, edge_weights, forces)
        by_arm, by_frame = np.zeros(shape), np.zeros((n_contacts, 3, 3))
        along, residual, m = np.empty(shape), np.empty(6), np.empty(3)
        for target in range(n_targets):
            for x in range(6):
                residual[x] = world.targets[target, x]
            for c in range(n_contacts):
                m[:] = 0.0
                for x in range(3):
                    along[c, x] = 0.0
                    for i in range(3):
                        along[c, x] += forces[target, c, i] * frames[c, i, x]
                    residual[x] -= along[c, x]
                add_moment(arms[c], along[c], m)
                for x in range(3):
                    residual[3 + x] -= m[x] / settings.wrench_scale
            f = -2.0 * settings.wrench * residual[:3]
            m = -2.0 * settings.wrench / settings.wrench_scale * residual[3:]
            for c in range(n_contacts):
                v, arm = along[c], arms[c]
                by_arm[c, 0] += v[1] * m[2] - v[2] * m[1]
                by_arm[c, 1] += v[2] * m[0] - v[0] * m[2]
                by_arm[c, 2] += v[0] * m[1] - v[1] * m[0]
                gx = f[0] + m[1] * arm[2] - m[2] * arm[1]
                gy = f[1] + m[2] * arm[0] - m[0] * arm[2]
                gz = f[2] + m[0] * arm[1] - m[1] * arm[0]
                for i in range(3):
                    by_frame[c, i, 0] += forces[target, c, i] * gx
                    by_frame[c, i, 1] += forces[target, c, i] * gy
                    by_frame[c, i, 2] += forces[target, c, i] * gz
        for c in range(n_contacts):
            _frame_back(frames[c], references[c], sizes[c], by_frame[c], by_normal[c])
            for x in range(3):
                by_tip[c, x] += by_arm[c, x]
                by_normal[c, x] -= hands.contact_radius[c] * by_arm[c, x]
    for c in range(n_contacts):
        trilinear_back(
            world.grid, corners[c], fractions[c], insides[c], raws[c], by_distance[c], by_normal[c], by_tip[c]
        )
        h, link = hand_of[c], hands.contact_link[c]
        push(tips[c], by_tip[c], force[h, link], moment[h, link])
        add_moment(pads[c], by_pad[c], moment[h, link])


@compiled()
def _frame_back(frame: np.ndarray, reference: int, size: float, by_frame: np.ndarray, by_normal: np.ndarray) -> None:
    """Add to `by_normal` (3,) the gradient by the normal, from that by the frame's rows (3, 3), which is changed."""
    u, t, b = frame[0], frame[1], by_frame[2]
    by_u, by_t = by_frame[0], by_frame[1]
    add_moment(t, b, by_u)
    add_moment(b, u, by_t)
    along = t[0] * by_t[0] + t[1] * by_t[1] + t[2] * by_t[2]
    dot = 0.0
    for x in range(3):
        by_t[x] = (by_t[x] - t[x] * along) / size
        dot += u[x] * by_t[x]
    for x in range(3):
        by_u[x] -= u[reference] * by_t[x]
    by_u[reference] -= dot
    for x in range(3):
        by_normal[x] -= by_u[x]


@compiled()
def _add_near(
    hands: Hands,
    world: Surroundings,
    settings: Settings,
    h: int,
    center: np.ndarray,
    R: np.ndarray,
    q: np.ndarray,
    out: np.ndarray,
) -> None:
    """Add the gradient of the distance from the reference to `out` (6 + n,). See `near.Nearness`."""
    n = len(q)
    lever, force, moment, axis = np.zeros(3), np.empty(3), np.empty(3), np.zeros(3)
    for x in range(3):
        for y in range(3):
            lever[x] += R[x, y] * hands.grasp_center[h, y]
        force[x] = center[x] - lever[x] - world.near_origin[h, x]
    for y in range(3):
        add_moment(world.near_R[h, :, y], R[:, y], axis)  # 2 sin(angle) along the axis of R near_R'
    shift = max(math.sqrt(force[0] ** 2 + force[1] ** 2 + force[2] ** 2), settings.near_least_m)
    angle = max(math.sqrt(axis[0] ** 2 + axis[1] ** 2 + axis[2] ** 2), settings.near_least_rad)
    for x in range(3):
        force[x] *= settings.near / shift
        moment[x] = settings.near * settings.near_rotation_m * axis[x] / angle
        out[x] += force[x]
    out[3] += moment[0] - (lever[1] * force[2] - lever[2] * force[1])
    out[4] += moment[1] - (lever[2] * force[0] - lever[0] * force[2])
    out[5] += moment[2] - (lever[0] * force[1] - lever[1] * force[0])
    square = 0.0
    for j in range(n):
        square += (q[j] - world.near_q[h, j]) ** 2
    size = max(math.sqrt(square / n), settings.near_least_rad)
    for j in range(n):
        out[6 + j] += settings.near * settings.near_posture_m * (q[j] - world.near_q[h, j]) / (n * size)


@compiled()
def descend(
    hands: Hands,
    world: Surroundings,
    settings: Settings,
    begin: int,
    end: int,
    center: np.ndarray,
    R: np.ndarray,
    q: np.ndarray,
    first: np.ndarray,
    second: np.ndarray,
    alive: np.ndarray,
) -> None:
    """Steps `begin` to `end` of all candidates, in place: center (B, H, 3), R (B, H, 3, 3), q (B, H, n), the means of
    gradients and of their squares (B, H, 6 + n), and whether all gradients were finite (B,)."""
    n_hands, n = q.shape[1], q.shape[2]
    n_targets, width = len(world.targets), len(hands.contact_link) * len(world.edges)
    g, turn = np.empty((n_hands, 6 + n)), np.empty(3)
    for candidate in range(len(q)):
        edge_weights = np.zeros((n_targets, width))
        forces = np.zeros((n_targets, len(hands.contact_link), 3))
        references = np.zeros(len(hands.contact_link), dtype=np.int64)
        c, r, joints = center[candidate], R[candidate], q[candidate]
        m, v = first[candidate], second[candidate]
        for k in range(begin, end):
            gradient(hands, world, settings, k, c, r, joints, edge_weights, forces, references, g)
            if not np.isfinite(g).all():
                alive[candidate] = False
                g[:] = 0.0
            progress = k / max(settings.steps - 1, 1)
            pace = 0.5 * (1.0 + math.cos(math.pi * progress)) * 0.98 + 0.02
            lean, spread = 1.0 - _BETA_1 ** (k + 1), 1.0 - _BETA_2 ** (k + 1)
            for h in range(n_hands):
                for i in range(6 + n):
                    m[h, i] = _BETA_1 * m[h, i] + (1.0 - _BETA_1) * g[h, i]
                    v[h, i] = _BETA_2 * v[h, i] + (1.0 - _BETA_2) * g[h, i] ** 2
                    step = pace * (m[h, i] / lean) / (math.sqrt(v[h, i] / spread) + 1e-8)
                    if i < 3:
                        c[h, i] -= settings.lr_translation * step
                    elif i < 6:
                        turn[i - 3] = -settings.lr_rotation * step
                    else:
                        to = joints[h, i - 6] - settings.lr_joints * step
                        joints[h, i - 6] = min(max(to, hands.lower[h, i - 6]), hands.upper[h, i - 6])
                rotate(r[h], turn)


class Opening(NamedTuple):
    """How a hand is opened; K places on the way, S spheres."""

    steps: int
    rate: float  # [rad] of the first step
    hold: float  # weight of staying near the grasp, against cm^2
    retreats: np.ndarray  # (K,) [m] back along the palm normal
    wanted: np.ndarray  # (K, S) distance of the spheres' centres from the object [m]
    table_radius: np.ndarray  # (S,) of the spheres' centres from the table [m]
    up: np.ndarray  # (3,) away from the table
    offset: float  # [m] height of the object's origin above the table
    shares: np.ndarray  # of the opening that are tried, widest first


@compiled()
def open_hands(
    hands: Hands,
    grid: GridNodes,
    opening: Opening,
    center: np.ndarray,
    R: np.ndarray,
    q_grasp: np.ndarray,
    q_open: np.ndarray,
    clearance: np.ndarray,
) -> None:
    """Joints (B, n) of the first of the hands when it is open, for grasp centres (B, 3), rotations (B, 3, 3) and joints
    at the grasp (B, n), into `q_open`; the smallest distance (B,) [m] of a sphere from the object into `clearance`."""
    n, n_spheres = q_grasp.shape[1], len(hands.sphere_link)
    Rs, os = np.empty((n + 1, 3, 3)), np.empty((n + 1, 3))
    points = np.empty((n_spheres, 3))
    force, moment = np.empty((n + 1, 3)), np.empty((n + 1, 3))
    here, normal, g, palm = np.empty(3), np.empty(3), np.empty(3), np.empty(3)
    first, second, q, turn = np.empty(n), np.empty(n), np.empty(n), np.empty(3)
    for candidate in range(len(q_grasp)):
        grasp = q_grasp[candidate]
        for x in range(3):
            palm[x] = 0.0
            for y in range(3):
                palm[x] += R[candidate, x, y] * hands.palm[0, y]
        q[:] = grasp
        first[:] = 0.0
        second[:] = 0.0
        for k in range(opening.steps):
            force[:] = 0.0
            moment[:] = 0.0
            forward(hands, 0, center[candidate], R[candidate], q, Rs, os)
            for s in range(n_spheres):
                p, link = points[s], hands.sphere_link[s]
                place(Rs, os, link, hands.sphere_center[s], p)
                height = opening.up[0] * p[0] + opening.up[1] * p[1] + opening.up[2] * p[2] + opening.offset
                sunk = _PER_CM * max(opening.table_radius[s] - height, 0.0)
                for x in range(3):
                    g[x] = -2.0 * sunk * opening.up[x]
                for r in range(len(opening.retreats)):
                    for x in range(3):
                        here[x] = p[x] - opening.retreats[r] * palm[x]
                    depth = _PER_CM * (opening.wanted[r, s] - nearest(grid, here, normal))
                    if depth > 0.0:
                        for x in range(3):
                            g[x] -= 2.0 * depth * normal[x]
                push(p, g, force[link], moment[link])
            lean, spread = 1.0 - 0.8 ** (k + 1), 1.0 - 0.95 ** (k + 1)
            rate = opening.rate * (1.0 - 0.9 * k / opening.steps)
            for j in range(n - 1, -1, -1):  # from the tips to the root
                f, m, o, parent = force[j + 1], moment[j + 1], os[j + 1], hands.parent[0, j]
                turn[0] = m[0] - (o[1] * f[2] - o[2] * f[1])
                turn[1] = m[1] - (o[2] * f[0] - o[0] * f[2])
                turn[2] = m[2] - (o[0] * f[1] - o[1] * f[0])
                slope = opening.hold * (q[j] - grasp[j])
                for x in range(3):
                    force[parent, x] += f[x]
                    moment[parent, x] += m[x]
                    for y in range(3):
                        slope += Rs[j + 1, x, y] * hands.axis[0, j, y] * turn[x]
                first[j] = 0.8 * first[j] + 0.2 * slope
                second[j] = 0.95 * second[j] + 0.05 * slope**2
                to = q[j] - rate * (first[j] / lean) / (math.sqrt(second[j] / spread) + 1e-4)
                q[j] = min(max(to, hands.lower[0, j]), hands.upper[0, j])
        # The descent overshoots: go back along the straight line to the grasp as far as the clearance allows.
        best = q_open[candidate]
        best[:] = q
        enough, room = _look(hands, grid, opening, center[candidate], R[candidate], palm, q, Rs, os)
        clearance[candidate] = room
        for share in opening.shares:
            for j in range(n):
                first[j] = grasp[j] + share * (q[j] - grasp[j])
            missing, room = _look(hands, grid, opening, center[candidate], R[candidate], palm, first, Rs, os)
            if missing <= enough + 1e-4:
                best[:] = first
                clearance[candidate] = room


@compiled()
def _look(
    hands: Hands,
    grid: GridNodes,
    opening: Opening,
    center: np.ndarray,
    R: np.ndarray,
    palm: np.ndarray,
    q: np.ndarray,
    Rs: np.ndarray,
    os: np.ndarray,
) -> tuple[float, float]:
    """Largest lack of clearance, zero if all is met, and smallest distance of a sphere from the object [m]."""
    point, here, normal = np.empty(3), np.empty(3), np.empty(3)
    forward(hands, 0, center, R, q, Rs, os)
    missing, room = 0.0, np.inf
    for s in range(len(hands.sphere_link)):
        place(Rs, os, hands.sphere_link[s], hands.sphere_center[s], point)
        for r in range(len(opening.retreats)):
            for x in range(3):
                here[x] = point[x] - opening.retreats[r] * palm[x]
            distance = nearest(grid, here, normal)
            missing = max(missing, opening.wanted[r, s] - distance)
            room = min(room, distance - hands.sphere_radius[s])
    return missing, room
