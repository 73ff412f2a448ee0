"""The training loss: weighted L1 of the mean and likelihood of the truncated normal."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_policy.config import PolicyConfig
from udg_policy.network import ActionDistribution
from udg_policy.representation import ARMS, HANDS, ActionBounds
from udg_policy.truncated_normal import truncated_normal_mode, truncated_normal_nll


class Losses(NamedTuple):
    """Scalars of one batch: what is minimised and its parts."""

    total: Tensor
    l1: Tensor
    nll: Tensor


def l1_weights(config: PolicyConfig, bounds: ActionBounds) -> Tensor:
    """(K, 36): one unit of normalised error in units of the physical errors that count as one, decaying by step."""
    train = config.train
    unit = np.full(bounds.lower.shape[1], train.unit_joint_rad, dtype=np.float32)
    for arm in ARMS:
        unit[arm] = train.unit_rotation_rad
        if config.action_space != "joint_absolute":
            unit[arm.start:arm.start + 3] = train.unit_position_m
    decay = train.step_decay ** np.arange(len(bounds.lower), dtype=np.float32)
    return torch.from_numpy(0.5 * (bounds.upper - bounds.lower) / unit * decay[:, None])


def policy_loss(config: PolicyConfig, distribution: ActionDistribution, actions: Tensor, weights: Tensor,
                progress: float) -> Losses:
    """Losses of a batch; actions (B, K, 36) normalised; progress of the training in [0, 1]."""
    train = config.train
    if distribution.sigma is None:
        l1 = ((distribution.mu - actions).abs() * weights).mean()
        return Losses(l1, l1, l1.new_zeros(()))
    l1 = ((distribution.mu - actions).abs() * weights).mean()
    nll = truncated_normal_nll(actions, distribution.mu, distribution.sigma).mean()
    factor = train.nll_weight if progress >= train.nll_start else 0.0
    return Losses(train.l1_weight * l1 + factor * nll, l1, nll)


def errors_by_kind(distribution: ActionDistribution, actions: Tensor, bounds: ActionBounds) -> dict[str, float]:
    """Mean absolute errors of the executed action: arm places and hand joints, in the actions' units, first step."""
    half_width = torch.from_numpy(0.5 * (bounds.upper - bounds.lower)).to(actions.device)
    error = (truncated_normal_mode(distribution.mu) - actions).abs() * half_width
    position = torch.cat([error[..., arm.start:arm.start + 3] for arm in ARMS], dim=-1)
    rotation = torch.cat([error[..., arm.start + 3:arm.stop] for arm in ARMS], dim=-1)
    joints = torch.cat([error[..., hand] for hand in HANDS], dim=-1)
    return {"position_first": float(position[:, 0].mean()), "position_last": float(position[:, -1].mean()),
            "rotation_first": float(rotation[:, 0].mean()), "joints_first": float(joints[:, 0].mean()),
            "joints_last": float(joints[:, -1].mean())}
