"""Poses of the two hands, taken at the grasp centre, from joint angles."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from udg_description.frames import GRASP_CENTER_HAND, HAND_LINK
from udg_description.layout import SIDES
from udg_description.model import RobotModel
from udg_description.transforms import inverse, make_transform


@lru_cache(maxsize=1)
def robot_model() -> RobotModel:
    """The shipped robot in double precision."""
    return RobotModel(dtype=torch.float64)


@lru_cache(maxsize=1)
def T_hand_grasp() -> np.ndarray:
    """Pose (2, 4, 4) of the grasp frame (hand_link moved to the grasp centre) in hand_link, left then right."""
    return np.stack([make_transform(translation=GRASP_CENTER_HAND[side]) for side in SIDES])


@lru_cache(maxsize=1)
def T_grasp_hand() -> np.ndarray:
    """Pose (2, 4, 4) of hand_link in the grasp frame, left then right."""
    return inverse(T_hand_grasp())


def grasp_frames(q: Tensor) -> Tensor:
    """T_world_grasp (..., 2, 4, 4) of q (..., 36) [rad], left then right; computed in double, returned in q's dtype."""
    poses = robot_model().link_poses(q.double(), [HAND_LINK[side] for side in SIDES])
    return (poses @ torch.from_numpy(T_hand_grasp())).to(q.dtype)


def grasp_frames_np(q: np.ndarray) -> np.ndarray:
    """T_world_grasp (2, 4, 4) of one q (36,) [rad], left then right."""
    poses = robot_model().link_poses_np(np.asarray(q, dtype=np.float64))
    return np.stack([poses[HAND_LINK[side]] for side in SIDES]) @ T_hand_grasp()
