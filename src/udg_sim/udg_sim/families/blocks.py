"""Boxes, prisms and blocks of several boxes. Units are relative."""

import numpy as np

from udg_sim.families.draw import Draw
from udg_sim.geometry import shapes
from udg_sim.geometry.forms import arc, bent_bar, circle, extrude, placed, ring_of, wall_shell
from udg_sim.geometry.shapes import Shape


def box(d: Draw) -> Shape:
    """Box, cube or beam, sharp or rounded."""
    y, z = d.uniform("y", 0.4, 1.0), d.uniform("z", 0.35, 1.0)
    if d.chance("sharp", 0.5):
        return shapes.box(1.0, y, z)
    return shapes.rounded_box(1.0, y, z, d.uniform("round", 0.05, 0.3) * min(y, z))


def book(d: Draw) -> Shape:
    """Book or stack of two books: pages between covers, rounded back."""
    y, z = d.uniform("y", 0.66, 0.8), d.uniform("z", 0.26, 0.38)
    cover = 0.12 * z
    back = np.array([[0.0, -z / 2], [0.0, z / 2], [-0.06, z / 3], [-0.08, 0.0], [-0.06, -z / 3]])
    spine = shapes.convex(
        np.concatenate([np.column_stack([back[:, 0], np.full(5, s / 2), back[:, 1]]) for s in (-1, 1)])
    )
    parts = [spine, placed(y - 0.03, 0.95, z - 1.5 * cover, ((y - 0.05) / 2, 0, 0))]
    parts += [placed(y, 1.0, cover, (y / 2, 0, s * (z - cover) / 2)) for s in (-1, 1)]
    return shapes.union(parts)


def crate(d: Draw) -> Shape:
    """Open box, drawer or tray, some with a divider."""
    y, z = d.uniform("y", 0.6, 1.0), d.uniform("z", 0.35, 0.7)
    wall = d.uniform("wall", 0.04, 0.07)
    body = shapes.open_box(1.0, y, z, wall, wall)
    if d.chance("divider", 0.35):
        return shapes.union([body, placed(wall, y, 0.8 * z, (0, 0, 0.4 * z))])
    return body


def brick(d: Draw) -> Shape:
    """Toy brick with studs."""
    nx, ny = d.integer("nx", 2, 4), d.integer("ny", 1, 2)
    height = d.uniform("height", 0.7, 1.3)
    studs = [
        shapes.moved(
            shapes.solid_lathe([(0.3, 0), (0.3, 0.26)], segments=12),
            x=i + 0.5 - nx / 2,
            y=j + 0.5 - ny / 2,
            z=height / 2 - 0.03,
        )
        for i in range(nx)
        for j in range(ny)
    ]
    return shapes.union([shapes.box(nx, ny, height), *studs])


def case(d: Draw) -> Shape:
    """Case or toolbox with a handle on top."""
    y, z = d.uniform("y", 0.3, 0.5), d.uniform("z", 0.5, 0.75)
    body = shapes.moved(shapes.rounded_box(1.0, y, z, 0.12 * y), z=z / 2)
    grip, thick = d.uniform("grip", 0.16, 0.24), d.uniform("thick", 0.04, 0.055)
    path = arc(grip, 0.0, np.pi, 8) * np.array([1.0, 1.0, 0.7])
    loop = shapes.moved(bent_bar(path, np.full(8, thick), sides=8), z=z - 0.01)
    return shapes.union([body, loop])


def house(d: Draw) -> Shape:
    """House: box, gable roof, chimney."""
    y, wall = d.uniform("y", 0.55, 0.9), d.uniform("wall", 0.4, 0.7)
    roof, eaves = d.uniform("roof", 0.25, 0.45), d.uniform("eaves", 1.0, 1.15)
    ends = np.array([[-eaves * y / 2, 0.0], [eaves * y / 2, 0.0], [0.0, roof]])
    gable = shapes.convex(
        np.concatenate(
            [np.column_stack([np.full(3, s * eaves / 2), ends[:, 0], wall - 0.01 + ends[:, 1]]) for s in (-1, 1)]
        )
    )
    parts = [placed(1.0, y, wall, (0, 0, wall / 2)), gable]
    if d.chance("chimney", 0.6):
        parts.append(placed(0.14, 0.14, 0.8 * roof, (0.25, 0.2 * y, wall + 0.6 * roof)))
    return shapes.union(parts)


def cushion(d: Draw) -> Shape:
    """Cushion: a flat superquadric."""
    return shapes.superquadric(
        1.0, d.uniform("y", 0.7, 1.0), d.uniform("z", 0.36, 0.5), d.uniform("pz", 0.5, 0.8), d.uniform("pxy", 0.2, 0.45)
    )


def stairs(d: Draw) -> Shape:
    """Stairs of two to four steps."""
    steps, y = d.integer("steps", 2, 4), d.uniform("y", 0.4, 0.9)
    rise = d.uniform("rise", 0.7, 1.0) / steps
    return shapes.union(
        [placed(1.0 - i / steps, y, 1.04 * rise, (0.5 * i / steps, 0, (i + 0.48) * rise)) for i in range(steps)]
    )


