"""The training loss: that of the head, of the grasp and of the stages."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from udg_policy.action_spaces import ActionBounds, ActionSpace, Kind
from udg_policy.config import PolicyConfig
from udg_policy.episodes.grasp import UNKNOWN
from udg_policy.frames.frame_store import Batch
from udg_policy.heads import Head
from udg_policy.network.network import GraspOutput, PolicyOutput

_FIGURES = {
    "position": Kind.POSITION,
    "rotation": Kind.ROTATION,
    "arm_joints": Kind.ARM_JOINTS,
    "joints": Kind.HAND_JOINTS,
}


class Losses(NamedTuple):
    """Scalars of one batch: what is minimised and its parts."""

    total: Tensor
    actions: dict[str, Tensor]  # of the head, by its own names
    grasp: Tensor  # 0 without a grasp query
    stage: Tensor  # 0 without a stage head

    @property
    def parts(self) -> dict[str, float]:
        """All but the total."""
        parts = self.actions | {"grasp": self.grasp, "stage": self.stage}
        return {name: float(value) for name, value in parts.items()}

    def each(self, change: Callable[[Tensor], Tensor]) -> Losses:
        """All of them changed, for example detached."""
        actions = {name: change(value) for name, value in self.actions.items()}
        return Losses(change(self.total), actions, change(self.grasp), change(self.stage))


class _Network(Protocol):
    """PolicyNetwork, or another implementation of it."""

    config: PolicyConfig
    action_head: Head


def l1_weights(config: PolicyConfig, bounds: ActionBounds) -> Tensor:
    """(K, A): one unit of normalised error in units of the physical errors that count as one, decaying by step."""
    train = config.train
    decay = train.step_decay ** np.arange(len(bounds.lower), dtype=np.float32)
    return torch.from_numpy(0.5 * (bounds.upper - bounds.lower) / config.space.units(train) * decay[:, None])


def policy_loss(
    network: _Network,
    output: PolicyOutput,
    batch: Batch,
    weights: Tensor,
    progress: float,
    generator: torch.Generator | None = None,
) -> Losses:
    """Losses of the network's output for a batch.

    weights as from `l1_weights`; progress of the training in [0, 1]; generator of what the head draws.
    """
    train = network.config.train
    total, actions = network.action_head.loss(output.actions, batch.actions, weights, progress, generator)
    grasp = stage = total.new_zeros(())
    if output.grasp is not None:
        grasp = grasp_loss(output.grasp, batch, train.unit_grasp_m)
        total = total + train.grasp_weight * grasp
    if output.stage is not None:
        stage = stage_loss(output.stage, batch)
        total = total + train.stage_weight * stage
    return Losses(total, actions, grasp, stage)


def stage_loss(stage: Tensor, batch: Batch) -> Tensor:
    """Mean cross entropy of the stages (B, K, 5) of all steps; what is none of a demonstration's does not count."""
    known = (batch.stage != UNKNOWN).sum().clamp_min(1)
    return F.cross_entropy(stage.flatten(0, 1), batch.stage.flatten(), ignore_index=UNKNOWN, reduction="sum") / known


def stage_share(stage: Tensor, batch: Batch) -> float:
    """Share of the steps whose stage is right."""
    return float((stage.argmax(dim=-1) == batch.stage).float().mean())


def grasp_loss(grasp: GraspOutput, batch: Batch, unit_m: float) -> Tensor:
    """L1 of the acting hands' key points in units of unit_m, and cross entropies of which hands act and the strategy.

    What an episode does not tell does not count.
    """
    known = batch.grasp_known
    apart = (grasp.points - batch.grasp_points).abs().mean(dim=(-2, -1))  # (B, 2)
    points = (apart * known).sum() / known.sum().clamp_min(1.0) / unit_m
    told = (batch.acting >= 0).float()
    acting = F.binary_cross_entropy_with_logits(grasp.acting, batch.acting.clamp_min(0.0), told, reduction="sum")
    strategy = F.cross_entropy(grasp.strategy, batch.strategy, ignore_index=UNKNOWN, reduction="sum")
    return points + acting / told.sum().clamp_min(1.0) + strategy / (batch.strategy != UNKNOWN).sum().clamp_min(1)


def errors_by_kind(space: ActionSpace, executed: Tensor, actions: Tensor, bounds: ActionBounds) -> dict[str, float]:
    """Mean absolute errors of executed actions by what they are, in their units, at the first and the last step."""
    half_width = torch.from_numpy(0.5 * (bounds.upper - bounds.lower)).to(actions.device)
    error = (executed - actions).abs() * half_width
    by_kind = {name: error[..., space.columns(kind)] for name, kind in _FIGURES.items() if len(space.columns(kind)) > 0}
    return {
        f"{name}_{place}": float(values[:, step].mean())
        for name, values in by_kind.items()
        for place, step in (("first", 0), ("last", -1))
    }


def grasp_errors(grasp: GraspOutput, batch: Batch) -> dict[str, float]:
    """Mean distance of the acting hands' key points [m]; shares of samples with the right hands, the right strategy."""
    known = batch.grasp_known
    apart = (grasp.points - batch.grasp_points).norm(dim=-1).mean(dim=-1)
    right = ((grasp.acting > 0) == (batch.acting > 0)).all(dim=-1).float()
    same = (grasp.strategy.argmax(dim=-1) == batch.strategy).float()
    return {
        "grasp_points": float((apart * known).sum() / known.sum().clamp_min(1.0)),
        "grasp_hands": float(right.mean()),
        "grasp_strategy": float(same.mean()),
    }
