"""Attention to rows that are key and value at once, for few queries: its backward pass in four products."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def attend_rows(wanted: Tensor, rows: Tensor, blocked: Tensor | None, scale: float) -> Tensor:
    """Mean (B, R, w) of rows (B, n, w), weighted by softmax(scale * wanted (B, R, w) . rows + blocked (R, n))."""
    return _AttendRows.apply(wanted, rows, blocked, scale)


class _AttendRows(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - torch's context
        wanted: Tensor,
        rows: Tensor,
        blocked: Tensor | None,
        scale: float,
    ) -> Tensor:
        with torch.autocast(rows.device.type, enabled=False):
            scores = torch.bmm(wanted, rows.transpose(1, 2)).float().mul_(scale)
            weights = (scores if blocked is None else scores.add_(blocked)).softmax(dim=2)
            short = weights.to(rows.dtype)
            ctx.save_for_backward(wanted, rows, weights, short)
            ctx.scale = scale
            return torch.bmm(short, rows)

    @staticmethod
    def backward(ctx: Any, by_mean: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        wanted, rows, weights, short = ctx.saved_tensors
        by_weights = torch.bmm(by_mean, rows.transpose(1, 2)).float()
        inner = (by_weights * weights).sum(dim=2, keepdim=True)
        by_scores = (by_weights.sub_(inner).mul_(weights).mul_(ctx.scale)).to(rows.dtype)
        by_rows = torch.bmm(short.transpose(1, 2), by_mean).baddbmm_(by_scores.transpose(1, 2), wanted)
        return torch.bmm(by_scores, rows), by_rows, None, None
