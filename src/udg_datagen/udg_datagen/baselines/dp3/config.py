"""Settings of DP3: those of its authors' `simple` size unless said otherwise."""

from __future__ import annotations

from dataclasses import dataclass

from udg_description.errors import UdgError


@dataclass(frozen=True, kw_only=True)
class DP3Config:
    """Network, diffusion and training."""

    name: str = "simple"
    horizon: int = 4  # steps that are predicted, the first of which is that of the older observation
    n_observations: int = 2
    n_actions: int = 3  # steps that are executed
    encoder_widths: tuple[int, ...] = (64, 128, 256)
    encoder_output: int = 64
    state_widths: tuple[int, int] = (64, 64)
    unet_widths: tuple[int, ...] = (128, 256, 384)
    step_embedding: int = 128
    kernel: int = 5
    groups: int = 8
    noise_steps: int = 100
    inference_steps: int = 10
    batch: int = 128
    learning_rate: float = 1e-4
    warmup_steps: int = 500
    weight_decay: float = 1e-6
    average_power: float = 0.75
    average_most: float = 0.9999
    frames: str = "edge"  # preset whose prepared frames are trained on: which points a cloud has

    def __post_init__(self) -> None:
        if self.horizon < self.n_observations - 1 + self.n_actions or min(self.n_observations, self.n_actions) < 1:
            raise UdgError(
                f"dp3: horizon {self.horizon} must hold {self.n_observations - 1} past and {self.n_actions} "
                "executed steps"
            )
        if self.horizon % 2 ** (len(self.unet_widths) - 1):
            raise UdgError(f"dp3: horizon {self.horizon} must be a multiple of {2 ** (len(self.unet_widths) - 1)}")
        if any(width % self.groups for width in self.unet_widths):
            raise UdgError(f"dp3: unet_widths {self.unet_widths} must be multiples of groups {self.groups}")
        if not 0.0 < self.learning_rate < 1.0:
            raise UdgError(f"dp3: learning rate {self.learning_rate}, valid: above 0 and below 1")
        if not 1 <= self.inference_steps <= self.noise_steps:
            raise UdgError(f"dp3: inference_steps is {self.inference_steps}, valid: 1 to {self.noise_steps}")


SIZES = {
    "simple": DP3Config(),
    "small": DP3Config(name="small", unet_widths=(64, 128, 192)),
    "debug": DP3Config(
        name="debug",
        encoder_widths=(8, 16),
        encoder_output=8,
        state_widths=(8, 8),
        unet_widths=(16, 32),
        step_embedding=16,
        batch=8,
        warmup_steps=2,
        learning_rate=1e-3,
        frames="debug",
    ),
}
"""By name; `debug` is for tests."""


def size_of(name: str) -> DP3Config:
    """The settings of a size. Raises UdgError."""
    if name not in SIZES:
        raise UdgError(f"dp3 size {name!r} does not exist; valid: {', '.join(SIZES)}")
    return SIZES[name]
