"""Pieces of visualization markers: points, colours, poses."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from geometry_msgs.msg import Point, Pose, Quaternion
from std_msgs.msg import ColorRGBA

from udg_description.transforms import matrix_to_quat_wxyz


def point(xyz: Sequence[float] | np.ndarray) -> Point:
    """The message of a point (3,) [m]."""
    x, y, z = xyz
    return Point(x=float(x), y=float(y), z=float(z))


def points(xyz: np.ndarray) -> list[Point]:
    """The messages of points (N, 3) [m]."""
    return [Point(x=x, y=y, z=z) for x, y, z in np.asarray(xyz, dtype=np.float64).tolist()]


def colour(rgb: Sequence[float] | np.ndarray, alpha: float = 1.0) -> ColorRGBA:
    """The message of red, green, blue and opacity, all in [0, 1]."""
    red, green, blue = rgb
    return ColorRGBA(r=float(red), g=float(green), b=float(blue), a=float(alpha))


def poses(T: np.ndarray) -> list[Pose]:
    """The messages of poses (N, 4, 4)."""
    quats_wxyz = matrix_to_quat_wxyz(T[:, :3, :3]).tolist()
    return [
        Pose(position=place, orientation=Quaternion(w=w, x=x, y=y, z=z))
        for place, (w, x, y, z) in zip(points(T[:, :3, 3]), quats_wxyz, strict=True)
    ]
