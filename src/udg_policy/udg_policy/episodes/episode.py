"""One demonstration in memory."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Any

import numpy as np

from udg_description.cloud_labels import LABEL_RIGHT, LABELS
from udg_description.layout import N_JOINTS
from udg_policy.errors import DatasetError

CLOUD_POINTS = 2048


class Stage(IntEnum):
    """Of a demonstration: to the pregrasp, on to the grasp until the hands are closed, and so on; hold is what follows
    the lift."""

    PREGRASP = 0
    GRASP = 1
    SQUEEZE = 2
    LIFT = 3
    HOLD = 4


NO_STAGE = 255
"""Of a frame that nobody has named a stage of: episodes of others, runs on the robot."""

# name: (dtype, shape after the frames)
EPISODE_ARRAYS: dict[str, tuple[type, tuple[int, ...]]] = {
    "cloud_xyz": (np.float32, (CLOUD_POINTS, 3)),
    "cloud_label": (np.uint8, (CLOUD_POINTS,)),
    "q": (np.float32, (N_JOINTS,)),
    "target": (np.float32, (N_JOINTS,)),
    "stage": (np.uint8, ()),
    "T_world_object": (np.float32, (4, 4)),
}
OPTIONAL_ARRAYS = ("T_world_object",)


@dataclass(frozen=True, kw_only=True)
class Episode:
    """One demonstration of T frames, 0.1 s apart.

    cloud_xyz (T, 2048, 3) [m, world]; cloud_label (T, 2048): 0 seen, 1 left robot, 2 right robot; q (T, 36) measured
    [rad]; target (T, 36) absolute joint command for the step t -> t + 0.1 s [rad]; stage (T,) a Stage or NO_STAGE;
    T_world_object (T, 4, 4) pose of the target object, None where it is not known (real robot);
    meta: plain JSON values that follow from the task alone, so no times of day: object, seed, success, strategy,
    sides, size_class, category, mass_kg, friction, noisy, cameras ([{name, T_world_camera}]), ...
    Raises DatasetError for arrays or values that do not follow this.
    """

    cloud_xyz: np.ndarray
    cloud_label: np.ndarray
    q: np.ndarray
    target: np.ndarray
    stage: np.ndarray
    T_world_object: np.ndarray | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        frames = len(self.q)
        if frames == 0:
            raise DatasetError("episode: has no frames")
        for name, (dtype, shape) in EPISODE_ARRAYS.items():
            given = getattr(self, name)
            if given is None and name in OPTIONAL_ARRAYS:
                continue
            array: np.ndarray = np.asarray(given, dtype=dtype)
            if array.shape != (frames, *shape):
                raise DatasetError(f"episode: {name} has shape {array.shape}, expected {(frames, *shape)}")
            if not np.isfinite(array).all():
                raise DatasetError(f"episode: {name} has values that are not finite")
            object.__setattr__(self, name, array)
        if self.cloud_label.max() > LABEL_RIGHT:
            raise DatasetError(f"episode: cloud_label has {self.cloud_label.max()}; valid are {LABELS}")
        try:
            canonical_json(self.meta)
        except (TypeError, ValueError) as error:
            raise DatasetError(f"episode: meta must hold plain, finite JSON values: {error}") from error

    def __len__(self) -> int:
        return len(self.q)


def canonical_json(value: object) -> str:
    """JSON text that depends on the value alone. Raises TypeError or ValueError for what JSON cannot hold."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
