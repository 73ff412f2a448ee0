"""Which views a training step takes: a permutation per epoch, or each view as often as its weight says.

Everything follows from the seed and the step, so that nothing needs to be stored to resume.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from udg_policy.errors import ConfigError


def step_generator(seed: int, *numbers: int) -> torch.Generator:
    """A generator that depends on the seed and the numbers alone, so that nothing needs to be stored to resume."""
    state = np.random.SeedSequence([seed, *numbers]).generate_state(2, np.uint32)
    return torch.Generator().manual_seed(int(state[0]) << 32 | int(state[1]))


class ViewSampler:
    """The batches of a training.

    Without weights each view comes once an epoch. With weights view i comes n w_i / sum(w) times in an epoch of n: the
    whole part for certain, one more with the probability of the rest, spread evenly over the order of the views.
    """

    def __init__(self, views: Tensor, batch: int, seed: int, weights: Tensor | None = None) -> None:
        """views (n,); weights (n,), none negative. Raises ConfigError where no view has a weight."""
        self._views, self._batch, self._seed = views, batch, seed
        self._cumulative: Tensor | None = None
        if weights is not None:
            total = weights.double().cumsum(dim=0)
            if not float(total[-1]) > 0.0:
                raise ConfigError("train.sampling: no frames to train on; valid: a weight above 0 for some")
            self._cumulative = total * (len(views) / total[-1])
        self._orders: dict[int, Tensor] = {}

    def __call__(self, step: int) -> Tensor:
        """Views (batch,) of a step."""
        n, batch = len(self._views), self._batch
        if n <= batch:
            return self._views[self._draw(step)]
        per_epoch = n // batch
        start = step % per_epoch * batch
        return self._views[self._order(step // per_epoch)[start : start + batch]]

    def _draw(self, step: int) -> Tensor:
        """Of fewer views than a batch has: independent draws."""
        generator = step_generator(self._seed, 0, step)
        if self._cumulative is None:
            return torch.randint(len(self._views), (self._batch,), generator=generator)
        weights = self._cumulative.diff(prepend=torch.zeros(1, dtype=torch.double))
        return torch.multinomial(weights, self._batch, replacement=True, generator=generator)

    def _order(self, epoch: int) -> Tensor:
        """The order of an epoch; kept for the steps of this epoch and the next."""
        if epoch not in self._orders:
            generator = step_generator(self._seed, 1, epoch)
            order = torch.randperm(len(self._views), generator=generator)
            if self._cumulative is not None:
                order = self._chosen(generator)[order]
            self._orders = {kept: one for kept, one in self._orders.items() if abs(kept - epoch) == 1} | {epoch: order}
        return self._orders[epoch]

    def _chosen(self, generator: torch.Generator) -> Tensor:
        """Indices (n,) of views, each as often as its weight says, in order (systematic sampling)."""
        assert self._cumulative is not None
        marks = torch.arange(len(self._views)) + torch.rand(1, generator=generator, dtype=torch.double)
        return torch.searchsorted(self._cumulative, marks, right=True).clamp_max(len(self._views) - 1)
