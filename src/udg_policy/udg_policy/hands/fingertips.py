"""Where a chunk of joint targets would bring the fingertips: for pictures."""

from __future__ import annotations

from functools import lru_cache

import numpy as np
import torch

from udg_description.layout import SIDES
from udg_description.robot import current_robot
from udg_policy.hands.poses import robot_model


@lru_cache(maxsize=1)
def _tips() -> tuple[list[str], np.ndarray]:
    """Link of each fingertip, left then right, and the tip in that link (2 F, 3) [m]."""
    hands = [current_robot().hands[side] for side in SIDES]
    links = [pad.link for hand in hands for pad in hand.contacts.values()]
    return links, np.array([hand.tip(finger) for hand in hands for finger in hand.contacts])


def fingertip_paths(chunk: np.ndarray) -> np.ndarray:
    """Positions (2, F, K, 3) [m, world] of the fingertips along a chunk (K, N): left then right, as the contacts."""
    links, tips = _tips()
    poses = robot_model().link_poses(torch.from_numpy(np.asarray(chunk, dtype=np.float64)), links).numpy()
    points = np.einsum("kfij,fj->fki", poses[..., :3, :3], tips) + poses[..., :3, 3].swapaxes(0, 1)
    return points.reshape(len(SIDES), -1, len(chunk), 3)
