"""Parametric watertight shapes: solids of revolution, boxes, superquadrics and their unions.

All lengths are metres, z is up in the usual pose. Curved convex shapes have at most 250 faces and vertices, because
that is what the physics engine takes as one convex mesh: the mesh that is seen is the mesh that is touched.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import trimesh

SEGMENTS = 32
"""Meridians of a solid of revolution."""


class Shape(NamedTuple):
    """A mesh and, where the construction knows them, convex parts whose union it is (None: to be decomposed)."""

    mesh: trimesh.Trimesh
    parts: tuple[trimesh.Trimesh, ...] | None


def _hull(points: np.ndarray) -> trimesh.Trimesh:
    return trimesh.Trimesh(vertices=points, process=False).convex_hull


def convex(points: np.ndarray) -> Shape:
    """Convex hull of `points` (N, 3)."""
    mesh = _hull(np.asarray(points, dtype=float))
    return Shape(mesh, (mesh,))


def _ring(radius: float, z: float, segments: int) -> np.ndarray:
    angle = 2 * np.pi * np.arange(segments) / segments
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), np.full(segments, z)])


def solid_lathe(profile: Sequence[tuple[float, float]], segments: int = SEGMENTS) -> Shape:
    """Solid of revolution of the polyline `profile` [(radius, z), ...] with rising z, closed by flat ends.

    Its convex parts are exact: the profile is cut where it is concave.
    """
    radius, z = np.asarray(profile, dtype=float).T
    assert np.all(np.diff(z) >= 0) and np.all(radius >= 0)
    mesh = hollow_lathe([(0.0, z[0]), *profile, (0.0, z[-1])], segments).mesh
    parts, start = [], 0
    while start < len(z) - 1:
        stop = start + 1
        while stop < len(z) - 1 and _is_concave(radius[start : stop + 2], z[start : stop + 2]):
            stop += 1
        rings = [_ring(radius[i], z[i], segments) for i in range(start, stop + 1)]
        if z[stop] > z[start]:
            parts.append(_hull(np.concatenate(rings)))
        start = stop
    return Shape(mesh, tuple(parts))


def _is_concave(radius: np.ndarray, z: np.ndarray) -> bool:
    """Whether the solid under the profile turns only inward (convex solid) at every inner point of the profile."""
    dr, dz = np.diff(radius), np.diff(z)
    turn = dr[:-1] * dz[1:] - dz[:-1] * dr[1:]
    return bool(np.all(turn >= -1e-12))


def hollow_lathe(outline: Sequence[tuple[float, float]], segments: int = SEGMENTS) -> Shape:
    """Solid between the axis and a free outline [(radius, z), ...] that begins and ends on the axis (radius 0)."""
    line = [(0.0 if r < 1e-9 else float(r), float(z)) for r, z in outline]
    kept = [line[0]] + [b for a, b in zip(line[:-1], line[1:], strict=True) if a != b]
    mesh = trimesh.creation.revolve(np.array(kept), sections=segments)
    mesh.merge_vertices()
    mesh.update_faces(mesh.nondegenerate_faces())
    mesh.remove_unreferenced_vertices()
    if mesh.volume < 0:
        mesh.invert()
    return Shape(mesh, None)


def vessel(outer: Sequence[tuple[float, float]], wall: float, base: float, segments: int = SEGMENTS) -> Shape:
    """Open container with the outer profile [(radius, z), ...] (rising z) and walls of `wall`, bottom of `base`."""
    radius, z = np.asarray(outer, dtype=float).T
    inner_z = np.linspace(z[0] + base, z[-1], len(z))
    inner_radius = np.interp(inner_z, z, radius) - wall
    inner = list(zip(inner_radius[::-1], inner_z[::-1], strict=True))
    return hollow_lathe([(0.0, z[0]), *outer, *inner, (0.0, inner_z[0])], segments)


def bowl(radius: float, depth: float, wall: float, foot: float, rings: int = 7, segments: int = SEGMENTS) -> Shape:
    """Thin bowl: a spherical-cap-like shell of rim `radius`, `depth` and `wall`, with a flat foot of radius `foot`."""
    start = np.arcsin(foot / radius)
    angle = np.linspace(start, np.pi / 2, rings)
    z = depth * (np.cos(start) - np.cos(angle)) / np.cos(start)
    outer = list(zip(radius * np.sin(angle), z, strict=True))
    inner_z = wall + (depth - wall) * z / depth
    inner = list(zip(radius * np.sin(angle) - wall, inner_z, strict=True))[::-1]
    return hollow_lathe([(0.0, 0.0), *outer, *inner, (0.0, wall)], segments)


def cylinder(radius: float, height: float, chamfer: float = 0.0) -> Shape:
    """Upright cylinder, both rims chamfered by `chamfer`."""
    if chamfer <= 0:
        return solid_lathe([(radius, 0.0), (radius, height)])
    rim = radius - chamfer
    return solid_lathe([(rim, 0.0), (radius, chamfer), (radius, height - chamfer), (rim, height)])


def box(x: float, y: float, z: float) -> Shape:
    """Box with sharp edges."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    return convex(signs * np.array([x, y, z]) / 2)


