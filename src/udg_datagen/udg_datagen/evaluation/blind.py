"""What a policy must not succeed with: clouds that do not show where the object is (a test against shortcuts).

A policy that lifts nearly as much without seeing the object has learned where objects stand, not to look.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from udg_description.cloud_labels import LABEL_SEEN
from udg_description.errors import UdgError

SHIFT_M = 0.1
_NOWHERE = (0.9, 0.0, 0.0)  # [m] on the table, 0.2 m beyond where objects are placed
_PATCH = 4  # points along each edge: with fewer seen points than some our policy does not act at all
_PATCH_M = 0.004  # from one to the next


def empty(points: np.ndarray, seed: int) -> np.ndarray:
    """A cloud (M, 4) without the seen points, but for a patch where no object can be; the robot's own are left."""
    del seed
    along = _PATCH_M * (np.arange(_PATCH) - 0.5 * (_PATCH - 1))
    patch = np.zeros((_PATCH**2, 4), dtype=points.dtype)
    patch[:, :3] = _NOWHERE
    patch[:, 0] += np.repeat(along, _PATCH)
    patch[:, 1] += np.tile(along, _PATCH)
    patch[:, 3] = LABEL_SEEN
    return np.concatenate([patch, points[points[:, 3] != LABEL_SEEN]])


def shifted(points: np.ndarray, seed: int) -> np.ndarray:
    """The seen points of a cloud (M, 4) moved by 10 cm along the table, in a direction that follows from the seed."""
    angle = np.random.default_rng(seed).uniform(0.0, 2.0 * np.pi)
    moved = points.copy()
    moved[points[:, 3] == LABEL_SEEN, :2] += SHIFT_M * np.array([np.cos(angle), np.sin(angle)])
    return moved


BLIND: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"empty": empty, "shifted": shifted}


def blind_modes(text: str) -> tuple[str, ...]:
    """Names of BLIND, separated by commas; none for an empty text. Raises UdgError."""
    modes = tuple(dict.fromkeys(word.strip() for word in text.split(",") if word.strip()))
    unknown = next((mode for mode in modes if mode not in BLIND), None)
    if unknown is not None:
        raise UdgError(f"--blind {text}: {unknown!r} is none; valid: {', '.join(BLIND)}, or both with a comma")
    return modes
