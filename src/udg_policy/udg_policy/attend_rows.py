"""Attention to rows that are key and value at once, for few queries: its backward pass in four products a layer."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


def attend_rows(wanted: Tensor, rows: Tensor, others: Tensor, scale: float) -> tuple[Tensor, Tensor]:
    """Softmax over the scores of rows, scale * wanted . row, and of others: (weighted mean of rows, weights of others).

    wanted (B, R, w), rows (B, n, w), others (B, R, t): scores, already scaled, of what else the queries attend to. The
    mean (B, R, w) lacks the others' part; weights (B, R, t) float32.
    """
    return _AttendRows.apply(wanted, rows, others, scale)


class _AttendRows(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, wanted: Tensor, rows: Tensor, others: Tensor,  # noqa: ANN401 (torch's context)
                scale: float) -> tuple[Tensor, Tensor]:
        with torch.autocast(rows.device.type, enabled=False):
            n = rows.shape[1]
            scores = torch.cat([torch.bmm(wanted, rows.transpose(1, 2)).float().mul_(scale), others.float()], dim=2)
            weights = scores.softmax(dim=2)
            to_rows = weights[..., :n].to(rows.dtype)
            ctx.save_for_backward(wanted, rows, weights, to_rows)
            ctx.scale, ctx.others_dtype = scale, others.dtype
            return torch.bmm(to_rows, rows), weights[..., n:].contiguous()

    @staticmethod
    def backward(ctx: Any, by_mean: Tensor, by_others: Tensor) -> tuple[Any, ...]:  # noqa: ANN401
        wanted, rows, weights, to_rows = ctx.saved_tensors
        n = rows.shape[1]
        by_mean = by_mean.to(rows.dtype)
        by_weights = torch.cat([torch.bmm(by_mean, rows.transpose(1, 2)).float(), by_others.float()], dim=2)
        by_scores = torch.ops.aten._softmax_backward_data(by_weights, weights, 2, torch.float32)
        by_rows_scores = (by_scores[..., :n] * ctx.scale).to(rows.dtype)
        by_rows = torch.bmm(to_rows.transpose(1, 2), by_mean).baddbmm_(by_rows_scores.transpose(1, 2), wanted)
        return torch.bmm(by_rows_scores, rows), by_rows, by_scores[..., n:].to(ctx.others_dtype), None
