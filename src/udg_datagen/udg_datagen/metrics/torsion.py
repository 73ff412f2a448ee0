"""How much a grasp relies on torsion at its pads: what two points on a line cannot hold.

Point contacts on one line resist every force and every torque but that about the line. A pinch is such a line; what
turns an object in it is gravity (or a pull) at a lever from the line. Contacts beside the line resist with friction.
A grasp whose measure is 0 needs pads without area; 0.01 m means 10 mNm of torsion for each newton of weight.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udg_datagen.grasp_set import GraspSet
from udg_description.physics import GRAVITY_M_S2
from udg_sim.objects.library import ObjectModel

LEAST_SHARE = 0.05
"""Contacts that carry a smaller share of the largest force do not count."""
FRICTION = 0.6
"""Coefficient with which contacts beside the line are taken to resist: low, to be on the safe side."""


class Torsion(NamedTuple):
    """Torsion that the pads have to resist for each newton of load at the centre of mass [m = Nm/N], a grasp."""

    gravity_m: np.ndarray  # (N,) the object lifted as it lay
    worst_m: np.ndarray  # (N,) the worst direction of load: the distance of the centre of mass from the line


def torsion(grasps: GraspSet, model: ObjectModel, *, mass_kg: float | None = None) -> Torsion:
    """The measure of each grasp in physics without pads.

    The line is that along which the contacts lie best, weighed by their planned forces. Contacts at a distance from
    it take off what their friction holds about it: FRICTION times force times distance, over the weight.

    Args:
        model: the object of the grasps; its origin is the centre of mass.
        mass_kg: weight that the contacts beside the line have to hold; the object's own if None.
    """
    mass = model.mass_kg if mass_kg is None else mass_kg
    down_object = -np.asarray(grasps.T_table_object)[2, :3]
    levers = [
        line_levers(points, np.linalg.norm(forces, axis=1), down_object, GRAVITY_M_S2 * mass)
        for points, forces in zip(grasps.contact_points_object, grasps.contact_forces_object, strict=True)
    ]
    table = np.array(levers, dtype=float).reshape(-1, 2)
    return Torsion(table[:, 0], table[:, 1])


def line_levers(points: np.ndarray, force_n: np.ndarray, down: np.ndarray, weight_n: float) -> tuple[float, float]:
    """Levers [m] of a load along the unit vector `down` (3,) and of the worst load at the origin, about the line
    through contacts at `points` (C, 3) [m] with forces `force_n` (C,) [N], less what the contacts hold beside it.

    (nan, nan) for fewer than two contacts: nothing is held.
    """
    strong = force_n > LEAST_SHARE * force_n.max() if len(force_n) else np.zeros(0, dtype=bool)
    if strong.sum() < 2:
        return np.nan, np.nan
    points, force_n = points[strong], force_n[strong]
    middle = np.average(points, axis=0, weights=force_n)
    spread = (points - middle) * np.sqrt(force_n)[:, None]
    along = np.linalg.svd(spread)[2][0]
    beside = np.linalg.norm(np.cross(points - middle, along), axis=1)
    held_m = FRICTION * float(force_n @ beside) / weight_n
    turning = np.cross(along, -middle)  # torque about the line of a unit force at the origin: turning @ force
    gravity_m, worst_m = abs(float(turning @ down)), float(np.linalg.norm(turning))
    return max(0.0, gravity_m - held_m), max(0.0, worst_m - held_m)
