"""The shared MLP of a set abstraction and its maximum, fast in training: exact gradients in few passes over memory.

Rows are (groups * k, channels), channels last. On a CPU the time goes into passes over activations, not into the
products. Batch normalisation in training mode therefore never touches them: mean and variance of a linear layer's
output follow from mean and covariance of its input (a small product), so the normalisation is folded into the weights,
forward and backward. The maximum is taken before the last ReLU (they commute).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from udg_policy.parallel import process_count, sum_over_processes

_MOMENT_ROWS = 2048  # of one product; the sums over them are added in float32


class RowLayer(NamedTuple):
    """One 1x1 convolution: its linear layer and what normalises its output, if anything."""

    linear: nn.Linear
    norm: nn.BatchNorm1d | None


def grouped_mlp(rows: Tensor, k: int, layers: Sequence[RowLayer], training: bool) -> Tensor:
    """Rows (G * k, c) -> maximum over each k rows (G, C) of the layers with ReLU between them, before the last ReLU.

    training: batch normalisation by the statistics of these rows (and, in a group of processes, of all their rows),
    which also move its running statistics.
    """
    if not training:
        return _grouped_mlp_fixed(rows, k, layers)
    parameters: list[Tensor | None] = []
    for linear, norm in layers:
        parameters += [linear.weight, linear.bias] if norm is None else [linear.weight, None, norm.weight, norm.bias]
    return _GroupedMlp.apply(rows, k, layers, *parameters)


def _grouped_mlp_fixed(rows: Tensor, k: int, layers: Sequence[RowLayer]) -> Tensor:
    for i, (linear, norm) in enumerate(layers):
        if i > 0:
            rows = F.relu(rows)
        rows = linear(rows) if norm is None else norm(linear(rows))
    return rows.view(-1, k, rows.shape[-1]).amax(dim=1)


class _Fold:
    """Batch normalisation of `rows @ weight.T` over all rows, as a linear layer (weight, bias); and its backward."""

    def __init__(self, rows: Tensor, weight: Tensor, norm: nn.BatchNorm1d, gain: Tensor, shift: Tensor) -> None:
        self.plain_weight = weight
        self.count, self.row_mean, second = _moments(rows)
        self.spread = weight @ (second - torch.outer(self.row_mean, self.row_mean))  # (out, in)
        self.mean = weight @ self.row_mean
        variance = (self.spread * weight).sum(dim=1).clamp_min(0.0)
        self.inverse = torch.rsqrt(variance + norm.eps)
        self.scale = gain * self.inverse
        self.weight = self.scale[:, None] * weight
        self.bias = shift - self.scale * self.mean
        _move_running(norm, self.mean, variance * (self.count / max(self.count - 1, 1)))

    def backward(self, by_product: Tensor, by_shift: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Gradients by weight and gain; the matrix (in, in) and vector (in,) that complete the gradient by the rows.

        by_product (out, in): gradient of the output, transposed, times the rows; by_shift (out,): its sum over rows.
        """
        weight, scale = self.plain_weight, self.scale
        by_gain = self.inverse * ((by_product * weight).sum(dim=1) - self.mean * by_shift)
        all_gain, all_shift = sum_over_processes(torch.stack([by_gain, by_shift]))
        through = torch.outer(all_shift, self.row_mean) + (all_gain * self.inverse)[:, None] * self.spread
        by_weight = scale[:, None] * (by_product - through / process_count())
        factor = scale * all_gain * self.inverse / self.count
        constant = (factor * self.mean - scale * all_shift / self.count) @ weight
        return by_weight, by_gain, -(weight.t() * factor) @ weight, constant


def _moments(rows: Tensor) -> tuple[int, Tensor, Tensor]:
    """Number of rows, their mean (c,) and the mean of their outer products (c, c), over all processes; float32."""
    width = rows.shape[1]
    whole = len(rows) // _MOMENT_ROWS * _MOMENT_ROWS
    parts = rows[:whole].view(-1, _MOMENT_ROWS, width)
    second = torch.bmm(parts.transpose(1, 2), parts).float().sum(dim=0)
    first = parts.sum(dim=1).float().sum(dim=0)
    if whole < len(rows):
        rest = rows[whole:]
        second += (rest.t() @ rest).float()
        first += rest.sum(dim=0).float()
    sums = sum_over_processes(torch.cat([second, first[None]]))
    count = len(rows) * process_count()
    return count, sums[-1] / count, sums[:-1] / count


