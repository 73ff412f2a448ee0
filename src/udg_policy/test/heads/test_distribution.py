"""The likelihood against SciPy, at the bounds and far from them, and its gradients against finite differences."""

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm

from udg_policy.heads.distribution import truncated_normal_mode, truncated_normal_nll

X = [-1.0, -0.999, -0.3, 0.0, 0.7, 1.0]
MU = [-1.5, -1.0, -0.2, 0.0, 0.9, 1.0, 1.3]
SIGMA = [0.02, 0.1, 0.5, 3.0, 50.0]


def grid() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return tuple(axis.ravel() for axis in np.meshgrid(X, MU, SIGMA))


def test_nll_equals_scipy() -> None:
    x, mu, sigma = grid()
    expected = -truncnorm.logpdf(x, (-1 - mu) / sigma, (1 - mu) / sigma, loc=mu, scale=sigma)
    got = truncated_normal_nll(*(torch.from_numpy(v) for v in (x, mu, sigma))).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-5)


def test_density_integrates_to_one() -> None:
    x = torch.linspace(-1, 1, 20001, dtype=torch.float64)
    for mu, sigma in [(0.0, 0.1), (1.2, 0.3), (-0.9, 2.0)]:
        density = torch.exp(-truncated_normal_nll(x, torch.tensor(mu).double(), torch.tensor(sigma).double()))
        assert float(torch.trapezoid(density, x)) == pytest.approx(1.0, abs=1e-4)


def test_gradients_equal_finite_differences() -> None:
    x, mu, sigma = (torch.tensor(v, dtype=torch.float64) for v in grid())
    mu.requires_grad_(True)
    sigma.requires_grad_(True)
    truncated_normal_nll(x, mu, sigma).sum().backward()
    h = 1e-6
    with torch.no_grad():
        by_mu = (truncated_normal_nll(x, mu + h, sigma) - truncated_normal_nll(x, mu - h, sigma)) / (2 * h)
        by_sigma = truncated_normal_nll(x, mu, sigma * (1 + h)) - truncated_normal_nll(x, mu, sigma * (1 - h))
        by_sigma = by_sigma / (2 * h * sigma)
    torch.testing.assert_close(mu.grad, by_mu, rtol=1e-4, atol=1e-4)
    torch.testing.assert_close(sigma.grad, by_sigma, rtol=1e-4, atol=1e-4)


def test_single_precision_is_finite_far_outside_the_bounds() -> None:
    x = torch.tensor([1.0, -1.0, 1.0])
    mu = torch.tensor([40.0, 40.0, -3.0], requires_grad=True)
    sigma = torch.tensor([0.02, 0.5, 0.02], requires_grad=True)
    nll = truncated_normal_nll(x, mu, sigma)
    nll.sum().backward()
    assert torch.isfinite(nll).all()
    assert torch.isfinite(mu.grad).all() and torch.isfinite(sigma.grad).all()


def test_mode_is_the_nearest_value_in_the_bounds() -> None:
    assert truncated_normal_mode(torch.tensor([-3.0, 0.4, 1.1])).tolist() == pytest.approx([-1.0, 0.4, 1.0])
