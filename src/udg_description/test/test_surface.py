import numpy as np
import pytest

from udg_description.distance import RobotDistance
from udg_description.errors import RobotModelError
from udg_description.layout import HOME_Q, mirror_q
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.surface import SurfacePoints


@pytest.fixture(scope="module")
def model() -> RobotModel:
    return RobotModel()


@pytest.fixture(scope="module")
def surface(model: RobotModel) -> SurfacePoints:
    return SurfacePoints(model, 512)


def test_sides_alternate_and_every_even_prefix_has_as_many_of_both(surface: SurfacePoints) -> None:
    assert len(surface) == 1024
    assert all(np.sum(surface.side[:n] == 1) == n // 2 for n in (2, 100, 734, 1024))
    np.testing.assert_array_equal(surface.points_world(HOME_Q, 100), surface.points_world(HOME_Q)[:100])


def test_points_move_with_their_links(model: RobotModel, surface: SurfacePoints) -> None:
    limits = joint_limits()
    q = np.random.default_rng(0).uniform(limits.lower, limits.upper)
    distance = RobotDistance(model)(surface.points_world(q), q)
    assert distance.max() < 1e-5  # on a surface, or inside another link that has moved over it
    assert np.mean(np.abs(distance) < 1e-5) > 0.7


def test_the_two_sides_are_mirror_images(surface: SurfacePoints) -> None:
    limits = joint_limits()
    q = np.random.default_rng(1).uniform(limits.lower, limits.upper)
    left, right = surface.points_world(mirror_q(q))[0::2], surface.points_world(q)[1::2]
    np.testing.assert_allclose(left, right * [1, -1, 1], atol=1e-8)


def test_most_points_lie_on_the_hands_and_each_finger_has_some(model: RobotModel, surface: SurfacePoints) -> None:
    names = np.array(model.link_names)[surface.link]
    on_hand = np.array(["_hand_" in name for name in names])
    assert on_hand.mean() == pytest.approx(0.75, abs=0.01)
    assert on_hand[:100].mean() == pytest.approx(0.75, abs=0.03)
    for finger in ("thumb_rota_link2", "index_rota_link2", "mid_link2", "ring_link2", "pinky_link2"):
        assert np.sum(names == f"right_hand_{finger}") >= 10
    assert not any("upper_arm" in name or "shoulder" in name for name in names)


def test_points_are_spread_without_clumps(surface: SurfacePoints) -> None:
    points = surface.points_world(HOME_Q)[1::2]
    gaps = np.linalg.norm(points[:, None] - points[None], axis=2) + np.eye(len(points))
    nearest = gaps.min(axis=1)
    assert nearest.min() > 0.003 and np.percentile(nearest, 99) < 0.05


def test_the_same_seed_gives_the_same_points_and_another_other_ones(model: RobotModel) -> None:
    first, same, other = (SurfacePoints(model, 50, seed).points_world(HOME_Q) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, same)
    assert np.abs(first - other).max() > 1e-3


def test_no_points_is_an_error(model: RobotModel) -> None:
    with pytest.raises(RobotModelError, match="n_per_side is 0"):
        SurfacePoints(model, 0)
