"""Names of frames and the fixed geometry of the cell. World: table top midway between the bases, x forward, z up."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udg_description.layout import SIDES, Side
from udg_description.transforms import make_transform

WORLD = "world"
BASE_LINK: dict[str, str] = {side: f"{side}_base_link" for side in SIDES}
CONTROLLER_BASE_LINK: dict[str, str] = {side: f"{side}_base_link_inertia" for side in SIDES}  # UR's "base" frame
FLANGE_LINK: dict[str, str] = {side: f"{side}_wrist_3_link" for side in SIDES}  # == tool0
HAND_LINK: dict[str, str] = {side: f"{side}_hand_link" for side in SIDES}

BASE_Y = {"left": 0.45, "right": -0.45}  # [m]
HAND_OFFSET = 0.023  # [m] flange -> hand_link, along the flange's z


def _frozen(values: list[float]) -> np.ndarray:
    array = np.array(values)
    array.flags.writeable = False
    return array


# In the hand frame: fingers along -z, thumb side +x, palm facing +y (right) / -y (left).
GRASP_CENTER_HAND: dict[str, np.ndarray] = {
    "left": _frozen([0.005, -0.08, -0.105]),
    "right": _frozen([0.005, 0.08, -0.105]),
}
PALM_NORMAL_HAND: dict[str, np.ndarray] = {"left": _frozen([0.0, -1.0, 0.0]), "right": _frozen([0.0, 1.0, 0.0])}


def T_world_base(side: Side) -> np.ndarray:
    """Pose (4, 4) of base_link in the world: on the table top, unrotated."""
    return make_transform(translation=np.array([0.0, BASE_Y[side], 0.0]))


def T_base_controller(side: Side) -> np.ndarray:
    """Pose (4, 4) of UR's controller frame ("base", base_link_inertia) in base_link: yaw +pi/2 on both sides."""
    del side
    return make_transform(np.array([[0.0, -1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]))


def T_flange_hand(side: Side) -> np.ndarray:
    """Pose (4, 4) of hand_link in the flange (wrist_3_link, tool0)."""
    signs = [-1.0, 1.0, -1.0] if side == "left" else [1.0, -1.0, -1.0]
    return make_transform(np.diag(signs), np.array([0.0, 0.0, HAND_OFFSET]))


class Area(NamedTuple):
    """An axis-aligned rectangle on the table in the world [m]."""

    x_min: float
    x_max: float
    y_min: float
    y_max: float

    @property
    def center(self) -> np.ndarray:
        """Centre (3,) on the table top [m]."""
        return np.array([(self.x_min + self.x_max) / 2, (self.y_min + self.y_max) / 2, 0.0])

    def contains(self, xy: np.ndarray) -> np.ndarray:
        """Whether points (..., 2) lie in the area, (...) bool."""
        xy = np.asarray(xy)
        inside_x = (xy[..., 0] >= self.x_min) & (xy[..., 0] <= self.x_max)
        return inside_x & (xy[..., 1] >= self.y_min) & (xy[..., 1] <= self.y_max)


# Where objects are placed (paper: 0.8 m x 0.2 m; large ones 0.15 m x 0.16 m, for both hands).
OBJECT_AREA: dict[str, Area] = {
    "small_medium": Area(0.5, 0.7, -0.4, 0.4),
    "large": Area(0.55, 0.70, -0.08, 0.08),
}
TABLE = Area(-0.3, 1.2, -0.9, 0.9)  # the table's top, at z = 0
