"""Hollow and bent shapes whose convex parts are known: vessels, rings and bars along a curve.

They need no convex decomposition: each wall element between two meridians (or two links) is convex and is a part.
"""

from collections.abc import Sequence

import numpy as np
import trimesh

from udg_sim.geometry import shapes
from udg_sim.geometry.shapes import Shape


def wall_shell(
    outer: Sequence[tuple[float, float]], wall: float, base: float, segments: int = 20, turn: float = 0.0
) -> Shape:
    """Open vessel with the outer profile [(radius, z), ...] (rising z), walls of `wall`, a bottom of `base`.

    With few `segments` the vessel is many-sided. `turn` [rad] turns it about z.
    """
    line = np.asarray(outer, dtype=float)
    assert np.all(np.diff(line[:, 1]) > 0) and wall > 0 and base > 0
    inner = _offset(line, wall, base)
    outline = [(0.0, line[0, 1]), *map(tuple, line), *map(tuple, inner[::-1]), (0.0, inner[0, 1])]
    mesh = shapes.hollow_lathe(outline, segments).mesh
    angle = 2 * np.pi * np.arange(segments + 1) / segments
    around = np.column_stack([np.cos(angle), np.sin(angle)])
    bottom = np.concatenate([_ring(around[:-1], line[0]), _ring(around[:-1], inner[0])])
    parts = [shapes.convex(bottom).mesh]
    for i in range(len(line) - 1):
        corners = (line[i], line[i + 1], inner[i + 1], inner[i])
        for k in range(segments):
            parts.append(shapes.convex(np.concatenate([_ring(around[k : k + 2], c) for c in corners])).mesh)
    shape = Shape(mesh, tuple(parts))
    return shape if turn == 0 else shapes.moved(shape, angle=turn)


def _offset(line: np.ndarray, wall: float, base: float) -> np.ndarray:
    """The profile moved inwards by `wall`, from the height of the bottom to that of the rim."""
    step = np.diff(line, axis=0)
    step /= np.linalg.norm(step, axis=1, keepdims=True)
    along = np.vstack([step[:1], step[:-1] + step[1:], step[-1:]])
    along /= np.linalg.norm(along, axis=1, keepdims=True)
    inner = line + wall * np.column_stack([-along[:, 1], along[:, 0]])
    low, top = line[0, 1] + base, line[-1, 1]
    radius_low = np.interp(low, inner[:, 1], inner[:, 0])
    kept = [(radius_low, low)]
    for radius, z in inner[1:-1]:
        z = max(z, kept[-1][1] + 0.02 * (top - low))
        kept.append((max(radius, 0.05 * line[:, 0].max()), min(z, top - 0.01 * (top - low))))
    kept.append((line[-1, 0] - wall, top))
    return np.array(kept)


def _ring(around: np.ndarray, corner: np.ndarray) -> np.ndarray:
    radius, z = corner
    return np.column_stack([radius * around, np.full(len(around), z)])


def ring_of(section: np.ndarray, segments: int = 20) -> Shape:
    """Ring around z whose cross-section is the convex polygon `section` (N, 2) of (radius > 0, z), anticlockwise."""
    section = np.asarray(section, dtype=float)
    angle = 2 * np.pi * np.arange(segments) / segments
    rings = np.stack(
        [np.column_stack([section[:, 0] * np.cos(a), section[:, 0] * np.sin(a), section[:, 1]]) for a in angle]
    )
    return _links(rings, closed=True)


def bent_bar(path: np.ndarray, radii: np.ndarray, sides: int = 10, flatten: float = 1.0) -> Shape:
    """Bar along the curve `path` (K, 3) in the x-z plane with a radius (K,) at each point; `flatten` scales it in y."""
    path = np.asarray(path, dtype=float)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True)
    across = np.array([0.0, 1.0, 0.0])
    up = np.cross(tangent, across)
    angle = 2 * np.pi * np.arange(sides) / sides
    rings = np.stack(
        [
            p + r * (np.cos(angle)[:, None] * u + flatten * np.sin(angle)[:, None] * across)
            for p, r, u in zip(path, radii, up, strict=True)
        ]
    )
    return _links(rings, closed=False)


def _links(rings: np.ndarray, closed: bool) -> Shape:
    """Solid through the cross-sections (K, N, 3); its parts are the hulls of neighbouring cross-sections."""
    count, sides = rings.shape[:2]
    pairs = [(k, (k + 1) % count) for k in range(count if closed else count - 1)]
    faces = []
    for a, b in pairs:
        for i in range(sides):
            j = (i + 1) % sides
            faces += [(a * sides + i, b * sides + i, b * sides + j), (a * sides + i, b * sides + j, a * sides + j)]
    if not closed:
        last = (count - 1) * sides
        faces += [(0, i, i + 1) for i in range(1, sides - 1)]
        faces += [(last, last + i + 1, last + i) for i in range(1, sides - 1)]
    mesh = trimesh.Trimesh(rings.reshape(-1, 3), np.array(faces), process=False)
    mesh.fix_normals()
    if mesh.volume < 0:
        mesh.invert()
    return Shape(mesh, tuple(shapes.convex(np.concatenate([rings[a], rings[b]])).mesh for a, b in pairs))


def circle(radius: float, sides: int, centre: tuple[float, float] = (0.0, 0.0), turn: float = 0.0) -> np.ndarray:
    """(sides, 2) corners of a regular polygon, anticlockwise."""
    angle = turn + 2 * np.pi * np.arange(sides) / sides
    return np.asarray(centre) + radius * np.column_stack([np.cos(angle), np.sin(angle)])


def extrude(polygon: np.ndarray, height: float) -> Shape:
    """Upright convex prism over the hull of `polygon` (N, 2), from z = 0."""
    flat = np.zeros(len(polygon))
    return shapes.convex(np.concatenate([np.column_stack([polygon, flat]), np.column_stack([polygon, flat + height])]))


def placed(x: float, y: float, z: float, at: tuple[float, float, float]) -> Shape:
    """Box of the size x, y, z whose centre is at `at`."""
    return shapes.moved(shapes.box(x, y, z), x=at[0], y=at[1], z=at[2])


def arc(radius: float, start: float, stop: float, count: int) -> np.ndarray:
    """(count, 3) points of an arc about the origin in the x-z plane, angles from x towards z [rad]."""
    angle = np.linspace(start, stop, count)
    return np.column_stack([radius * np.cos(angle), np.zeros(count), radius * np.sin(angle)])


def scaled(shape: Shape, factor: float) -> Shape:
    """The shape times `factor`."""
    mesh = shape.mesh.copy().apply_scale(factor)
    parts = None if shape.parts is None else tuple(p.copy().apply_scale(factor) for p in shape.parts)
    return Shape(mesh, parts)


def stretched(shape: Shape, x: float, y: float, z: float) -> Shape:
    """The shape with each axis scaled."""
    T = np.diag([x, y, z, 1.0])
    mesh = shape.mesh.copy().apply_transform(T)
    parts = None if shape.parts is None else tuple(p.copy().apply_transform(T) for p in shape.parts)
    return Shape(mesh, parts)
