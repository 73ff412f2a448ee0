"""The descent of a batch on a CPU: what the compiled loops of `descent_loops` take, from hands, object and settings."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from udg_datagen.hands.model import HandModel
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.synthesis import wrench
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.descent_loops import Settings, Surroundings, descend
from udg_datagen.synthesis.hand_loops import Hands
from udg_datagen.synthesis.initial import HandPose, TablePlane
from udg_datagen.synthesis.near import LEAST_M, LEAST_RAD, Near
from udg_datagen.synthesis.problem import Problem
from udg_description.compiled import say_if_compiling
from udg_description.transforms import turn_terms

HANDS_EVERY = 4  # steps between two looks at the collisions of the hands with each other
SELF_EVERY = 2  # steps between two looks at a hand's own collisions, which are rare


class Descent:
    """The descent of one batch of candidates, in double precision; goes on where the last call has stopped."""

    def __init__(self, problem: Problem, start: HandPose) -> None:
        """Take the B candidates to start from, in the object frame."""
        obj, hands, active, table, config, _, near = problem
        self.hands = pack_hands(hands, active, config)
        self.world = _surroundings(obj, hands, table, config, near)
        self.settings = _settings(obj, config, near)
        self._center, self._R, self._q = (np.array(x.numpy(), dtype=np.float64) for x in start)
        self._first = np.zeros((*self._q.shape[:2], 6 + self._q.shape[2]))
        self._second = np.zeros_like(self._first)
        self._alive = np.ones(len(self._q), dtype=bool)

    def run(self, begin: int, end: int) -> None:
        """Do the steps from `begin` to before `end`, of all candidates that there still are."""
        arrays = (self._center, self._R, self._q, self._first, self._second, self._alive)
        say_if_compiling(descend)
        descend(self.hands, self.world, self.settings, begin, end, *arrays)

    def keep(self, index: Tensor) -> None:
        """Go on with the candidates at `index` (K,) alone, in that order."""
        places = index.numpy()
        self._center, self._R, self._q = self._center[places], self._R[places], self._q[places]
        self._first, self._second, self._alive = self._first[places], self._second[places], self._alive[places]

    @property
    def pose(self) -> HandPose:
        """Where the candidates are, in the object frame, in single precision."""
        return HandPose(*(torch.as_tensor(x, dtype=torch.float32) for x in (self._center, self._R, self._q)))

    @property
    def alive(self) -> Tensor:
        """Candidates (B,) bool whose gradients stayed finite."""
        return torch.from_numpy(self._alive.copy())


def pack_hands(hands: Sequence[HandModel], active: Sequence[tuple[int, ...]], config: SynthesisConfig) -> Hands:
    """Hands on the CPU and, by their positions, the contacts of each that carry the object, as the loops take them.

    Radii are with the margins of `config`; constant, sin and cos of the joints are `turn_terms`.
    """
    specs = [hand.spec for hand in hands]
    T = np.stack([spec.T_parent_joint for spec in specs]).astype(np.float64)
    axis = np.stack([spec.axis for spec in specs])
    constant, sin, cos = turn_terms(T[..., :3, :3], axis)
    chosen = [np.array(contacts, dtype=np.int64) for contacts in active]
    sphere_begin = np.cumsum([0, *(len(hand.sphere_radius) for hand in hands)])
    link = [hand.sphere_link.numpy() for hand in hands]
    radius = [hand.sphere_radius.numpy().astype(np.float64) for hand in hands]
    carries = [np.isin(of, spec.contact_link[c]) for of, spec, c in zip(link, specs, chosen, strict=True)]
    margin = np.where(np.concatenate(carries), config.margin_active_tip, config.margin_object)
    all_radius = np.concatenate(radius)
    centers = [np.concatenate([spec.sphere_center, spec.guard_center]) for spec in specs]
    pairs = [
        np.stack(np.meshgrid(*spec.self_pairs, indexing="ij"), axis=-1).reshape(-1, 2) + begin
        for spec, begin in zip(specs, sphere_begin[:-1], strict=True)
    ]

    def of_contacts(name: str) -> np.ndarray:
        return np.concatenate([np.asarray(getattr(spec, name))[c] for spec, c in zip(specs, chosen, strict=True)])

    return Hands(
        parent=_integers(np.stack([spec.parent_link for spec in specs])),
        constant=_numbers(constant),
        sin=_numbers(sin),
        cos=_numbers(cos),
        offset=_numbers(T[..., :3, 3]),
        axis=_numbers(axis),
        lower=_numbers(np.stack([hand.lower.numpy() for hand in hands])),
        upper=_numbers(np.stack([hand.upper.numpy() for hand in hands])),
        grasp_center=_numbers(np.stack([spec.grasp_center for spec in specs])),
        palm=_numbers(np.stack([spec.palm_normal for spec in specs])),
        sphere_begin=_integers(sphere_begin),
        sphere_link=_integers(np.concatenate(link)),
        sphere_center=_numbers(np.concatenate(centers)),
        sphere_radius=all_radius,
        object_radius=all_radius + margin,
        table_radius=all_radius + config.margin_table,
        hands_radius=all_radius + 0.5 * config.margin_hands,
        self_pairs=_integers(np.concatenate(pairs)),
        contact_begin=_integers(np.cumsum([0, *map(len, chosen)])),
        contact_link=_integers(of_contacts("contact_link")),
        contact_center=_numbers(of_contacts("contact_center")),
        contact_axis=_numbers(of_contacts("contact_axis")),
        contact_radius=_numbers(of_contacts("contact_radius")),
    )


def _surroundings(
    obj: GraspObject, hands: Sequence[HandModel], table: TablePlane, config: SynthesisConfig, near: Near | None
) -> Surroundings:
    up = torch.as_tensor(table.up, dtype=torch.float32)
    count, n = len(hands), hands[0].n_joints
    reference = Near(np.tile(np.eye(4), (count, 1, 1)), np.zeros((count, n))) if near is None else near
    return Surroundings(
        grid=obj.sdf.nodes,
        up=_numbers(np.asarray(table.up)),
        offset=float(table.offset),
        com=_numbers(obj.com),
        targets=_numbers(wrench.target_wrenches(up, config.lift_wrench, config.force_wrench).numpy()),
        edges=_numbers(wrench.cone_edges(config.friction, config.cone_edges).numpy()),
        near_R=_numbers(reference.T_hand[:, :3, :3]),
        near_origin=_numbers(reference.T_hand[:, :3, 3]),
        near_q=_numbers(reference.q),
    )


def _settings(obj: GraspObject, config: SynthesisConfig, near: Near | None) -> Settings:
    return Settings(
        steps=config.qp_steps + config.refine_steps,
        qp_steps=config.qp_steps,
        qp_every=config.qp_every,
        qp_iterations=config.qp_iterations,
        self_every=SELF_EVERY,
        hands_every=HANDS_EVERY,
        contact_first=config.weight_contact[0],
        contact_last=config.weight_contact[1],
        penetration_first=config.weight_penetration[0],
        penetration_last=config.weight_penetration[1],
        table=config.weight_table,
        own=config.weight_self,
        hands=config.weight_hands,
        pad=config.weight_pad,
        pad_cosine=config.pad_cosine,
        wrench=config.weight_wrench,
        force_penalty=config.force_penalty,
        wrench_scale=obj.wrench_scale,
        retreat=config.pregrasp_distance,
        near=0.0 if near is None else config.weight_near,
        near_rotation_m=config.near_rotation_m,
        near_posture_m=config.near_posture_m,
        near_least_m=LEAST_M,
        near_least_rad=LEAST_RAD,
        lr_translation=config.lr_translation,
        lr_rotation=config.lr_rotation,
        lr_joints=config.lr_joints,
    )


def _numbers(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.float64)


def _integers(values: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(values, dtype=np.int64)