@torch.no_grad()
def _move_running(norm: nn.BatchNorm1d, mean: Tensor, variance: Tensor) -> None:
    assert norm.running_mean is not None and norm.running_var is not None and norm.num_batches_tracked is not None
    assert norm.momentum is not None
    norm.running_mean.lerp_(mean, norm.momentum)
    norm.running_var.lerp_(variance, norm.momentum)
    norm.num_batches_tracked += 1


class _GroupedMlp(torch.autograd.Function):
    """Keeps the inputs of the linear layers and the rows before the maximum."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context
        rows: Tensor,
        k: int,
        layers: Sequence[RowLayer],
        *parameters: Tensor | None,
    ) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            inputs: list[Tensor] = []
            folds: list[_Fold | None] = []
            values = iter(parameters)
            for i, (_, norm) in enumerate(layers):
                if i > 0:
                    rows = rows.relu_()
                inputs.append(rows)
                weight, bias = next(values), next(values)
                assert weight is not None
                if norm is None:
                    folds.append(None)
                else:
                    gain, shift = next(values), next(values)
                    assert gain is not None and shift is not None
                    fold = _Fold(rows, weight, norm, gain, shift)
                    folds.append(fold)
                    weight, bias = fold.weight, fold.bias
                rows = F.linear(rows, weight.to(rows.dtype), None if bias is None else bias.to(rows.dtype))
            groups = rows.view(-1, k, rows.shape[1])
            most = groups.amax(dim=1)
        ctx.folds, ctx.count = folds, len(inputs)
        ctx.save_for_backward(*inputs, groups, most, *(p for p in parameters if p is not None))
        ctx.given = [p is not None for p in parameters]
        return most

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        saved = list(ctx.saved_tensors)
        inputs, (groups, most), rest = (
            saved[: ctx.count],
            saved[ctx.count : ctx.count + 2],
            iter(saved[ctx.count + 2 :]),
        )
        parameters = [next(rest) if given else None for given in ctx.given]
        by_parameters: list[Tensor | None] = []
        by_rows = _spread_maximum(groups, most, grad).view(-1, groups.shape[-1])
        by_shift = grad.sum(dim=0, dtype=torch.float32)
        end = len(parameters)
        for i in reversed(range(ctx.count)):
            rows, fold = inputs[i], ctx.folds[i]
            if i < ctx.count - 1:
                by_shift = _column_sums(by_rows)
            by_product = (by_rows.t() @ rows).float()
            needed = i > 0 or ctx.needs_input_grad[0]
            if fold is None:
                end -= 2
                weight = parameters[end]
                assert weight is not None
                by_parameters = [by_product, by_shift if ctx.given[end + 1] else None, *by_parameters]
                if needed:
                    by_rows = by_rows @ weight.to(rows.dtype)
            else:
                end -= 4
                by_weight, by_gain, matrix, constant = fold.backward(by_product, by_shift)
                by_parameters = [by_weight, None, by_gain, by_shift, *by_parameters]
                if needed:
                    by_rows = torch.addmm(constant.to(rows.dtype), by_rows, fold.weight.to(rows.dtype))
                    by_rows.addmm_(rows, matrix.to(rows.dtype))
            if i > 0:
                torch.ops.aten.threshold_backward.grad_input(by_rows, rows, 0, grad_input=by_rows)
        return (by_rows if ctx.needs_input_grad[0] else None, None, None, *by_parameters)


def _column_sums(rows: Tensor) -> Tensor:
    """(R, c) -> (c,) float32."""
    whole = len(rows) // _MOMENT_ROWS * _MOMENT_ROWS
    sums = rows[:whole].view(-1, _MOMENT_ROWS, rows.shape[1]).sum(dim=1).float().sum(dim=0)
    return sums if whole == len(rows) else sums + rows[whole:].sum(dim=0).float()


def _spread_maximum(groups: Tensor, most: Tensor, grad: Tensor) -> Tensor:
    """Gradient of the maximum `most` (G, C) over dim 1 of groups (G, k, C): shared by all that equal it, as amax's."""
    mask = torch.empty_like(groups)
    torch.eq(groups, most.unsqueeze(1), out=mask)
    return mask.mul_((grad / mask.sum(dim=1)).unsqueeze(1))
