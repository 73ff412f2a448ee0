"""Flat things: "flat_00017" is a random composition pressed flat, so that it lies low; small and medium ones.

Many held-out objects rest low, and few of the other training objects that are long do. As many
members as there are numbers; like the compositions they follow from the id alone.
"""

import numpy as np

from udg_sim.families.compositions import COUNT, FILL, STOUT, TRIES, Composed, Composition, compose, number_of
from udg_sim.families.draw import Draw
from udg_sim.families.sizes import DENSITY, EDGE_M, MASS_KG, MIDDLE_M, THICK_M
from udg_sim.geometry.forms import stretched

NAME = "flat"
FLAT_SIZES = ("small", "medium")
THICKER = 1.4
"""A thing is at most this much thicker than what is just graspable."""
SLENDER = (0.15, 0.95)
"""Middle edge over longest edge, from which and up to which it is drawn."""


def flat(id: str) -> Composition | None:
    """The flat thing with this id ("flat_00017"), or None if it is no such id."""
    number = number_of(id, NAME)
    return None if number is None else Composition(id, _size_class(number))


def flats(count: int = COUNT) -> list[Composition]:
    """The first `count` flat things; small and medium in turn."""
    return [Composition(f"{NAME}_{k:05d}", _size_class(k)) for k in range(count)]


def _size_class(number: int) -> str:
    return FLAT_SIZES[number % len(FLAT_SIZES)]


def build(one: Composition) -> Composed:
    """Build the object; where a draw comes out in pieces or too wiry, the next one is taken."""
    size = one.size_class
    for attempt in range(TRIES):
        d = Draw(f"{one.id}/{attempt}")
        shape = compose(d, STOUT[size])
        if shape is None or shape.mesh.volume < FILL[size] * shape.mesh.convex_hull.volume:
            continue
        edges = shape.mesh.extents
        order = np.argsort(edges, kind="stable")
        factors = np.empty(3)
        factors[order] = _edges_m(d, size) / edges[order]
        shape = stretched(shape, *factors)
        density = d.log_uniform("density", *DENSITY[size])
        return Composed(shape, float(np.clip(density * shape.mesh.volume, *MASS_KG)))
    raise AssertionError(f"{one.id}: no flat thing in {TRIES} draws")


def _edges_m(d: Draw, size: str) -> np.ndarray:
    """The edges (3,) [m] that are drawn for a size class, the shortest first."""
    longest = d.log_uniform("edge", *EDGE_M[size])
    thickness = d.log_uniform("thickness", THICK_M[size], THICKER * THICK_M[size])
    middle = longest * d.log_uniform("slender", *SLENDER)
    return np.array([thickness, np.clip(middle, 1.05 * thickness, MIDDLE_M[size]), longest])
