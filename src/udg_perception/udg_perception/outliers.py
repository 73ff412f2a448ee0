"""Removal of points that float far from their neighbours (paper V-D: statistical outlier removal)."""

import numpy as np
import open3d as o3d
from numpy.typing import NDArray

Float32 = NDArray[np.float32]


def thin_evenly(points: Float32, max_points: int) -> Float32:
    """Keep at most `max_points` of the (N, 3) points, evenly spread over their order; all of them when N is smaller."""
    n = len(points)
    if n <= max_points:
        return points
    return points[np.arange(max_points, dtype=np.int64) * n // max_points]


def remove_statistical_outliers(points: Float32, neighbors: int, std_ratio: float) -> Float32:
    """Drop points whose mean distance to their neighbours is above the cloud's mean plus some standard deviations.

    Args:
        points: (N, 3) [m].
        neighbors: number of neighbours, the point itself included.
        std_ratio: allowed deviation [standard deviations over the cloud].

    Returns:
        (M, 3), M <= N, in the same order. A cloud of at most `neighbors` points has no statistics: all are returned.
    """
    if len(points) <= neighbors:
        return points
    cloud = o3d.geometry.PointCloud(o3d.utility.Vector3dVector(points.astype(np.float64)))
    _, kept = cloud.remove_statistical_outlier(nb_neighbors=neighbors, std_ratio=std_ratio)
    return points[np.sort(np.asarray(kept, dtype=np.int64))]
