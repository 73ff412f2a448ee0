"""From contacts to the squeeze: balanced internal forces, the torques that make them, the targets to command."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from udg_datagen.hands.model import HandModel, HandState
from udg_datagen.synthesis import wrench
from udg_datagen.synthesis.config import SynthesisConfig

_BALANCE_WEIGHT = 10.0
_SPREAD_WEIGHT = 0.1


class Squeeze(NamedTuple):
    """What holds each grasp of a batch."""

    forces: Tensor  # (B, C, 3) [N] on the object at the active contacts of all hands, object frame
    torques: Tensor  # (B, H, n) [Nm]
    target: Tensor  # (B, H, n) [rad] joint positions to command
    imbalance: Tensor  # (B,) net wrench over the sum of normal forces


def squeeze(
    hands: Sequence[HandModel],
    states: Sequence[HandState],
    q: Tensor,
    active: Sequence[tuple[int, ...]],
    points: Tensor,
    normals: Tensor,
    com: Tensor,
    scale: float,
    config: SynthesisConfig,
) -> Squeeze:
    """Squeeze of grasps with joints q (B, H, n) [rad]: forces that cancel within the friction cones, torques J' f.

    A position loop with stiffness k yields the torque k (target - q): the target is q + tau / k, with the forces
    scaled so that a joint reaches `squeeze_effort_share` of its limit or a contact `squeeze_max_force`. The forces of
    both hands balance each other: each arm carries what its own hand's do not.

    Args:
        states: link poses of the hands at q, in the object frame.
        active: for each hand the positions of its contacts; C is all of them, one hand's after the other's.
        points, normals: where they touch (B, C, 3) [m], and unit normals out of the object there; object frame.
        com: centre of mass (3,) [m].
        scale: length [m] that torques are divided by.
    """
    device = hands[0].device
    frames = wrench.contact_frames(normals, wrench.reference_axes(normals))
    edges = wrench.cone_edges(config.friction, config.cone_edges, device)
    A = wrench.grasp_matrix(points, frames, com, scale, edges)
    weights = torch.as_tensor(_internal(A.double().cpu().numpy()), dtype=torch.float32, device=device)
    local = wrench.local_forces(weights[:, None], edges, points.shape[1])[:, 0]
    forces = (frames @ local[..., None]).squeeze(-1)
    counts = [len(contacts) for contacts in active]
    torques = torch.stack(
        [
            _torques(hand, state, torch.tensor(contacts, device=device), p, f)
            for hand, state, contacts, p, f in zip(
                hands, states, active, points.split(counts, dim=1), forces.split(counts, dim=1), strict=True
            )
        ],
        dim=1,
    )
    effort, lower, upper = (torch.stack([getattr(hand, x) for hand in hands]) for x in ("effort", "lower", "upper"))
    by_effort = (config.squeeze_effort_share * effort / torques.abs().clamp(min=1e-9)).flatten(1).amin(-1)
    by_force = config.squeeze_max_force / forces.norm(dim=-1).amax(-1).clamp(min=1e-9)
    factor = torch.minimum(by_effort, by_force)[:, None, None]
    forces, torques = factor * forces, factor * torques
    target = torch.minimum(torch.maximum(q + torques / config.squeeze_stiffness, lower), upper)
    net = (A @ weights[..., None]).squeeze(-1).norm(dim=-1) / local[..., 0].sum(-1).clamp(min=1e-9)
    return Squeeze(forces, torques, target, net)


def _torques(hand: HandModel, state: HandState, contacts: Tensor, points: Tensor, forces: Tensor) -> Tensor:
    """Joint torques (B, n) that press with `forces` (B, c, 3) at `points` (B, c, 3), points of the contacts' links."""
    links = hand.contact_link[contacts]
    R_link, o_link = state.R[:, links], state.o[:, links]
    local_points = (R_link.transpose(-1, -2) @ (points - o_link)[..., None]).squeeze(-1)
    X_gradient = torch.zeros((*state.R.shape[:2], 3, 4), device=hand.device)
    X_gradient.index_add_(
        1, links, forces[..., :, None] * torch.nn.functional.pad(local_points, (0, 1), value=1.0)[..., None, :]
    )
    return hand.pose_gradient(state, X_gradient.permute(0, 2, 1, 3).flatten(2))[2]


def _internal(A: np.ndarray) -> np.ndarray:
    """Edge weights (B, k) >= 0 with normal forces that sum to 2, the least net wrench and the load spread."""
    n = A.shape[2]
    if len(A) == 0:
        return np.zeros((0, n))
    rhs = np.concatenate([np.zeros(6), [2.0 * _BALANCE_WEIGHT], np.zeros(n)])
    tail = np.concatenate([_BALANCE_WEIGHT * np.ones((1, n)), _SPREAD_WEIGHT * np.eye(n)])
    return np.stack([nnls(np.concatenate([_BALANCE_WEIGHT * a, tail]), rhs)[0] for a in A])
