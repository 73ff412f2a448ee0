"""Even thinning, and removal of statistical outliers."""

import numpy as np

from udg_perception.outliers import remove_statistical_outliers, thin_evenly


def sheet(n_side: int, pitch_m: float) -> np.ndarray:
    """Square grid of points [m] in z = 0."""
    x, y = np.meshgrid(np.arange(n_side) * pitch_m, np.arange(n_side) * pitch_m)
    return np.stack([x, y, np.zeros_like(x)], axis=-1).reshape(-1, 3).astype(np.float32)


def test_thinning_takes_every_kth_point() -> None:
    points = np.arange(30, dtype=np.float32).reshape(10, 3)
    np.testing.assert_array_equal(thin_evenly(points, 5), points[[0, 2, 4, 6, 8]])
    np.testing.assert_array_equal(thin_evenly(points, 4), points[[0, 2, 5, 7]])
    assert thin_evenly(points, 10) is points


def test_far_points_are_outliers_and_the_rest_keeps_its_order() -> None:
    points = sheet(20, 0.004)
    noisy = np.concatenate([points[:100], [[0.0, 0.0, 0.3], [0.5, 0.0, 0.0]], points[100:]]).astype(np.float32)
    np.testing.assert_array_equal(remove_statistical_outliers(noisy, 16, 2.0), points)


def test_a_handful_of_points_has_no_outliers() -> None:
    points = sheet(4, 1.0)
    np.testing.assert_array_equal(remove_statistical_outliers(points, 16, 0.1), points)
