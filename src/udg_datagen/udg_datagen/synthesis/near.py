"""Grasps near a reference: where the hands come from, the distance from there (paper eq. 10), starts around it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from udg_datagen.hands.model import HandModel
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.initial import JOINT_STD_RAD, HandPose
from udg_description.transforms import inverse, rotvec_to_matrix

LEAST_M, LEAST_RAD = 0.01, 0.05  # below these the pull towards the reference fades


class Near(NamedTuple):
    """Reference of the hands: grasps near it are sought."""

    T_hand: np.ndarray  # (H, 4, 4) in the frame that goes with it: that of the table, of the object in the optimiser
    q: np.ndarray  # (H, n) [rad]

    def seen_from(self, T: np.ndarray) -> Near:
        """The same reference in another frame, whose pose in the present one is `T` (4, 4)."""
        return Near(inverse(T) @ self.T_hand, self.q)


def starts_near(
    near: Near, hands: Sequence[HandModel], config: SynthesisConfig, count: int, rng: np.random.Generator
) -> HandPose:
    """`count` starts about the reference, the first close to it, later ones further away.

    Grasp centre, rotation and joints are drawn from normal distributions about those of `near`, which is in the object
    frame; joints are kept within their limits.
    """
    share = np.linspace(0.0, 1.0, count)[:, None]
    low, high = config.near_spread_m
    shift = (low + share * (high - low))[..., None] * rng.standard_normal((count, len(hands), 3))
    low, high = config.near_spread_rad
    turn = (low + share * (high - low))[..., None] * rng.standard_normal((count, len(hands), 3))
    R = rotvec_to_matrix(turn) @ near.T_hand[:, :3, :3]
    centres = np.stack(
        [T[:3, :3] @ hand.spec.grasp_center + T[:3, 3] for T, hand in zip(near.T_hand, hands, strict=True)]
    )
    q = near.q + JOINT_STD_RAD * rng.standard_normal((count, *near.q.shape))
    q = np.clip(q, np.stack([hand.spec.lower for hand in hands]), np.stack([hand.spec.upper for hand in hands]))
    device = hands[0].device
    return HandPose(*(torch.as_tensor(x, dtype=torch.float32, device=device) for x in (centres + shift, R, q)))


class Nearness:
    """The distance from the reference as a term of the energy [m]: that of eq. 10 of the paper and of the posture.

    Summed over the hands: shift + lambda * angle + posture * root mean square deviation of the joints from the
    reference's.

    Args:
        near: the reference, in the object frame.
    """

    def __init__(self, near: Near, hands: Sequence[HandModel], config: SynthesisConfig) -> None:
        device = hands[0].device
        T = torch.as_tensor(near.T_hand, dtype=torch.float32, device=device)
        self._R, self._origin = T[:, :3, :3], T[:, :3, 3]
        self._centre = torch.stack([hand.grasp_center for hand in hands])
        self._q = torch.as_tensor(near.q, dtype=torch.float32, device=device)
        self._rotation_m, self._posture_m = config.near_rotation_m, config.near_posture_m

    def distance(self, center: Tensor, R: Tensor, q: Tensor) -> Tensor:
        """Distance (B,) [m] of hands at grasp centres (B, H, 3) [m], rotations (B, H, 3, 3), joints (B, H, n) [rad]."""
        shift = (center - (R @ self._centre[..., None])[..., 0] - self._origin).norm(dim=-1)
        cosine = 0.5 * ((R * self._R).sum((-1, -2)) - 1.0)
        bent = (q - self._q).square().mean(-1).sqrt()
        return (shift + self._rotation_m * torch.acos(cosine.clamp(-1.0, 1.0)) + self._posture_m * bent).sum(-1)

    def gradient(self, center: Tensor, R: Tensor, q: Tensor) -> Tensor:
        """Gradient (B, H, 6 + n) of `distance`: by translation [1], rotation about the grasp centre and joints [m/rad].

        Below LEAST_M and LEAST_RAD it fades to zero, so that the descent comes to rest at the reference.
        """
        lever = (R @ self._centre[..., None])[..., 0]  # from the origin to the centre
        away = center - lever - self._origin
        force = away / away.norm(dim=-1, keepdim=True).clamp(min=LEAST_M)
        turn = R @ self._R.transpose(-1, -2)
        axis = torch.stack(
            [turn[..., 2, 1] - turn[..., 1, 2], turn[..., 0, 2] - turn[..., 2, 0], turn[..., 1, 0] - turn[..., 0, 1]],
            dim=-1,
        )  # 2 sin(angle) along the axis
        moment = self._rotation_m * axis / axis.norm(dim=-1, keepdim=True).clamp(min=LEAST_RAD)
        bent = q - self._q
        size = bent.square().mean(-1, keepdim=True).sqrt().clamp(min=LEAST_RAD)
        joints = self._posture_m * bent / (q.shape[-1] * size)
        return torch.cat([force, moment - torch.linalg.cross(lever, force), joints], dim=-1)
