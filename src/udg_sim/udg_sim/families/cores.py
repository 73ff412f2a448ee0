"""Bodies that a composition starts from: solids, shells, slabs, frames and bars, all with exact convex parts.

Relative units: the longest edge is about 1, z is up, the centre of the footprint near the z axis.
"""

from collections.abc import Callable

import numpy as np
import trimesh

from udg_sim.families.draw import Draw
from udg_sim.geometry import shapes
from udg_sim.geometry.forms import circle, extrude, placed, ring_of, wall_shell
from udg_sim.geometry.shapes import Shape


def rod(path: np.ndarray, radius: float | np.ndarray, sides: int = 8, flat: float = 1.0) -> Shape:
    """Bar along the corners `path` (K, 3) with a radius (or (K,) radii); `flat` scales its height."""
    path = np.asarray(path, dtype=float)
    radii = np.broadcast_to(radius, len(path))
    links = []
    for k in range(len(path) - 1):
        along = path[k + 1] - path[k]
        along /= np.linalg.norm(along)
        aside = np.cross([0.0, 0.0, 1.0] if abs(along[2]) < 0.9 else [0.0, 1.0, 0.0], along)
        aside /= np.linalg.norm(aside)
        ring = circle(1.0, sides, turn=np.pi / sides) @ np.stack([aside, flat * np.cross(along, aside)])
        before, after = (0.5 * radii[k + i] * (0 < k + i < len(path) - 1) for i in (0, 1))  # corners overlap
        ends = (path[k] - before * along + radii[k] * ring, path[k + 1] + after * along + radii[k + 1] * ring)
        links.append(shapes.convex(np.concatenate(ends)))
    return shapes.union(links)


def joined(members: list[Shape]) -> Shape:
    """Boolean union without the specks of no volume that faces in one plane leave."""
    whole = shapes.union(members)
    if whole.mesh.body_count == 1:
        return whole
    faces = trimesh.graph.connected_components(whole.mesh.face_adjacency, nodes=np.arange(len(whole.mesh.faces)))
    pieces = [whole.mesh.submesh([piece], append=True, repair=False) for piece in faces]
    pieces = [piece for piece in pieces if _volume(piece) > 1e-7 * whole.mesh.volume]
    return Shape(trimesh.util.concatenate(pieces), whole.parts)


def _volume(mesh: trimesh.Trimesh) -> float:
    a, b, c = np.moveaxis(mesh.triangles, 1, 0)
    return float((np.cross(a, b) * c).sum() / 6)  # trimesh's own divides by it


def lying(shape: Shape) -> Shape:
    """The shape with its z axis turned to x."""
    return shapes.moved(shape, axis="y", angle=np.pi / 2)


def superquadric(d: Draw) -> Shape:
    """Cushion, lens, drum or rounded block."""
    y, z = d.uniform("y", 0.3, 1.0), d.uniform("z", 0.2, 0.8)
    return shapes.superquadric(1.0, y, z, d.uniform("power z", 0.15, 1.2), d.uniform("power xy", 0.15, 1.1))


def turned(d: Draw) -> Shape:
    """Solid of revolution with a drawn profile, upright or lying."""
    knots, height = d.integer("knots", 3, 5), d.uniform("height", 0.4, 1.0)
    wide = min(0.5, d.uniform("wide", 0.2, 0.55))
    line = [(wide * d.uniform(f"radius {k}", 0.45, 1.0), height * k / (knots - 1)) for k in range(knots)]
    solid = shapes.solid_lathe(line, segments=d.choice("sides", (20, 20, 16, 8, 6)))
    return lying(solid) if d.chance("lying", 0.3) else solid


def block(d: Draw) -> Shape:
    """Box, sharp or rounded, or with sloping sides."""
    y, z = d.uniform("y", 0.3, 1.0), d.uniform("z", 0.25, 0.8)
    kind = d.choice("kind", ("sharp", "rounded", "sloping"))
    if kind == "sharp":
        return shapes.box(1.0, y, z)
    if kind == "rounded":
        return shapes.rounded_box(1.0, y, z, d.uniform("round", 0.1, 0.3) * min(y, z))
    top = [d.uniform("top x", 0.45, 0.95), y * d.uniform("top y", 0.6, 1.0)]
    shift = d.uniform("shift", -0.4, 0.4) * (1.0 - top[0])
    square = np.array([[-0.5, -0.5], [0.5, -0.5], [0.5, 0.5], [-0.5, 0.5]])
    below, above = square * [1.0, y], square * top + [shift, 0.0]
    return shapes.convex(np.vstack([np.insert(below, 2, -z / 2, axis=1), np.insert(above, 2, z / 2, axis=1)]))