def wedge(d: Draw) -> Shape:
    """Wedge or ramp, some with a blunt nose."""
    height, y = d.uniform("height", 0.45, 0.9), d.uniform("y", 0.4, 0.8)
    nose, top = d.choice("nose", (0.0, 0.15, 0.3)) * height, d.choice("top", (0.0, 0.25, 0.5))
    side = np.array([[0, 0], [1, 0], [1, nose], [top, height], [0, height]])
    return shapes.convex(
        np.concatenate([np.column_stack([side[:, 0], np.full(5, s * y / 2), side[:, 1]]) for s in (-1, 1)])
    )


def prism(d: Draw) -> Shape:
    """Upright prism over a regular polygon."""
    return shapes.prism(d.integer("corners", 3, 8), d.uniform("radius", 0.28, 0.6), 1.0)


def cross(d: Draw) -> Shape:
    """Cross or jack of three beams."""
    a, b = d.uniform("a", 0.28, 0.42), d.uniform("b", 0.6, 1.0)
    beams = [shapes.box(1.0, a, a), shapes.box(a, b, a)]
    if d.chance("third", 0.5):
        beams.append(shapes.box(a, a, d.uniform("c", 0.6, 1.0)))
    return shapes.union(beams)


def channel(d: Draw) -> Shape:
    """U-shaped channel or clamp."""
    wall, y, z = d.uniform("wall", 0.16, 0.26), d.uniform("y", 0.3, 0.9), d.uniform("z", 0.4, 0.9)
    sides = [placed(wall, y, z, (s * (1 - wall) / 2, 0, z / 2)) for s in (-1, 1)]
    return shapes.union([placed(1.0, y, wall, (0, 0, wall / 2)), *sides])


def t_block(d: Draw) -> Shape:
    """T- or I-shaped beam."""
    a, y, z = d.uniform("a", 0.22, 0.36), d.uniform("y", 0.3, 0.9), d.uniform("z", 0.6, 1.0)
    parts = [placed(1.0, y, a, (0, 0, z - a / 2)), placed(a, y, z, (0, 0, z / 2))]
    if d.chance("foot", 0.4):
        parts.append(placed(d.uniform("base", 0.6, 1.0), y, a, (0, 0, a / 2)))
    return shapes.union(parts)


def ring(d: Draw) -> Shape:
    """Ring with a round, square or six-sided cross-section."""
    thick = d.uniform("thick", 0.14, 0.2)
    sides = d.choice("sides", (10, 4, 6))
    section = circle(thick, sides, (0.5 - thick, 0.0), np.pi / sides) * np.array([1.0, d.uniform("tall", 1.0, 1.8)])
    return ring_of(section, segments=d.choice("round", (24, 24, 8, 6)))


def pipe(d: Draw) -> Shape:
    """Pipe, sleeve or roll: an upright tube."""
    outer = d.uniform("outer", 0.25, 0.5)
    wall = outer * d.uniform("wall", 0.2, 0.5)
    section = np.array([[outer - wall, 0.0], [outer, 0.0], [outer, 1.0], [outer - wall, 1.0]])
    return ring_of(section, segments=d.choice("sides", (24, 24, 8, 6, 4)))


def superquadric(d: Draw) -> Shape:
    """Superquadric between box, ellipsoid and octahedron."""
    return shapes.superquadric(
        1.0, d.uniform("y", 0.55, 1.0), d.uniform("z", 0.5, 1.0), d.uniform("pz", 0.3, 1.6), d.uniform("pxy", 0.3, 1.6)
    )


def gem(d: Draw) -> Shape:
    """Convex body with few random corners."""
    count = d.integer("corners", 9, 16)
    directions = shapes.sphere_directions(count)
    reach = np.array([d.uniform(f"reach {i}", 0.75, 1.1) for i in range(count)])
    return shapes.convex(
        directions * reach[:, None] * np.array([1.0, d.uniform("y", 0.6, 1.0), d.uniform("z", 0.55, 1.0)])
    )


def rock(d: Draw) -> Shape:
    """Pebble: a lumpy convex body."""
    directions = shapes.sphere_directions(90)
    reach = np.ones(len(directions))
    for i in range(6):
        pole = shapes.sphere_directions(40)[d.integer(f"pole {i}", 0, 39)]
        reach += d.uniform(f"bump {i}", -0.12, 0.16) * np.clip(directions @ pole, 0, 1) ** 2
    return shapes.convex(
        directions * reach[:, None] * np.array([1.0, d.uniform("y", 0.65, 0.95), d.uniform("z", 0.5, 0.8)])
    )


def paper_bin(d: Draw) -> Shape:
    """Paper bin or holder: a four-sided or six-sided open vessel, taller than wide."""
    top = d.uniform("top", 0.35, 0.5)
    outer = [(top * d.uniform("taper", 0.7, 1.0), 0.0), (top, 1.0)]
    return wall_shell(outer, 0.05, 0.06, segments=d.choice("sides", (4, 6, 5)), turn=np.pi / 4)


def bolt(d: Draw) -> Shape:
    """Bolt: six-sided head on a shank."""
    head, shank = d.uniform("head", 0.28, 0.36), d.uniform("shank", 0.14, 0.2)
    thick = d.uniform("thick", 0.22, 0.32)
    shaft = shapes.moved(shapes.cylinder(shank, 1.0 - thick + 0.02, 0.15 * shank), z=thick - 0.02)
    return shapes.union([extrude(circle(head, 6), thick), shaft])
