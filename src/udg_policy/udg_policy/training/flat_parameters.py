"""The parameters of a network side by side in memory: one operation zeroes, sums, clips, steps or averages them all."""

from __future__ import annotations

import torch
from torch import Tensor, nn

_ALIGNMENT = 16  # floats: each parameter begins at a cache line


class FlatParameters:
    """Makes the parameters and gradients of a network views of two tensors; matrices first, then the others."""

    def __init__(self, network: nn.Module) -> None:
        named = sorted(network.named_parameters(), key=lambda item: item[1].ndim < 2)
        self._places: dict[str, tuple[int, torch.Size]] = {}
        size = matrices = 0
        for name, parameter in named:
            self._places[name] = (size, parameter.shape)
            size += -(-parameter.numel() // _ALIGNMENT) * _ALIGNMENT
            matrices = size if parameter.ndim >= 2 else matrices
        some = named[0][1]
        self.values = torch.zeros(size, dtype=some.dtype, device=some.device)
        self.gradient = torch.zeros_like(self.values)
        values, gradients = self.views(self.values), self.views(self.gradient)
        for name, parameter in named:
            values[name].copy_(parameter.detach())
            parameter.data, parameter.grad = values[name], gradients[name]
        self.matrices, self.others = (self._part(slice(0, matrices)), self._part(slice(matrices, size)))

    def _part(self, part: slice) -> nn.Parameter:
        parameter = nn.Parameter(self.values[part])  # the same memory
        parameter.grad = self.gradient[part]
        return parameter

    def views(self, flat: Tensor) -> dict[str, Tensor]:
        """The part of each parameter in a tensor that is laid out like the values."""
        return {name: flat[start : start + shape.numel()].view(shape) for name, (start, shape) in self._places.items()}

    def clip_gradient(self, most: float) -> None:
        """Scale the gradient so that its norm is at most `most`."""
        self.gradient.mul_((most / (self.gradient.norm() + 1e-6)).clamp_max(1.0))
