"""A whole chunk drawn at once by flow matching (Lipman et al., 2023; as an action head: Black et al., pi0, 2024).

Noise becomes actions: at time t in [0, 1] a chunk x on its way is (1 - t) noise + t actions. A small network estimates
the actions from x; the flow's velocity is (estimate - x) / (1 - t). It need not carry the noise through, so it may be
narrow. Steps of a chunk go along together, so a chunk is of one mode where demonstrations have several.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn

from udg_policy.errors import ConfigError
from udg_policy.heads.head import ActionDistribution, Head, HeadLoss, weighted_l1

if TYPE_CHECKING:
    from udg_policy.config import PolicyConfig

_OCTAVES = 4  # of the sines and cosines of time


@dataclass(frozen=True, kw_only=True)
class FlowMatchingSettings:
    """Of the flow."""

    steps: int = 8  # of Euler's method from noise to actions
    blocks: int = 2  # of the network that estimates
    draws: int = 4  # of noise and time for each sample of a training step

    def __post_init__(self) -> None:
        for name in ("steps", "blocks", "draws"):
            if getattr(self, name) < 1:
                raise ConfigError(f"decoder.head_settings.{name}: {getattr(self, name)}, must be at least 1")


class _Block(nn.Module):
    """Mixes the steps of a chunk, then the numbers of each step."""

    def __init__(self, chunk: int, width: int) -> None:
        super().__init__()
        self.norm_steps, self.norm_width = nn.LayerNorm(width), nn.LayerNorm(width)
        self.steps = nn.Linear(chunk, chunk)
        self.mlp = nn.Sequential(nn.Linear(width, 2 * width), nn.GELU(), nn.Linear(2 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        """(..., K, width), the same shape."""
        x = x + self.steps(self.norm_steps(x).transpose(-1, -2)).transpose(-1, -2)
        return x + self.mlp(self.norm_width(x))


class FlowMatchingHead(Head):
    """The numbers are what the estimate depends on beside the chunk on its way and the time."""

    Settings = FlowMatchingSettings

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__(config)
        self.chunk, width = config.decoder.chunk, config.decoder.width
        self.settings: FlowMatchingSettings = config.decoder.settings
        self.enter = nn.Linear(self.size, width)
        self.time = nn.Linear(1 + 2 * _OCTAVES, width)
        self.blocks = nn.ModuleList(_Block(self.chunk, width) for _ in range(self.settings.blocks))
        self.norm = nn.LayerNorm(width)
        self.leave = nn.Linear(width, self.size)

    @property
    def outputs(self) -> int:
        """The width of the network that estimates."""
        return self.enter.out_features

    def estimate(self, x: Tensor, t: Tensor, numbers: Tensor) -> Tensor:
        """Actions (..., K, A) of chunks x on their way at times t (..., 1, 1), given numbers (..., K, outputs)."""
        phases = [math.pi * 2**octave * t for octave in range(_OCTAVES)]
        times = torch.cat([t, *map(torch.sin, phases), *map(torch.cos, phases)], dim=-1)
        hidden = self.enter(x) + numbers + self.time(times)
        for block in self.blocks:
            hidden = block(hidden)
        return self.leave(self.norm(hidden))

    def act(self, numbers: Tensor, seed: int = 0) -> Tensor:
        """A chunk drawn from the noise of the seed, which all rows of a batch share."""
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(self.chunk, self.size, generator=generator).to(numbers)
        x, steps = noise.expand(len(numbers), -1, -1), self.settings.steps
        for step in range(steps):  # 1 / steps of the velocity
            x = x.lerp(self.estimate(x, numbers.new_full((1, 1, 1), step / steps), numbers), 1.0 / (steps - step))
        return x.clamp(-1.0, 1.0)

    def distribution(self, numbers: Tensor) -> ActionDistribution:
        """The chunk of seed 0: a flow tells no parameters."""
        return ActionDistribution(self.act(numbers), None)

    def loss(
        self,
        numbers: Tensor,
        actions: Tensor,
        weights: Tensor,
        progress: float,
        generator: torch.Generator | None = None,
    ) -> HeadLoss:
        """Weighted squared error of the estimate, `draws` times for each sample."""
        generator = torch.Generator().manual_seed(0) if generator is None else generator
        shape = (self.settings.draws, *actions.shape)
        noise = torch.randn(shape, generator=generator, device=generator.device).to(actions)
        t = torch.rand((*shape[:2], 1, 1), generator=generator, device=generator.device).to(actions)
        error = self.estimate(noise.lerp(actions.expand(shape), t), t, numbers) - actions
        flow = (error.square() * weights).mean()
        parts = {"flow": flow}
        if not self.training:
            parts["l1"] = weighted_l1(self.act(numbers), actions, weights)
        return HeadLoss(flow, parts)

    def start_from(self, last: nn.Linear, mean: Tensor) -> None:
        """The estimate begins near the mean."""
        self.leave.bias.copy_(mean)
