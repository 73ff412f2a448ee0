"""`udg` for a robot whose arms have seven joints: `python seven_joints.py FOLDER COMMAND ...`.

The arm is a UR5e with one joint more, about the axis of the last one. What another arm takes is all here: the class
with its line in `KINEMATICS`, and three files, which are written into FOLDER.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import yaml

import udg_description
from udg_description.robot import arm
from udg_description.sides import SIDES
from udg_description.ur5e import Ur5e

DATA = Path(udg_description.__file__).parent / "data"
LINK = """<link name="{0}_wrist_4_link"><inertial><origin xyz="0 0 0" rpy="0 0 0"/><mass value="0.1"/>
<inertia ixx="1e-4" iyy="1e-4" izz="1e-4" ixy="0" ixz="0" iyz="0"/></inertial></link>"""
JOINT = """<joint name="{0}_wrist_4_joint" type="revolute"><parent link="{0}_wrist_3_link"/>
<child link="{0}_wrist_4_link"/><origin xyz="0 0 0" rpy="0 0 0"/><axis xyz="0 0 1"/>
<limit lower="-0.5" upper="0.5" effort="28" velocity="3.14"/><dynamics damping="0" friction="0"/></joint>"""


class SevenJoints:
    """The arm; see `arm.Arm`. Of its solutions those in which the last joint is at 0."""

    n_joints = 7
    _six = Ur5e()

    def fk(self, q: Sequence[float]) -> np.ndarray:
        """T_base_flange (4, 4) for the angles q (7) [rad]."""
        return self._six.fk([*q[:5], q[5] + q[6]])

    def all_ik(self, T_base_flange: np.ndarray) -> np.ndarray:
        """Solutions (K, 7) [rad]."""
        found = self._six.all_ik(T_base_flange)
        return np.hstack([found, np.zeros((len(found), 1))])

    def jacobian(self, q: np.ndarray, T_root_base: np.ndarray, T_flange_tip: np.ndarray) -> np.ndarray:
        """d[v; w]/d(dq) (6, 7)."""
        J = self._six.jacobian(np.array([*q[:5], q[5] + q[6]]), T_root_base, T_flange_tip)
        return np.hstack([J, J[:, 5:]])


def write_files(folder: Path) -> Path:
    """Write URDF, arm and robot; returns the robot's file."""
    tree = ET.parse(DATA / "udg_robot.urdf")
    for side in SIDES:
        tree.getroot().extend([ET.fromstring(LINK.format(side)), ET.fromstring(JOINT.format(side))])
        for joint in tree.iter("joint"):  # the file has the hands, too
            if joint.get("name") == f"{side}_hand_fixed":
                next(joint.iter("parent")).set("link", f"{side}_wrist_4_link")
    tree.write(folder / "arm7.urdf")
    described = yaml.safe_load((DATA / "arms" / "ur5e.yaml").read_text())
    described.update(kinematics="seven", urdf="arm7.urdf", spheres=str(DATA / "collision_spheres.yaml"))
    described["flange_link"] = "wrist_4_link"
    for field in ("forearm_links", "wrist_links"):
        described[field].append("wrist_4_link")
    for field in ("joints", "wrist_joints"):
        described[field].append("wrist_4_joint")
    described["mirror_offset"].append(0.0)
    (folder / "arm7.yaml").write_text(yaml.safe_dump(described))
    robot = yaml.safe_load((DATA / "robots" / "ur5e_quad.yaml").read_text())
    robot.update(name="seven_quad", arm="arm7.yaml", right_arm_home=[*robot["right_arm_home"], 0.0])
    path = folder / "seven_quad.yaml"
    path.write_text(yaml.safe_dump(robot))
    return path


arm.KINEMATICS["seven"] = SevenJoints()  # type: ignore[index]  # where the repository's own have their line

if __name__ == "__main__":
    os.environ["UDG_ROBOT"] = str(write_files(Path(sys.argv[1])))
    from udg_bringup.commands import run

    sys.exit(run(sys.argv[2:]))
