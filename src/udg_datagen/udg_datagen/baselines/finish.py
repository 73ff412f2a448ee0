"""From a baseline's hand poses to a `GraspSet`: opened and squeezed by the same code as our own grasps."""

from __future__ import annotations

import json

import numpy as np
import torch

from udg_datagen.baselines.dexgraspnet import MalaResult
from udg_datagen.grasp_set import GraspSet
from udg_datagen.synthesis import GraspObject, HandModel, SynthesisConfig
from udg_datagen.synthesis.finish import finish
from udg_datagen.synthesis.initial import HandPose, TablePlane
from udg_datagen.synthesis.optimise import Optimised
from udg_datagen.synthesis.problem import Problem

STRATEGY = "whole_hand"


def to_grasps(
    result: MalaResult,
    obj: GraspObject,
    hand: HandModel,
    config: SynthesisConfig,
    *,
    T_table_object: np.ndarray,
    method: str,
) -> GraspSet:
    """Grasps whose chosen pads carry the object, lowest energy first.

    A grasp on fewer than two pads is dropped; other pads than the chosen have a distance of nan, no force, and the
    first chosen pad's contact point.
    """
    table = TablePlane.from_pose(T_table_object)
    count = len(hand.spec.contact_names)
    parts = []
    found = [
        (tuple(torch.nonzero(pads)[:, 0].tolist()), (result.pads == pads).all(dim=1))
        for pads in result.pads.unique(dim=0)
    ]
    found = [(active, chosen) for active, chosen in found if len(active) >= 2]
    kept = slice(None) if found else slice(0)  # of none: the arrays of one, without it
    for active, chosen in found or [((0, 1), torch.arange(len(result.pads)) == 0)]:
        index = torch.nonzero(chosen)[:, 0]
        R, q = result.R[index], result.q[index]
        center = result.origin[index] + (R @ hand.grasp_center[:, None])[..., 0]
        pose = HandPose(center[:, None], R[:, None], q[:, None])
        energy = result.energy[index]
        optimised = Optimised(pose, torch.isfinite(energy), energy, torch.full_like(energy, torch.nan))
        problem = Problem(obj, (hand,), (active,), table, config)
        parts.append(_spread(finish(problem, optimised), active, count))
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(arrays["energy"], kind="stable")[kept]
    spec = hand.spec
    return GraspSet(
        sides=(spec.side,),
        strategy=STRATEGY,
        object_id=obj.name,
        object_key=obj.key,
        T_table_object=np.asarray(T_table_object, dtype=np.float64),
        palm_normal_hand=np.asarray(spec.palm_normal, dtype=np.float64)[None],
        pregrasp_distance=config.pregrasp_distance,
        contact_names=tuple(f"{spec.side}_{name}" for name in spec.contact_names),
        contact_hand=np.zeros(count, dtype=int),
        joint_names=(tuple(spec.joint_names),),
        meta_json=json.dumps({"method": method}),
        **{name: values[order] for name, values in arrays.items()},
    )


def _spread(arrays: dict[str, np.ndarray], active: tuple[int, ...], count: int) -> dict[str, np.ndarray]:
    """The arrays with a column for each of `count` contacts instead of the active ones."""
    n = len(arrays["energy"])
    distance = np.full((n, count), np.nan)
    distance[:, active] = arrays["tip_distance"]
    points = np.repeat(arrays["contact_points_object"][:, :1], count, axis=1)
    points[:, active] = arrays["contact_points_object"]
    forces = np.zeros((n, count, 3))
    forces[:, active] = arrays["contact_forces_object"]
    return {**arrays, "tip_distance": distance, "contact_points_object": points, "contact_forces_object": forces}
