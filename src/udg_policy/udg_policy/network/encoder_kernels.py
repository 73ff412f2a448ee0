"""The set abstractions in training on a CPU: compiled loops that keep a group in the processor's caches.

Both layers are what `network.py` says. Two facts make them quick. The first linear layer acts on differences,
so it is applied to points instead of to neighbours: W (x_j - x_i) = W x_j - W x_i, in float32. And the maximum passes
a gradient to one neighbour a channel, so most products of the backward pass are with zeros, which are skipped here.
The large products are in bfloat16, as under autocast.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
import torch
from numba import njit
from torch import Tensor
from torch.nn import functional as F

from udg_policy.network.vector_ops import (
    COMPILE,
    FLOAT_BYTES,
    add_bf16,
    add_scaled,
    add_where_positive,
    aligned_zeros,
    largest_of_rows,
    positive_difference,
    positive_difference_bf16,
)

_SAMPLES = 8  # at a time, so that what is between two loops stays in the caches
_NONE = 255  # no neighbour: the maximum is not positive
_SHORT = 2  # bytes
_LANES = 16  # floats of the widest vector


def grouped_maximum(
    features: Tensor,
    centres: Tensor,
    neighbours: Tensor,
    coordinates: int,
    offset_scale: float,
    first: torch.nn.Linear,
    second: torch.nn.Linear,
) -> Tensor:
    """relu(max_j second(relu(first(offset_scale (x_j - x_i), f_j)))) (B, M, C) float32 of points without gradient.

    features (B, N, f) float32, the first `coordinates` of them x; centres (M,) slots; neighbours (B, M, k) int64.
    """
    return _GroupedMaximum.apply(
        features.detach(),
        centres,
        neighbours,
        coordinates,
        offset_scale,
        first.weight,
        first.bias,
        second.weight,
        second.bias,
    )


def points_maximum(
    coordinates: Tensor,
    learned: Tensor,
    centres: Tensor,
    neighbours: Tensor,
    offset_scale: float,
    linear: torch.nn.Linear,
) -> Tensor:
    """relu(max_j linear(offset_scale (x_j - x_i), f_j)) (B, M, C) float32.

    coordinates (B, N, c) float32 without gradient; learned (B, N, g) float32 with; centres (M,); neighbours (B, M, k).
    """
    return _PointsMaximum.apply(
        coordinates.detach(), learned, centres, neighbours, offset_scale, linear.weight, linear.bias
    )


class _GroupedMaximum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context
        features: Tensor,
        centres: Tensor,
        neighbours: Tensor,
        c: int,
        offset_scale: float,
        weight_1: Tensor,
        bias_1: Tensor,
        weight_2: Tensor,
        bias_2: Tensor,
    ) -> Tensor:
        features, neighbours = features.contiguous(), neighbours.contiguous()
        batch, m, k = neighbours.shape
        width, channels = len(weight_1), len(weight_2)
        with torch.autocast("cpu", enabled=False):
            by_offset = offset_scale * weight_1[:, :c]
            by_point = weight_1[:, c:].clone()
            by_point[:, :c] += by_offset
            places = features[:, centres, :c]
            of_points, of_centres = F.linear(features, by_point, bias_1), F.linear(places, by_offset)
            out = torch.empty(batch, m, channels)
            which = torch.empty(batch, m, channels, dtype=torch.uint8)
            short_weight = weight_2.bfloat16().t()
            rows = torch.empty(min(_SAMPLES, batch) * m * k, width, dtype=torch.bfloat16)
            groups = torch.empty(len(rows), channels, dtype=torch.bfloat16)
            hidden = _hidden(width)
            for first in range(0, batch, _SAMPLES):
                some = slice(first, min(first + _SAMPLES, batch))
                n = (some.stop - first) * m * k
                hidden(
                    of_points[some].numpy(),
                    of_centres[some].numpy(),
                    neighbours[some].numpy(),
                    rows.view(torch.int16).numpy(),
                )
                torch.mm(rows[:n], short_weight, out=groups[:n])
                _largest(
                    groups[:n].view(torch.int16).view(-1, k, channels).numpy(),
                    bias_2.numpy(),
                    out[some].view(-1, channels).numpy(),
                    which[some].view(-1, channels).numpy(),
                )
        ctx.save_for_backward(features, places, neighbours, of_points, of_centres, which, weight_2)
        ctx.c, ctx.offset_scale = c, offset_scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        features, places, neighbours, of_points, of_centres, which, weight_2 = ctx.saved_tensors
        c = ctx.c
        by_points, by_centres = torch.zeros_like(of_points), torch.zeros_like(of_centres)
        by_weight_2, by_bias_2 = torch.zeros_like(weight_2), torch.zeros(len(weight_2))
        _grouped_backward(of_points.shape[-1])(
            of_points.numpy(),
            of_centres.numpy(),
            neighbours.numpy(),
            weight_2.detach().contiguous().numpy(),
            which.numpy(),
            grad.float().contiguous().numpy(),
            by_points.numpy(),
            by_centres.numpy(),
            by_weight_2.numpy(),
            by_bias_2.numpy(),
        )
        by_points, by_centres = by_points.flatten(0, 1), by_centres.flatten(0, 1)
        by_point = (features.flatten(0, 1).t() @ by_points).t()  # this way round it is faster
        by_offset = ctx.offset_scale * (by_point[:, :c] + by_centres.t() @ places.flatten(0, 1))
        return (
            None,
            None,
            None,
            None,
            None,
            torch.cat([by_offset, by_point], dim=1),
            -by_centres.sum(dim=0),
            by_weight_2,
            by_bias_2,
        )


class _PointsMaximum(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context
        coordinates: Tensor,
        learned: Tensor,
        centres: Tensor,
        neighbours: Tensor,
        offset_scale: float,
        weight: Tensor,
        bias: Tensor,
    ) -> Tensor:
        coordinates, learned, neighbours = coordinates.contiguous(), learned.contiguous(), neighbours.contiguous()
        c = coordinates.shape[-1]
        out = torch.empty(*neighbours.shape[:2], len(weight))
        which = torch.empty(out.shape, dtype=torch.int16)
        largest = _points_largest(len(weight), neighbours.shape[2])
        with torch.autocast("cpu", enabled=False):
            by_offset, by_feature = offset_scale * weight[:, :c], weight[:, c:].bfloat16()
            for first in range(0, len(out), _SAMPLES):
                some = slice(first, min(first + _SAMPLES, len(out)))
                places = F.linear(coordinates[some], by_offset)  # offsets are small differences: not rounded
                values = F.linear(learned[some].bfloat16(), by_feature)
                largest(
                    places.numpy(),
                    values.view(torch.int16).numpy(),
                    bias.numpy(),
                    centres.numpy(),
                    neighbours[some].numpy(),
                    out[some].numpy(),
                    which[some].numpy(),
                )
        ctx.save_for_backward(coordinates, learned, centres, which, weight)
        ctx.offset_scale = offset_scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        coordinates, learned, centres, which, weight = ctx.saved_tensors
        c, g = coordinates.shape[-1], learned.shape[-1]
        by_learned = torch.zeros_like(learned)
        by_weight, by_bias = torch.zeros(len(weight), g + _padded(c)), torch.zeros(len(weight))
        _points_backward(g, _padded(c))(
            learned.numpy(),
            coordinates.numpy(),
            centres.numpy(),
            weight[:, c:].detach().contiguous().numpy(),
            which.numpy(),
            grad.float().contiguous().numpy(),
            by_learned.numpy(),
            by_weight.numpy(),
            by_bias.numpy(),
        )
        by_weight = torch.cat([ctx.offset_scale * by_weight[:, g : g + c], by_weight[:, :g]], dim=1)
        return None, by_learned, None, None, None, by_weight, by_bias


def _padded(width: int) -> int:
    return -(-width // _LANES) * _LANES


@cache
def _hidden(width: int) -> Callable[..., None]:
    row_of = positive_difference_bf16(width)

    @njit(**COMPILE)
    def hidden(points: np.ndarray, centres: np.ndarray, neighbours: np.ndarray, rows: np.ndarray) -> None:
        """Rows (B M k, w), as bfloat16, of points (B, N, w) less centres (B, M, w)."""
        batch, m, k = neighbours.shape
        n = points.shape[1]
        points_at, centres_at, rows_at = points.ctypes.data, centres.ctypes.data, rows.ctypes.data
        size = FLOAT_BYTES * width
        row = 0
        for b in range(batch):
            for i in range(m):
                for j in range(k):
                    row_of(
                        rows_at + row * _SHORT * width,
                        points_at + (b * n + neighbours[b, i, j]) * size,
                        centres_at + (b * m + i) * size,
                    )
                    row += 1

    return hidden


@njit(**COMPILE)
def _largest(groups: np.ndarray, bias: np.ndarray, out: np.ndarray, which: np.ndarray) -> None:
    """Positive maximum over k of groups (G, k, C), bfloat16 as int16, plus bias (C,): out (G, C), which (G, C).

    Floats order as integers once the magnitude of negative ones is flipped; the row's number stands below the value.
    """
    count, k, channels = groups.shape
    best, bits = np.empty(channels, np.int32), np.empty(channels, np.int32)
    values = bits.view(np.float32)
    for g in range(count):
        for q in range(channels):
            x = np.int32(groups[g, 0, q])
            best[q] = (x ^ ((x >> 15) & 0x7FFF)) << 8
        for j in range(1, k):
            for q in range(channels):
                x = np.int32(groups[g, j, q])
                best[q] = max(best[q], ((x ^ ((x >> 15) & 0x7FFF)) << 8) | j)
        for q in range(channels):
            x = best[q] >> 8
            bits[q] = (x ^ ((x >> 15) & 0x7FFF)) << 16
        for q in range(channels):
            value = values[q] + bias[q]
            out[g, q] = max(value, np.float32(0.0))
            which[g, q] = np.uint8(best[q] & 0xFF) if value > 0.0 else np.uint8(_NONE)


@cache
def _grouped_backward(width: int) -> Callable[..., None]:
    difference, add, add_masked = positive_difference(width), add_scaled(width), add_where_positive(width)

    @njit(**COMPILE)
    def backward(
        points: np.ndarray,
        centres: np.ndarray,
        neighbours: np.ndarray,
        weight: np.ndarray,
        which: np.ndarray,
        grad: np.ndarray,
        by_points: np.ndarray,
        by_centres: np.ndarray,
        by_weight: np.ndarray,
        by_bias: np.ndarray,
    ) -> None:
        """Add to the gradients by points (B, N, w), centres (B, M, w), weight (C, w) and bias (C,)."""
        batch, m, k = neighbours.shape
        n, channels, size = points.shape[1], len(weight), FLOAT_BYTES * width
        rows, by_rows = aligned_zeros(k * width), aligned_zeros(k * width)
        rows_at, by_rows_at = rows.ctypes.data, by_rows.ctypes.data
        weight_at, by_weight_at = weight.ctypes.data, by_weight.ctypes.data
        active = np.empty(channels + 1, np.int64)
        for b in range(batch):
            for i in range(m):
                centre = (b * m + i) * size
                for j in range(k):
                    point = (b * n + neighbours[b, i, j]) * size
                    difference(rows_at + j * size, points.ctypes.data + point, centres.ctypes.data + centre)
                by_rows[:] = 0.0
                count: Any = 0
                for q in range(channels):  # without a branch, which would be guessed wrong half of the time
                    active[count] = q
                    count += which[b, i, q] != _NONE
                for a in range(count):
                    q = active[a]
                    j, value = int(which[b, i, q]), grad[b, i, q]
                    by_bias[q] += value
                    add(by_weight_at + q * size, rows_at + j * size, value)
                    add(by_rows_at + j * size, weight_at + q * size, value)
                for j in range(k):
                    point = (b * n + neighbours[b, i, j]) * size
                    add_masked(
                        by_points.ctypes.data + point,
                        by_centres.ctypes.data + centre,
                        by_rows_at + j * size,
                        rows_at + j * size,
                    )

    return backward


@cache
def _points_largest(width: int, k: int) -> Callable[..., None]:
    add, largest = add_bf16(width), largest_of_rows(width, k)

    @njit(**COMPILE)
    def points_largest(
        places: np.ndarray,
        values: np.ndarray,
        bias: np.ndarray,
        centres: np.ndarray,
        neighbours: np.ndarray,
        out: np.ndarray,
        which: np.ndarray,
    ) -> None:
        """Positive maxima (B, M, w) over neighbours of places (B, N, w) + values (bfloat16), less the centre's place.

        which: the point, -1 where no maximum is positive.
        """
        batch, m, _ = neighbours.shape
        n = places.shape[1]
        rows, best, place = aligned_zeros(n * width), aligned_zeros(width), aligned_zeros(width).view(np.int32)
        rows_at, best_at, place_at = rows.ctypes.data, best.ctypes.data, place.ctypes.data
        for b in range(batch):
            for i in range(n):
                add(
                    rows_at + i * FLOAT_BYTES * width,
                    places.ctypes.data + (b * n + i) * FLOAT_BYTES * width,
                    values.ctypes.data + (b * n + i) * _SHORT * width,
                )
            for i in range(m):
                largest(best_at, place_at, rows_at, neighbours.ctypes.data + (b * m + i) * 8 * k)
                centre = centres[i]
                for q in range(width):
                    value = best[q] + (bias[q] - places[b, centre, q])
                    out[b, i, q] = max(value, np.float32(0.0))
                    which[b, i, q] = place[q] if value > 0.0 else -1

    return points_largest


@cache
def _points_backward(g: int, c: int) -> Callable[..., None]:
    add_learned, add_all, add_place = add_scaled(g), add_scaled(g + c), add_scaled(c)

    @njit(**COMPILE)
    def backward(
        learned: np.ndarray,
        coordinates: np.ndarray,
        centres: np.ndarray,
        weight: np.ndarray,
        which: np.ndarray,
        grad: np.ndarray,
        by_learned: np.ndarray,
        by_weight: np.ndarray,
        by_bias: np.ndarray,
    ) -> None:
        """Add to the gradients by learned (B, N, g), weight (C, g + c: features first, then places) and bias (C,)."""
        batch, m, channels = which.shape
        n = learned.shape[1]
        size, size_learned = FLOAT_BYTES * (g + c), FLOAT_BYTES * g
        rows = aligned_zeros(n * (g + c))
        table = rows.reshape(n, g + c)
        active = np.empty(channels + 1, np.int64)
        rows_at, weight_at, by_weight_at = rows.ctypes.data, weight.ctypes.data, by_weight.ctypes.data
        for b in range(batch):
            table[:, :g] = learned[b]
            table[:, g : g + coordinates.shape[2]] = coordinates[b]
            by_learned_at = by_learned.ctypes.data + b * n * size_learned
            for i in range(m):
                centre_at = rows_at + centres[i] * size + size_learned
                count = 0
                for q in range(channels):
                    active[count] = q
                    count += which[b, i, q] >= 0
                for a in range(count):
                    q = active[a]
                    j, value = int(which[b, i, q]), grad[b, i, q]
                    by_bias[q] += value
                    add_learned(by_learned_at + j * size_learned, weight_at + q * size_learned, value)
                    add_all(by_weight_at + q * size, rows_at + j * size, value)
                    add_place(by_weight_at + q * size + size_learned, centre_at, -value)

    return backward
