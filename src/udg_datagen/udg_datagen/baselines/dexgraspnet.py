"""DexGraspNet's method (Wang et al., ICRA 2023, arXiv:2210.02697), written from the paper for any `HandModel`.

Energy E = E_fc + w_dis E_dis + w_pen E_pen + w_spen E_spen + w_joints E_joints (metres, radians; the paper's weights):
- E_fc = |G c|^2: net wrench of unit normal forces at four contact points of the hand (differentiable force closure);
- E_dis: sum of the contact points' distances to the surface; E_pen: sum of the hand's penetration depths;
- E_spen: overlap within the hand; E_joints: what joints exceed their limits by.
Minimised by MALA: steps along the gradient scaled as in RMSProp (over the batch), now and then a contact point is
replaced by a random one of the candidates, and a step is taken or refused by the Metropolis rule at a falling
temperature.

What differs from the paper: penetration is that of the hand's collision spheres in the object (there: of 2000 points
of the object in the hand's meshes); contact candidates lie on the pads alone, as both methods are to grasp with
fingertips; rotations step along their tangent (there: six numbers, orthonormalised); forces are not divided by a length
in either.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_datagen.hands.model import HandModel
from udg_datagen.objects.grasp_object import GraspObject
from udg_description.errors import UdgError

_PAD_CONE_DEG = 45.0
_GOLDEN = np.pi * (3.0 - np.sqrt(5.0))


@dataclass(frozen=True, kw_only=True)
class DexGraspNetConfig:
    """Settings of the paper and of its published code."""

    n_candidates: int = 128
    iterations: int = 6000
    n_contacts: int = 4
    candidates_per_pad: int = 28  # 140 on a hand with five fingers, as in the paper
    weight_distance: float = 100.0
    weight_penetration: float = 100.0
    weight_self: float = 10.0
    weight_joints: float = 1.0
    step_size: float = 0.005
    step_period: int = 50
    step_decay: float = 0.95
    temperature: float = 18.0
    anneal_period: int = 30
    anneal_decay: float = 0.95
    switch_probability: float = 0.5  # of a contact, at every step
    rms_decay: float = 0.98
    start_distance: tuple[float, float] = (0.2, 0.3)  # [m] of the palm from the convex hull
    start_tilt_deg: float = 30.0  # largest, of the palm normal
    start_joint_std: float = 0.1  # of the joints' ranges

    def __post_init__(self) -> None:
        if min(self.n_candidates, self.iterations, self.n_contacts, self.candidates_per_pad) < 1:
            raise UdgError("n_candidates, iterations, n_contacts and candidates_per_pad must be at least 1")


class MalaResult(NamedTuple):
    """`pads` (B, C) marks the contacts of the hand on which a chosen contact point lies; energies are those of MALA."""

    origin: Tensor  # (B, 3) [m] hand frame in the object's
    R: Tensor  # (B, 3, 3)
    q: Tensor  # (B, n) [rad], within limits
    pads: Tensor  # (B, C) bool
    energy: Tensor  # (B,)
    force_closure: Tensor  # (B,) E_fc
    distance: Tensor  # (B,) [m] E_dis


class _Terms(NamedTuple):
    total: Tensor
    force_closure: Tensor
    distance: Tensor


def optimise(obj: GraspObject, hand: HandModel, config: DexGraspNetConfig, *, seed: int) -> MalaResult:
    """A batch of grasps of `obj`; the same seed gives the same grasps."""
    return _Mala(obj, hand, config, seed).run()


class _Mala:
    def __init__(self, obj: GraspObject, hand: HandModel, config: DexGraspNetConfig, seed: int) -> None:
        self._obj, self._hand, self._config = obj, hand, config
        self._random = torch.Generator(device="cpu").manual_seed(seed)
        self._rng = np.random.default_rng(seed)
        self._com = torch.as_tensor(obj.com, dtype=torch.float32, device=hand.device)[:, None]
        self._W_candidates, self._pad_of = _candidates(hand, config.candidates_per_pad)

    def run(self) -> MalaResult:
        config, hand = self._config, self._hand
        origin, R, q = self._starts()
        batch = len(q)
        contacts = self._draw((batch, config.n_contacts))
        terms, gradient = self._evaluate(origin, R, q, contacts)
        mean_square = torch.zeros(6 + hand.n_joints, device=hand.device)
        for k in range(config.iterations):
            mean_square = config.rms_decay * gradient.square().mean(0) + (1.0 - config.rms_decay) * mean_square
            size = config.step_size * config.step_decay ** (k // config.step_period)
            step = -size * gradient / (mean_square.sqrt() + 1e-6)
            new_origin, new_R, new_q = origin + step[:, :3], _turn(step[:, 3:6]) @ R, q + step[:, 6:]
            switch = torch.rand((batch, config.n_contacts), generator=self._random) < config.switch_probability
            new_contacts = torch.where(switch.to(hand.device), self._draw((batch, config.n_contacts)), contacts)
            new_terms, new_gradient = self._evaluate(new_origin, new_R, new_q, new_contacts)
            temperature = config.temperature * config.anneal_decay ** (k // config.anneal_period)
            chance = torch.exp(((terms.total - new_terms.total) / max(temperature, 1e-12)).clamp(max=0.0))
            accept = torch.rand(batch, generator=self._random).to(hand.device) < chance.nan_to_num(0.0)
            origin, q, contacts = (
                torch.where(accept[:, None], new, old)
                for new, old in ((new_origin, origin), (new_q, q), (new_contacts, contacts))
            )
            R = torch.where(accept[:, None, None], new_R, R)
            gradient = torch.where(accept[:, None], new_gradient, gradient)
            terms = _Terms(*(torch.where(accept, new, old) for new, old in zip(new_terms, terms, strict=True)))
        pads = torch.zeros((batch, len(hand.contact_radius)), dtype=torch.bool, device=hand.device)
        pads.scatter_(1, self._pad_of[contacts], True)
        q = torch.minimum(torch.maximum(q, hand.lower), hand.upper)
        return MalaResult(origin, R, q, pads, terms.total, terms.force_closure, terms.distance)

    def _evaluate(self, origin: Tensor, R: Tensor, q: Tensor, contacts: Tensor) -> tuple[_Terms, Tensor]:
        """Energies (B,) and the gradient (B, 6 + n) with respect to translation, rotation about the origin, joints."""
        config, hand = self._config, self._hand
        with torch.no_grad():
            state = hand.forward(origin, R, q)
        X = state.X.detach().requires_grad_()
        points = (X @ self._W_candidates).gather(2, contacts[:, None].expand(-1, 3, -1))  # (B, 3, n_contacts)
        distance, normal = self._obj.sdf.trilinear(points)
        moment = torch.linalg.cross(points - self._com, normal, dim=1)
        closure = torch.cat([normal, moment], dim=1).sum(-1).square().sum(-1)
        away = distance.abs().sum(-1)
        spheres = X @ hand.W_spheres
        depth, _ = self._obj.sdf.nearest(spheres)
        inside = (hand.sphere_radius - depth).clamp(min=0.0).sum(-1)
        total = closure + config.weight_distance * away + config.weight_penetration * inside
        total = total + config.weight_self * _self_overlap(spheres, hand)
        (X_gradient,) = torch.autograd.grad(total.sum(), X)
        with torch.no_grad():
            force, turn, joints = hand.pose_gradient(state, X_gradient)
            turn = turn - torch.linalg.cross(origin, force)
            beyond = (q - hand.upper).clamp(min=0.0) + (hand.lower - q).clamp(min=0.0)
            joints = joints + config.weight_joints * ((q > hand.upper).float() - (q < hand.lower).float())
            total = total.detach() + config.weight_joints * beyond.sum(-1)
        gradient = torch.cat([force, turn, joints], dim=-1).nan_to_num(0.0)
        return _Terms(total, closure.detach(), away.detach()), gradient

    def _draw(self, shape: tuple[int, int]) -> Tensor:
        return torch.randint(self._W_candidates.shape[1], shape, generator=self._random).to(self._hand.device)

    def _starts(self) -> tuple[Tensor, Tensor, Tensor]:
        """Palms at random places around the convex hull, facing it, turned about and tilted at random."""
        config, hand, rng = self._config, self._hand, self._rng
        count = config.n_candidates
        point, normal = self._obj.hull_samples(count, rng)
        tilt = np.deg2rad(config.start_tilt_deg) * rng.random(count)
        approach = _tilted(-normal, tilt, rng)
        origin = point - rng.uniform(*config.start_distance, count)[:, None] * approach
        R = _facing(approach, np.asarray(hand.spec.palm_normal, dtype=float), rng)
        lower, upper = np.asarray(hand.spec.lower), np.asarray(hand.spec.upper)
        q = np.asarray(hand.spec.preshape) + config.start_joint_std * (upper - lower) * rng.standard_normal(
            (count, len(lower))
        )

        def tensor(array: np.ndarray) -> Tensor:
            return torch.as_tensor(array, dtype=torch.float32, device=hand.device)

        return tensor(origin), tensor(R), tensor(np.clip(q, lower, upper))


def _candidates(hand: HandModel, per_pad: int) -> tuple[Tensor, Tensor]:
    """Columns (4 L, c * per_pad) of points spread over each pad's cap, and the pad (c * per_pad,) of each."""
    spec = hand.spec
    k = np.arange(per_pad)
    cosine = 1.0 - (1.0 - np.cos(np.deg2rad(_PAD_CONE_DEG))) * (k + 0.5) / per_pad
    sine = np.sqrt(1.0 - cosine**2)
    cap = np.column_stack([sine * np.cos(_GOLDEN * k), sine * np.sin(_GOLDEN * k), cosine])
    columns, pads = [], []
    for pad, (link, center, radius, axis) in enumerate(
        zip(spec.contact_link, spec.contact_center, spec.contact_radius, spec.contact_axis, strict=True)
    ):
        side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
        side /= np.linalg.norm(side)
        frame = np.stack([side, np.cross(axis, side), axis / np.linalg.norm(axis)], axis=-1)
        W = np.zeros((len(spec.joint_names) + 1, 4, per_pad))
        W[link, :3] = (center + radius * cap @ frame.T).T
        W[link, 3] = 1.0
        columns.append(W.reshape(-1, per_pad))
        pads.append(np.full(per_pad, pad))
    return (
        torch.tensor(np.concatenate(columns, axis=1), dtype=torch.float32, device=hand.device),
        torch.tensor(np.concatenate(pads), device=hand.device),
    )


