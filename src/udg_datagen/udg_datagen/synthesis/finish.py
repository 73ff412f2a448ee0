"""What follows the optimisation of a batch: metrics, gates, opening of the hands and squeeze."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from udg_datagen.hands.model import HandState
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.energies import hand_hand_penetration, self_penetration
from udg_datagen.synthesis.initial import HandPose
from udg_datagen.synthesis.optimise import Optimised
from udg_datagen.synthesis.pregrasp import open_hand
from udg_datagen.synthesis.problem import Problem
from udg_datagen.synthesis.squeeze import squeeze


class _Measured(NamedTuple):
    """What the gates look at, of B candidates [m]; positive depths reach in."""

    radius: torch.Tensor  # (c,) of the pads that carry
    tip_distance: np.ndarray  # (B, c) of these pads to the object
    penetration: torch.Tensor  # (B,) of the hands into the object
    clearance: torch.Tensor  # (B,) above the table, as near as the hands come on their way in
    own: torch.Tensor  # (B,) of a hand into itself
    between: torch.Tensor  # (B,) of one hand into the other


@torch.no_grad()
def finish(problem: Problem, result: Optimised) -> dict[str, np.ndarray]:
    """Arrays of `GraspSet`, by name, of the N candidates that pass the gates, in their order; object frame.

    A candidate passes whose pads touch, and that reaches neither into the object, the table, itself nor the other hand
    by more than the settings allow, at the grasp and, with the hand open, on its way in. `result` has the candidates
    at the end of the descent; the problem's starts (`seed`, `near`) are not looked at.
    """
    obj, hands, active, table, config = problem[:5]
    device = hands[0].device
    up = torch.as_tensor(table.up, dtype=torch.float32, device=device)
    measured = _measure(problem, result.pose, up)
    index = torch.nonzero(result.alive & _passes(measured, config))[:, 0]
    if config.n_open is not None:
        lowest = torch.argsort(result.energy[index], stable=True)[: config.n_open]
        index = index[lowest.sort().values]
    origin, part = result.pose.origin(hands)[index], result.pose.take(index)
    opened = [
        open_hand(obj.sdf, hand, origin[:, h], part.R[:, h], part.q[:, h], active[h], up, table.offset, config)
        for h, hand in enumerate(hands)
    ]
    approach = torch.stack([x.clearance for x in opened]).amin(0)
    free = approach > -config.max_approach_penetration
    index, pose = index[free], part.take(free)
    states = pose.forward(hands)
    centers = _pad_centers(problem, states)
    _, normals = obj.sdf.trilinear(centers)
    centers, normals = centers.transpose(1, 2), normals.transpose(1, 2)
    points = centers - measured.radius[:, None] * normals
    com = torch.as_tensor(obj.com, dtype=torch.float32, device=device)
    squeezed = squeeze(hands, states, pose.q, active, points, normals, com, obj.wrench_scale, config)
    T = np.tile(np.eye(4), (*pose.q.shape[:2], 1, 1))
    T[..., :3, :3] = _orthonormal(_array(pose.R))
    T[..., :3, 3] = _array(pose.origin(hands))
    return {
        "T_object_hand": T,
        "q_pregrasp": _array(torch.stack([x.q[free] for x in opened], dim=1)),
        "q_grasp": _array(pose.q),
        "q_squeeze": _array(squeezed.target),
        "tau_squeeze": _array(squeezed.torques),
        "energy": _array(result.energy[index]),
        "wrench_residual": _array(result.wrench_residual[index]),
        "force_imbalance": _array(squeezed.imbalance),
        "tip_distance": measured.tip_distance[_numbers(index)],
        "penetration": _array(measured.penetration[index]),
        "self_penetration": _array(measured.own[index]),
        "hand_hand_penetration": _array(measured.between[index]),
        "table_clearance": _array(measured.clearance[index]),
        "approach_clearance": _array(approach[free]),
        "contact_points_object": _array(points),
        "contact_forces_object": _array(squeezed.forces),
        "q1": np.full(len(index), np.nan),
        "withstood": np.zeros((len(index), 0), dtype=bool),
    }


def _pad_centers(problem: Problem, states: Sequence[HandState]) -> torch.Tensor:
    """Centres (B, 3, c) [m] of the pads that carry, one hand's after the other's."""
    W_contacts = [
        hand.W_contacts[:, list(contacts)] for hand, contacts in zip(problem.hands, problem.active, strict=True)
    ]
    return torch.cat([state.X @ W for state, W in zip(states, W_contacts, strict=True)], -1)


def _measure(problem: Problem, pose: HandPose, up: torch.Tensor) -> _Measured:
    obj, hands, active, table, config = problem[:5]
    states = pose.forward(hands)
    radius = torch.cat([hand.contact_radius[list(contacts)] for hand, contacts in zip(hands, active, strict=True)])
    tip_distance = obj.distance(_array(_pad_centers(problem, states).transpose(1, 2))) - _array(radius)
    penetration, clearance, own = (torch.zeros(len(pose.q), device=hands[0].device) for _ in range(3))
    clearance = clearance + torch.inf
    for hand, state in zip(hands, states, strict=True):
        surface = state.X @ hand.W_surface
        penetration = torch.maximum(penetration, (-obj.sdf.nearest(surface)[0]).amax(-1))
        rise = (up @ (state.X @ hand.W_palm)).clamp(min=0.0)
        clearance = torch.minimum(clearance, (up @ surface + table.offset - config.pregrasp_distance * rise).amin(-1))
        own = torch.maximum(own, self_penetration(state.X @ hand.W_spheres, hand).deepest)
    between = torch.zeros_like(own)
    if len(hands) == 2:
        spheres = [state.X @ hand.W_spheres for state, hand in zip(states, hands, strict=True)]
        radii = [hand.sphere_radius for hand in hands]
        between = hand_hand_penetration(spheres[0], radii[0], spheres[1], radii[1]).deepest
    return _Measured(radius, tip_distance, penetration, clearance, own, between)


def _passes(measured: _Measured, config: SynthesisConfig) -> torch.Tensor:
    """Which candidates (B,) the settings allow."""
    touching = np.abs(measured.tip_distance).max(axis=1) < config.max_tip_distance
    return (
        torch.as_tensor(touching, device=measured.own.device)
        & (measured.penetration < config.max_penetration)
        & (measured.clearance > -config.max_table_penetration)
        & (measured.own < config.max_self_penetration)
        & (measured.between <= config.max_hands_penetration)
    )


def _array(x: torch.Tensor) -> np.ndarray:
    return x.double().cpu().numpy()


def _numbers(x: torch.Tensor) -> np.ndarray:
    return x.cpu().numpy()


def _orthonormal(R: np.ndarray) -> np.ndarray:
    """The rotations nearest to (..., 3, 3) matrices that have drifted by rounding."""
    u, _, vt = np.linalg.svd(R)
    return u @ vt
