"""The built-in objects: names, sizes, densities and the split into training and test."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

from udg_sim.geometry import shapes
from udg_sim.geometry.shapes import Shape

CARTON, PLASTIC, FILLED, WOOD, FOAM, HOLLOW = 250.0, 950.0, 800.0, 600.0, 120.0, 60.0
"""Effective densities [kg/m^3] of the closed outer shape: what is inside counts."""
CERAMIC, RUBBER = 2000.0, 1100.0


@dataclass(frozen=True, kw_only=True)
class ObjectSpec:
    """One built-in object."""

    id: str
    category: str
    split: str  # "train" | "test"
    size_class: str  # "small" | "medium" | "large"
    build: Callable[[], Shape]
    density: float  # [kg/m^3] of the closed shape

    def __post_init__(self) -> None:
        assert self.split in ("train", "test") and self.size_class in ("small", "medium", "large")


def _bottle(radius: float, height: float, shoulder: float, neck: float) -> Shape:
    """Bottle: body up to the share `shoulder` of the height, then a slope to the neck radius and a cap."""
    body = shoulder * height
    slope = body + 0.55 * (height - body)
    foot = 0.06 * radius
    return shapes.solid_lathe(
        [
            (radius - foot, 0),
            (radius, foot),
            (radius, body),
            (0.8 * radius, body + 0.5 * (slope - body)),
            (neck, slope),
            (neck, height),
        ]
    )


def _squeeze_bottle() -> Shape:
    return shapes.solid_lathe(
        [
            (0.030, 0),
            (0.033, 0.006),
            (0.033, 0.05),
            (0.028, 0.075),
            (0.028, 0.095),
            (0.033, 0.115),
            (0.030, 0.135),
            (0.014, 0.147),
            (0.008, 0.175),
        ]
    )


def _jar(radius: float, height: float) -> Shape:
    lid = 0.78 * height
    return shapes.solid_lathe(
        [
            (0.95 * radius, 0),
            (radius, 0.05 * height),
            (radius, 0.66 * height),
            (0.82 * radius, 0.74 * height),
            (0.82 * radius, lid),
            (0.9 * radius, lid),
            (0.9 * radius, height),
        ]
    )


def _vase() -> Shape:
    return shapes.solid_lathe(
        [(0.026, 0), (0.036, 0.03), (0.040, 0.06), (0.034, 0.09), (0.022, 0.115), (0.022, 0.125), (0.032, 0.15)]
    )


def _mug(radius: float, height: float, handle: float) -> Shape:
    wall = 0.0045
    body = shapes.vessel([(0.93 * radius, 0), (radius, 0.1 * height), (radius, height)], wall, 0.006)
    loop = shapes.moved(shapes.arc_handle(handle, 0.009), x=radius - wall / 2, z=0.52 * height)
    return shapes.union([body, loop])


def _cup(bottom: float, top: float, height: float) -> Shape:
    return shapes.vessel([(bottom, 0), (top, height)], 0.0035, 0.005)


def _spray_bottle() -> Shape:
    body = shapes.solid_lathe(
        [(0.034, 0), (0.036, 0.004), (0.036, 0.09), (0.026, 0.115), (0.014, 0.13), (0.014, 0.165)]
    )
    head = shapes.moved(shapes.box(0.075, 0.024, 0.026), x=0.014, z=0.172)
    trigger = shapes.moved(shapes.box(0.010, 0.016, 0.045), x=0.036, z=0.142, axis="y", angle=-0.35)
    return shapes.union([body, head, trigger])


def _dumbbell(radius: float, grip: float, length: float) -> Shape:
    end = 0.28 * length
    bar = [(radius, 0), (radius, end), (grip, end), (grip, length - end), (radius, length - end), (radius, length)]
    return shapes.solid_lathe(bar)


def _toy_hammer() -> Shape:
    handle = shapes.moved(shapes.cylinder(0.013, 0.15), z=0.0)
    head = shapes.moved(shapes.cylinder(0.022, 0.085), x=-0.0425, z=0.155, axis="y", angle=1.5707963267948966)
    return shapes.union([handle, head])


def _pot(radius: float, height: float) -> Shape:
    wall = 0.006
    body = shapes.vessel([(0.95 * radius, 0), (radius, 0.08 * height), (radius, height)], wall, 0.008)
    right = shapes.moved(shapes.arc_handle(0.034, 0.012), x=0.0, axis="x", angle=1.5707963267948966)
    left = shapes.moved(right, axis="z", angle=3.141592653589793)
    reach = math.sqrt(radius**2 - 0.034**2) - wall / 2  # the curved wall at the ends of the arc
    ends = [(right, reach), (left, -reach)]
    return shapes.union([body, *(shapes.moved(grip, x=x, z=0.8 * height) for grip, x in ends)])


def _basket() -> Shape:
    return shapes.open_box(0.34, 0.24, 0.16, 0.008, 0.008)


def _l_block(x: float, y: float, z: float, thickness: float) -> Shape:
    foot = shapes.moved(shapes.box(x, y, thickness), z=thickness / 2)
    wall = shapes.moved(shapes.box(thickness, y, z), x=(thickness - x) / 2, z=z / 2)
    return shapes.union([foot, wall])


def _spec(
    id: str, category: str, split: str, size_class: str, density: float, build: Callable[..., Shape], *args: object
) -> ObjectSpec:
    return ObjectSpec(
        id=id, category=category, split=split, size_class=size_class, density=density, build=partial(build, *args)
    )


def _small() -> list[ObjectSpec]:
    train, test = ("train", "small"), ("test", "small")
    return [
        _spec("cube_30", "box", *train, WOOD, shapes.box, 0.03, 0.03, 0.03),
        _spec("cube_50", "box", *train, WOOD, shapes.rounded_box, 0.05, 0.05, 0.05, 0.004),
        _spec("domino", "box", *train, PLASTIC, shapes.box, 0.06, 0.03, 0.018),
        _spec("ball_40", "ball", *train, RUBBER, shapes.sphere, 0.02),
        _spec("cork", "cylinder", *train, WOOD, shapes.cylinder, 0.016, 0.045),
        _spec("pill", "capsule", *train, PLASTIC, shapes.capsule, 0.014, 0.06),
        _spec("hex_block", "prism", *train, WOOD, shapes.prism, 6, 0.024, 0.035),
        _spec("small_ring", "ring", *train, PLASTIC, shapes.torus, 0.026, 0.009),
        _spec("cube_40", "box", *test, WOOD, shapes.box, 0.04, 0.04, 0.04),
        _spec("ball_50", "ball", *test, RUBBER, shapes.sphere, 0.025),
        _spec("nut", "nut", *test, RUBBER, shapes.tube, 0.026, 0.012, 0.022, 6),
        _spec("pebble", "superquadric", *test, CERAMIC, shapes.superquadric, 0.055, 0.04, 0.028, 0.8, 0.9),
        _spec("star_block", "star", *test, WOOD, shapes.prism, 5, 0.032, 0.03, 0.018),
    ]


def _medium_train() -> list[ObjectSpec]:
    train = ("train", "medium")
    return [
        _spec("cylinder_60", "cylinder", *train, WOOD, shapes.cylinder, 0.03, 0.12),
        _spec("soda_can", "can", *train, FILLED, shapes.cylinder, 0.033, 0.122, 0.006),
        _spec("tin_can", "can", *train, FILLED, shapes.cylinder, 0.0375, 0.085, 0.002),
        _spec("cube_60", "box", *train, WOOD, shapes.box, 0.06, 0.06, 0.06),
        _spec("cube_80", "box", *train, CARTON, shapes.rounded_box, 0.08, 0.08, 0.08, 0.006),
        _spec("beam", "box", *train, WOOD, shapes.box, 0.05, 0.05, 0.14),
        _spec("carton", "box", *train, CARTON, shapes.box, 0.065, 0.09, 0.14),
        _spec("ball_70", "ball", *train, FILLED, shapes.sphere, 0.035),
        _spec("ball_85", "ball", *train, CARTON, shapes.sphere, 0.0425),
        _spec("capsule_60", "capsule", *train, WOOD, shapes.capsule, 0.03, 0.14),
        _spec("water_bottle", "bottle", *train, FILLED, _bottle, 0.032, 0.19, 0.62, 0.013),
        _spec("squeeze_bottle", "bottle", *train, WOOD, _squeeze_bottle),
        _spec("jar", "jar", *train, FILLED, _jar, 0.038, 0.10),
        _spec("hex_prism", "prism", *train, WOOD, shapes.prism, 6, 0.036, 0.11),
        _spec("fig", "superquadric", *train, WOOD, shapes.superquadric, 0.07, 0.07, 0.11, 1.2, 1.0),
        _spec("soap", "superquadric", *train, PLASTIC, shapes.superquadric, 0.11, 0.065, 0.055, 0.5, 0.6),
        _spec("egg", "ellipsoid", *train, FILLED, shapes.ellipsoid, 0.07, 0.07, 0.095),
        _spec("cup", "cup", *train, PLASTIC, _cup, 0.029, 0.039, 0.10),
        _spec("mug", "mug", *train, CERAMIC, _mug, 0.039, 0.09, 0.026),
        _spec("bowl", "bowl", *train, CERAMIC, shapes.bowl, 0.065, 0.05, 0.005, 0.025),
        _spec("ring", "ring", *train, PLASTIC, shapes.torus, 0.045, 0.014),
        _spec("tumbler", "cone", *train, WOOD, shapes.solid_lathe, ((0.026, 0.0), (0.038, 0.11))),
    ]


def _medium_test() -> list[ObjectSpec]:
    test = ("test", "medium")
    return [
        _spec("tall_can", "can", *test, FILLED, shapes.cylinder, 0.0285, 0.15, 0.005),
        _spec("cylinder_75", "cylinder", *test, CARTON, shapes.cylinder, 0.0375, 0.10),
        _spec("cube_70", "box", *test, WOOD, shapes.box, 0.07, 0.07, 0.07),
        _spec("tea_box", "box", *test, CARTON, shapes.box, 0.07, 0.075, 0.12),
        _spec("ball_78", "ball", *test, WOOD, shapes.sphere, 0.039),
        _spec("spray_bottle", "spray_bottle", *test, WOOD, _spray_bottle),
        _spec("shampoo", "bottle", *test, FILLED, _bottle, 0.030, 0.165, 0.75, 0.015),
        _spec("vase", "vase", *test, WOOD, _vase),
        _spec("cone", "cone", *test, WOOD, shapes.solid_lathe, ((0.045, 0.0), (0.012, 0.13))),
        _spec("dumbbell", "dumbbell", *test, FILLED, _dumbbell, 0.034, 0.02, 0.14),
        _spec("toy_hammer", "hammer", *test, WOOD, _toy_hammer),
        _spec("pillow_block", "superquadric", *test, WOOD, shapes.superquadric, 0.08, 0.075, 0.10, 0.4, 0.5),
        _spec("bracket", "l_block", *test, PLASTIC, _l_block, 0.09, 0.05, 0.07, 0.03),
        _spec("tall_mug", "mug", *test, CERAMIC, _mug, 0.036, 0.105, 0.03),
        _spec("wide_bowl", "bowl", *test, CERAMIC, shapes.bowl, 0.075, 0.045, 0.005, 0.03),
    ]


def _large() -> list[ObjectSpec]:
    train, test = ("train", "large"), ("test", "large")
    return [
        _spec("box_300", "box", *train, HOLLOW, shapes.box, 0.20, 0.30, 0.20),
        _spec("parcel", "box", *train, HOLLOW, shapes.box, 0.25, 0.35, 0.15),
        _spec("cube_250", "box", *train, HOLLOW, shapes.rounded_box, 0.25, 0.25, 0.25, 0.015),
        _spec("play_ball", "ball", *train, 50.0, shapes.sphere, 0.13),
        _spec("drum", "cylinder", *train, HOLLOW, shapes.cylinder, 0.11, 0.28),
        _spec("pot", "pot", *train, PLASTIC, _pot, 0.125, 0.14),
        _spec("basket", "basket", *train, 400.0, _basket),
        _spec("box_400", "box", *test, 30.0, shapes.box, 0.25, 0.40, 0.22),
        _spec("big_ball", "ball", *test, 25.0, shapes.sphere, 0.16),
        _spec("bucket", "bucket", *test, 700.0, shapes.vessel, ((0.10, 0.0), (0.135, 0.24)), 0.006, 0.008),
        _spec("cushion", "superquadric", *test, HOLLOW, shapes.superquadric, 0.36, 0.34, 0.16, 0.6, 0.3),
        _spec("roll", "cylinder", *test, FOAM, shapes.capsule, 0.08, 0.34),
    ]


def builtin_specs() -> dict[str, ObjectSpec]:
    """All built-in objects by id: small, medium, large, training before test."""
    specs = [*_small(), *_medium_train(), *_medium_test(), *_large()]
    by_id = {spec.id: spec for spec in specs}
    assert len(by_id) == len(specs)
    return by_id
