"""Statistics of the depth noise."""

import numpy as np
import pytest

from udg_description.errors import UdgError
from udg_sim.cameras.noise import KinectNoise


def _flat(depth_m: float) -> tuple[np.ndarray, np.ndarray]:
    shape = (200, 300)
    return np.full(shape, depth_m, dtype=np.float32), np.ones(shape, dtype=np.float32)


@pytest.mark.parametrize(("depth_m", "sigma_m"), [(1.0, 0.0015), (1.5, 0.003375), (2.0, 0.006), (3.8, 0.017)])
def test_random_error_has_the_stated_spread_and_no_bias(depth_m: float, sigma_m: float) -> None:
    depth, cosine = _flat(depth_m)
    error = KinectNoise().apply(depth, cosine, np.random.default_rng(0)) - depth
    assert error.std() == pytest.approx(sigma_m, rel=0.03)
    assert abs(error.mean()) < 3 * sigma_m / np.sqrt(error.size)


def test_a_step_loses_and_blurs_the_stated_shares_of_its_edge_and_nothing_else() -> None:
    noise = KinectNoise(sigma_1m_m=0.0, edge_loss=0.3, edge_flying=0.2)
    depth = np.full((4000, 10), 1.0, dtype=np.float32)
    depth[:, 5:] = 1.5
    noisy = noise.apply(depth, np.ones_like(depth), np.random.default_rng(1))
    np.testing.assert_array_equal(noisy[:, [0, 1, 2, 3, 6, 7, 8, 9]], depth[:, [0, 1, 2, 3, 6, 7, 8, 9]])
    edge = noisy[:, 4:6]
    lost, flying = edge == 0, (edge > 1.001) & (edge < 1.499)
    assert lost.mean() == pytest.approx(0.3, abs=0.03)
    assert flying.mean() == pytest.approx(0.2, abs=0.03)


def test_grazing_returns_fade() -> None:
    noise = KinectNoise(sigma_1m_m=0.0, grazing_cosine=0.2)
    depth, cosine = _flat(1.0)
    cosine[:, :100], cosine[:, 100:200] = 0.05, 0.15
    lost = noise.apply(depth, cosine, np.random.default_rng(2)) == 0
    assert lost[:, :100].mean() == pytest.approx(0.75, abs=0.02)
    assert lost[:, 100:200].mean() == pytest.approx(0.25, abs=0.02)
    assert not lost[:, 200:].any()


def test_what_is_not_seen_stays_unseen_and_the_input_unchanged() -> None:
    depth, cosine = _flat(1.0)
    depth[:50] = np.inf
    before = depth.copy()
    noisy = KinectNoise().apply(depth, cosine, np.random.default_rng(3))
    assert not noisy[:50].any()
    np.testing.assert_array_equal(depth, before)


def test_impossible_parameters_are_refused() -> None:
    with pytest.raises(UdgError, match="edge_loss"):
        KinectNoise(edge_loss=0.8, edge_flying=0.4)
    with pytest.raises(UdgError, match="sigma_max_m"):
        KinectNoise(sigma_max_m=float("nan"))