def profile(d: Draw) -> Shape:
    """Extrusion of an L, U, T, H, plus or stepped cross-section, upright or lying."""
    y, high = d.uniform("y", 0.4, 1.0), d.uniform("high", 0.2, 0.9)
    t, s = d.uniform("t", 0.14, 0.3), d.uniform("s", 0.14, 0.3) * y
    bars = {  # (x size, y size, x centre, y centre)
        "L": [(1.0, s, 0.0, (s - y) / 2), (t, y, (t - 1) / 2, 0.0)],
        "U": [(1.0, s, 0.0, (s - y) / 2), (t, y, (t - 1) / 2, 0.0), (t, y, (1 - t) / 2, 0.0)],
        "T": [(1.0, s, 0.0, (y - s) / 2), (t, y, 0.0, 0.0)],
        "H": [(1.0, s, 0.0, 0.0), (t, y, (t - 1) / 2, 0.0), (t, y, (1 - t) / 2, 0.0)],
        "plus": [(1.0, s, 0.0, 0.0), (t, y, 0.0, 0.0)],
        "step": [(1.0, 0.5 * y, 0.0, -0.25 * y), (0.55, y, -0.225, 0.0)],
    }[d.choice("kind", ("L", "U", "T", "H", "plus", "step"))]
    solid = shapes.union([placed(a, b, high, (u, v, high / 2)) for a, b, u, v in bars])
    return shapes.moved(solid, axis="x", angle=np.pi / 2) if d.chance("lying", 0.6) else solid


def outline(d: Draw, count: int = 14) -> np.ndarray:
    """(count, 2) corners of a flat thing: oval, rounded square, polygon or irregular."""
    y, kind = d.uniform("y", 0.45, 1.0), d.choice("outline", ("oval", "square", "square", "polygon", "irregular"))
    around = circle(0.5, count)
    if kind == "square":
        power = d.uniform("corner", 0.15, 0.5)
        around = 0.5 * np.sign(around) * np.abs(2 * around) ** power
    elif kind == "polygon":
        around = circle(0.5, d.integer("corners", 3, 8), turn=np.pi / 4)
    elif kind == "irregular":
        phase = 2 * np.pi * np.arange(count) / count
        waves = (
            d.uniform(f"wave {n}", 0.04, 0.14) * np.cos(n * phase + d.uniform(f"turn {n}", 0, 6.28)) for n in (1, 2, 3)
        )
        around = around * (1 + sum(waves))[:, None]
    return around * [1.0, y]


def slab(d: Draw) -> Shape:
    """Flat thing: plate, board or slice; some with a hole, some with a raised edge."""
    edge, thick = outline(d), d.uniform("thick", 0.07, 0.16)
    kind = d.choice("kind", ("plain", "plain", "hole", "edge"))
    if kind == "plain":
        return _sectors(edge, 0.0 * edge, thick)
    inner = edge * (d.uniform("hole", 0.3, 0.7) if kind == "hole" else d.uniform("rim", 0.86, 0.93))
    if kind == "hole":
        return _sectors(edge, inner, thick)
    raised = d.uniform("raised", 1.5, 2.5) * thick
    return shapes.union([_sectors(edge, 0.0 * edge, thick), _sectors(edge, inner, raised)])


def _sectors(outer: np.ndarray, inner: np.ndarray, height: float) -> Shape:
    """Upright prism between two outlines (N, 2) that see the origin, corner by corner; one convex part a side."""
    follows = [(k, (k + 1) % len(outer)) for k in range(len(outer))]
    if not inner.any():
        whole = extrude(outer, height)
        area = 0.5 * abs(sum(outer[a, 0] * outer[b, 1] - outer[b, 0] * outer[a, 1] for a, b in follows))
        if whole.mesh.volume < 1.001 * area * height:
            return whole
    return shapes.union([extrude(np.array([outer[a], outer[b], inner[a], inner[b]]), height) for a, b in follows])