def rounded_box(x: float, y: float, z: float, round_: float) -> Shape:
    """Box whose edges are bevelled with radius `round_` (two facets an edge)."""
    signs = np.array(np.meshgrid([-1, 1], [-1, 1], [-1, 1])).reshape(3, -1).T
    core = np.array([x, y, z]) / 2 - round_
    diagonal = np.sqrt(0.5)
    directions = np.array(
        [[1, 0, 0], [0, 1, 0], [0, 0, 1], [diagonal, diagonal, 0], [diagonal, 0, diagonal], [0, diagonal, diagonal]]
    )
    return convex(np.concatenate([s * (core + round_ * d) for s in signs for d in directions]).reshape(-1, 3))


def sphere_directions(count: int) -> np.ndarray:
    """(count, 3) unit vectors spread evenly over the sphere (Fibonacci spiral)."""
    k = np.arange(count) + 0.5
    z = 1 - 2 * k / count
    azimuth = np.pi * (1 + np.sqrt(5)) * k
    r = np.sqrt(1 - z**2)
    return np.column_stack([r * np.cos(azimuth), r * np.sin(azimuth), z])


def sphere(radius: float) -> Shape:
    """Ball as a polyhedron of about 250 faces with the volume of the true ball."""
    mesh = _hull(sphere_directions(126))
    mesh.apply_scale(radius * (4 / 3 * np.pi / mesh.volume) ** (1 / 3))
    return Shape(mesh, (mesh,))


def ellipsoid(x: float, y: float, z: float) -> Shape:
    """Ellipsoid with the full axes x, y, z."""
    mesh = sphere(0.5).mesh
    mesh.apply_transform(np.diag([x, y, z, 1.0]))
    return Shape(mesh, (mesh,))


def capsule(radius: float, length: float) -> Shape:
    """Upright capsule of total `length`."""
    angle = np.linspace(0, np.pi / 2, 4)[:-1]
    cap = [(radius * np.cos(a), radius * np.sin(a)) for a in angle] + [(0.12 * radius, 0.985 * radius)]
    straight = length - 2 * radius
    lower = [(r, radius - z) for r, z in reversed(cap)]
    upper = [(r, radius + straight + z) for r, z in cap]
    return solid_lathe(lower + upper, segments=24)


def superquadric(x: float, y: float, z: float, power_z: float, power_xy: float) -> Shape:
    """Superellipsoid with full axes x, y, z; powers 1 give an ellipsoid, -> 0 a box (convex for powers <= 2)."""

    def signed_power(value: np.ndarray, power: float) -> np.ndarray:
        return np.sign(value) * np.abs(value) ** power

    d = sphere_directions(124)
    latitude, longitude = np.arcsin(np.clip(d[:, 2], -1, 1)), np.arctan2(d[:, 1], d[:, 0])
    points = 0.5 * np.column_stack(
        [
            x * signed_power(np.cos(latitude), power_z) * signed_power(np.cos(longitude), power_xy),
            y * signed_power(np.cos(latitude), power_z) * signed_power(np.sin(longitude), power_xy),
            z * signed_power(np.sin(latitude), power_z),
        ]
    )
    return convex(points)


