"""The size classes of objects."""

from typing import NamedTuple


class SizeRange(NamedTuple):
    """Longest edge [m] from which and up to which an object belongs to a size class."""

    lower: float
    upper: float


SIZES = {"small": SizeRange(0.0, 0.08), "medium": SizeRange(0.08, 0.22), "large": SizeRange(0.22, 0.6)}
MIN_EDGE_M = 0.005
"""Shortest longest edge of an object."""


def size_class_of(longest_edge_m: float) -> str:
    """Size class of a longest edge up to 0.6 m."""
    return next(name for name, span in SIZES.items() if longest_edge_m <= span.upper)


def nominal_mass(volume_m3: float) -> float:
    """Mass [kg] of a user's mesh of unknown material: 400 kg/m^3, but between 5 g and 1 kg."""
    return min(max(400.0 * volume_m3, 0.005), 1.0)
