"""Capsules among the primitives of a URDF: a cylinder with a sphere of its radius at both ends."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from udg_description.urdf import Primitive


def capsule_ends(primitives: Sequence[Primitive]) -> dict[int, tuple[Primitive, Primitive]]:
    """By id() of each cylinder that has a sphere of its radius at both ends: the two spheres."""
    spheres = [p for p in primitives if p.kind == "sphere"]
    capsules = {}
    for cylinder in primitives:
        if cylinder.kind == "cylinder":
            lower, upper = (_sphere_at_end(cylinder, sign, spheres) for sign in (-1, 1))
            if lower is not None and upper is not None:
                capsules[id(cylinder)] = (lower, upper)
    return capsules


def _sphere_at_end(cylinder: Primitive, sign: int, spheres: Sequence[Primitive]) -> Primitive | None:
    radius, length = cylinder.size
    end = cylinder.T_link_shape[:3, 3] + cylinder.T_link_shape[:3, 2] * sign * length / 2
    for sphere in spheres:
        if abs(sphere.size[0] - radius) < 1e-5 and np.linalg.norm(sphere.T_link_shape[:3, 3] - end) < 1e-5:
            return sphere
    return None
