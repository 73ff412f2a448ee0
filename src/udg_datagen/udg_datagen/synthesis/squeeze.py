"""From contacts to the squeeze: balanced internal forces, the torques that make them, the targets to command."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from scipy.optimize import nnls
from torch import Tensor

from udg_datagen.synthesis import wrench
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.hand import HandModel, HandState

_BALANCE_WEIGHT = 10.0
_SPREAD_WEIGHT = 0.1


class Squeeze(NamedTuple):
    forces: Tensor  # (B, C, 3) [N] on the object at the active contacts, object frame
    torques: Tensor  # (B, n) [Nm]
    target: Tensor  # (B, n) [rad] joint positions to command
    imbalance: Tensor  # (B,) net wrench over the sum of normal forces


def squeeze(
    hand: HandModel,
    state: HandState,
    q: Tensor,
    active: tuple[int, ...],
    normals: Tensor,
    com: Tensor,
    scale: float,
    config: SynthesisConfig,
) -> Squeeze:
    """Squeeze of grasps with joints q (B, n) whose active pads stand where the object's normals are (B, C, 3).

    A position loop with stiffness k yields the torque k (target - q): the target is q + tau / k, with the forces
    scaled so that a joint reaches `squeeze_effort_share` of its limit or a contact `squeeze_max_force`.
    """
    chosen = torch.tensor(active, device=hand.device)
    centers = (state.X @ hand.W_contacts[:, chosen]).transpose(1, 2)
    points = centers - hand.contact_radius[chosen][:, None] * normals
    frames = wrench.contact_frames(normals, wrench.reference_axes(normals))
    edges = wrench.cone_edges(config.friction, config.cone_edges, hand.device)
    A = wrench.grasp_matrix(points, frames, com, scale, edges)
    weights = torch.as_tensor(_internal(A.double().cpu().numpy()), dtype=torch.float32, device=hand.device)
    local = wrench.local_forces(weights[:, None], edges, len(active))[:, 0]
    forces = (frames @ local[..., None]).squeeze(-1)

    # The contact point is a point of its link: its gradient is that of the pad's centre plus a moment arm.
    links = hand.contact_link[chosen]
    R_link, o_link = state.R[:, links], state.o[:, links]
    local_points = (R_link.transpose(-1, -2) @ (points - o_link)[..., None]).squeeze(-1)
    X_gradient = torch.zeros((*state.R.shape[:2], 3, 4), device=hand.device)
    X_gradient.index_add_(
        1, links, forces[..., :, None] * torch.nn.functional.pad(local_points, (0, 1), value=1.0)[..., None, :]
    )
    X_gradient = X_gradient.permute(0, 2, 1, 3).flatten(2)
    torques = hand.pose_gradient(state, X_gradient)[2]
    by_effort = (config.squeeze_effort_share * hand.effort / torques.abs().clamp(min=1e-9)).amin(-1)
    by_force = config.squeeze_max_force / forces.norm(dim=-1).amax(-1).clamp(min=1e-9)
    factor = torch.minimum(by_effort, by_force)
    forces, torques = factor[:, None, None] * forces, factor[:, None] * torques
    target = torch.minimum(torch.maximum(q + torques / config.squeeze_stiffness, hand.lower), hand.upper)
    net = (A @ weights[..., None]).squeeze(-1).norm(dim=-1) / local[..., 0].sum(-1).clamp(min=1e-9)
    return Squeeze(forces, torques, target, net)


def _internal(A: np.ndarray) -> np.ndarray:
    """Edge weights (B, k) >= 0 with normal forces that sum to 2, the least net wrench and the load spread."""
    n = A.shape[2]
    rhs = np.concatenate([np.zeros(6), [2.0 * _BALANCE_WEIGHT], np.zeros(n)])
    tail = np.concatenate([_BALANCE_WEIGHT * np.ones((1, n)), _SPREAD_WEIGHT * np.eye(n)])
    return np.stack([nnls(np.concatenate([_BALANCE_WEIGHT * a, tail]), rhs)[0] for a in A])
