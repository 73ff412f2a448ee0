"""Spheres and surface points of a hand's links: those of its file, else made from the primitives of its URDF."""

from __future__ import annotations

import numpy as np

from udg_description.errors import HandModelError
from udg_description.robot.hand import HandDescription
from udg_description.robot.hand_tree import HandTree
from udg_description.robot.sphere_cover import cover_with_spheres
from udg_description.shapes import area, sample_union

_SURFACE_DENSITY = 2.0e4  # [1/m^2] points on the collision geometry for the final check
_LEAST_POINTS, _MOST_POINTS = 60, 20_000  # of a link
_SPHERE_GROW = 0.001  # [m] of spheres that are derived from primitives
_SPHERE_GAP = 0.0015  # [m] what of the surface may stand out of them


def surface_points(tree: HandTree) -> list[np.ndarray]:
    """Points (m, 3) [m] on the collision geometry of every moving link, in its frame; the same in every call."""
    rng = np.random.default_rng(0)
    points = []
    for shapes in tree.primitives:
        wanted = round(_SURFACE_DENSITY * sum(area(shape) for shape in shapes))
        count = min(max(_LEAST_POINTS, wanted), _MOST_POINTS)
        points.append(sample_union(shapes, count, rng) if shapes else np.zeros((0, 3)))
    return points


def link_spheres(tree: HandTree, description: HandDescription) -> list[np.ndarray]:
    """Rows (k, 4) of centre and radius [m] for every moving link: those of the file, else a cover of its primitives.

    Raises HandModelError when there are none at all.
    """
    given: dict[int, list[np.ndarray]] = {}
    for name, rows in description.spheres.items():
        link, T = tree.link_of(name)
        values = np.array(rows, dtype=float).reshape(-1, 4)
        values[:, :3] = values[:, :3] @ T[:3, :3].T + T[:3, 3]
        given.setdefault(link, []).append(values)
    spheres = []
    for link, (shapes, points) in enumerate(zip(tree.primitives, surface_points(tree), strict=True)):
        if link in given:
            spheres.append(np.concatenate(given[link]))
        elif shapes:
            centers, radii = cover_with_spheres(shapes, points, grow=_SPHERE_GROW, gap=_SPHERE_GAP)
            spheres.append(np.column_stack([centers, radii]))
        else:
            spheres.append(np.zeros((0, 4)))
    if sum(len(rows) for rows in spheres) == 0:
        raise HandModelError(f"hand '{description.name}': neither spheres in the file nor primitives in its URDF")
    return spheres
