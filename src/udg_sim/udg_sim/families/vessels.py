"""Open vessels: bowls, cups, mugs, vases, pots, pans, goblets, jugs, planters. Units are relative."""

import numpy as np

from udg_sim.families.draw import Draw
from udg_sim.geometry import shapes
from udg_sim.geometry.forms import arc, bent_bar, wall_shell
from udg_sim.geometry.shapes import Shape

Profile = list[tuple[float, float]]


def _handle(radius: float, thickness: float, height: float) -> Shape:
    """Loop towards +x in the x-z plane, as high as `height`."""
    path = arc(radius, -np.pi / 2, np.pi / 2, 8) * np.array([1.0, 1.0, 0.5 * height / radius])
    return bent_bar(path, np.full(len(path), thickness), sides=8, flatten=1.3)


def bowl(d: Draw) -> Shape:
    """Bowl on a flat foot."""
    depth, foot = d.uniform("depth", 0.34, 0.62), d.uniform("foot", 0.35, 0.6)
    angle = np.linspace(0.0, 1.0, 5)
    power = d.uniform("power", 0.45, 0.7)
    outer = [(0.5 * (foot + (1 - foot) * float(a) ** power), depth * float(a)) for a in angle]
    return wall_shell(outer, d.uniform("wall", 0.035, 0.055), 0.06, segments=d.choice("sides", (20, 20, 8, 6)))


def cup(d: Draw) -> Shape:
    """Cup, beaker or glass without a handle."""
    top = d.uniform("top", 0.28, 0.42)
    bottom = top * d.uniform("taper", 0.68, 1.0)
    wall = d.uniform("wall", 0.03, 0.05)
    belly = 0.5 * (top + bottom) * d.uniform("belly", 0.98, 1.1)
    return wall_shell(
        [(bottom, 0.0), (belly, 0.5), (top, 1.0)], wall, 0.06, segments=d.choice("sides", (24, 24, 12, 8))
    )


def mug(d: Draw) -> Shape:
    """Mug with one handle."""
    r, height = d.uniform("radius", 0.36, 0.48), 1.0
    wall = d.uniform("wall", 0.04, 0.06)
    taper = d.uniform("taper", 0.85, 1.0)
    body = wall_shell([(taper * r, 0.0), (r, 0.3), (r, height)], wall, 0.07, segments=24)
    grip, thick = d.uniform("grip", 0.22, 0.3), d.uniform("thick", 0.05, 0.07)
    loop = shapes.moved(_handle(grip, thick, d.uniform("tall", 0.5, 0.65)), x=r - 0.6 * wall, z=0.55)
    return shapes.union([body, loop])


def vase(d: Draw) -> Shape:
    """Vase: belly, neck, lip."""
    belly, at = d.uniform("belly", 0.26, 0.38), d.uniform("at", 0.28, 0.45)
    foot, neck = belly * d.uniform("foot", 0.5, 0.75), belly * d.uniform("neck", 0.4, 0.65)
    lip = neck * d.uniform("lip", 1.1, 1.5)
    outer: Profile = [(foot, 0.0), (0.93 * belly, 0.55 * at), (belly, at), (0.9 * belly, at + 0.16), (neck, 0.8)]
    return wall_shell([*outer, (lip, 1.0)], 0.14 * belly, 0.06, segments=d.choice("sides", (18, 18, 8, 6)))


def pot(d: Draw) -> Shape:
    """Cooking pot with two handles, some with a lid."""
    height, r = d.uniform("height", 0.5, 0.9), 0.5
    wall = 0.04
    body: Shape
    if d.chance("lid", 0.5):
        knob = height + 0.14
        body = shapes.solid_lathe(
            [(0.94 * r, 0), (r, 0.06), (r, height), (0.85 * r, height + 0.07), (0.12, height + 0.08), (0.12, knob)],
            segments=24,
        )
    else:
        body = wall_shell([(0.93 * r, 0.0), (r, 0.1), (r, height)], wall, 0.05, segments=24)
    grip, thick = d.uniform("grip", 0.13, 0.2), d.uniform("thick", 0.035, 0.05)
    loop = shapes.moved(_handle(grip, thick, 1.7 * grip), axis="x", angle=np.pi / 2)
    right = shapes.moved(loop, x=r - 0.5 * wall, z=d.uniform("at", 0.7, 0.85) * height)
    return shapes.union([body, right, shapes.moved(right, angle=np.pi)])


def pan(d: Draw) -> Shape:
    """Pan with one long handle."""
    r, height, wall = 0.33, d.uniform("height", 0.16, 0.28), 0.035
    body = wall_shell([(r * d.uniform("taper", 0.75, 0.95), 0.0), (r, height)], wall, 0.04, segments=24)
    length, thick = d.uniform("length", 0.4, 0.55), d.uniform("thick", 0.04, 0.055)
    rise = d.uniform("rise", 0.0, 0.12)
    start = r - 0.5 * wall
    path = np.array(
        [
            [start, 0, 0.75 * height],
            [start + 0.5 * length, 0, 0.75 * height + 0.6 * rise],
            [start + length, 0, 0.75 * height + rise],
        ]
    )
    return shapes.union([body, bent_bar(path, np.array([0.8, 1.0, 1.0]) * thick, sides=8, flatten=1.4)])


def goblet(d: Draw) -> Shape:
    """Goblet: foot, stem, open bowl."""
    foot, stem = d.uniform("foot", 0.2, 0.27), d.uniform("stem", 0.055, 0.08)
    tall, r = d.uniform("tall", 0.35, 0.55), d.uniform("radius", 0.22, 0.32)
    stand = shapes.solid_lathe(
        [(foot, 0.0), (foot, 0.04), (1.2 * stem, 0.1), (stem, 0.15), (stem, tall + 0.05)], segments=20
    )
    outer: Profile = [
        (0.45 * r, tall),
        (0.88 * r, tall + 0.12),
        (r, tall + 0.28),
        (r * d.uniform("lip", 0.85, 1.0), 1.0),
    ]
    return shapes.union([stand, wall_shell(outer, 0.045, 0.06, segments=20)])


def jug(d: Draw) -> Shape:
    """Jug or pitcher: belly, neck, handle."""
    belly, neck = d.uniform("belly", 0.3, 0.38), d.uniform("neck", 0.18, 0.26)
    lip = neck * d.uniform("lip", 1.05, 1.35)
    outer: Profile = [(0.7 * belly, 0.0), (belly, 0.32), (0.85 * belly, 0.55), (neck, 0.78), (lip, 1.0)]
    body = wall_shell(outer, 0.045, 0.06, segments=18)
    loop = _handle(d.uniform("grip", 0.26, 0.34), d.uniform("thick", 0.045, 0.06), 0.56)
    return shapes.union([body, shapes.moved(loop, x=neck - 0.01, z=0.62)])


def planter(d: Draw) -> Shape:
    """Flower pot with a thick rim, round or many-sided."""
    top = d.uniform("top", 0.42, 0.55)
    bottom = top * d.uniform("taper", 0.6, 0.85)
    height = d.uniform("height", 0.7, 1.0)
    rim = d.uniform("rim", 0.72, 0.85) * height
    at = bottom + (top - bottom) * rim / height
    sides = d.choice("sides", (20, 20, 4, 6, 8))
    outer: Profile = [(bottom, 0.0), (at, rim), (at + 0.05, rim + 0.02), (at + 0.06, height)]
    return wall_shell(outer, 0.065, 0.08, segments=sides, turn=np.pi / 4)
