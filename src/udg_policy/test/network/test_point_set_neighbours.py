"""Neighbours where an object has fewer visible points than the network has slots."""

import numpy as np

from udg_policy.config import preset
from udg_policy.network.point_set import PointSampler


def small_object_cloud(n_seen: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    cloud = np.zeros((n_seen + 400, 4), dtype=np.float32)
    cloud[:, :3] = rng.uniform(0.0, 0.1, (len(cloud), 3))
    cloud[:, 0] += np.repeat([0.0, 1.0, 2.0], [n_seen, 200, 200])  # the classes are far apart
    cloud[:, 3] = np.repeat([0, 1, 2], [n_seen, 200, 200])
    return cloud


def test_a_repeated_point_is_one_neighbour() -> None:
    config = preset("edge")
    sampler = PointSampler(config.observation, config.encoder)
    points = sampler(small_object_cloud(40), np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]))
    first = points.points_world[sampler.centres_1]
    for centres, among, neighbours in (
        (first, points.points_world, points.neighbours_1),
        (first[sampler.centres_2], first, points.neighbours_2),
    ):
        for centre, group in zip(centres, among[neighbours], strict=True):
            assert len(np.unique(group, axis=0)) == len(group)
            distances = np.linalg.norm(np.unique(among, axis=0) - centre, axis=1)
            expected = np.sort(distances)[: len(group)]
            np.testing.assert_allclose(np.linalg.norm(group - centre, axis=1), expected, atol=1e-6)


def test_fewer_points_than_neighbours_are_repeated() -> None:
    config = preset("edge")
    sampler = PointSampler(config.observation, config.encoder)
    points = sampler(small_object_cloud(1)[[0, *range(1, 401)]], np.array([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0]]))
    assert points.neighbours_1.shape == (256, 8) and points.neighbours_2.shape == (96, 16)
    assert points.neighbours_1.max() < config.observation.n_points
