"""Grasps made by hand, flat hands that press: for tests and trials that need no synthesis."""

from __future__ import annotations

import numpy as np

from udg_datagen.grasp_set import GraspSet
from udg_datagen.synthesis import robot_hand_spec
from udg_description.frames import PALM_NORMAL_HAND
from udg_description.layout import Side
from udg_description.model import RobotModel
from udg_description.robot import current_robot
from udg_description.transforms import make_transform, transform_points
from udg_description.urdf import load_urdf
from udg_sim.objects.library import ObjectModel

_FLAT = np.array([0.0, 0.0, 0.0, 0.0] + [0.2] * 8)
_BEND = np.array([0.0] * 4 + [0.4] * 8)


def made_grasps(model: ObjectModel, sides: tuple[Side, ...], poses: np.ndarray) -> GraspSet:
    """Flat hands at T_object_hand `poses` (N, H, 4, 4) that are told to bend their fingers."""
    n, q = len(poses), np.tile(_FLAT, (len(poses), len(sides), 1))
    return GraspSet(
        sides=sides,
        strategy="bimanual" if len(sides) == 2 else "whole_hand",
        object_id=model.id,
        object_key=model.key,
        T_table_object=model.stable_poses[0],
        palm_normal_hand=np.stack([PALM_NORMAL_HAND[side] for side in sides]),
        pregrasp_distance=0.1,
        contact_names=(),
        contact_hand=np.zeros(0, dtype=np.int64),
        joint_names=tuple(robot_hand_spec(side).joint_names for side in sides),
        T_object_hand=poses,
        q_pregrasp=q,
        q_grasp=q,
        q_squeeze=q + _BEND,
        tau_squeeze=np.zeros_like(q),
        tip_distance=np.zeros((n, 0)),
        contact_points_object=np.zeros((n, 0, 3)),
        contact_forces_object=np.zeros((n, 0, 3)),
        withstood=np.zeros((n, 0), dtype=bool),
        energy=np.zeros(n),
        wrench_residual=np.zeros(n),
        force_imbalance=np.zeros(n),
        penetration=np.zeros(n),
        self_penetration=np.zeros(n),
        hand_hand_penetration=np.zeros(n),
        table_clearance=np.zeros(n),
        approach_clearance=np.zeros(n),
        q1=np.full(n, np.nan),
    )


def pressing(model: ObjectModel, side: Side, inward: np.ndarray, fingers: np.ndarray) -> np.ndarray:
    """T_object_hand (4, 4): the foremost pad of the flat hand on the side of the bounding box that faces `-inward`.

    inward: unit vector of the palm's direction; fingers: unit vector that the fingers point to, at right angles.
    """
    spec = robot_hand_spec(side)
    y, z = inward * spec.palm_normal[1], -np.asarray(fingers, dtype=float)
    R = np.stack([np.cross(y, z), y, z], axis=1)
    links = RobotModel().hand(side).link_poses_np(_FLAT)
    names = [f"{side}_hand_link", *(load_urdf(current_robot().urdf).joints[name].child for name in spec.joint_names)]
    tips = np.stack(
        [
            transform_points(links[names[link]], center[None])[0] + radius * spec.palm_normal
            for link, center, radius in zip(spec.contact_link, spec.contact_center, spec.contact_radius, strict=True)
        ]
    )[1:]
    palmar = spec.palm_normal[1]
    foremost = np.array([tips[:, 0].mean(), palmar * (palmar * tips[:, 1]).max(), tips[:, 2].mean()])
    return make_transform(R, -inward * model.mesh.extents / 2.0 - R @ foremost)
