"""The networks of DP3: encoder of an observation, and the U-Net that takes noise from actions."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from udg_datagen.baselines.dp3.config import DP3Config
from udg_description.layout import N_JOINTS

_CLOUDS_AT_ONCE = 16  # whose features fit the processor's cache


class Encoder(nn.Module):
    """An observation as numbers (B, outputs): each point alone, then the maximum over the points; beside the state."""

    def __init__(self, config: DP3Config) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        before = 3
        for width in config.encoder_widths:
            layers += [nn.Linear(before, width), nn.LayerNorm(width), nn.ReLU()]
            before = width
        self.points = nn.Sequential(*layers)
        self.projection = nn.Sequential(nn.Linear(before, config.encoder_output), nn.LayerNorm(config.encoder_output))
        first, second = config.state_widths
        self.state = nn.Sequential(nn.Linear(N_JOINTS, first), nn.ReLU(), nn.Linear(first, second))
        self.outputs = config.encoder_output + second

    def forward(self, points: Tensor, q: Tensor) -> Tensor:
        """points (B, N, 3) and q (B, 36), both normalised."""
        if torch.is_grad_enabled():
            points = self._deciding(points)
        return torch.cat([self.projection(self.points(points).amax(dim=1)), self.state(q)], dim=-1)

    @torch.no_grad()
    def _deciding(self, points: Tensor) -> Tensor:
        """The points (B, K, 3) that are the maximum of some output, padded with others.

        The others have no gradient, and most points are others: going back through these alone is exact, and faster.
        """
        winners = torch.cat([self.points(part).max(dim=1).indices for part in points.split(_CLOUDS_AT_ONCE)])
        decides = torch.zeros(points.shape[:2], dtype=torch.bool, device=points.device).scatter_(1, winners, True)
        most = int(decides.sum(dim=1).amax())
        chosen = decides.to(torch.int8).argsort(dim=1, descending=True, stable=True)[:, :most]
        return points.gather(1, chosen[..., None].expand(-1, -1, points.shape[-1]))


class StepEmbedding(nn.Module):
    """Sines and cosines of a diffusion step, then an MLP."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self._half = width // 2
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.Mish(), nn.Linear(4 * width, width))

    def forward(self, step: Tensor) -> Tensor:
        """(B,) to (B, width)."""
        rates = torch.exp(torch.arange(self._half, device=step.device) * (-math.log(10_000.0) / (self._half - 1)))
        phase = step.float()[:, None] * rates
        return self.mlp(torch.cat([phase.sin(), phase.cos()], dim=-1))


def _block(inputs: int, outputs: int, config: DP3Config) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv1d(inputs, outputs, config.kernel, padding=config.kernel // 2),
        nn.GroupNorm(config.groups, outputs),
        nn.Mish(),
    )


class Residual(nn.Module):
    """Two convolutions; what is known scales and shifts the channels between them (FiLM)."""

    def __init__(self, inputs: int, outputs: int, known: int, config: DP3Config) -> None:
        super().__init__()
        self.first, self.second = _block(inputs, outputs, config), _block(outputs, outputs, config)
        self.film = nn.Sequential(nn.Mish(), nn.Linear(known, 2 * outputs))
        self.beside = nn.Conv1d(inputs, outputs, 1) if inputs != outputs else nn.Identity()

    def forward(self, x: Tensor, known: Tensor) -> Tensor:
        """x (B, C, T), known (B, known)."""
        scale, shift = self.film(known)[..., None].chunk(2, dim=1)
        return self.second(scale * self.first(x) + shift) + self.beside(x)


