"""Truncated normal distribution on a bounded interval (paper V-C), stable at and beyond the bounds."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

_HALF_LOG_2PI = 0.5 * math.log(2.0 * math.pi)
_SMALLEST = 1e-30


def log_mass(a: Tensor, b: Tensor) -> Tensor:
    """log(Phi(b) - Phi(a)) for a < b, standard normal; elementwise, finite gradients in both tails."""
    # Mirror so that the interval's centre is not on the right: both tails become the left one.
    flip = (a + b) > 0.0
    low, high = torch.where(flip, -b, a), torch.where(flip, -a, b)
    central = (low < 0.0) & (high > 0.0)
    # Central: 1 - both tails. Tail: log difference of two log CDFs. Unused branches get harmless inputs.
    c_low = torch.where(central, low, torch.full_like(low, -1.0))
    c_high = torch.where(central, high, torch.full_like(high, 1.0))
    mass = torch.special.ndtr(c_high) - torch.special.ndtr(c_low)
    in_centre = torch.log(mass.clamp_min(_SMALLEST))
    t_low = torch.where(central, torch.full_like(low, -2.0), low)
    t_high = torch.where(central, torch.full_like(high, -1.0), high)
    log_high = torch.special.log_ndtr(t_high)
    difference = (torch.special.log_ndtr(t_low) - log_high).clamp_max(-_SMALLEST)
    in_tail = log_high + torch.log(-torch.expm1(difference))
    return torch.where(central, in_centre, in_tail)


def truncated_normal_nll(x: Tensor, mu: Tensor, sigma: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """Negative log-likelihood of `x` in [low, high]; elementwise, same shape as the inputs.

    `mu` may lie outside the bounds (the mode is then at the bound); `sigma` must be positive.
    """
    return _Nll.apply(x, mu, sigma, low, high)


class _Nll(torch.autograd.Function):
    """With its gradient in closed form: many small operations take longer than their numbers."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, mu: Tensor, sigma: Tensor, low: float, high: float) -> Tensor:  # noqa: ANN401
        z, a, b = (x - mu) / sigma, (low - mu) / sigma, (high - mu) / sigma
        mass = log_mass(a, b)
        ctx.save_for_backward(z, a, b, mass, sigma)
        return 0.5 * z * z + _HALF_LOG_2PI + torch.log(sigma) + mass

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        z, a, b, mass, sigma = ctx.saved_tensors
        mass = mass + _HALF_LOG_2PI
        at_low, at_high = torch.exp(-0.5 * a * a - mass), torch.exp(-0.5 * b * b - mass)  # densities at the bounds
        scaled = grad / sigma
        by_mu = scaled * (at_low - at_high - z)
        by_sigma = scaled * (1.0 - z * z + a * at_low - b * at_high)
        return (scaled * z if ctx.needs_input_grad[0] else None), by_mu, by_sigma, None, None


def truncated_normal_mode(mu: Tensor, low: float = -1.0, high: float = 1.0) -> Tensor:
    """The most likely value: the parameter mu, or the bound next to it."""
    return mu.clamp(low, high)
