"""What a composition adds to a body: legs, wheels, handles, rails, backs, spouts, wings, lids and second bodies.

Each function gets the body so far and returns shapes that overlap it, or nothing where it finds no place. Places are
found on lines through the body's convex parts, so that whatever is added is rooted in material.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from udg_sim.families.cores import SOLIDS, rod
from udg_sim.families.draw import Draw
from udg_sim.geometry import shapes
from udg_sim.geometry.forms import placed, scaled
from udg_sim.geometry.shapes import Shape

Attachment = Callable[["Body", Draw], list[Shape]]
UP, DOWN = np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, -1.0])


class Hit(NamedTuple):
    """Where a line enters a body: the point (3,) and how far it continues in material."""

    point: np.ndarray
    depth: float


class Body:
    """The shapes put together so far."""

    def __init__(self, shapes_: list[Shape], thick: float) -> None:
        self.shapes = shapes_
        self.thick = thick  # factor for bars and legs: small things have stouter ones
        corners = np.concatenate([shape.mesh.vertices for shape in shapes_])
        self.low, self.high = corners.min(axis=0), corners.max(axis=0)
        self.edges = self.high - self.low
        parts = [part for shape in shapes_ for part in shape.parts or ()]
        self._planes = [(part.face_normals, (part.face_normals * part.triangles[:, 0]).sum(axis=1)) for part in parts]

    def hit(self, point: np.ndarray, direction: np.ndarray) -> Hit | None:
        """The first place where the line through `point` along `direction` enters the body from outside."""
        direction = np.asarray(direction, dtype=float) / np.linalg.norm(direction)
        spans = sorted(span for planes in self._planes if (span := _span(*planes, point, direction)) is not None)
        if not spans:
            return None
        start, stop = spans[0]
        for lower, upper in spans[1:]:
            if lower <= stop + 1e-6:
                stop = max(stop, upper)
        return Hit(point + start * direction, stop - start)

    def at(self, x: float, y: float, z: float = 0.5) -> np.ndarray:
        """Point (3,) at these shares (-1 to 1; z: 0 to 1) of the bounding box."""
        centre = 0.5 * (self.low + self.high)
        return np.array(
            [centre[0] + 0.5 * x * self.edges[0], centre[1] + 0.5 * y * self.edges[1], self.low[2] + z * self.edges[2]]
        )

    def from_above(self, x: float, y: float) -> Hit | None:
        """Entry from above at these shares of the footprint, moved inwards until there is one."""
        return self._inwards(x, y, DOWN)

    def from_below(self, x: float, y: float) -> Hit | None:
        """Entry from below, likewise."""
        return self._inwards(x, y, UP)

    def _inwards(self, x: float, y: float, direction: np.ndarray) -> Hit | None:
        for share in (1.0, 0.85, 0.7, 0.55):
            hit = self.hit(self.at(share * x, share * y), direction)
            if hit is not None and hit.depth > 0.02:
                return hit
        return None


def _span(
    normals: np.ndarray, offsets: np.ndarray, point: np.ndarray, direction: np.ndarray
) -> tuple[float, float] | None:
    """Interval of t in which point + t direction is inside all half-spaces, or None."""
    slope, gap = normals @ direction, offsets - normals @ point
    flat = np.abs(slope) < 1e-12
    if np.any(gap[flat] < 0):
        return None
    t = gap[~flat] / slope[~flat]
    entering = slope[~flat] < 0
    start, stop = t[entering].max(), t[~entering].min()
    return (float(start), float(stop)) if start < stop else None


def _root(hit: Hit, direction: np.ndarray, most: float = 0.08) -> np.ndarray:
    """Point (3,) below the surface at which something may end that comes along `direction`."""
    return hit.point + min(0.55 * hit.depth, most) * np.asarray(direction)


def legs(body: Body, d: Draw) -> list[Shape]:
    """Three to six legs, straight or splayed, some with stretchers."""
    long = d.log_uniform("long", 0.15, 0.9) * min(1.0, body.edges[:2].max())
    r = body.thick * d.log_uniform("r", 0.026, 0.06)
    count, inset = d.choice("count", (4, 4, 4, 3, 6)), d.uniform("inset", 0.68, 0.9)
    if count == 3:
        spots = [(inset * float(np.cos(a)), inset * float(np.sin(a))) for a in 2 * np.pi * np.arange(3) / 3]
    else:
        spots = [(inset * x, inset * s) for x in np.linspace(-1, 1, count // 2) for s in (-1, 1)]
    splay, taper, ground = (
        d.choice("splay", (0.0, 0.0, d.uniform("by", 0.1, 0.35))),
        d.uniform("taper", 0.6, 1.0),
        body.low[2] - long,
    )
    sides, feet, parts = d.choice("sides", (4, 6, 8)), [], []
    for spot in spots:
        hit = body.from_below(*spot)
        if hit is None:
            return []
        top = _root(hit, UP)
        foot = np.array([top[0], top[1], ground]) + splay * long * np.array([np.sign(spot[0]), np.sign(spot[1]), 0.0])
        feet.append((top, foot))
        parts.append(rod(np.array([foot, top]), np.array([taper * r, r]), sides))
    if count == 4 and d.chance("stretchers", 0.4):
        share = d.uniform("stretcher", 0.15, 0.6)
        low = [foot + share * (np.array([*top[:2], body.low[2]]) - foot) for top, foot in feet]
        parts += [rod(np.array([low[a], low[b]]), 0.75 * r, sides) for a, b in ((0, 1), (2, 3), (0, 2), (1, 3))]
    return parts


def foot(body: Body, d: Draw) -> list[Shape]:
    """A stem with a plate, a cone or a cross under the body."""
    hit = body.from_below(0.0, 0.0)
    if hit is None:
        return []
    r, long = body.thick * d.log_uniform("r", 0.035, 0.08), d.log_uniform("long", 0.12, 0.8)
    ground, wide = body.low[2] - long, d.uniform("wide", 0.5, 0.95) * body.edges[:2].max()
    x, y, top = _root(hit, UP)
    parts = [rod(np.array([[x, y, ground], [x, y, top]]), r, 12)]
    high = d.uniform("high", 0.05, 0.09)
    kind = d.choice("kind", ("disc", "cone", "cross", "square"))
    if kind == "cross":
        for a in np.pi * np.arange(n := d.choice("arms", (2, 2, 3))) / n:
            parts.append(shapes.moved(shapes.box(wide, 1.6 * r, high), x=x, y=y, z=ground + high / 2, angle=float(a)))
    elif kind == "square":
        parts.append(placed(wide, d.uniform("y", 0.7, 1.0) * wide, high, (x, y, ground + high / 2)))
    else:
        slope = 0.6 if kind == "cone" else 0.95
        line = [(wide / 2, 0.0), (wide / 2, 0.4 * high), (slope * wide / 2, high)]
        parts.append(shapes.moved(shapes.solid_lathe(line, segments=20), x=x, y=y, z=ground))
    return parts


def skids(body: Body, d: Draw) -> list[Shape]:
    """Two runners on posts along x, as of a sledge or a bench."""
    long, r = d.uniform("long", 0.1, 0.4), body.thick * d.uniform("r", 0.028, 0.05)
    ground, parts = body.low[2] - long, []
    for s in (-1, 1):
        hits = [body.from_below(t * d.uniform("inset", 0.5, 0.85), s * 0.75) for t in (-1, 1)]
        if hits[0] is None or hits[1] is None:
            return []
        a, b = (_root(hit, UP) for hit in hits if hit is not None)
        reach = np.array([d.uniform("reach", 0.0, 0.15), 0.0, 0.0])
        low_a, low_b = np.array([*a[:2], ground]), np.array([*b[:2], ground])
        parts += [
            rod(np.array([low_a - reach, low_b + reach]), r, 8),
            rod(np.array([low_a, a]), r, 8),
            rod(np.array([low_b, b]), r, 8),
        ]
    return parts


def wheels(body: Body, d: Draw) -> list[Shape]:
    """Two or four wheels on axles across the body."""
    radius, wide = d.uniform("radius", 0.09, 0.2), d.uniform("wide", 0.05, 0.1)
    count, parts = d.choice("axles", (2, 2, 1)), []
    for k in range(count):
        x = 0.0 if count == 1 else (2 * k - 1) * d.uniform("x", 0.5, 0.75)
        z = d.uniform("z", 0.05, 0.25)
        hit = body.hit(body.at(x, 0.0, z), np.array([0.0, 1.0, 0.0]))
        if hit is None:
            return []
        centre = body.at(x, 0.0, z)
        out = centre[1] - hit.point[1] + 0.3 * wide
        parts.append(
            rod(np.array([centre - [0, out, 0], centre + [0, out, 0]]), max(0.035 * body.thick, 0.3 * radius), 8)
        )
        disc = shapes.moved(shapes.cylinder(radius, wide, 0.2 * wide), z=-wide / 2)
        disc = shapes.moved(disc, axis="x", angle=np.pi / 2)
        parts += [shapes.moved(disc, x=centre[0], y=centre[1] + s * out, z=centre[2]) for s in (-1, 1)]
    return parts


def plinth(body: Body, d: Draw) -> list[Shape]:
    """A block or step under the body."""
    hit = body.from_below(0.0, 0.0)
    if hit is None:
        return []
    high, wide = d.uniform("high", 0.06, 0.25), d.uniform("wide", 0.75, 1.25)
    into = min(0.4 * hit.depth, 0.06) + hit.point[2] - body.low[2]
    centre = body.at(0.0, 0.0, 0.0)
    return [
        placed(
            wide * body.edges[0],
            wide * body.edges[1],
            high + into,
            (centre[0], centre[1], centre[2] + (into - high) / 2),
        )
    ]


def loop(body: Body, d: Draw) -> list[Shape]:
    """A handle at the side, as of a mug, or two ears."""
    ears = d.chance("ears", 0.35)
    r, reach = body.thick * d.log_uniform("r", 0.026, 0.05), d.uniform("reach", 0.14, 0.3)
    inward = np.array([-1.0, 0.0, 0.0])
    if ears:
        z = d.uniform("z", 0.55, 0.9)
        ends = [body.hit(body.at(0.0, t * d.uniform("apart", 0.25, 0.5), z), inward) for t in (-1, 1)]
    else:
        ends = [
            body.hit(body.at(0.0, 0.0, z), inward)
            for z in (d.uniform("lower", 0.12, 0.4), d.uniform("upper", 0.7, 0.92))
        ]
    if ends[0] is None or ends[1] is None or min(end.depth for end in ends if end is not None) < 0.02:
        return []
    a, b = (_root(end, inward) for end in ends if end is not None)
    out = max(body.high[0], a[0], b[0]) + reach
    corner = d.uniform("corner", 0.05, 0.35)

    def between(x: float, share: float) -> list[float]:
        return [x, *(a + share * (b - a))[1:]]

    path = np.array(
        [
            a,
            between(0.5 * (a[0] + out), -0.06),
            between(out, corner),
            between(out, 1.0 - corner),
            between(0.5 * (b[0] + out), 1.06),
            b,
        ]
    )
    handle = rod(path, r, 8)
    return [handle, shapes.moved(handle, angle=np.pi)] if ears and _is_symmetric(body) else [handle]


def _is_symmetric(body: Body) -> bool:
    return bool(np.abs(body.low[:2] + body.high[:2]).max() < 0.02)


def stick(body: Body, d: Draw) -> list[Shape]:
    """A long handle at one side: pan, hammer, brush, spoon."""
    inward = np.array([-1.0, 0.0, 0.0])
    hit = body.hit(body.at(0.0, 0.0, d.uniform("z", 0.3, 0.85)), inward)
    if hit is None or hit.depth < 0.02:
        return []
    long, r, rise = (
        d.uniform("long", 0.5, 1.3),
        body.thick * d.log_uniform("r", 0.035, 0.07),
        d.uniform("rise", -0.05, 0.2),
    )
    start = _root(hit, inward, 0.2)
    stop, middle = start + [long, 0.0, rise * long], start + [0.5 * long, 0.0, 0.35 * rise * long]
    return [
        rod(
            np.array([start, middle, stop]),
            r * np.array([0.75, 1.0, d.uniform("end", 0.8, 1.2)]),
            8,
            d.uniform("flat", 0.6, 1.0),
        )
    ]


def hoop(body: Body, d: Draw) -> list[Shape]:
    """A handle over the top: bucket, basket, toolbox."""
    out = d.uniform("out", 0.35, 0.97)
    ends = [body.from_above(s * out, 0.0) for s in (-1, 1)]
    if ends[0] is None or ends[1] is None:
        return []
    a, b = (_root(end, DOWN) for end in ends if end is not None)
    high, r = d.uniform("high", 0.2, 0.5), body.thick * d.log_uniform("r", 0.025, 0.045)
    top = body.high[2] + high
    if d.chance("square", 0.4):
        path = np.array([a, [a[0], a[1], top], [b[0], b[1], top], b])
    else:
        angle = np.linspace(np.pi, 0.0, 7)
        x, z = 0.5 * (a[0] + b[0]) + 0.5 * (b[0] - a[0]) * np.cos(angle), body.high[2] + high * np.sin(angle)
        path = np.vstack([a, np.column_stack([x, np.full(7, a[1]), z]), b])
    return [rod(path, r, 8)]


def rails(body: Body, d: Draw) -> list[Shape]:
    """A rail on posts along both long sides, or along one end."""
    r, high, inset = (
        body.thick * d.uniform("r", 0.025, 0.045),
        d.uniform("high", 0.12, 0.5),
        d.uniform("inset", 0.82, 0.95),
    )
    one_end = d.chance("one end", 0.4)
    spots = (
        [[(-inset, t * inset) for t in (-1, 1)]]
        if one_end
        else [[(t * inset, s * inset) for t in (-1, 1)] for s in (-1, 1)]
    )
    parts = []
    for pair in spots:
        hits = [body.from_above(*spot) for spot in pair]
        if hits[0] is None or hits[1] is None:
            return []
        a, b = (_root(hit, DOWN) for hit in hits if hit is not None)
        top = body.high[2] + high
        ends = np.array([[*a[:2], top], [*b[:2], top]])
        parts += [rod(np.array([a, ends[0]]), r, 8), rod(np.array([b, ends[1]]), r, 8)]
        over = d.uniform("over", 0.0, 0.08) * (ends[1] - ends[0])
        parts.append(rod(np.array([ends[0] - over, ends[1] + over]), r, 8))
        if d.chance("middle", 0.4):
            parts.append(rod(ends - [0.0, 0.0, 0.5 * high], 0.8 * r, 8))
    return parts


def back(body: Body, d: Draw) -> list[Shape]:
    """An upright or leaning board at one end, as of a chair, a bed or a screen."""
    hit = body.from_above(-0.85, 0.0)
    if hit is None:
        return []
    wide, high, t = (
        d.uniform("wide", 0.6, 1.0) * body.edges[1],
        d.uniform("high", 0.3, 0.95),
        body.thick * d.uniform("t", 0.05, 0.1),
    )
    lean = d.uniform("lean", 0.0, 0.25) * high
    x, y, low = _root(hit, DOWN)
    top, narrow = body.high[2] + high, d.uniform("narrow", 0.7, 1.0)
    rings = [
        [[x0 + s * t / 2, y + side * w / 2, z] for s in (-1, 1) for side in (-1, 1)]
        for x0, w, z in ((x, wide, low), (x - lean, narrow * wide, top))
    ]
    return [shapes.convex(np.concatenate(rings))]


def spout(body: Body, d: Draw) -> list[Shape]:
    """A tapering spout, beak or horn at the side that the handles do not use."""
    outward = np.array([1.0, 0.0, 0.0])
    hit = body.hit(body.at(0.0, 0.0, d.uniform("z", 0.3, 0.7)), outward)
    if hit is None or hit.depth < 0.02:
        return []
    start, long = _root(hit, outward), d.uniform("long", 0.2, 0.45)
    rise, r = d.uniform("rise", 0.3, 1.2), body.thick * d.uniform("r", 0.05, 0.09)
    path = np.array([start, start + [-0.5 * long, 0.0, 0.3 * rise * long], start + [-long, 0.0, rise * long]])
    return [rod(path, r * np.array([1.1, 0.8, d.uniform("tip", 0.45, 0.7)]), 10)]


def wings(body: Body, d: Draw) -> list[Shape]:
    """A flat tapering plate on each side: wing, fin, lug, arm rest."""
    x, z, inward = d.uniform("x", -0.4, 0.4), d.uniform("z", 0.3, 0.85), np.array([0.0, -1.0, 0.0])
    hit = body.hit(body.at(x, 0.0, z), inward)
    if hit is None or hit.depth < 0.02:
        return []
    x0, y0, z0 = _root(hit, inward)
    chord, long, t = d.uniform("chord", 0.2, 0.5), d.uniform("long", 0.2, 0.7), body.thick * d.uniform("t", 0.04, 0.07)
    tip, sweep, rise = (
        d.uniform("tip", 0.4, 1.0) * chord,
        d.uniform("sweep", -0.3, 0.3) * long,
        d.uniform("rise", -0.1, 0.25) * long,
    )
    far = max(body.high[1], hit.point[1]) + long
    root = [[x0 + a * chord / 2, y0, z0 + b * t / 2] for a in (-1, 1) for b in (-1, 1)]
    end = [[x0 + sweep + a * tip / 2, far, z0 + rise + b * 0.4 * t] for a in (-1, 1) for b in (-1, 1)]
    plate = np.array(root + end)
    other = plate * [1.0, -1.0, 1.0] + [0.0, body.low[1] + body.high[1], 0.0]
    return [shapes.convex(plate), shapes.convex(other)]


def knob(body: Body, d: Draw) -> list[Shape]:
    """A knob, mast or button on top."""
    hit = body.from_above(d.choice("x", (0.0, 0.0, d.uniform("at", -0.6, 0.6))), 0.0)
    if hit is None:
        return []
    x, y, low = _root(hit, DOWN)
    r, high = body.thick * d.log_uniform("r", 0.03, 0.07), d.log_uniform("high", 0.06, 0.6)
    top = hit.point[2] + high
    head = d.uniform("head", 1.3, 2.6) * r
    ball = shapes.moved(
        shapes.superquadric(2 * head, 2 * head, d.uniform("flat", 1.0, 2.0) * head, d.uniform("power", 0.3, 1.0), 1.0),
        x=x,
        y=y,
        z=top,
    )
    return [rod(np.array([[x, y, low], [x, y, top]]), r, 10), ball]


def upper(body: Body, d: Draw) -> list[Shape]:
    """A second, smaller solid on top."""
    hit = body.from_above(d.choice("x", (0.0, d.uniform("at", -0.5, 0.5))), 0.0)
    if hit is None:
        return []
    solid = _second(d, d.uniform("size", 0.35, 0.75) * body.edges[:2].mean())
    low, high = solid.mesh.bounds
    into = min(0.3 * (high[2] - low[2]), 0.5 * hit.depth, 0.08)
    centre = 0.5 * (low + high)
    return [shapes.moved(solid, x=hit.point[0] - centre[0], y=hit.point[1] - centre[1], z=hit.point[2] - into - low[2])]


def beside(body: Body, d: Draw) -> list[Shape]:
    """A second solid at one side."""
    inward, z = np.array([-1.0, 0.0, 0.0]), d.uniform("z", 0.3, 0.7)
    hit = body.hit(body.at(0.0, 0.0, z), inward)
    if hit is None or hit.depth < 0.03:
        return []
    solid = _second(d, d.uniform("size", 0.4, 0.9) * max(body.edges[1], body.edges[2]))
    low, high = solid.mesh.bounds
    into = min(0.3 * (high[0] - low[0]), 0.5 * hit.depth, 0.1)
    middle = 0.5 * (low + high)
    up = body.low[2] - low[2] if d.chance("level", 0.5) else hit.point[2] - middle[2]
    return [shapes.moved(solid, x=hit.point[0] - into - low[0], y=-middle[1], z=up)]


def _second(d: Draw, size: float) -> Shape:
    solid = d.choice("solid", SOLIDS)(Draw(f"{d.key}/solid"))
    return scaled(solid, size / float(solid.mesh.extents.max()))


UNDER: tuple[Attachment, ...] = (legs, legs, foot, skids, wheels, plinth)
SIDE: tuple[Attachment, ...] = (loop, stick, spout, wings, beside)
TOP: tuple[Attachment, ...] = (hoop, rails, back, knob, upper)
