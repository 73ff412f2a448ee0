"""The verb: grasps of one object with one hand or with both."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import asdict, replace

import numpy as np

from udg_datagen.errors import (
    DeviceError,
    GraspObjectError,
    NoApproachError,
    StrategyError,
)
from udg_datagen.grasp_set import GraspSet, no_grasps
from udg_datagen.hands.model import HandModel
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.objects.offers import taken_by, thin_parts
from udg_datagen.synthesis.batches import solve_batches
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.initial import TablePlane
from udg_datagen.synthesis.near import Near
from udg_datagen.synthesis.problem import Problem
from udg_datagen.synthesis.strategies import AUTO, active_contacts, choose, hands_needed
from udg_description.errors import HandModelError

_MAX_WIDTH_BIMANUAL = 0.8  # [m] what two arms 0.9 m apart get between their hands
_SOLID = 0.5  # share of its hull from which an object can only be held round the outside


def synthesize(
    obj: GraspObject,
    hands: HandModel | Sequence[HandModel],
    config: SynthesisConfig | None = None,
    *,
    T_table_object: np.ndarray | None = None,
    table_height: float = 0.0,
    seed: int = 0,
    near: Near | None = None,
    workers: int = 1,
    pool: Executor | None = None,
    progress: Callable[[float], None] | None = None,
) -> GraspSet:
    """Grasps of `obj` as it lies at `T_table_object` on the table z = `table_height`, best (lowest energy) first.

    Candidates that diverge, penetrate, miss the surface or touch the table are dropped, so that fewer than
    `config.n_candidates` come back, possibly none; `GraspSet.reason` says why there is none where that is known (no
    approach direction is free of the table). The same arguments give the same grasps, whatever `workers` or
    `pool`. Paper section IV-A.

    Args:
        hands: one hand, or (left, right). Of two, a strategy for one hand that is chosen by size takes the right one.
        T_table_object: pose (4, 4) of the object; None lets it stand with its own z up, lowest point on the table.
        near: reference of the hands in the frame of the table: grasps near it (eq. 10 and posture) are sought and have
            less energy; None for grasps all round the object.
        workers: processes; more than one start a pool that is kept for later calls.
        pool: processes of `worker_pool` to use instead.
        progress: called after each batch with the share of candidates that are done.

    Raises:
        StrategyError: the strategy does not fit the hands.
        HandModelError: two hands that do not go together.
        GraspObjectError: the object is larger than the hands reach and has no thin part for one.
        DeviceError: object and hands are on different devices.
    """
    config = SynthesisConfig() if config is None else config
    given = (hands,) if isinstance(hands, HandModel) else tuple(hands)
    config, used = _assign(obj, given, config)
    _check_fit(obj, used, config.strategy)
    if T_table_object is None:
        T_table_object = np.eye(4)
        T_table_object[2, 3] = table_height - obj.mesh.bounds[0, 2]
    active = tuple(active_contacts(config.strategy, hand.spec.contact_names) for hand in used)
    table = TablePlane.from_pose(T_table_object, table_height)
    reason = ""
    try:
        near = None if near is None else near.seen_from(T_table_object)
        arrays = solve_batches(Problem(obj, used, active, table, config, seed, near), workers, pool, progress)
    except NoApproachError as error:
        arrays, reason = no_grasps(len(used), used[0].n_joints, sum(map(len, active))), str(error)
    order = np.argsort(arrays["energy"], kind="stable")[: config.n_keep]
    meta = {"object": obj.name, "notes": list(obj.notes), "seed": seed, "config": asdict(config)}
    if reason:
        meta["reason"] = reason
    return GraspSet(
        sides=tuple(hand.spec.side for hand in used),
        strategy=config.strategy,
        object_id=obj.name,
        object_key=obj.key,
        T_table_object=np.asarray(T_table_object, dtype=np.float64),
        palm_normal_hand=np.stack([np.asarray(hand.spec.palm_normal, dtype=np.float64) for hand in used]),
        pregrasp_distance=config.pregrasp_distance,
        contact_names=tuple(
            f"{hand.spec.side}_{hand.spec.contact_names[k]}"
            for hand, contacts in zip(used, active, strict=True)
            for k in contacts
        ),
        contact_hand=np.repeat(np.arange(len(used)), [len(contacts) for contacts in active]),
        joint_names=tuple(tuple(hand.spec.joint_names) for hand in used),
        meta_json=json.dumps(meta, sort_keys=True),
        **{name: values[order] for name, values in arrays.items()},
    )


def _assign(
    obj: GraspObject, hands: tuple[HandModel, ...], config: SynthesisConfig
) -> tuple[SynthesisConfig, tuple[HandModel, ...]]:
    """The strategy, chosen if it was left open, and the hands that carry it out."""
    if len(hands) not in (1, 2):
        raise HandModelError(f"{len(hands)} hands; valid: one hand, or (left, right)")
    if len(hands) == 2:
        sides = tuple(hand.spec.side for hand in hands)
        if sides != ("left", "right"):
            raise HandModelError(f"two hands are given as {sides}; valid: ('left', 'right')")
        if hands[0].n_joints != hands[1].n_joints:
            raise HandModelError(f"hands with {hands[0].n_joints} and {hands[1].n_joints} joints do not go together")
    if config.strategy == AUTO:
        strategy = choose(obj, hands[-1])
        if strategy == "bimanual" and len(hands) == 1:
            strategy = "whole_hand"
        hands = hands if strategy == "bimanual" else hands[-1:]
        return replace(config, strategy=strategy), hands
    if hands_needed(config.strategy) != len(hands):
        raise StrategyError(
            f"strategy '{config.strategy}' needs {hands_needed(config.strategy)} hand(s), {len(hands)} given: "
            "one HandModel, or (left, right) for 'bimanual'"
        )
    return config, hands


def _check_fit(obj: GraspObject, hands: tuple[HandModel, ...], strategy: str) -> None:
    if any(hand.device != obj.device for hand in hands):
        raise DeviceError(f"object '{obj.name}' is on device '{obj.device}', a hand on '{hands[-1].device}'")
    span = hands[0].span if len(hands) == 1 else _MAX_WIDTH_BIMANUAL
    if obj.least_width > span and obj.solidity > _SOLID and not _has_part(obj, hands, strategy):
        one = f"the {hands[0].spec.side} hand ({span:.2f} m); try both hands"
        raise GraspObjectError(
            f"object '{obj.name}' is {obj.least_width:.2f} m wide where it is narrowest: larger than the reach of "
            + (one if len(hands) == 1 else f"two hands ({span} m)")
        )


def _has_part(obj: GraspObject, hands: tuple[HandModel, ...], strategy: str) -> bool:
    """Whether one hand can take a part of an object that is too wide for it: a handle, a rim."""
    return len(hands) == 1 and taken_by(thin_parts(obj.mesh), strategy)
