"""Opening the fingers: joints whose hand reaches the grasp pose along the palm normal without touching the object."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_datagen.hands.model import HandModel, HandState
from udg_datagen.objects.sdf import SdfGrid
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.descent import pack_hands
from udg_datagen.synthesis.descent_loops import Opening, open_hands

_RETREATS = (0.0, 0.02, 0.045, 0.075)  # [m] where the path is looked at
_LEARNING_RATE = 0.05  # [rad]
_SHARES = (0.85, 0.7, 0.6, 0.5, 0.4, 0.3)  # of the opening that are tried, widest first
_HOLD = 0.002  # weight of staying near the grasp, against cm^2


class Pregrasp(NamedTuple):
    """The open hand of each grasp of a batch."""

    q: Tensor  # (B, n) [rad]
    clearance: Tensor  # (B,) [m] smallest distance of a sphere to the object along the path


def open_hand(
    sdf: SdfGrid,
    hand: HandModel,
    origin: Tensor,
    R: Tensor,
    q_grasp: Tensor,
    active: tuple[int, ...],
    up: Tensor,
    offset: float,
    config: SynthesisConfig,
) -> Pregrasp:
    """Joints of the open hand for a batch of grasps, by gradient descent on the joints alone; object frame.

    On a CPU one candidate after the other in double precision, else all at once.

    Args:
        origin, R: position (B, 3) [m] and rotation (B, 3, 3) of the hand's link at the grasp.
        q_grasp: (B, n) [rad].
        active: positions of the contacts that carry the object; their tips need `pregrasp_tip_clearance` alone.
        up, offset: unit vector (3,) and offset [m] of the table plane: the height of a point p is up p + offset.
    """
    wanted = (hand.sphere_radius + config.pregrasp_clearance).expand(len(_RETREATS), -1).clone()
    tips = torch.isin(hand.sphere_link, hand.contact_link[torch.tensor(active, device=hand.device)])
    wanted[0, tips] += config.pregrasp_tip_clearance - config.pregrasp_clearance
    if hand.device != "cpu":
        return _opened_batch(sdf, hand, origin, R, q_grasp, up, offset, config, wanted)
    hands = pack_hands((hand,), (active,), config)
    opening = Opening(
        steps=config.pregrasp_steps,
        rate=_LEARNING_RATE,
        hold=_HOLD,
        retreats=np.array(_RETREATS),
        wanted=wanted.numpy().astype(np.float64),
        table_radius=hands.table_radius,
        up=up.numpy().astype(np.float64),
        offset=float(offset),
        shares=np.array(_SHARES),
    )
    centers, rotations, grasps = (
        np.array(x.numpy(), dtype=np.float64) for x in (origin + R @ hand.grasp_center, R, q_grasp)
    )
    q, clearance = np.empty_like(grasps), np.empty(len(grasps))
    open_hands(hands, sdf.nodes, opening, centers, rotations, grasps, q, clearance)
    return Pregrasp(*(torch.as_tensor(x, dtype=torch.float32) for x in (q, clearance)))


def _opened_batch(
    sdf: SdfGrid,
    hand: HandModel,
    origin: Tensor,
    R: Tensor,
    q_grasp: Tensor,
    up: Tensor,
    offset: float,
    config: SynthesisConfig,
    wanted: Tensor,
) -> Pregrasp:
    """The same of all candidates at once, on any device; `wanted` (K, S) [m] are distances of the spheres' centres."""
    palm = R @ hand.palm_normal
    shift = -palm[:, :, None, None] * torch.tensor(_RETREATS, device=hand.device)[:, None]  # (B, 3, K, 1)

    def look(q: Tensor) -> tuple[HandState, Tensor, Tensor, Tensor]:
        state = hand.forward(origin, R, q)
        points = state.X @ hand.W_spheres
        distance, normal = sdf.nearest((points[:, :, None] + shift).flatten(2))
        return state, points, distance.unflatten(-1, wanted.shape), normal.unflatten(-1, wanted.shape)

    q = q_grasp.clone()
    first, second = torch.zeros_like(q), torch.zeros_like(q)
    for k in range(config.pregrasp_steps):
        state, points, distance, normal = look(q)
        depth = 100.0 * (wanted - distance).clamp(min=0.0)
        gradient = -2.0 * (depth[:, None] * normal).sum(2)
        sunk = 100.0 * (hand.sphere_radius + config.margin_table - (up @ points + offset)).clamp(min=0.0)
        gradient = gradient - 2.0 * sunk[:, None] * up[:, None]
        step = hand.pose_gradient(state, gradient @ hand.W_spheres.T)[2] + _HOLD * (q - q_grasp)
        first, second = 0.8 * first + 0.2 * step, 0.95 * second + 0.05 * step.square()
        rate = _LEARNING_RATE * (1.0 - 0.9 * k / config.pregrasp_steps)
        q = q - rate * (first / (1.0 - 0.8 ** (k + 1))) / ((second / (1.0 - 0.95 ** (k + 1))).sqrt() + 1e-4)
        q = torch.minimum(torch.maximum(q, hand.lower), hand.upper)
    # The descent overshoots: go back along the straight line to the grasp as far as the clearance allows.
    best, missing = q, _missing(look(q)[2], wanted)
    for share in _SHARES:
        trial = q_grasp + share * (q - q_grasp)
        enough = _missing(look(trial)[2], wanted) <= missing + 1e-4
        best = torch.where(enough[:, None], trial, best)
    clearance = (look(best)[2] - hand.sphere_radius).flatten(1).amin(-1)
    return Pregrasp(best, clearance)


def _missing(distance: Tensor, wanted: Tensor) -> Tensor:
    """Largest lack of clearance (B,) [m], zero if all is met."""
    return (wanted - distance).clamp(min=0.0).flatten(1).amax(-1)
