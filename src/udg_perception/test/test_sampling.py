"""Farthest point sampling."""

import numpy as np

from udg_perception.sampling import farthest_points


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
    points = np.random.default_rng(1).uniform(size=(25, 3)).astype(np.float32)
    np.testing.assert_array_equal(farthest_points(points, 25), points)
    assert farthest_points(points[:0], 10).shape == (0, 3)
