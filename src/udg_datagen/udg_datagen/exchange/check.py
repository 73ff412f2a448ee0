"""From plain grasps to a `GraspSet`, with a check: do the pads of the hand lie on the object's surface?

A file whose frame, scale, quaternion or joint order is another one than expected reads without complaint; that no pad
touches is how it shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from udg_datagen.exchange.plain_grasps import ExchangeError, PlainGrasps
from udg_datagen.grasp_set import GraspSet
from udg_datagen.hands.model import HandModel
from udg_datagen.synthesis import GraspObject, SynthesisConfig
from udg_sim.geometry.mesh_io import read_solid
from udg_sim.objects.library import ObjectModel

TOLERANCE_M = 0.002
LEAST_CONTACTS = 2
IMPORTED = "imported"  # the strategy of the set


@dataclass(frozen=True, kw_only=True, eq=False)
class Checked:
    """The grasps that passed, and how far those were that did not."""

    grasps: GraspSet
    given: int
    second_distance_m: np.ndarray  # (given,) of the second nearest pad from the surface [m]


def checked_set(
    plain: PlainGrasps,
    model: ObjectModel,
    hands: Sequence[HandModel],
    *,
    tolerance_m: float = TOLERANCE_M,
    T_model_mesh: np.ndarray | None = None,
) -> Checked:
    """The grasps with at least two pads within the tolerance of the surface, as a set of the object.

    T_model_mesh (4, 4): pose of the file's object frame in the library's (see `mesh_frame`); None: they are one.
    Raises ExchangeError if no grasp passes, with the distance.
    """
    obj = GraspObject.from_model(model)
    T = plain.T_object_hand if T_model_mesh is None else T_model_mesh @ plain.T_object_hand
    distance, points, penetration = _contacts(T, plain.q_grasp, obj, hands)
    second = np.sort(np.abs(distance), axis=1)[:, LEAST_CONTACTS - 1]
    passed = np.flatnonzero(second <= tolerance_m)
    if len(passed) == 0:
        best_mm, median_mm = 1e3 * float(second.min()), 1e3 * float(np.median(second))
        raise ExchangeError(
            f"none of {len(plain)} grasps has {LEAST_CONTACTS} pads within {1e3 * tolerance_m:.1f} mm of '{model.id}': "
            f"the second nearest is {best_mm:.1f} mm away at best, {median_mm:.1f} mm in the median; valid: grasps of "
            "the same object, size, object frame, hand root and joint order"
        )
    contacts = [f"{hand.spec.side}_{name}" for hand in hands for name in hand.spec.contact_names]
    counts = [len(hand.spec.contact_names) for hand in hands]
    per_joint = np.zeros(plain.q_grasp.shape)
    nothing = np.zeros(len(plain))
    every = GraspSet(
        sides=plain.sides,
        strategy=IMPORTED,
        object_id=model.id,
        object_key=model.key,
        T_table_object=model.stable_poses[0],
        palm_normal_hand=np.stack([hand.spec.palm_normal for hand in hands]),
        pregrasp_distance=SynthesisConfig().pregrasp_distance,
        contact_names=tuple(contacts),
        contact_hand=np.repeat(np.arange(len(hands)), counts),
        joint_names=plain.joint_names,
        T_object_hand=T,
        q_pregrasp=plain.q_pregrasp,
        q_grasp=plain.q_grasp,
        q_squeeze=plain.q_squeeze,
        tau_squeeze=per_joint,
        energy=1.0 - plain.confidence,
        wrench_residual=np.full(len(plain), np.nan),
        force_imbalance=np.full(len(plain), np.nan),
        tip_distance=distance,
        penetration=penetration,
        self_penetration=nothing,
        hand_hand_penetration=nothing,
        table_clearance=np.full(len(plain), np.nan),
        approach_clearance=np.full(len(plain), np.nan),
        contact_points_object=points,
        contact_forces_object=np.zeros(points.shape),
        q1=np.full(len(plain), np.nan),
        withstood=np.zeros((len(plain), 0), dtype=bool),
        meta_json=json.dumps({"imported": plain.object_id, "tolerance_m": tolerance_m}),
    )
    best_first = passed[np.argsort(every.energy[passed], kind="stable")]
    return Checked(grasps=every.take(best_first), given=len(plain), second_distance_m=second)


@torch.no_grad()
def _contacts(
    T_object_hand: np.ndarray, q: np.ndarray, obj: GraspObject, hands: Sequence[HandModel]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Pads to surface (N, C) [m], the surface points below them (N, C, 3) [m], deepest penetration (N,) [m]."""
    distances, points, deepest = [], [], np.zeros(len(q))
    for h, hand in enumerate(hands):
        pose = torch.as_tensor(T_object_hand[:, h], dtype=torch.float32)
        angles = torch.as_tensor(np.array(q[:, h]), dtype=torch.float32)
        state = hand.forward(pose[:, :3, 3], pose[:, :3, :3], angles)
        centers = (state.X @ hand.W_contacts).transpose(1, 2).double().numpy()  # (N, C, 3)
        away = obj.distance(centers)
        distances.append(away - hand.contact_radius.double().numpy())
        points.append(centers - away[..., None] * obj.grid_gradient(centers))
        surface = (state.X @ hand.W_surface).transpose(1, 2).double().numpy()
        deepest = np.maximum(deepest, np.maximum(0.0, -obj.distance(surface)).max(axis=1))
    return np.concatenate(distances, axis=1), np.concatenate(points, axis=1), deepest


def mesh_frame(model: ObjectModel) -> np.ndarray:
    """T_model_mesh (4, 4) of a "path.obj@size" object: where the file's own origin lies in the library's frame.

    The library moves the origin into the centre of mass. Raises ExchangeError for an object without a file.
    """
    path, at, size = model.id.rpartition("@")
    if not at:
        raise ExchangeError(f"object '{model.id}' has no file of its own; valid: path.obj@<longest edge in m>")
    bounds = read_solid(Path(path).expanduser()).mesh.bounds
    scaled = bounds * (float(size) / (bounds[1] - bounds[0]).max())
    T_model_mesh = np.eye(4)
    T_model_mesh[:3, 3] = (model.mesh.bounds - scaled).mean(axis=0)
    return T_model_mesh