def prism(corners: int, radius: float, height: float, inner: float | None = None) -> Shape:
    """Upright prism over a regular polygon; with `inner` radius: over a star of that many points."""
    if inner is None:
        return solid_lathe([(radius, 0.0), (radius, height)], segments=corners)
    angle = np.pi * np.arange(2 * corners) / corners
    reach = np.where(np.arange(2 * corners) % 2 == 0, radius, inner)
    rim = np.column_stack([reach * np.cos(angle), reach * np.sin(angle)])
    hub = _extrude(rim[1::2], height)
    points = [_extrude(np.stack([rim[i - 1], rim[i], rim[(i + 1) % len(rim)]]), height) for i in range(0, len(rim), 2)]
    return union([Shape(part, (part,)) for part in [hub, *points]])


def _extrude(polygon: np.ndarray, height: float) -> trimesh.Trimesh:
    """Upright convex prism over the convex `polygon` (N, 2)."""
    flat = np.zeros(len(polygon))
    return _hull(np.concatenate([np.column_stack([polygon, flat]), np.column_stack([polygon, flat + height])]))


def torus(major: float, minor: float) -> Shape:
    """Lying ring with the radius `major` of its centre line and `minor` of its tube."""
    mesh = trimesh.creation.torus(major, minor, major_sections=24, minor_sections=12)
    return Shape(mesh, None)


def tube(outer: float, inner: float, height: float, corners: int = SEGMENTS) -> Shape:
    """Upright tube; with few `corners` and a small hole: a nut."""
    body = solid_lathe([(outer, 0.0), (outer, height)], segments=corners).mesh
    hole = solid_lathe([(inner, -0.01), (inner, height + 0.01)]).mesh
    return Shape(trimesh.boolean.difference([body, hole], engine="manifold"), None)


def open_box(x: float, y: float, z: float, wall: float, base: float) -> Shape:
    """Box without lid, upright; its parts are the bottom and the four walls."""
    bottom = moved(box(x, y, base), z=base / 2)
    front = box(wall, y, z)
    side = box(x, wall, z)
    return union(
        [
            bottom,
            moved(front, x=(x - wall) / 2, z=z / 2),
            moved(front, x=(wall - x) / 2, z=z / 2),
            moved(side, y=(y - wall) / 2, z=z / 2),
            moved(side, y=(wall - y) / 2, z=z / 2),
        ]
    )


def moved(
    shape: Shape, *, x: float = 0.0, y: float = 0.0, z: float = 0.0, axis: str = "z", angle: float = 0.0
) -> Shape:
    """The shape turned by `angle` [rad] about a coordinate axis through the origin, then shifted."""
    T = trimesh.transformations.rotation_matrix(angle, {"x": [1, 0, 0], "y": [0, 1, 0], "z": [0, 0, 1]}[axis])
    T[:3, 3] = [x, y, z]
    mesh = shape.mesh.copy().apply_transform(T)
    parts = None if shape.parts is None else tuple(p.copy().apply_transform(T) for p in shape.parts)
    return Shape(mesh, parts)


def union(shapes: Sequence[Shape]) -> Shape:
    """Boolean union; the convex parts are those of the members (unknown if one member's are unknown)."""
    mesh = trimesh.boolean.union([s.mesh for s in shapes], engine="manifold")
    if any(s.parts is None for s in shapes):
        return Shape(mesh, None)
    return Shape(mesh, tuple(part for s in shapes for part in s.parts or ()))


def arc_handle(radius: float, thickness: float, span: float = np.pi, links: int = 6) -> Shape:
    """Handle: a bent bar in the x-z plane, open towards -x, bar thickness `thickness`, made of convex links."""
    angle = np.linspace(-span / 2, span / 2, links + 1)
    depths = (-thickness / 2, thickness / 2)
    widths = (-0.6 * thickness, 0.6 * thickness)
    rim = []
    for a in angle:
        out = np.array([np.cos(a), 0.0, np.sin(a)])
        rim.append([out * (radius + i) + [0.0, j, 0.0] for i in depths for j in widths])
    parts = [convex(np.array(a + b)) for a, b in zip(rim[:-1], rim[1:], strict=True)]
    return union(parts)
