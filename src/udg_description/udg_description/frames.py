"""Names of frames and the fixed geometry of the cell, for the robot of this process.

World: table top midway between the bases, x forward, z up.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from udg_description.robot import current_robot
from udg_description.sides import SIDES, Side
from udg_description.transforms import frozen, make_transform

_ROBOT = current_robot()
WORLD = "world"
BASE_LINK: dict[str, str] = {side: f"{side}_{_ROBOT.arm.base_link}" for side in SIDES}
HAND_PREFIXES = tuple(f"{side}_hand" for side in SIDES)
"""With which the names of the hands' links begin."""
HAND_LINK: dict[str, str] = {side: f"{side}_hand_link" for side in SIDES}


# In the hand frame: fingers along -z, palm facing +y (right) / -y (left).
GRASP_CENTER_HAND: dict[str, np.ndarray] = {side: frozen(_ROBOT.hands[side].grasp_center) for side in SIDES}
PALM_NORMAL_HAND: dict[str, np.ndarray] = {side: frozen(_ROBOT.hands[side].palm_normal) for side in SIDES}


def T_world_base(side: Side) -> np.ndarray:
    """Pose (4, 4) of base_link in the world: on the table top, unrotated."""
    return make_transform(translation=_ROBOT.bases[side])


def T_base_controller(side: Side) -> np.ndarray:
    """Pose (4, 4) of the frame of the arm's kinematics in its base_link, the same on both sides."""
    del side
    return make_transform(np.array(_ROBOT.arm.base_controller_rotation, dtype=float))


def T_flange_hand(side: Side) -> np.ndarray:
    """Pose (4, 4) of hand_link in the flange."""
    return _ROBOT.T_flange_hand[side].copy()


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
