"""The actions themselves, learned by an L1 (the paper's ablation without distribution, Table II)."""

from __future__ import annotations

import torch
from torch import Tensor

from udg_policy.heads.head import ActionDistribution, Head, HeadLoss, weighted_l1


class RegressionHead(Head):
    """The numbers are the actions."""

    @property
    def outputs(self) -> int:
        """One for each number of an action."""
        return self.size

    def distribution(self, numbers: Tensor) -> ActionDistribution:
        """Points."""
        return ActionDistribution(numbers, None)

    def loss(
        self,
        numbers: Tensor,
        actions: Tensor,
        weights: Tensor,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> HeadLoss:
        """Weighted L1."""
        l1 = weighted_l1(numbers, actions, weights)
        return HeadLoss(l1, {"l1": l1})
