"""What a head is: how numbers that the network makes for each step of a chunk become actions, and what trains them.

The network ends in an MLP that makes `outputs` numbers for each step. All heads work on normalised actions, in [-1, 1].
A head of one's own is a file here and a line in `udg_policy.heads`.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, NamedTuple

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from udg_policy.config import PolicyConfig


class ActionDistribution(NamedTuple):
    """What is known of the actions: truncated normals on [-1, 1], mu and sigma (B, K, A); sigma None: a point each."""

    mu: Tensor  # may lie outside of [-1, 1]
    sigma: Tensor | None

    @property
    def mode(self) -> Tensor:
        """The likeliest actions (B, K, A)."""
        return self.mu.clamp(-1.0, 1.0)


class HeadLoss(NamedTuple):
    """Scalars: what is minimised, and what is reported with it, by name."""

    total: Tensor
    parts: dict[str, Tensor]


@dataclass(frozen=True, kw_only=True)
class NoSettings:
    """Of a head that has none of its own."""


class Head(nn.Module):
    """Turns numbers (B, K, outputs) into actions (B, K, A). It may have parameters of its own."""

    Settings: ClassVar[type] = NoSettings
    """Dataclass of `decoder.head_settings`: keyword-only, with defaults, checked in __post_init__."""

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        self.size = config.space.size

    @classmethod
    def check(cls, config: PolicyConfig) -> None:
        """Raise ConfigError where the rest of the configuration does not go with this head."""

    @property
    @abstractmethod
    def outputs(self) -> int:
        """Numbers that it needs for each step."""

    @abstractmethod
    def distribution(self, numbers: Tensor) -> ActionDistribution:
        """What the numbers say about the actions."""

    @abstractmethod
    def loss(
        self,
        numbers: Tensor,
        actions: Tensor,
        weights: Tensor,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> HeadLoss:
        """Loss of demonstrated actions (B, K, A).

        weights (K, A): of an error of each number; progress of the training in [0, 1], which may decide by
        `train.nll_start` alone (a step on CUDA is one graph before it and one after); generator: of what is drawn,
        default: the same each time. In evaluation, parts has "l1", the weighted mean error.
        """

    def act(self, numbers: Tensor, seed: int = 0) -> Tensor:
        """Actions (B, K, A) in [-1, 1] to execute; the same numbers and seed give the same actions."""
        return self.distribution(numbers).mode

    def start_from(self, last: nn.Linear, mean: Tensor) -> None:
        """Let an untrained head predict `mean` (A,); `last` is the layer that makes the numbers."""
        assert last.bias is not None
        last.bias[: self.size] = mean


def weighted_l1(predicted: Tensor, actions: Tensor, weights: Tensor) -> Tensor:
    """Mean absolute error of predicted actions (B, K, A), weighted by (K, A)."""
    return ((predicted - actions).abs() * weights).mean()
