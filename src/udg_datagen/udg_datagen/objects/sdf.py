"""Signed distance of one object on a regular grid, as torch tensors.

Two look-ups: `nearest` (value and gradient of the nearest node, first-order Taylor) is several times faster than
`trilinear` and as precise away from edges; `trilinear` is differentiable in its gradient as well, which the rolling
contact of a fingertip needs (its normal changes with its position). Points have the layout (B, 3, k).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import ArrayLike
from torch import Tensor


class GridNodes(NamedTuple):
    """A grid as numpy arrays, for loops of one's own."""

    nodes: np.ndarray  # (N, 4) float32: distance [m] and unit gradient
    lower: np.ndarray  # (3,) [m] the first node
    step: np.ndarray  # (3,) [m]
    last: np.ndarray  # (3,) of the nodes, along each axis
    strides: np.ndarray  # (3,) int


class SdfGrid:
    """Node values and gradients of a signed distance (positive outside) over an axis-aligned box.

    `values` (nx, ny, nz) [m], `gradients` (nx, ny, nz, 3) unit vectors, `lower` (3,) [m] the first node,
    `step` (3,) [m] the distance of neighbouring nodes along each axis.
    """

    def __init__(
        self, values: np.ndarray, gradients: np.ndarray, lower: np.ndarray, step: np.ndarray, device: str = "cpu"
    ) -> None:
        def tensor(array: ArrayLike) -> Tensor:
            return torch.tensor(np.asarray(array), dtype=torch.float32, device=device)

        self._arguments = (values, gradients, lower, step, device)
        packed = np.concatenate([values[..., None], gradients], axis=-1).reshape(-1, 4)
        self._packed = tensor(packed)
        self._lower, self._step = tensor(lower)[:, None], tensor(step)[:, None]
        self._inverse_step = 1.0 / self._step
        self._shift = -self._lower * self._inverse_step
        self._last = tensor([n - 1 for n in values.shape])[:, None]
        strides = (values.shape[1] * values.shape[2], values.shape[2], 1)
        self._strides = tensor(strides)
        self._count = len(packed)
        corners = [(i, j, k) for i in (0, 1) for j in (0, 1) for k in (0, 1)]
        self._corners = tensor(corners).T  # (3, 8)
        self._corner_shift = torch.tensor([int(np.dot(c, strides)) for c in corners], device=device)

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle as numpy arrays, without shared memory of torch."""
        return SdfGrid, self._arguments

    @property
    def nodes(self) -> GridNodes:
        """The nodes of a grid on the CPU."""
        values, _, lower, step, _ = self._arguments
        nx, ny, nz = values.shape
        lower, step, last = (np.asarray(x, dtype=np.float64) for x in (lower, step, (nx - 1, ny - 1, nz - 1)))
        return GridNodes(self._packed.numpy(), lower, step, last, np.array([ny * nz, nz, 1]))

    def nearest(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Distance (B, k) [m] and unit gradient (B, 3, k) at `points` (B, 3, k); linear extension beyond the grid."""
        node = torch.addcmul(self._shift, points, self._inverse_step).round_().clamp_(min=0.0)
        node = torch.minimum(node, self._last)
        index = self._index(node)
        packed = self._packed.index_select(0, index.reshape(-1)).reshape(*index.shape, 4)
        gradient = packed[..., 1:].transpose(1, 2).contiguous()
        offset = points - torch.addcmul(self._lower, node, self._step)
        return (gradient * offset).sum(1).add_(packed[..., 0]), gradient

    def trilinear(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Distance (B, k) [m] and unit gradient (B, 3, k) at `points` (B, 3, k), differentiable in `points`."""
        position = torch.addcmul(self._shift, points, self._inverse_step)
        inside = torch.minimum(position.clamp(min=0.0), self._last)
        with torch.no_grad():
            corner = torch.minimum(inside.floor(), self._last - 1.0)
            index = (self._index(corner)[..., None] + self._corner_shift).clamp_(max=self._count - 1)  # (B, k, 8)
            nodes = self._packed.index_select(0, index.reshape(-1)).reshape(*index.shape, 4)
        fraction = (inside - corner)[..., None]  # (B, 3, k, 1)
        weights = (1.0 - self._corners[:, None] + (2.0 * self._corners[:, None] - 1.0) * fraction).prod(1)
        total = (weights[..., None] * nodes).sum(2)  # (B, k, 4)
        gradient = total[..., 1:].transpose(1, 2)
        # On the medial axis the interpolated gradient vanishes: a floor keeps the division finite.
        gradient = gradient / gradient.norm(dim=1, keepdim=True).clamp(min=1e-3)
        beyond = points - torch.addcmul(self._lower, inside, self._step)
        return total[..., 0] + (gradient.detach() * beyond).sum(1), gradient

    def _index(self, node: Tensor) -> Tensor:
        """Row (B, k) of nodes (B, 3, k); a point that is not finite gets any row, and keeps its own values."""
        row = torch.addcmul(node[:, 2], node[:, 1], self._strides[1]).addcmul_(node[:, 0], self._strides[0])
        return row.to(torch.int64).clamp_(0, self._count - 1)
