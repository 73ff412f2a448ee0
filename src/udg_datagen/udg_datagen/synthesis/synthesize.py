"""The verb: grasps of one object with one hand."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import asdict

import numpy as np
import torch

from udg_datagen.grasps import GraspSet
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.energies import self_penetration
from udg_datagen.synthesis.grasp_object import GraspObject
from udg_datagen.synthesis.hand import HandModel
from udg_datagen.synthesis.initial import HandPose, TablePlane, sample_starts
from udg_datagen.synthesis.optimise import Optimised, Optimiser
from udg_datagen.synthesis.pregrasp import open_hand
from udg_datagen.synthesis.squeeze import squeeze
from udg_datagen.synthesis.strategies import active_contacts


def synthesize(
    obj: GraspObject,
    hand: HandModel,
    config: SynthesisConfig | None = None,
    *,
    T_table_object: np.ndarray | None = None,
    table_height: float = 0.0,
    seed: int = 0,
    progress: Callable[[float], None] | None = None,
) -> GraspSet:
    """Grasps of `obj` as it lies at `T_table_object` on the table z = `table_height`, best (lowest energy) first.

    Candidates that diverge, penetrate, miss the surface or touch the table are dropped, so that fewer than
    `config.n_candidates` come back, possibly none. The same arguments give the same grasps. Paper section IV-A.

    Args:
        T_table_object: pose (4, 4) of the object; None lets it stand with its own z up, lowest point on the table.
        progress: called after each batch with the share of candidates that are done.
    """
    config = SynthesisConfig() if config is None else config
    if T_table_object is None:
        T_table_object = np.eye(4)
        T_table_object[2, 3] = table_height - obj.mesh.bounds[0, 2]
    table = TablePlane.from_pose(T_table_object, table_height)
    active = active_contacts(config.strategy, hand.spec.contact_names)
    with torch.no_grad():
        starts = sample_starts(obj, hand, table, config, np.random.default_rng(seed))
    optimiser = Optimiser(obj, hand, active, table, config)
    parts = []
    for begin in range(0, config.n_candidates, config.batch):
        end = min(begin + config.batch, config.n_candidates)
        batch = slice(begin * config.screen_factor, end * config.screen_factor)
        result = optimiser.run(HandPose(*(x[batch] for x in starts)), keep=end - begin)
        parts.append(_finish(result, obj, hand, active, table, config))
        if progress is not None:
            progress(end / config.n_candidates)
    meta = {"object": obj.name, "seed": seed, "config": asdict(config)}
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    order = np.argsort(arrays["energy"], kind="stable")[: config.n_keep]
    return GraspSet(
        sides=(hand.spec.side,),
        strategy=config.strategy,
        object_id=obj.name,
        object_key=obj.key,
        T_table_object=np.asarray(T_table_object, dtype=np.float64),
        palm_normal_hand=np.asarray(hand.spec.palm_normal, dtype=np.float64)[None],
        pregrasp_distance=config.pregrasp_distance,
        contact_names=tuple(f"{hand.spec.side}_{hand.spec.contact_names[k]}" for k in active),
        contact_hand=np.zeros(len(active), dtype=np.int64),
        joint_names=(hand.spec.joint_names,),
        withstood=np.zeros((len(order), 0), dtype=bool),
        meta_json=json.dumps(meta, sort_keys=True),
        **{name: values[order] for name, values in arrays.items()},
    )


@torch.no_grad()
def _finish(
    result: Optimised,
    obj: GraspObject,
    hand: HandModel,
    active: tuple[int, ...],
    table: TablePlane,
    config: SynthesisConfig,
) -> dict[str, np.ndarray]:
    """Metrics, gates, opening and squeeze of one batch; arrays of those that pass."""
    chosen = torch.tensor(active, device=hand.device)
    up = torch.as_tensor(table.up, dtype=torch.float32, device=hand.device)
    pose = result.pose
    state = hand.forward(pose.origin(hand), pose.R, pose.q)
    W_contacts, radius = hand.W_contacts[:, chosen], hand.contact_radius[chosen]
    centers = state.X @ W_contacts
    tip_distance = obj.distance(centers.transpose(1, 2).cpu().numpy()) - radius.cpu().numpy()
    surface = state.X @ hand.W_surface
    penetration = (-obj.sdf.nearest(surface)[0]).amax(-1).clamp(min=0.0).cpu().numpy()
    rise = (up @ (state.X @ hand.W_palm)).clamp(min=0.0)
    clearance = (up @ surface + table.offset - config.pregrasp_distance * rise).amin(-1).cpu().numpy()
    own = self_penetration(state.X @ hand.W_spheres, hand).energy
    good = (
        result.alive.cpu().numpy()
        & (np.abs(tip_distance).max(axis=1) < config.max_tip_distance)
        & (penetration < config.max_penetration)
        & (clearance > -config.max_table_penetration)
        & (own.cpu().numpy() < 0.04)
    )
    index = torch.as_tensor(np.flatnonzero(good), device=hand.device)
    pose = HandPose(*(x[index] for x in pose))
    opened = open_hand(obj.sdf, hand, pose, active, up, table.offset, config)
    good[np.flatnonzero(good)] &= (opened.clearance > -config.max_approach_penetration).cpu().numpy()
    keep = opened.clearance > -config.max_approach_penetration
    index = torch.as_tensor(np.flatnonzero(good), device=hand.device)
    pose = HandPose(*(x[keep] for x in pose))
    state = hand.forward(pose.origin(hand), pose.R, pose.q)
    centers = state.X @ W_contacts
    _, normals = obj.sdf.trilinear(centers)
    centers, normals = centers.transpose(1, 2), normals.transpose(1, 2)
    com = torch.as_tensor(obj.com, dtype=torch.float32, device=hand.device)
    squeezed = squeeze(hand, state, pose.q, active, normals, com, obj.diagonal / 4.0, config)
    T = np.tile(np.eye(4), (len(index), 1, 1))
    T[:, :3, :3] = _orthonormal(pose.R.double().cpu().numpy())
    T[:, :3, 3] = pose.origin(hand).double().cpu().numpy()

    def kept(x: torch.Tensor) -> np.ndarray:
        return x[index].double().cpu().numpy()

    def own_array(x: torch.Tensor) -> np.ndarray:
        return x.double().cpu().numpy()

    return {
        "T_object_hand": T[:, None],
        "q_pregrasp": own_array(opened.q[keep])[:, None],
        "q_grasp": own_array(pose.q)[:, None],
        "q_squeeze": own_array(squeezed.target)[:, None],
        "tau_squeeze": own_array(squeezed.torques)[:, None],
        "energy": kept(result.energy),
        "wrench_residual": kept(result.wrench_residual),
        "force_imbalance": own_array(squeezed.imbalance),
        "tip_distance": tip_distance[good],
        "penetration": penetration[good],
        "self_penetration": np.sqrt(own.double().cpu().numpy()[good]) / 100.0,
        "hand_hand_penetration": np.zeros(good.sum()),
        "q1": np.full(good.sum(), np.nan),
        "table_clearance": clearance[good],
        "approach_clearance": own_array(opened.clearance[keep]),
        "contact_points_object": own_array(centers - radius[:, None] * normals),
        "contact_forces_object": own_array(squeezed.forces),
    }


def _orthonormal(R: np.ndarray) -> np.ndarray:
    """The rotations nearest to (n, 3, 3) matrices that have drifted by rounding."""
    if len(R) == 0:
        return R
    u, _, vt = np.linalg.svd(R)
    return u @ vt
