"""Thinning, outlier removal, farthest point sampling."""

import numpy as np

from udg_perception.outliers import remove_statistical_outliers, thin_evenly
from udg_perception.sampling import farthest_points


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


def test_farthest_points_of_a_line_are_spread_over_it() -> None:
    x = np.float32([0.0, 0.1, 0.2, 5.0, 5.1, 9.8, 9.9, 10.0])
    points = np.stack([x, np.zeros(8), np.zeros(8)], axis=1).astype(np.float32)
    chosen = np.sort(farthest_points(points, 3)[:, 0])
    np.testing.assert_allclose(chosen, [0.1, 5.05, 9.9], atol=0.11)  # one of each group


def test_each_point_is_the_farthest_from_those_before_it() -> None:
    points = np.random.default_rng(0).uniform(size=(600, 3)).astype(np.float32)
    chosen = farthest_points(points, 64)
    distance = np.full(len(points), np.inf)
    for before, point in zip(chosen[:-1], chosen[1:], strict=True):
        distance = np.minimum(distance, np.linalg.norm(points - before, axis=1))
        np.testing.assert_array_equal(point, points[distance.argmax()])


def test_fewer_points_than_asked_for_come_back_whole() -> None:
    points = sheet(5, 0.01)
    np.testing.assert_array_equal(farthest_points(points, 25), points)
    assert farthest_points(points[:0], 10).shape == (0, 3)
