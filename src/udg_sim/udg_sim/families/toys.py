"""Figures, animals, lumps, tools and toy furniture: unions of convex bodies. Units are relative."""

import numpy as np

from udg_sim.families.draw import Draw
from udg_sim.geometry import shapes
from udg_sim.geometry.forms import bent_bar, placed, stretched
from udg_sim.geometry.shapes import Shape


def _ellipsoid(x: float, y: float, z: float, at: tuple[float, float, float], points: int = 60) -> Shape:
    body = stretched(shapes.convex(shapes.sphere_directions(points)), x / 2, y / 2, z / 2)
    return shapes.moved(body, x=at[0], y=at[1], z=at[2])


def _leg(radius: float, length: float, at: tuple[float, float], sides: int = 10) -> Shape:
    return shapes.moved(shapes.solid_lathe([(radius, 0.0), (radius, length)], segments=sides), x=at[0], y=at[1])


def blob(d: Draw) -> Shape:
    """Lump of three to five ellipsoids."""
    parts = [_ellipsoid(0.75, 0.6, 0.55, (0, 0, 0))]
    for i in range(d.integer("more", 2, 4)):
        direction = shapes.sphere_directions(24)[d.integer(f"pole {i}", 0, 23)]
        size = [d.uniform(f"{axis} {i}", 0.32, 0.55) for axis in "xyz"]
        reach = d.uniform(f"reach {i}", 0.24, 0.36)
        parts.append(_ellipsoid(size[0], size[1], size[2], tuple(reach * direction)))
    return shapes.union(parts)


def animal(d: Draw) -> Shape:
    """Animal on four legs: trunk, head, snout, ears, tail."""
    long, wide, tall = d.uniform("long", 0.6, 0.8), d.uniform("wide", 0.28, 0.38), d.uniform("tall", 0.3, 0.4)
    leg, thick = d.uniform("leg", 0.14, 0.3), d.uniform("thick", 0.055, 0.08)
    centre = leg + 0.42 * tall
    parts = [_ellipsoid(long, wide, tall, (0, 0, centre), 90)]
    parts += [_leg(thick, leg + 0.1, (s * 0.3 * long, t * 0.28 * wide)) for s in (-1, 1) for t in (-1, 1)]
    head, up = d.uniform("head", 0.22, 0.3), d.uniform("up", 0.1, 0.28)
    x, z = 0.5 * long + 0.02, centre + up
    neck = np.array([[0.3 * long, 0, centre], [0.5 * (0.3 * long + x), 0, 0.5 * (centre + z)], [x, 0, z]])
    parts += [
        bent_bar(neck, np.array([0.12, 0.1, 0.09]), sides=10),
        _ellipsoid(head, 0.85 * head, 0.85 * head, (x, 0, z)),
    ]
    parts.append(_ellipsoid(0.75 * head, 0.45 * head, 0.4 * head, (x + 0.5 * head, 0, z - 0.1 * head)))
    ear = d.uniform("ear", 0.3, 0.7) * head
    parts += [
        _ellipsoid(0.25 * head, 0.3 * head, 1.4 * ear, (x - 0.1 * head, s * 0.3 * head, z + 0.5 * head))
        for s in (-1, 1)
    ]
    return shapes.union(parts)


def figure(d: Draw) -> Shape:
    """Standing figure or skittle with arms: legs or skirt, trunk, head."""
    head, wide = d.uniform("head", 0.22, 0.32), d.uniform("wide", 0.24, 0.34)
    hip = d.uniform("hip", 0.28, 0.42)
    top = 1.0 - 0.8 * head
    if d.chance("skirt", 0.5):
        lower = [shapes.solid_lathe([(0.26, 0.0), (0.12, hip + 0.05)], segments=16)]
    else:
        lower = [_leg(0.085, hip + 0.05, (0.0, s * 0.1)) for s in (-1, 1)]
        lower += [placed(0.24, 0.15, 0.08, (0.03, s * 0.1, 0.04)) for s in (-1, 1)]
    trunk = _ellipsoid(0.7 * wide, wide, top - hip + 0.15, (0, 0, 0.5 * (hip + top)))
    skull = _ellipsoid(head, head, head, (0, 0, 1.0 - head / 2))
    reach, lift = d.uniform("reach", 0.22, 0.32), d.uniform("lift", -0.15, 0.1)
    arms = []
    for s in (-1, 1):
        path = np.array([[0, 0, 0], [0.5 * reach, 0, 0.5 * lift], [reach, 0, lift]])
        arm = bent_bar(path, np.array([0.06, 0.055, 0.06]), sides=8)
        arms.append(shapes.moved(arm, y=s * 0.3 * wide, z=top - 0.12, angle=s * np.pi / 2))
    return shapes.union([*lower, trunk, skull, *arms])


def screwdriver(d: Draw) -> Shape:
    """Screwdriver, file or awl: grip and shaft."""
    grip, tall = d.uniform("grip", 0.085, 0.12), d.uniform("tall", 0.42, 0.6)
    shaft = d.uniform("shaft", 0.35, 0.55) * grip
    line = [(0.8 * grip, 0.0), (grip, 0.06), (grip, 0.7 * tall), (0.75 * grip, 0.85 * tall), (0.9 * grip, tall)]
    return shapes.solid_lathe([*line, (shaft, tall), (shaft, 1.0)], segments=d.choice("sides", (16, 8, 6)))


