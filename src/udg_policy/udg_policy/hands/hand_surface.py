"""How far the hands are from what the cameras see: from points on each hand to the nearest seen point."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch
from torch import Tensor

from udg_description.frames import HAND_LINK
from udg_description.layout import SIDES, Side
from udg_description.robot import current_robot
from udg_description.transforms import inverse, transform_points
from udg_policy.hands.poses import T_hand_grasp, robot_model

_HAND = current_robot().hands["right"]
# Of each finger tip, pad and origin of its last link; the points on the palm but for the centre, which comes first.
N_HAND_POINTS = 3 * len(_HAND.contacts) + len(_HAND.palm_points) - 1
N_SURFACE_TOKENS = len(SIDES) * N_HAND_POINTS
SURFACE_FEATURES = 8  # place of the hand's point, vector to the nearest seen point, its length, how near that is
_SCALE_M = 0.15
_NEAR_M = 0.02  # distances of this size are told apart best


@lru_cache(maxsize=2)
def _places(side: Side) -> tuple[list[int], np.ndarray]:
    """Index of the link of each hand point, and the point in that link (27, 3) [m]."""
    hand = current_robot().hands[side]
    found: list[tuple[str, np.ndarray]] = []
    for finger, pad in hand.contacts.items():
        found += [
            (pad.link, hand.tip(finger)),
            (pad.link, np.asarray(pad.center, dtype=float) + pad.radius * pad.normal),
            (pad.link, np.zeros(3)),
        ]
    found += [(HAND_LINK[side], point) for point in hand.palm_points[1:]]
    return [robot_model().link_names.index(link) for link, _ in found], np.stack([point for _, point in found])


def hand_points(q: np.ndarray) -> np.ndarray:
    """Positions (B, 2, 27, 3) [m] of the hand points in the grasp frame of their hand, for q (B, 36) [rad]."""
    poses = robot_model().link_pose_array(np.asarray(q, dtype=np.float64))
    sides = []
    for number, side in enumerate(SIDES):
        links, local = _places(side)
        T = poses[:, links]
        points_world = np.einsum("bnij,nj->bni", T[..., :3, :3], local) + T[..., :3, 3]
        T_world_grasp = poses[:, robot_model().link_names.index(HAND_LINK[side])] @ T_hand_grasp()[number]
        sides.append(transform_points(inverse(T_world_grasp), points_world))
    return np.stack(sides, axis=1)


def surface_features(points_world: Tensor, seen: Tensor | None, T_grasp: Tensor, q: Tensor) -> Tensor:
    """(B, 54 * 8): of each hand point its place, the vector to the nearest seen point, and two measures of its length.

    points_world (B, N, 3) [m]; seen (B, N) bool, None if all are; T_grasp (B, 2, 4, 4): measured grasp frames, in which
    everything is expressed; q (B, 36) [rad], of which only the fingers count. Without a seen point the vectors are 0.
    """
    own = torch.from_numpy(hand_points(q.numpy())).to(points_world.dtype)  # (B, 2, 27, 3) in the grasp frames
    rotation = T_grasp[..., :3, :3]
    own_world = (own @ rotation.transpose(-1, -2) + T_grasp[..., None, :3, 3]).flatten(1, 2)
    # |p - o|^2 / 2 but for |o|^2 / 2, which is the same for all p
    apart = torch.baddbmm(
        0.5 * points_world.square().sum(dim=-1)[:, None], own_world, points_world.transpose(1, 2), alpha=-1.0
    )
    if seen is not None:
        apart = apart.masked_fill(~seen[:, None], torch.inf)
    nearest = apart.argmin(dim=-1, keepdim=True).expand(-1, -1, 3)  # (B, 54, 3)
    vectors = (points_world.gather(1, nearest) - own_world).unflatten(1, own.shape[1:3]) @ rotation
    if seen is not None:
        vectors = vectors * seen.any(dim=1)[:, None, None, None]
    length = vectors.norm(dim=-1, keepdim=True)
    scaled = torch.cat([own, vectors, length], dim=-1) / _SCALE_M
    return torch.cat([scaled, torch.exp(-length / _NEAR_M)], dim=-1).flatten(1)
