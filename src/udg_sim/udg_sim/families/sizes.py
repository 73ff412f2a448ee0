"""The size classes of objects, and what makes a thing of a size graspable."""

from typing import NamedTuple

import numpy as np


class SizeRange(NamedTuple):
    """Longest edge [m] from which and up to which an object belongs to a size class."""

    lower: float
    upper: float


SIZES = {"small": SizeRange(0.0, 0.08), "medium": SizeRange(0.08, 0.22), "large": SizeRange(0.22, 0.6)}
MIN_EDGE_M = 0.005
"""Shortest longest edge of an object."""
EDGE_M = {"small": (0.045, 0.08), "medium": (0.09, 0.20), "large": (0.24, 0.55)}
"""Longest edge [m] of each size class, from which and up to which it is drawn."""
MIDDLE_M = {"small": 0.07, "medium": 0.12, "large": 0.42}
"""Upper limit of the middle edge [m]."""
THICK_M = {"small": 0.014, "medium": 0.022, "large": 0.07}
"""Lower limit of the shortest edge [m]: fingers need room above the table."""
DENSITY = {"small": (200.0, 1200.0), "medium": (100.0, 900.0), "large": (25.0, 150.0)}
"""Effective density [kg/m^3], from which and up to which it is drawn."""
MASS_KG = (0.005, 0.9)
"""Range to which the mass is clipped."""


def size_class_of(longest_edge_m: float) -> str:
    """Size class of a longest edge up to 0.6 m."""
    return next(name for name, span in SIZES.items() if longest_edge_m <= span.upper)


def nominal_mass(volume_m3: float) -> float:
    """Mass [kg] of a user's mesh of unknown material: 400 kg/m^3, but between 5 g and 1 kg."""
    return min(max(400.0 * volume_m3, 0.005), 1.0)


def fitting(edges: np.ndarray) -> dict[str, tuple[float, float]]:
    """Range of the longest edge [m] in each size class that suits a shape with the sorted `edges` (3,)."""
    found = {}
    for size, (lower, upper) in EDGE_M.items():
        low = max(lower, THICK_M[size] * edges[2] / edges[0])
        high = min(upper, MIDDLE_M[size] * edges[2] / edges[1])
        if low <= high:
            found[size] = (low, high)
    return found
