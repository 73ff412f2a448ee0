"""A truncated normal of each number of an action (paper V-C): what is executed is its mode."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from udg_policy.errors import ConfigError
from udg_policy.heads.distribution import truncated_normal_mode, truncated_normal_nll
from udg_policy.heads.head import ActionDistribution, Head, HeadLoss, weighted_l1

if TYPE_CHECKING:
    from udg_policy.config import PolicyConfig


class TruncatedNormalHead(Head):
    """The numbers are mu, and what sigma is made of."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        decoder = config.decoder
        self.sigma_least = decoder.sigma_least
        # softplus(raw + shift) + least = initial at raw = 0
        self.sigma_shift = math.log(math.expm1(decoder.sigma_initial - decoder.sigma_least))

    @classmethod
    def check(cls, config: PolicyConfig) -> None:
        """The likelihood trains sigma, and something must train mu from the start."""
        train = config.train
        if not train.nll_weight > 0.0:
            raise ConfigError(
                "train.nll_weight: 0 leaves the standard deviation of the truncated normal untrained; "
                "set it, or decoder.head to regression"
            )
        if train.l1_weight == 0.0 and train.nll_start > 0.0:
            raise ConfigError(
                "train.nll_start: with l1_weight 0 nothing is trained before it; set it to 0 or l1_weight above 0"
            )

    @property
    def outputs(self) -> int:
        """Two for each number of an action."""
        return 2 * self.size

    def distribution(self, numbers: Tensor) -> ActionDistribution:
        """Truncated normals."""
        mu, raw = numbers.chunk(2, dim=-1)
        return ActionDistribution(mu, F.softplus(raw + self.sigma_shift) + self.sigma_least)

    def act(self, numbers: Tensor, seed: int = 0) -> Tensor:
        """The mode; sigma is not needed for it."""
        return truncated_normal_mode(numbers[..., : self.size])

    def loss(
        self,
        numbers: Tensor,
        actions: Tensor,
        weights: Tensor,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> HeadLoss:
        """Weighted L1 of mu and, from `train.nll_start` on, the likelihood."""
        train = self.config.train
        mu, sigma = self.distribution(numbers)
        assert sigma is not None
        l1 = weighted_l1(mu, actions, weights)
        nll = truncated_normal_nll(actions, mu, sigma).mean()
        total = train.l1_weight * l1 + (train.nll_weight if progress >= train.nll_start else 0.0) * nll
        return HeadLoss(total, {"l1": l1, "nll": nll})
