"""What an arm is: a short YAML beside a URDF, and the kinematics that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from udg_description.errors import RobotModelError, UdgError
from udg_description.robot.yaml_file import checked, read_yaml, vector
from udg_description.ur5e import Ur5e


class Arm(Protocol):
    """Kinematics of an arm of `n_joints` revolute joints, from its base to its flange. Angles in rad, lengths in m."""

    n_joints: int

    def fk(self, q: Sequence[float]) -> np.ndarray:
        """T_base_flange (4, 4) for the angles q (n)."""

    def all_ik(self, T_base_flange: np.ndarray) -> np.ndarray:
        """All solutions (K, n) in [-pi, pi] for a flange pose (4, 4); K may be 0. Limits are not looked at.

        An arm with a free joint gives as many samples of its solutions as planning needs.
        """

    def jacobian(self, q: np.ndarray, T_root_base: np.ndarray, T_flange_tip: np.ndarray) -> np.ndarray:
        """d[v; w]/d(dq) (6, n) of the tip's origin: linear [m/s] over angular [rad/s], in the axes of the root."""


KINEMATICS: Mapping[str, Arm] = {"ur5e": Ur5e()}
"""The arms that a description can name. Another arm: a class with the methods of `Arm`, and a line here."""


@dataclass(frozen=True, kw_only=True)
class ArmDescription:
    """An arm as the file describes it. Links and joints without the side that the URDF puts before them (`left_`)."""

    kinematics: str  # one of KINEMATICS
    urdf: str  # relative to the file: both arms, each from its base link to its flange
    spheres: str  # relative to the file: collision spheres of both arms, in cuRobo's layout
    joints: Sequence[str]  # from base to flange
    wrist_joints: Sequence[str]  # those with the smaller motors
    base_link: str
    controller_link: str  # the frame of the kinematics, fixed to base_link
    flange_link: str
    standing_links: Sequence[str]  # mounted on the table: they neither reach it nor leave
    inner_links: Sequence[str]  # swing above the base: kept off the table, not inside the workspace's box
    forearm_links: Sequence[str]  # what the cloud shows of the arm, with the hand
    wrist_links: Sequence[str]  # the hand's neighbours: they do not collide with it
    base_controller_rotation: Sequence[Sequence[float]]  # rows
    mirror_offset: Sequence[float]  # [rad] the joints of the mirrored scene (y -> -y) are offset - q of the other arm
    flange_mirror: Sequence[float]  # signs of x, y, z that take a hand on the one flange to that on the other
    acceleration: float  # [rad/s^2] of every joint

    def __post_init__(self) -> None:
        if self.kinematics not in KINEMATICS:
            raise RobotModelError(f"unknown kinematics '{self.kinematics}'; valid: {', '.join(KINEMATICS)}")
        n = KINEMATICS[self.kinematics].n_joints
        if len(self.joints) != n or len(set(self.joints)) != n:
            raise RobotModelError(f"joints are {', '.join(self.joints)}; valid: {n} different names")
        vector(self.mirror_offset, n, "mirror_offset")
        if np.abs(vector(self.flange_mirror, 3, "flange_mirror")).tolist() != [1.0] * 3:
            raise RobotModelError(f"flange_mirror is {self.flange_mirror}; valid: three signs, 1 or -1")
        for row in self.base_controller_rotation:
            vector(row, 3, "base_controller_rotation")
        if not self.acceleration > 0.0:
            raise RobotModelError(f"acceleration is {self.acceleration}, valid: > 0 rad/s^2")

    @property
    def model(self) -> Arm:
        """The kinematics."""
        return KINEMATICS[self.kinematics]


def read_arm(path: Path) -> ArmDescription:
    """Read and check the description of an arm. Raises RobotModelError with the file and what is wrong in it."""
    data = read_yaml(path, "arm")
    try:
        return checked(ArmDescription, data, "arm")
    except UdgError as error:
        raise RobotModelError(f"arm description {path}: {error}") from None