def _self_overlap(spheres: Tensor, hand: HandModel) -> Tensor:
    a, b = spheres[..., hand.self_a], spheres[..., hand.self_b]
    radii = hand.sphere_radius[hand.self_a][:, None] + hand.sphere_radius[hand.self_b]
    squared = a.square().sum(1)[:, :, None] + b.square().sum(1)[:, None] - 2.0 * (a.transpose(1, 2) @ b)
    return (radii - squared.clamp(min=1e-8).sqrt()).clamp(min=0.0).flatten(1).sum(-1)


def _turn(rotvec: Tensor) -> Tensor:
    """Rotations (B, 3, 3) of rotation vectors (B, 3)."""
    angle = rotvec.norm(dim=-1).clamp(min=1e-12)[:, None, None]
    x, y, z = rotvec.unbind(-1)
    zero = torch.zeros_like(x)
    K = torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], dim=-1).reshape(-1, 3, 3)
    return torch.eye(3, device=rotvec.device) + torch.sin(angle) / angle * K + (1 - torch.cos(angle)) / angle**2 * K @ K


def _tilted(directions: np.ndarray, angle: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    side = np.cross(directions, rng.standard_normal(directions.shape))
    side /= np.maximum(np.linalg.norm(side, axis=1, keepdims=True), 1e-12)
    return np.cos(angle)[:, None] * directions + np.sin(angle)[:, None] * side


def _facing(approach: np.ndarray, palm_normal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotations (n, 3, 3) that take `palm_normal` to each `approach`, turned about it at random."""

    def frames(axis: np.ndarray, angle: np.ndarray) -> np.ndarray:
        first = np.cross(axis, np.eye(3)[np.abs(axis).argmin(axis=1)])
        first /= np.linalg.norm(first, axis=1, keepdims=True)
        second = np.cross(axis, first)
        side = np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second
        return np.stack([axis, side, np.cross(axis, side)], axis=-1)

    local = frames(palm_normal[None], np.zeros(1))[0]
    return frames(approach, rng.uniform(0.0, 2.0 * np.pi, len(approach))) @ local.T