def vessel(d: Draw) -> Shape:
    """Open round or many-sided vessel: dish, cup, vase or basket."""
    height = d.choice("tall", (d.uniform("low", 0.2, 0.4), d.uniform("high", 0.5, 1.0)))
    foot, belly, rim = (
        d.uniform(name, *span) for name, span in (("foot", (0.2, 0.42)), ("belly", (0.3, 0.5)), ("rim", (0.28, 0.5)))
    )
    wall = d.uniform("wall", 0.04, 0.07)
    sides = d.choice("sides", (20, 20, 20, 4, 6, 8))
    line = [(foot, 0.0), (0.5 * (foot + belly) + 0.04, 0.2 * height), (belly, 0.6 * height), (rim, height)]
    body = wall_shell(line, wall, d.uniform("base", 1.0, 1.6) * wall, segments=sides, turn=np.pi / sides)
    if d.chance("rim ring", 0.3):
        out, high = d.uniform("out", 0.02, 0.06), d.uniform("ring", 0.04, 0.08)
        section = np.array([[rim - wall, 0.0], [rim + out, 0.0], [rim + out, high], [rim - wall, high]])
        ring = shapes.moved(ring_of(section, sides), z=height - high, angle=np.pi / sides)
        return shapes.union([body, ring])
    return body


def tray(d: Draw) -> Shape:
    """Open box: tray, drawer, tub, bed; walls of different height, some with a rim."""
    y, z = d.uniform("y", 0.45, 0.95), d.uniform("z", 0.16, 0.6)
    wall = d.uniform("wall", 0.035, 0.06)
    low = z * d.choice("front", (1.0, 1.0, d.uniform("low", 0.4, 0.8)))
    walls = [(wall, y, z, (wall - 1) / 2, 0.0), (wall, y, low, (1 - wall) / 2, 0.0)]
    walls += [(1.0, wall, z, 0.0, s * (y - wall) / 2) for s in (-1, 1)]
    parts = [placed(1.0, y, wall, (0, 0, wall / 2)), *(placed(a, b, c, (u, v, c / 2)) for a, b, c, u, v in walls)]
    if d.chance("rim", 0.35) and low == z:
        out = d.uniform("out", 0.03, 0.06)
        parts += [placed(wall + out, y + 2 * out, wall, (s * (1 - wall + out) / 2, 0, z - wall / 2)) for s in (-1, 1)]
        parts += [placed(1.0, wall + out, wall, (0, s * (y - wall + out) / 2, z - wall / 2)) for s in (-1, 1)]
    if d.chance("divider", 0.3):
        parts.append(placed(wall, y, 0.85 * z, (d.uniform("divider at", -0.25, 0.25), 0, 0.425 * z)))
    return shapes.union(parts)


def trough(d: Draw) -> Shape:
    """Part of a tube along x: gutter, arch or hood; some with closed ends."""
    radius, span, sides = d.uniform("radius", 0.2, 0.42), d.uniform("span", 0.9, 1.3) * np.pi, 8
    inner = radius * d.uniform("inner", 0.72, 0.88)
    angle = -np.pi / 2 + span * (np.arange(sides + 1) / sides - 0.5)
    around = np.column_stack([np.cos(angle), np.sin(angle)])

    def along(section: np.ndarray, start: float, stop: float) -> Shape:
        ends = [np.column_stack([np.full(len(section), x), section]) for x in (start, stop)]
        return shapes.convex(np.concatenate(ends))

    quads = [np.concatenate([r * around[k : k + 2] for r in (radius, inner)]) for k in range(sides)]
    parts = [along(quad, -0.5, 0.5) for quad in quads]
    if d.chance("ends", 0.5):
        turn = -np.pi / 2 + 0.97 * (angle + np.pi / 2)  # no two faces in one plane
        cap = 0.5 * (radius + inner) * np.column_stack([np.cos(turn), np.sin(turn)])
        parts += [along(cap, 0.43 * s, 0.49 * s) for s in (-1, 1)]
    shape = joined(parts)
    return shapes.moved(shape, axis="x", angle=np.pi) if d.chance("hood", 0.4) else shape


def tube(d: Draw) -> Shape:
    """Tube, sleeve or ring, round or many-sided, upright or lying."""
    radius, height = d.uniform("radius", 0.25, 0.5), d.log_uniform("height", 0.15, 1.0)
    inner, sides = radius * d.uniform("inner", 0.6, 0.86), d.choice("sides", (20, 20, 12, 6, 4))
    section = np.array([[inner, 0.0], [radius, 0.0], [radius, height], [inner, height]])
    shape = shapes.moved(ring_of(section, sides), angle=np.pi / sides)
    return lying(shape) if d.chance("lying", 0.5) else shape


