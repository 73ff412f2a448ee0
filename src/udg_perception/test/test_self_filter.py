"""The robot's own points are dropped: the same answer as the exact distance gives."""

import numpy as np
import pytest

from udg_description.distance import RobotDistance
from udg_description.layout import HOME_Q
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.surface import SurfacePoints
from udg_perception.self_filter import SelfFilter

MARGIN_M = 0.01
MODEL = RobotModel()


def random_q(seed: int) -> np.ndarray:
    limits = joint_limits()
    return np.random.default_rng(seed).uniform(limits.lower, limits.upper)


@pytest.mark.parametrize("seed", range(4))
def test_agrees_with_the_exact_distance(seed: int) -> None:
    rng = np.random.default_rng(seed)
    q = random_q(seed)
    surface = SurfacePoints(MODEL, 500).points_world(q)
    near = np.repeat(surface, 4, axis=0) + rng.normal(scale=0.012, size=(4 * len(surface), 3))
    anywhere = rng.uniform([-0.5, -1.0, 0.0], [1.2, 1.0, 1.2], size=(4000, 3))
    points = np.concatenate([near, anywhere]).astype(np.float32)
    distance = RobotDistance(MODEL)(points, q)
    clear = np.abs(distance - MARGIN_M) > 1e-5  # the rounding of float32
    is_robot = SelfFilter(MODEL, MARGIN_M).is_robot(points, q)
    np.testing.assert_array_equal(is_robot[clear], (distance < MARGIN_M)[clear])
    assert 1000 < is_robot.sum() < len(points) - 1000


def test_the_answer_does_not_depend_on_the_order_of_the_points() -> None:
    rng = np.random.default_rng(7)
    points = rng.uniform([0.3, -0.6, 0.2], [0.9, 0.6, 0.8], size=(5000, 3)).astype(np.float32)
    order = rng.permutation(len(points))
    self_filter = SelfFilter(MODEL, MARGIN_M)
    np.testing.assert_array_equal(
        self_filter.is_robot(points[order], HOME_Q), self_filter.is_robot(points, HOME_Q)[order]
    )


def test_imaged_points_are_the_robots() -> None:
    points = SurfacePoints(MODEL, 300).points_world(HOME_Q).astype(np.float32)
    assert SelfFilter(MODEL, MARGIN_M).is_robot(points, HOME_Q).all()


def test_the_rest_keeps_its_order_and_no_points_are_no_error() -> None:
    self_filter = SelfFilter(MODEL, MARGIN_M)
    on_robot = SurfacePoints(MODEL, 1).points_world(HOME_Q)[0]
    points = np.array([[0.6, 0.0, 0.1], on_robot, [0.5, 0.0, 0.0]], dtype=np.float32)
    np.testing.assert_array_equal(self_filter(points, HOME_Q), points[[0, 2]])
    assert self_filter(points[:0], HOME_Q).shape == (0, 3)
