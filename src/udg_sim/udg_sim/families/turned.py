"""Solids of revolution: cans, bottles, jars, fruit, chess pawns. Units are relative; the family scales the result."""

import numpy as np

from udg_sim.families.draw import Draw
from udg_sim.geometry import shapes
from udg_sim.geometry.forms import arc, bent_bar
from udg_sim.geometry.shapes import Shape


def can(d: Draw) -> Shape:
    """Can: plain, with a rim, or with ribs."""
    r = d.uniform("radius", 0.2, 0.6)
    kind = d.choice("kind", ("plain", "rim", "ribs"))
    if kind == "plain":
        return shapes.cylinder(r, 1.0, chamfer=d.uniform("chamfer", 0.0, 0.12) * r)
    if kind == "rim":
        neck = d.uniform("neck", 0.75, 0.9) * r
        return shapes.solid_lathe([(neck, 0), (r, 0.08), (r, 0.88), (neck, 0.95), (neck, 1.0)], segments=28)
    depth = d.uniform("depth", 0.90, 0.95) * r
    z = np.linspace(0.05, 0.95, 2 * d.integer("ribs", 2, 3) + 1)
    profile = [(r, 0.0), *((depth if i % 2 else r, float(h)) for i, h in enumerate(z)), (r, 1.0)]
    return shapes.solid_lathe(profile, segments=24)


def bottle(d: Draw) -> Shape:
    """Bottle: body, shoulder, neck, cap; round or many-sided, some with a waist."""
    r = d.uniform("radius", 0.15, 0.24)
    body = d.uniform("body", 0.5, 0.72)
    shoulder = body + d.uniform("shoulder", 0.08, 0.2)
    neck = d.uniform("neck", 0.32, 0.55) * r
    cap = neck * d.choice("cap", (1.0, 1.25, 1.5))
    top = max(0.88, shoulder + 0.04)
    waist = d.choice("waist", (1.0, 1.0, 0.8))
    profile = [
        (0.92 * r, 0.0),
        (r, 0.03),
        (r, 0.12),
        (waist * r, 0.5 * body),
        (r, 0.85 * body),
        (r, body),
        (0.5 * (r + neck), 0.5 * (body + shoulder) + 0.01),
        (neck, shoulder),
        (neck, top),
    ]
    profile += [(cap, top), (cap, 1.0)] if cap > neck else [(neck, 1.0)]
    return shapes.solid_lathe(profile, segments=d.choice("sides", (28, 28, 28, 8, 6, 4)))


def jar(d: Draw) -> Shape:
    """Jar with a lid."""
    r = d.uniform("radius", 0.3, 0.5)
    neck = d.uniform("neck", 0.72, 0.9) * r
    lid = d.uniform("lid", 0.88, 1.05) * r
    body = d.uniform("body", 0.6, 0.72)
    profile = [(0.93 * r, 0), (r, 0.05), (r, body), (neck, body + 0.08), (neck, 0.82), (lid, 0.82), (lid, 1.0)]
    return shapes.solid_lathe(profile, segments=d.choice("sides", (28, 28, 8, 6)))


def capsule(d: Draw) -> Shape:
    """Capsule."""
    return shapes.capsule(d.uniform("radius", 0.18, 0.36), 1.0)


def egg(d: Draw) -> Shape:
    """Egg or ellipsoid, blunter at one end."""
    r, skew = d.uniform("radius", 0.32, 0.5), d.uniform("skew", 0.0, 0.25)
    angle = np.linspace(0.12, np.pi - 0.12, 10)
    z = 0.5 - 0.5 * np.cos(angle)
    return shapes.solid_lathe(
        [(r * np.sin(a) * (1 - skew * (h - 0.5)), h) for a, h in zip(angle, z, strict=True)], segments=22
    )


def frustum(d: Draw) -> Shape:
    """Truncated cone or pyramid."""
    bottom = d.uniform("bottom", 0.3, 0.5)
    top = bottom * d.uniform("top", 0.45, 0.85)
    return shapes.solid_lathe([(bottom, 0.0), (top, 1.0)], segments=d.choice("sides", (28, 28, 4, 5, 6, 8)))