def frame(d: Draw) -> Shape:
    """Open frame in a plane: window, ladder, grid or gate; upright or lying."""
    y, r = d.uniform("y", 0.4, 0.9), d.uniform("r", 0.03, 0.055)
    sides = d.choice("sides", (4, 8))
    u, v = 0.5 - r, y / 2 - r
    loop = np.array([[-u, -v, 0], [u, -v, 0], [u, v, 0], [-u, v, 0], [-u, -v, 0]])
    gate = d.chance("gate", 0.25)
    parts = [rod(loop[:4][::-1] if gate else loop, r, sides)]
    if not gate:
        parts.append(shapes.moved(shapes.box(1.6 * r, 1.6 * r, 1.2 * r), x=-u, y=-v))
    for axis, (reach, other) in enumerate(((u, v), (v, u))):
        for k in range(count := d.integer(f"bars {axis}", 0, 3)):
            at = other * (2 * (k + 1) / (count + 1) - 1)
            ends = np.array([[-reach, at, 0.0], [reach, at, 0.0]])
            if not (gate and axis == 1 and k == 0):
                parts.append(rod(ends if axis == 0 else ends[:, [1, 0, 2]], 0.8 * r, sides))
    shape = shapes.union(parts)
    return shapes.moved(shape, axis="x", angle=np.pi / 2) if d.chance("upright", 0.4) else shape


def cage(d: Draw) -> Shape:
    """Box of bars: rack, stand, cage; some with boards."""
    y, z, r = d.uniform("y", 0.35, 0.9), d.uniform("z", 0.35, 1.0), d.uniform("r", 0.028, 0.05)
    sides = d.choice("sides", (4, 8))
    u, v, w = 0.5 - r, y / 2 - r, z - r
    posts = [(s * u, t * v) for s in (-1, 1) for t in (-1, 1)]
    parts = [rod(np.array([[a, b, 0.0], [a, b, z]]), 1.1 * r, sides) for a, b in posts]
    levels = [w, *(w * d.uniform(f"level {k}", 0.12, 0.7) for k in range(d.integer("levels", 0, 2)))]
    for k, level in enumerate(levels):
        if d.chance(f"board {k}", 0.45):
            parts.append(placed(2 * u + r, 2 * v + r, 1.2 * r, (0, 0, level)))
            continue
        parts += [rod(np.array([[-u, t * v, level], [u, t * v, level]]), r, sides) for t in (-1, 1)]
        parts += [rod(np.array([[s * u, -v, level], [s * u, v, level]]), r, sides) for s in (-1, 1)]
    return shapes.union(parts)


def hook(d: Draw) -> Shape:
    """Bent bar: hook, arch, bow, zigzag or open ring, lying or upright."""
    r = d.uniform("r", 0.04, 0.09)
    kind = d.choice("kind", ("arch", "zigzag", "hook"))
    if kind == "zigzag":
        x = np.linspace(-0.5, 0.5, d.integer("corners", 3, 5))
        swing = d.uniform("swing", 0.12, 0.35)
        path = np.column_stack([x, swing * (-1.0) ** np.arange(len(x)), 0 * x])
    else:
        span = d.uniform("span", 0.8, 1.5) * np.pi
        angle = np.linspace(-span / 2, span / 2, 8)
        path = np.column_stack([0.45 * np.sin(angle), d.uniform("deep", 0.3, 0.6) * np.cos(angle), 0 * angle])
        if kind == "hook":
            path = np.vstack([path, path[-1] + [0.0, -d.uniform("shank", 0.2, 0.6), 0.0]])
    shape = rod(path, r, d.choice("sides", (6, 8, 8)), flat=d.uniform("flat", 0.5, 1.0))
    return shapes.moved(shape, axis="x", angle=np.pi / 2) if d.chance("upright", 0.5) else shape


SOLIDS: tuple[Callable[[Draw], Shape], ...] = (superquadric, turned, block, profile)
SHELLS: tuple[Callable[[Draw], Shape], ...] = (vessel, tray, trough, tube)
OPEN: tuple[Callable[[Draw], Shape], ...] = (frame, cage, hook)
FLAT: tuple[Callable[[Draw], Shape], ...] = (slab,)
