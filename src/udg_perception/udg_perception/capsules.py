"""The robot's primitives as capsules and the few that are none (boxes, flat-ended cylinders)."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from udg_description.model import Primitive


class Capsules(NamedTuple):
    """Capsules (a sphere is one of length 0).

    Attributes:
        link: (C,) index of each one's link.
        center: (C, 3) [m, link].
        axis: (C, 3) unit vectors [link].
        half_length: (C,) half the distance between the centres of the two end spheres [m].
        radius: (C,) [m].
    """

    link: NDArray[np.intp]
    center: NDArray[np.float64]
    axis: NDArray[np.float64]
    half_length: NDArray[np.float64]
    radius: NDArray[np.float64]


def split_capsules(links: Sequence[Sequence[Primitive]]) -> tuple[Capsules, list[tuple[int, Primitive]]]:
    """Join each cylinder with the two spheres at its ends (how a URDF writes a capsule).

    Args:
        links: primitives of each link.

    Returns:
        The capsules and lone spheres; and the rest as (index of the link, primitive).
    """
    found: list[tuple[int, NDArray[np.float64], NDArray[np.float64], float, float]] = []
    rest: list[tuple[int, Primitive]] = []
    for link, primitives in enumerate(links):
        spheres = [shape for shape in primitives if shape.kind == "sphere"]
        inside_a_capsule: set[int] = set()
        for shape in primitives:
            if shape.kind == "sphere":
                continue
            ends = _end_spheres(shape, spheres) if shape.kind == "cylinder" else []
            if len(ends) < 2:
                rest.append((link, shape))
                continue
            inside_a_capsule.update(ends)
            T_link_shape = shape.T_link_shape
            found.append((link, T_link_shape[:3, 3], T_link_shape[:3, 2], shape.size[1] / 2, shape.size[0]))
        for index, sphere in enumerate(spheres):
            if index not in inside_a_capsule:
                T_link_shape = sphere.T_link_shape
                found.append((link, T_link_shape[:3, 3], T_link_shape[:3, 2], 0.0, sphere.size[0]))
    return Capsules(
        link=np.array([row[0] for row in found], dtype=np.intp),
        center=np.array([row[1] for row in found], dtype=np.float64).reshape(-1, 3),
        axis=np.array([row[2] for row in found], dtype=np.float64).reshape(-1, 3),
        half_length=np.array([row[3] for row in found], dtype=np.float64),
        radius=np.array([row[4] for row in found], dtype=np.float64),
    ), rest


def _end_spheres(cylinder: Primitive, spheres: Sequence[Primitive], tolerance_m: float = 1e-5) -> list[int]:
    """Indices of the spheres of the cylinder's radius at its two ends; one end after the other, none where missing."""
    radius, length = cylinder.size
    found = []
    for end in (-length / 2, length / 2):
        center = cylinder.T_link_shape[:3, 3] + end * cylinder.T_link_shape[:3, 2]
        for index, sphere in enumerate(spheres):
            is_there = np.linalg.norm(sphere.T_link_shape[:3, 3] - center) <= tolerance_m
            if is_there and abs(sphere.size[0] - radius) <= tolerance_m:
                found.append(index)
                break
    return found