def brush(d: Draw) -> Shape:
    """Brush: handle and a block of bristles."""
    length, thick = d.uniform("length", 0.5, 0.65), d.uniform("thick", 0.055, 0.075)
    path = np.array([[0.0, 0, 0.0], [0.5 * length, 0, d.uniform("bend", 0.0, 0.05)], [length, 0, 0.0]])
    grip = bent_bar(path, np.array([0.8, 1.0, 0.9]) * thick, sides=10, flatten=1.2)
    wide = d.uniform("wide", 0.16, 0.3)
    back = placed(1.0 - length + 0.06, wide, 0.09, (0.5 * (1 + length) - 0.03, 0, 0))
    deep = d.uniform("deep", 0.1, 0.2)
    bristles = placed(0.92 * (1.0 - length), 0.88 * wide, deep, (0.5 * (1 + length), 0, -0.03 - deep / 2))
    return shapes.union([grip, back, bristles])


def chair(d: Draw) -> Shape:
    """Chair: seat, back, four legs, some with arm rests."""
    y, seat = d.uniform("y", 0.45, 0.6), d.uniform("seat", 0.38, 0.5)
    x, thick, leg = d.uniform("x", 0.42, 0.55), d.uniform("thick", 0.09, 0.13), d.uniform("leg", 0.035, 0.055)
    parts = [
        placed(x, y, thick, (0, 0, seat - thick / 2)),
        placed(0.09, y, 1.0 - seat + 0.02, (0.045 - x / 2, 0, 0.5 * (1 + seat) - 0.01)),
    ]
    spots = [(s * (x / 2 - leg), t * (y / 2 - leg)) for s in (-1, 1) for t in (-1, 1)]
    parts += [placed(2 * leg, 2 * leg, seat - 0.02, (a, b, 0.5 * (seat - 0.02))) for a, b in spots]
    if d.chance("arms", 0.4):
        parts += [placed(x, 0.08, 0.22, (0, s * (y / 2 - 0.04), seat + 0.1)) for s in (-1, 1)]
    return shapes.union(parts)


def table(d: Draw) -> Shape:
    """Table: round or square top on four legs or one foot."""
    z, thick = d.uniform("z", 0.5, 0.75), d.uniform("thick", 0.08, 0.12)
    y = d.uniform("y", 0.55, 1.0)
    round_top = d.chance("round", 0.4)
    top = (
        shapes.moved(shapes.cylinder(0.5, thick), z=z - thick)
        if round_top
        else placed(1, y, thick, (0, 0, z - thick / 2))
    )
    if round_top:
        foot = d.uniform("foot", 0.22, 0.34)
        stem = shapes.solid_lathe([(foot, 0.0), (foot, 0.05), (0.09, 0.13), (0.09, z - thick + 0.02)], segments=16)
        return shapes.union([top, stem])
    leg = d.uniform("leg", 0.045, 0.065)
    spots = [(s * (0.46 - leg), t * (0.46 * y - leg)) for s in (-1, 1) for t in (-1, 1)]
    return shapes.union([top, *(_leg(leg, z - thick + 0.02, spot, sides=8) for spot in spots)])


def stool(d: Draw) -> Shape:
    """Stool: round seat on three or four legs, or a drum-like pouf."""
    r, thick, z = d.uniform("radius", 0.26, 0.4), d.uniform("thick", 0.12, 0.2), 1.0
    seat = shapes.moved(shapes.cylinder(r, thick, 0.1 * thick), z=z - thick)
    count, leg = d.integer("legs", 3, 4), d.uniform("leg", 0.05, 0.07)
    angle = 2 * np.pi * np.arange(count) / count
    spots = [(0.7 * r * float(np.cos(a)), 0.7 * r * float(np.sin(a))) for a in angle]
    return shapes.union([seat, *(_leg(leg, z - thick + 0.02, spot, sides=8) for spot in spots)])


def cabinet(d: Draw) -> Shape:
    """Cabinet or shelf: box on feet, open in front with shelves, or closed with knobs."""
    x, y = d.uniform("x", 0.35, 0.5), d.uniform("y", 0.5, 0.8)
    wall = d.uniform("wall", 0.045, 0.07)
    if d.chance("open", 0.5):
        parts = [placed(wall, y, 1.0, ((wall - x) / 2, 0, 0.5))]
        parts += [placed(x, wall, 1.0, (0, s * (y - wall) / 2, 0.5)) for s in (-1, 1)]
        shelves = d.integer("shelves", 3, 4)
        parts += [placed(x, y, wall, (0, 0, z)) for z in np.linspace(wall / 2, 1 - wall / 2, shelves)]
        return shapes.union(parts)
    foot = d.uniform("foot", 0.06, 0.14)
    parts = [placed(x, y, 1.0 - foot, (0, 0, 0.5 * (1 + foot)))]
    spots = [(s * (x / 2 - 0.05), t * (y / 2 - 0.05)) for s in (-1, 1) for t in (-1, 1)]
    parts += [placed(0.09, 0.09, foot + 0.02, (a, b, 0.5 * foot + 0.01)) for a, b in spots]
    parts += [placed(0.05, 0.05, 0.05, (x / 2 + 0.02, 0, z)) for z in (0.4, 0.65, 0.85)]
    return shapes.union(parts)


def sofa(d: Draw) -> Shape:
    """Armchair or sofa: seat, back, two arm rests."""
    x, z = d.uniform("x", 0.4, 0.6), d.uniform("z", 0.4, 0.65)
    seat, arm = d.uniform("seat", 0.4, 0.55) * z, d.uniform("arm", 0.62, 0.8) * z
    back, side = d.uniform("back", 0.14, 0.2), d.uniform("side", 0.1, 0.18)
    parts = [placed(x, 1.0, seat, (0, 0, seat / 2)), placed(back, 1.0, z, ((back - x) / 2, 0, z / 2))]
    parts += [placed(x, side, arm, (0, s * (1 - side) / 2, arm / 2)) for s in (-1, 1)]
    return shapes.union(parts)