def ball(d: Draw) -> Shape:
    """Ball, smooth or faceted."""
    if d.chance("faceted", 0.3):
        return shapes.convex(shapes.sphere_directions(d.integer("corners", 20, 40)))
    return shapes.sphere(0.5)


def pawn(d: Draw) -> Shape:
    """Chess pawn: foot, stem, collar, head."""
    foot, stem = d.uniform("foot", 0.24, 0.32), d.uniform("stem", 0.12, 0.16)
    head = d.uniform("head", 0.16, 0.22)
    collar = max(d.uniform("collar", 0.17, 0.22), 1.1 * stem)
    centre = 1.0 - head
    profile = [
        (foot, 0.0),
        (foot, 0.1),
        (0.75 * foot, 0.18),
        (stem, 0.34),
        (stem, centre - head - 0.02),
        (collar, centre - head),
        (collar, centre - 0.8 * head),
    ]
    profile += [(head * float(np.cos(a)), centre + head * float(np.sin(a))) for a in np.linspace(-0.6, 1.35, 6)]
    return shapes.solid_lathe(profile, segments=22)


def bulb(d: Draw) -> Shape:
    """Light bulb: cap, neck, globe."""
    cap, globe = d.uniform("cap", 0.12, 0.17), d.uniform("globe", 0.27, 0.36)
    centre = 1.0 - globe
    angle = np.linspace(-0.9, 1.4, 8)
    profile = [(0.8 * cap, 0.0), (cap, 0.04), (cap, 0.24)]
    profile += [(globe * float(np.cos(a)), centre + globe * float(np.sin(a))) for a in angle]
    return shapes.solid_lathe(profile, segments=24)


def torch(d: Draw) -> Shape:
    """Torch: grip and a wider head."""
    grip = d.uniform("grip", 0.10, 0.15)
    head = grip * d.uniform("head", 1.3, 1.8)
    neck = d.uniform("neck", 0.6, 0.75)
    profile = [(0.9 * grip, 0.0), (grip, 0.03), (grip, neck), (head, neck + 0.12), (head, 1.0)]
    return shapes.solid_lathe(profile, segments=d.choice("sides", (24, 24, 8)))


def fruit(d: Draw) -> Shape:
    """Apple, pear, lemon or pumpkin-like fruit."""
    kind = d.choice("kind", ("apple", "pear", "lemon"))
    r = d.uniform("radius", 0.46, 0.54)
    angle = np.linspace(0.25, np.pi - 0.25, 11)
    if kind == "apple":
        line = [(r * np.sin(a) * (1 + 0.12 * np.cos(np.pi - a)), 0.42 * (1 - np.cos(a))) for a in angle]
    elif kind == "pear":
        neck = d.uniform("neck", 0.4, 0.55)
        line = [(0.8 * r * np.sin(a) * (1 - neck * (a / np.pi) ** 2), 0.5 - 0.5 * np.cos(a)) for a in angle]
    else:
        line = [(0.68 * r * np.sin(a) ** 1.2, 0.5 - 0.5 * np.cos(a)) for a in angle]
    body = shapes.solid_lathe([(float(x), float(z)) for x, z in line], segments=22)
    if kind == "lemon":
        return body
    height = body.mesh.bounds[1, 2]
    stalk = shapes.moved(shapes.cylinder(0.03, 0.16), z=height - 0.04)
    return shapes.union([body, stalk])


def banana(d: Draw) -> Shape:
    """Banana, croissant or horn: a bent, tapered bar."""
    bend = d.uniform("bend", 0.9, 1.8)
    thick = d.uniform("thick", 0.10, 0.17)
    count = 11
    taper = np.sin(np.linspace(0.3, np.pi - 0.3, count)) ** 0.5
    path = arc(1.0 / bend, np.pi / 2 - bend / 2, np.pi / 2 + bend / 2, count)
    return bent_bar(path, thick * taper, sides=d.choice("sides", (6, 10, 12)))
