"""Maximum over neighbours straight from the points' features: no row for each pair of centre and neighbour is kept."""

from __future__ import annotations

import torch
from torch import Tensor

_SAMPLES = 4  # at a time on a CPU, so that what is gathered stays in its caches


def gather_rows(x: Tensor, index: Tensor) -> Tensor:
    """Rows x (B, N, C) picked by index (B, M, k) -> (B, M, k, C)."""
    batch, n, width = x.shape
    flat = index + n * torch.arange(batch, device=index.device)[:, None, None]
    return x.reshape(batch * n, width).index_select(0, flat.flatten()).view(*index.shape, width)


@torch.no_grad()
def largest_neighbour(x: Tensor, index: Tensor) -> Tensor:
    """Which row of x (B, N, C) float32 is largest among those that index (B, M, k) names: (B, M, C) int64, exact to
    the bits that the row's number needs (2e-5 of the value for 256 rows).

    The row's number stands in the last bits of its value, as an integer that orders like it: one maximum finds both.
    """
    batch, n, width = x.shape
    low = (1 << max(n - 1, 1).bit_length()) - 1
    bits = x.float().contiguous().view(torch.int32)
    ordered = bits.bitwise_xor((bits >> 31).bitwise_and_(0x7FFFFFFF)).bitwise_and_(~low)
    ordered.bitwise_or_(torch.arange(n, dtype=torch.int32, device=x.device)[:, None])
    samples = _SAMPLES if x.device.type == "cpu" else len(x)
    parts = [
        gather_rows(some, which).amax(dim=2)
        for some, which in zip(ordered.split(samples), index.split(samples), strict=True)
    ]
    return torch.cat(parts).bitwise_and_(low).long()


def gather_maximum(x: Tensor, index: Tensor) -> Tensor:
    """Maximum over the rows of x (B, N, C) that index (B, M, k) names: (B, M, C); its gradient goes to one of them."""
    return x.gather(1, largest_neighbour(x, index))
