"""Where a chunk of joint targets would bring the fingertips: for pictures."""

from __future__ import annotations

from functools import lru_cache
from importlib.resources import files

import numpy as np
import torch
import yaml

from udg_description.layout import SIDES
from udg_policy.hands.poses import robot_model

FINGERS = ("thumb", "index", "mid", "ring", "pinky")


@lru_cache(maxsize=1)
def _tips() -> tuple[list[str], np.ndarray]:
    """Link of each fingertip, left then right, and the tip in that link (10, 3) [m]."""
    contacts = yaml.safe_load(files("udg_description").joinpath("data/contacts.yaml").read_text(encoding="utf-8"))
    links = [f"{side}_{contacts['pads'][finger]['link']}" for side in SIDES for finger in FINGERS]
    tips = np.array([contacts["tips"][side][finger] for side in SIDES for finger in FINGERS])
    return links, tips


def fingertip_paths(chunk: np.ndarray) -> np.ndarray:
    """Positions (2, 5, K, 3) [m, world] of the fingertips (left then right; order FINGERS) along a chunk (K, 36)."""
    links, tips = _tips()
    poses = robot_model().link_poses(torch.from_numpy(np.asarray(chunk, dtype=np.float64)), links).numpy()
    points = np.einsum("kfij,fj->fki", poses[..., :3, :3], tips) + poses[..., :3, 3].swapaxes(0, 1)
    return points.reshape(len(SIDES), len(FINGERS), len(chunk), 3)
