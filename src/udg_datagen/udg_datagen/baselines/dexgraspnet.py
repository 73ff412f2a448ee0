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

from udg_datagen.baselines.mala_loops import Candidates, Weights, coarse_of, energies
from udg_datagen.hands.model import HandModel
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.descent import pack_hands
from udg_description.compiled import say_if_compiling
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


def optimise(obj: GraspObject, hand: HandModel, config: DexGraspNetConfig, *, seed: int) -> MalaResult:
    """A batch of grasps of `obj`, on the CPU; the same seed gives the same grasps."""
    return _Mala(obj, hand, config, seed).run()


class _Hands(NamedTuple):
    """A batch of grasps."""

    origin: np.ndarray  # (B, 3) [m]
    R: np.ndarray  # (B, 3, 3)
    q: np.ndarray  # (B, n) [rad]
    contacts: np.ndarray  # (B, K) of the candidates


class _Mala:
    def __init__(self, obj: GraspObject, hand: HandModel, config: DexGraspNetConfig, seed: int) -> None:
        self._obj, self._hand, self._config = obj, hand, config
        self._rng = np.random.default_rng(seed)
        self._hands = pack_hands((hand,), ((),), SynthesisConfig())
        grid = obj.sdf.nodes
        self._object = (grid, coarse_of(grid, obj.mesh.bounds), np.ascontiguousarray(obj.com, dtype=np.float64))
        self._candidates, self._pad_of = _candidates(hand, config.candidates_per_pad)
        self._weights = Weights(
            config.weight_distance, config.weight_penetration, config.weight_self, config.weight_joints
        )

    def run(self) -> MalaResult:
        config, hand, rng = self._config, self._hand, self._rng
        origin, R, q = self._starts()
        at = _Hands(origin, R, q, self._draw(len(q)))
        batch = len(q)
        say_if_compiling(energies)
        terms, gradient = self.evaluate(at)
        mean_square = np.zeros(6 + hand.n_joints)
        for k in range(config.iterations):
            mean_square = config.rms_decay * (gradient**2).mean(axis=0) + (1.0 - config.rms_decay) * mean_square
            size = config.step_size * config.step_decay ** (k // config.step_period)
            step = -size * gradient / (np.sqrt(mean_square) + 1e-6)
            switch = rng.random(at.contacts.shape) < config.switch_probability
            new = _Hands(
                at.origin + step[:, :3],
                _turn(step[:, 3:6]) @ at.R,
                at.q + step[:, 6:],
                np.where(switch, self._draw(batch), at.contacts),
            )
            new_terms, new_gradient = self.evaluate(new)
            temperature = config.temperature * config.anneal_decay ** (k // config.anneal_period)
            with np.errstate(invalid="ignore"):  # an energy that is not finite is never taken
                rise = np.maximum(new_terms[:, 0] - terms[:, 0], 0.0)
                accept = rng.random(batch) < np.exp(-rise / max(temperature, 1e-12))
            for array, other in zip((*at, terms, gradient), (*new, new_terms, new_gradient), strict=True):
                array[accept] = other[accept]
        pads = np.zeros((batch, len(hand.spec.contact_names)), dtype=bool)
        np.put_along_axis(pads, self._pad_of[at.contacts], True, axis=1)
        q = np.clip(at.q, self._hands.lower[0], self._hands.upper[0])
        total, closure, away = map(_tensor, terms.T)
        return MalaResult(_tensor(at.origin), _tensor(at.R), _tensor(q), torch.as_tensor(pads), total, closure, away)

    def evaluate(self, at: _Hands) -> tuple[np.ndarray, np.ndarray]:
        """Total, E_fc and E_dis (B, 3), and the gradient of the total (B, 6 + n) with respect to translation, rotation
        about the origin, joints."""
        terms, gradient = np.empty((len(at.q), 3)), np.empty((len(at.q), 6 + at.q.shape[1]))
        energies(self._hands, *self._object, self._candidates, self._weights, *at, terms, gradient)
        gradient[~np.isfinite(gradient)] = 0.0
        return terms, gradient

    def _draw(self, batch: int) -> np.ndarray:
        return self._rng.integers(len(self._candidates.link), size=(batch, self._config.n_contacts))

    def _starts(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
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
        return origin, R, np.clip(q, lower, upper)


def _tensor(values: np.ndarray) -> Tensor:
    return torch.as_tensor(values, dtype=torch.float32)


def _candidates(hand: HandModel, per_pad: int) -> tuple[Candidates, np.ndarray]:
    """Points (c * per_pad) spread over each pad's cap, and the pad of each."""
    spec = hand.spec
    k = np.arange(per_pad)
    cosine = 1.0 - (1.0 - np.cos(np.deg2rad(_PAD_CONE_DEG))) * (k + 0.5) / per_pad
    sine = np.sqrt(1.0 - cosine**2)
    cap = np.column_stack([sine * np.cos(_GOLDEN * k), sine * np.sin(_GOLDEN * k), cosine])
    points = []
    for center, radius, axis in zip(spec.contact_center, spec.contact_radius, spec.contact_axis, strict=True):
        side = np.cross(axis, np.eye(3)[np.abs(axis).argmin()])
        side /= np.linalg.norm(side)
        frame = np.stack([side, np.cross(axis, side), axis / np.linalg.norm(axis)], axis=-1)
        points.append(center + radius * cap @ frame.T)
    links = np.repeat(np.asarray(spec.contact_link, dtype=np.int64), per_pad)
    return Candidates(links, np.concatenate(points)), np.repeat(np.arange(len(points)), per_pad)


def _turn(rotvec: np.ndarray) -> np.ndarray:
    """Rotations (B, 3, 3) of rotation vectors (B, 3)."""
    angle = np.maximum(np.linalg.norm(rotvec, axis=1), 1e-12)[:, None, None]
    K = np.zeros((len(rotvec), 3, 3))
    K[:, 2, 1], K[:, 0, 2], K[:, 1, 0] = rotvec.T
    K -= K.transpose(0, 2, 1)
    return np.eye(3) + np.sin(angle) / angle * K + (1 - np.cos(angle)) / angle**2 * K @ K


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
