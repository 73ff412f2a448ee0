"""Where the optimisation starts: palm to the object along the normal of its convex hull, grasp centre inside it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.errors import GraspObjectError
from udg_datagen.synthesis.grasp_object import GraspObject
from udg_datagen.synthesis.hand import HandModel

_MAX_DRAWS = 50
_TILT_STD_RAD = 0.2  # spread of the palm normal about the hull's normal
_JOINT_STD_RAD = 0.08


class TablePlane(NamedTuple):
    """The table in the object frame: height of a point p is up . p + offset [m]."""

    up: np.ndarray  # (3,)
    offset: float

    @classmethod
    def from_pose(cls, T_table_object: np.ndarray, table_height: float = 0.0) -> TablePlane:
        """The plane z = `table_height` of the frame that the object is placed in."""
        return cls(np.asarray(T_table_object)[2, :3].copy(), float(T_table_object[2, 3]) - table_height)


class HandPose(NamedTuple):
    """A batch of hand configurations in the object frame."""

    center: Tensor  # (B, 3) [m] position of the grasp centre
    R: Tensor  # (B, 3, 3) hand to object
    q: Tensor  # (B, n) [rad]

    def origin(self, hand: HandModel) -> Tensor:
        """Origin (B, 3) [m] of the hand frame."""
        return self.center - self.R @ hand.grasp_center


def sample_starts(
    obj: GraspObject, hand: HandModel, table: TablePlane, config: SynthesisConfig, rng: np.random.Generator
) -> HandPose:
    """`screen_factor` starts a candidate, none with the palm facing up; of several draws those least in the table stay.

    Raises:
        GraspObjectError: no approach direction is free of the table.
    """
    count = config.n_candidates * config.screen_factor
    wanted = count * config.start_oversampling
    points, approaches = [], []
    for _ in range(_MAX_DRAWS):
        point, normal = obj.hull_samples(wanted, rng)
        approach = -normal + _TILT_STD_RAD * rng.standard_normal((wanted, 3))
        approach /= np.linalg.norm(approach, axis=1, keepdims=True)
        keep = approach @ table.up <= config.approach_max_up
        points.append(point[keep])
        approaches.append(approach[keep])
        if sum(len(p) for p in points) >= wanted:
            break
    else:
        raise GraspObjectError(f"object '{obj.name}': no approach direction is free of the table")
    point, approach = np.concatenate(points)[:wanted], np.concatenate(approaches)[:wanted]
    # No deeper than the object's middle: thin objects are met half-way.
    to_middle = np.clip(np.einsum("ij,ij->i", obj.com - point, approach), config.centre_depth[0], None)
    depth = np.minimum(rng.uniform(*config.centre_depth, wanted), to_middle)
    center = point + depth[:, None] * approach
    R = _frames(approach, np.asarray(hand.spec.palm_normal, dtype=np.float64), rng)
    q = np.asarray(hand.spec.preshape) + _JOINT_STD_RAD * rng.standard_normal((wanted, hand.n_joints))
    q = np.clip(q, hand.spec.lower, hand.spec.upper)

    def tensor(array: np.ndarray) -> Tensor:
        return torch.as_tensor(array, dtype=torch.float32, device=hand.device)

    pose = HandPose(tensor(center), tensor(R), tensor(q))
    state = hand.forward(pose.origin(hand), pose.R, pose.q)
    height = tensor(table.up) @ (state.X @ hand.W_spheres) + table.offset - hand.sphere_radius
    sunk = (-height).clamp(min=0.0).sum(-1)
    best = torch.argsort(sunk, stable=True)[:count].sort()[0]
    return HandPose(pose.center[best], pose.R[best], pose.q[best])


def _frames(approach: np.ndarray, palm_normal: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Rotations (n, 3, 3) that take `palm_normal` to each `approach`, turned about it by a uniform angle."""
    angle = rng.uniform(0.0, 2.0 * np.pi, len(approach))
    first = np.cross(approach, np.eye(3)[np.abs(approach).argmin(axis=1)])
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    second = np.cross(approach, first)
    side = np.cos(angle)[:, None] * first + np.sin(angle)[:, None] * second
    world = np.stack([approach, side, np.cross(approach, side)], axis=-1)
    hand_side = np.cross(palm_normal, np.eye(3)[np.abs(palm_normal).argmin()])
    hand_side /= np.linalg.norm(hand_side)
    local = np.stack([palm_normal, hand_side, np.cross(palm_normal, hand_side)], axis=-1)
    return world @ local.T
