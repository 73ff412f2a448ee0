"""Families of parametric objects: "bottle_017" is the 17th of the bottles, the same on every machine.

A family builds a shape in relative units from random but fixed numbers; the size class, the longest edge, the density
and the mass follow from the same numbers. Any index works; the first `COUNT` of each family make the training set.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from udg_sim.families import blocks, toys, turned, vessels
from udg_sim.families.draw import Draw
from udg_sim.families.sizes import MASS_KG
from udg_sim.geometry.forms import scaled
from udg_sim.geometry.shapes import Shape

COUNT = 19
"""Objects of each family in the training set."""
EDGE_M = {"small": (0.036, 0.075), "medium": (0.085, 0.2), "large": (0.24, 0.52)}
"""Longest edge [m] of each size class, from which and up to which it is drawn."""
MIDDLE_M = {"small": 0.06, "medium": 0.092, "large": 0.40}
"""Upper limit of the middle edge [m]: what one hand (small, medium) or two hands (large) reach around."""
THICK_M = {"small": 0.018, "medium": 0.03, "large": 0.10}
"""Lower limit of the shortest edge [m], kept where the longest edge allows it: fingers need room above the table."""
RIM_M = {"small": 0.075, "medium": 0.14, "large": 0.40}
"""The same for open vessels, which are held at the rim."""
SOLID_DENSITY = {"small": (250.0, 1200.0), "medium": (150.0, 900.0), "large": (25.0, 90.0)}
"""Effective density [kg/m^3] of closed shapes: what is inside counts, and large things are hollow."""
WALL_DENSITY = {"small": (600.0, 2000.0), "medium": (500.0, 1800.0), "large": (90.0, 500.0)}
"""Density [kg/m^3] of shapes with walls."""

ALL = ("small", "medium", "large")


@dataclass(frozen=True, kw_only=True)
class Family:
    """A kind of object: how it is built and in which sizes."""

    name: str
    build: Callable[[Draw], Shape]
    sizes: tuple[str, ...] = ALL
    walls: bool = False  # made of walls: dense and light
    rim: bool = False  # held at its rim: may be wider than a hand

    def __post_init__(self) -> None:
        assert re.fullmatch(r"[a-z_]+", self.name) and set(self.sizes) <= set(ALL)


def _families() -> dict[str, Family]:
    two = ("medium", "large")
    listed = [
        Family(name="box", build=blocks.box),
        Family(name="can", build=turned.can),
        Family(name="bottle", build=turned.bottle),
        Family(name="jar", build=turned.jar),
        Family(name="capsule", build=turned.capsule),
        Family(name="egg", build=turned.egg),
        Family(name="frustum", build=turned.frustum),
        Family(name="ball", build=turned.ball),
        Family(name="pawn", build=turned.pawn),
        Family(name="bulb", build=turned.bulb),
        Family(name="torch", build=turned.torch),
        Family(name="fruit", build=turned.fruit),
        Family(name="banana", build=turned.banana),
        Family(name="bowl", build=vessels.bowl, walls=True, rim=True),
        Family(name="cup", build=vessels.cup, walls=True),
        Family(name="mug", build=vessels.mug, walls=True),
        Family(name="vase", build=vessels.vase, walls=True),
        Family(name="pot", build=vessels.pot, walls=True, rim=True, sizes=two),
        Family(name="pan", build=vessels.pan, walls=True, rim=True, sizes=two),
        Family(name="goblet", build=vessels.goblet, walls=True),
        Family(name="jug", build=vessels.jug, walls=True),
        Family(name="planter", build=vessels.planter, walls=True, rim=True),
        Family(name="bin", build=blocks.paper_bin, walls=True),
        Family(name="book", build=blocks.book),
        Family(name="crate", build=blocks.crate, walls=True, rim=True),
        Family(name="brick", build=blocks.brick),
        Family(name="case", build=blocks.case),
        Family(name="house", build=blocks.house),
        Family(name="cushion", build=blocks.cushion),
        Family(name="stairs", build=blocks.stairs),
        Family(name="wedge", build=blocks.wedge),
        Family(name="prism", build=blocks.prism),
        Family(name="cross", build=blocks.cross),
        Family(name="channel", build=blocks.channel),
        Family(name="t_block", build=blocks.t_block),
        Family(name="ring", build=blocks.ring),
        Family(name="pipe", build=blocks.pipe),
        Family(name="superquadric", build=blocks.superquadric),
        Family(name="gem", build=blocks.gem),
        Family(name="rock", build=blocks.rock),
        Family(name="bolt", build=blocks.bolt),
        Family(name="blob", build=toys.blob),
        Family(name="animal", build=toys.animal),
        Family(name="figure", build=toys.figure),
        Family(name="screwdriver", build=toys.screwdriver, sizes=("medium",)),
        Family(name="brush", build=toys.brush, sizes=("medium",)),
        Family(name="chair", build=toys.chair),
        Family(name="table", build=toys.table, rim=True),
        Family(name="stool", build=toys.stool),
        Family(name="cabinet", build=toys.cabinet),
        Family(name="sofa", build=toys.sofa),
    ]
    return {family.name: family for family in listed}


FAMILIES = _families()


class Member(NamedTuple):
    """One object of a family."""

    id: str
    family: Family
    size_class: str


def member(id: str) -> Member | None:
    """The member with this id ("bottle_017"), or None if no family has it."""
    match = re.fullmatch(r"([a-z_]+)_(\d{3,})", id)
    if match is None or match[1] not in FAMILIES or (len(match[2]) > 3 and match[2][0] == "0"):
        return None
    family = FAMILIES[match[1]]
    turn = list(FAMILIES).index(family.name)  # so that not every first member is small
    return Member(id, family, family.sizes[(int(match[2]) + turn) % len(family.sizes)])


def members(count: int = COUNT) -> list[Member]:
    """The first `count` members of every family: the first of each family, then the second of each, ..."""
    found = [member(f"{name}_{index:03d}") for index in range(count) for name in FAMILIES]
    return [m for m in found if m is not None]


class Built(NamedTuple):
    """A shape in metres and its mass [kg]."""

    shape: Shape
    mass_kg: float


def build(one: Member) -> Built:
    """Build the object: shape scaled to the drawn longest edge, mass from the drawn density."""
    draw, size = Draw(one.id), one.size_class
    shape = one.family.build(draw)
    lower, upper = EDGE_M[size]
    smallest, middle, longest = np.sort(shape.mesh.extents)
    limit = (RIM_M if one.family.rim else MIDDLE_M)[size]
    largest = min(upper, limit * longest / middle)
    least = min(max(lower, THICK_M[size] * longest / smallest), 0.95 * largest)
    edge = draw.log_uniform("edge", least, largest)
    shape = scaled(shape, edge / longest)
    density = draw.log_uniform("density", *(WALL_DENSITY if one.family.walls else SOLID_DENSITY)[size])
    return Built(shape, float(np.clip(density * shape.mesh.volume, *MASS_KG)))
