"""Random compositions: "composition_00017" is a body with one to four things added, the same on every machine.

There are as many members as there are numbers. Size class, edges, density and mass follow from the id alone, within
the limits of `udg_sim.families.sizes`. No third-party mesh is read.
"""

import re
from typing import NamedTuple

import numpy as np
import trimesh

from udg_sim.families import attachments, cores
from udg_sim.families.attachments import Attachment, Body
from udg_sim.families.draw import Draw
from udg_sim.families.sizes import DENSITY, MASS_KG, SIZES, fitting
from udg_sim.geometry.forms import scaled
from udg_sim.geometry.shapes import Shape

NAME = "composition"
COUNT = 300
"""Members in the sets `compositions` and `train+`, where no other number is asked for."""
FILL = {"small": 0.08, "medium": 0.05, "large": 0.04}
"""Least share of its convex hull that an object fills: less is a bundle of wires."""
STOUT = {"small": 1.45, "medium": 1.2, "large": 1.0}
"""Factor on the radius of bars: those of a small thing are not thinner than 1 mm."""
MAX_PARTS = 100
"""Most convex parts."""
TRIES = 50
BODIES = (cores.SOLIDS, cores.SOLIDS, cores.SHELLS, cores.SHELLS, cores.FLAT, cores.FLAT, cores.OPEN)
PLACES = (attachments.SIDE, attachments.SIDE, attachments.TOP, attachments.UNDER)
"""What may be added: at most two things at the sides, one on top, one below."""


class Composition(NamedTuple):
    """One composition."""

    id: str
    size_class: str


def composition(id: str) -> Composition | None:
    """The composition with this id ("composition_00017"), or None if it is no such id."""
    number = number_of(id, NAME)
    return None if number is None else Composition(id, _size_class(number))


def number_of(id: str, name: str) -> int | None:
    """The number in `id` ("<name>_00017"), or None if it is no such id."""
    match = re.fullmatch(rf"{name}_(\d{{5,}})", id)
    if match is None or (len(match[1]) > 5 and match[1][0] == "0"):
        return None
    return int(match[1])


def compositions(count: int = COUNT) -> list[Composition]:
    """The first `count` compositions; sizes in turn."""
    return [Composition(f"{NAME}_{k:05d}", _size_class(k)) for k in range(count)]


def _size_class(number: int) -> str:
    return tuple(SIZES)[number % len(SIZES)]


class Composed(NamedTuple):
    """A shape in metres and its mass [kg]."""

    shape: Shape
    mass_kg: float


def build(one: Composition) -> Composed:
    """Build the object; where a draw comes out in pieces, too wiry or not graspable, the next one is taken."""
    size = one.size_class
    for attempt in range(TRIES):
        d = Draw(f"{one.id}/{attempt}")
        shape = compose(d, STOUT[size])
        edge_m = None if shape is None else _edge_m(d, shape.mesh, size)
        if shape is not None and edge_m is not None:
            shape = scaled(shape, edge_m / float(shape.mesh.extents.max()))
            density = d.log_uniform("density", *DENSITY[size])
            return Composed(shape, float(np.clip(density * shape.mesh.volume, *MASS_KG)))
    raise AssertionError(f"{one.id}: no composition in {TRIES} draws")


def _edge_m(d: Draw, mesh: trimesh.Trimesh, size: str) -> float | None:
    """The longest edge [m] that is drawn for a mesh in a size class; None where it does not suit."""
    if mesh.volume < FILL[size] * mesh.convex_hull.volume:
        return None
    span = fitting(np.sort(mesh.extents)).get(size)
    return None if span is None else d.log_uniform("edge", *span)


def compose(d: Draw, stout: float) -> Shape | None:
    """A body and what is added to it in relative units, or None where it does not come out as one solid."""
    kinds = d.choice("body", BODIES)
    kind = d.choice("core", kinds)
    found = [kind(Draw(f"{d.key}/core"))]
    order = sorted(range(len(PLACES)), key=lambda k: d.unit(f"order {k}"))
    more = d.choice("more", (1, 1, 2, 2, 2, 3, 4)) - int(kinds is cores.OPEN and d.chance("alone", 0.5))
    used: set[Attachment] = set()
    for k in sorted(order[:more]):  # the sides first, what stands on the ground last
        add = d.choice(f"add {k}", PLACES[k])
        if add in used:
            continue
        used.add(add)
        found += add(Body(found, stout), Draw(f"{d.key}/{add.__name__}"))
    whole = cores.joined(found)
    mesh, parts = whole
    if len(parts or ()) > MAX_PARTS or not mesh.is_watertight or mesh.volume <= 0 or mesh.body_count != 1:
        return None
    return whole
