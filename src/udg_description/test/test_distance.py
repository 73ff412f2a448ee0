import numpy as np
import pytest

from udg_description.distance import RobotDistance
from udg_description.layout import HOME_Q, mirror_q
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.shapes import union_distance
from udg_description.surface import SurfacePoints
from udg_description.transforms import inverse, transform_points


@pytest.fixture(scope="module")
def robot_distance() -> RobotDistance:
    return RobotDistance(RobotModel())


@pytest.fixture(scope="module")
def q() -> np.ndarray:
    limits = joint_limits()
    return np.random.default_rng(0).uniform(limits.lower, limits.upper)


@pytest.fixture(scope="module")
def points() -> np.ndarray:
    return np.random.default_rng(1).uniform([-0.5, -1.0, 0.0], [1.2, 1.0, 1.0], size=(4000, 3))


def test_equals_the_least_distance_over_all_links(
    robot_distance: RobotDistance, q: np.ndarray, points: np.ndarray
) -> None:
    model = RobotModel()
    expected = np.full(len(points), np.inf)
    for name, T in model.link_poses_np(q).items():
        local = transform_points(inverse(T), points)
        expected = np.minimum(expected, union_distance(model.geometry(name), local))
    outside = expected > 0
    np.testing.assert_allclose(robot_distance(points, q)[outside], expected[outside], atol=1e-5)
    assert np.all(robot_distance(points, q)[~outside] < 1e-5)


def test_a_maximum_only_cuts_the_values(robot_distance: RobotDistance, q: np.ndarray, points: np.ndarray) -> None:
    np.testing.assert_allclose(robot_distance(points, q, 0.05), np.minimum(robot_distance(points, q), 0.05), atol=1e-5)


def test_the_mirrored_robot_is_as_far_from_mirrored_points(
    robot_distance: RobotDistance, q: np.ndarray, points: np.ndarray
) -> None:
    mirrored = robot_distance(points * [1, -1, 1], mirror_q(q))
    np.testing.assert_allclose(mirrored, robot_distance(points, q), atol=1e-5)


def test_surface_points_have_distance_zero(robot_distance: RobotDistance) -> None:
    points = SurfacePoints(RobotModel(), 200).points_world(HOME_Q)
    assert np.abs(robot_distance(points, HOME_Q)).max() < 1e-5


def test_no_points_give_no_distances(robot_distance: RobotDistance) -> None:
    assert robot_distance(np.zeros((0, 3)), HOME_Q).shape == (0,)