class UNet(nn.Module):
    """One residual block on each level down, one at the bottom, one on each level up, as in the `simple` size."""

    def __init__(self, config: DP3Config, observed: int) -> None:
        super().__init__()
        widths: Sequence[int] = (N_JOINTS, *config.unet_widths)
        known = config.step_embedding + observed
        self.step = StepEmbedding(config.step_embedding)
        pairs = list(zip(widths[:-1], widths[1:], strict=True))
        self.down = nn.ModuleList(Residual(a, b, known, config) for a, b in pairs)
        self.halve = nn.ModuleList(nn.Conv1d(b, b, 3, stride=2, padding=1) for _, b in pairs[:-1])
        self.bottom = Residual(widths[-1], widths[-1], known, config)
        self.up = nn.ModuleList(Residual(2 * b, a, known, config) for a, b in reversed(pairs[1:]))
        self.widen = nn.ModuleList(nn.ConvTranspose1d(a, a, 4, stride=2, padding=1) for a, _ in reversed(pairs[1:]))
        self.last = nn.Sequential(_block(widths[1], widths[1], config), nn.Conv1d(widths[1], N_JOINTS, 1))

    def forward(self, actions: Tensor, step: Tensor, observed: Tensor) -> Tensor:
        """Clean actions (B, T, 36) of noisy ones at steps (B,), given observations (B, observed)."""
        known = torch.cat([self.step(step), observed], dim=-1)
        x, kept = actions.transpose(1, 2), []
        for level, block in enumerate(self.down):
            x = block(x, known)
            kept.append(x)
            if level < len(self.halve):
                x = self.halve[level](x)
        x = self.bottom(x, known)
        for level, block in enumerate(self.up):
            x = self.widen[level](block(torch.cat([x, kept.pop()], dim=1), known))
        return self.last(x).transpose(1, 2)


class Diffusion(nn.Module):
    """The noise schedule: a squared cosine (Nichol and Dhariwal 2021)."""

    kept: Tensor

    def __init__(self, config: DP3Config) -> None:
        super().__init__()
        self._config = config

        def share(t: float) -> float:
            return math.cos((t + 0.008) / 1.008 * math.pi / 2.0) ** 2

        n = config.noise_steps
        betas = [min(1.0 - share((k + 1) / n) / share(k / n), 0.999) for k in range(n)]
        kept = torch.cumprod(1.0 - torch.tensor(betas, dtype=torch.float64), dim=0).float()
        self.register_buffer("kept", kept, persistent=False)  # share of the signal's variance after each step

    def noisy(self, actions: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Actions (B, T, 36) with the noise of steps (B,)."""
        kept = self.kept[step][:, None, None]
        return kept.sqrt() * actions + (1.0 - kept).sqrt() * noise

    def steps(self) -> list[int]:
        """The steps that DDIM visits, noisiest first."""
        stride = self._config.noise_steps // self._config.inference_steps
        return [stride * k for k in range(self._config.inference_steps)][::-1]

    def back(self, x: Tensor, clean: Tensor, step: int) -> Tensor:
        """One step of DDIM (Song et al. 2021, eta = 0) from `step`, given the estimate of the clean actions."""
        stride = self._config.noise_steps // self._config.inference_steps
        here = self.kept[step]
        there = self.kept[step - stride] if step >= stride else torch.ones_like(here)
        noise = (x - here.sqrt() * clean) / (1.0 - here).sqrt()
        return there.sqrt() * clean.clamp(-1.0, 1.0) + (1.0 - there).sqrt() * noise


class DP3Network(nn.Module):
    """All of it, on normalised numbers."""

    def __init__(self, config: DP3Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.unet = UNet(config, config.n_observations * self.encoder.outputs)
        self.diffusion = Diffusion(config)

    def observed(self, points: Tensor, q: Tensor) -> Tensor:
        """(B, O * outputs) of observations: points (B, O, N, 3), q (B, O, 36), oldest first."""
        return self.encoder(points.flatten(0, 1), q.flatten(0, 1)).reshape(len(q), -1)

    def loss(self, points: Tensor, q: Tensor, actions: Tensor, generator: torch.Generator) -> Tensor:
        """Mean squared error of the estimate of the clean actions (B, T, 36)."""
        noise = torch.randn(actions.shape, generator=generator)
        step = torch.randint(self.config.noise_steps, (len(actions),), generator=generator)
        estimate = self.unet(self.diffusion.noisy(actions, noise, step), step, self.observed(points, q))
        return F.mse_loss(estimate, actions)

    @torch.inference_mode()
    def act(self, points: Tensor, q: Tensor, generator: torch.Generator) -> Tensor:
        """Actions (B, T, 36) in [-1, 1] drawn by DDIM."""
        observed = self.observed(points, q)
        x = torch.randn((len(q), self.config.horizon, N_JOINTS), generator=generator)
        for step in self.diffusion.steps():
            clean = self.unet(x, torch.full((len(q),), step), observed)
            x = self.diffusion.back(x, clean, step)
        return x.clamp(-1.0, 1.0)
