import numpy as np
import pytest

from udg_datagen.metrics.diversity import fibonacci_sphere, mean_pair_angle_deg, pca_shares, sphere_entropy


def test_points_on_a_line_have_one_component() -> None:
    line = np.linspace(0.0, 1.0, 20)[:, None] * np.array([[1.0, 2.0, -1.0]])
    assert pca_shares(line) == pytest.approx((1.0, 1.0, 1.0))


def test_corners_of_a_square_have_two_equal_components() -> None:
    square = np.array([[1.0, 1.0, 5.0], [1.0, -1.0, 5.0], [-1.0, 1.0, 5.0], [-1.0, -1.0, 5.0]])
    assert pca_shares(square) == pytest.approx((0.5, 1.0, 1.0))


def test_equal_rows_count_as_one_component() -> None:
    assert pca_shares(np.ones((5, 3))) == (1.0, 1.0, 1.0)


def test_mean_angle_of_the_coordinate_axes() -> None:
    axes = np.concatenate([np.eye(3), -np.eye(3)])
    # 15 pairs: 3 are opposite (180 deg), 12 at right angles.
    assert mean_pair_angle_deg(axes) == pytest.approx((3 * 180.0 + 12 * 90.0) / 15)


def test_entropy_is_zero_for_one_direction_and_one_for_all_cells() -> None:
    assert sphere_entropy(np.tile([0.0, 0.0, 1.0], (30, 1))) == 0.0
    assert sphere_entropy(fibonacci_sphere(48)) == pytest.approx(1.0)
    half = np.repeat(fibonacci_sphere(48)[:2], 24, axis=0)  # two cells, equally: log 2 / log 48
    assert sphere_entropy(half) == pytest.approx(np.log(2.0) / np.log(48.0))


def test_the_lattice_is_even() -> None:
    lattice = fibonacci_sphere(48)
    assert np.linalg.norm(lattice, axis=1) == pytest.approx(np.ones(48))
    assert np.abs(lattice.mean(axis=0)).max() < 0.02
    rng = np.random.default_rng(0)
    uniform = rng.normal(size=(20000, 3))
    uniform /= np.linalg.norm(uniform, axis=1, keepdims=True)
    assert sphere_entropy(uniform) > 0.995
