"""Write udg_description/data/udg_robot.urdf from robot.yaml (kinematics, inertia) and primitives.yaml (geometry).

Usage: python make_urdf.py [--output PATH]. Mounts come from data/robots/ur5e_xhand.yaml. Both arms come from one
description; the left hand's geometry is the right hand's mirrored (y -> -y); a capsule is written as a cylinder and two
spheres, which every URDF reader understands.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import numpy as np
import yaml

from udg_description import ur5e
from udg_description.files import write_atomically
from udg_description.robot import load_robot
from udg_description.transforms import matrix_to_rpy, rpy_to_matrix

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent / "udg_description" / "data" / "udg_robot.urdf"

ROBOT = load_robot("ur5e_xhand")  # its mounts, and the arm's mirror law
FLANGE_HAND_RPY = {"left": (0.0, math.pi, 0.0), "right": (math.pi, 0.0, 0.0)}  # of its mounts; one of two ways each
# Limits of position used for the arms [rad], right arm; the left arm's follow from the mirror law of layout.mirror_q.
# The reference's narrow ranges, widened: those hold 26 % of hand poses sampled over the object area (from the top,
# tilted, from the side; any palm direction), these hold 75.7 %, and the arm's whole ranges 76.1 %. The elbow stays up.
ARM_LIMITS_RIGHT = {
    "shoulder_pan_joint": (0.0, math.pi),
    "shoulder_lift_joint": (-2.6, 0.0),
    "elbow_joint": (-0.196, 2.945),
    "wrist_1_joint": (-math.pi, math.pi),
    "wrist_2_joint": (-math.pi, math.pi),
    "wrist_3_joint": (-math.pi, math.pi),
}
MIRROR_OFFSET = dict(zip(ROBOT.arm.joints, ROBOT.mirror_offset, strict=True))  # q_left = offset - q_right


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{float(v):.12g}" for v in values)


def _length(value: float | str) -> float:
    """A number, or by its name (`-D5`) one of the arm's Denavit-Hartenberg constants [m]."""
    if not isinstance(value, str):
        return value
    name = value.removeprefix("-")
    return -getattr(ur5e, name) if name != value else float(getattr(ur5e, name))


def _origin(parent: ET.Element, xyz: Iterable[float], rpy: Iterable[float]) -> None:
    ET.SubElement(parent, "origin", xyz=_numbers(xyz), rpy=_numbers(rpy))


def _axis_rpy(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Roll, pitch, yaw of a frame whose z axis points from a to b."""
    z = (b - a) / np.linalg.norm(b - a)
    helper = np.eye(3)[int(np.argmin(np.abs(z)))]
    x = helper - z * (helper @ z)
    x /= np.linalg.norm(x)
    return matrix_to_rpy(np.stack([x, np.cross(z, x), z], axis=1))


def _shapes(entry: dict[str, Any], mirror: bool) -> list[tuple[str, dict[str, str], np.ndarray, np.ndarray]]:
    """One entry of primitives.yaml as [(tag, attributes, xyz, rpy)]."""
    sign = np.array([1.0, -1.0, 1.0]) if mirror else np.ones(3)
    ((kind, spec),) = entry.items()
    zero = np.zeros(3)
    if kind == "sphere":
        return [("sphere", {"radius": _numbers([spec["r"]])}, sign * spec["c"], zero)]
    if kind == "box":
        flip = np.diag(sign)
        rpy = matrix_to_rpy(flip @ rpy_to_matrix(np.asarray(spec["rpy"], float)) @ flip)
        return [("box", {"size": _numbers(spec["size"])}, sign * spec["c"], rpy)]
    if kind not in ("capsule", "cylinder"):
        raise ValueError(f"unknown primitive {kind!r} in primitives.yaml: valid are box, sphere, cylinder, capsule")
    a, b = sign * spec["a"], sign * spec["b"]
    radius = _numbers([spec["r"]])
    length = _numbers([np.linalg.norm(b - a)])
    shapes = [("cylinder", {"radius": radius, "length": length}, (a + b) / 2, _axis_rpy(a, b))]
    if kind == "capsule":
        shapes += [("sphere", {"radius": radius}, end, zero) for end in (a, b)]
    return shapes


def _add_link(robot: ET.Element, name: str, row: list[Any] | None, entries: list[dict[str, Any]], mirror: bool) -> None:
    link = ET.SubElement(robot, "link", name=name)
    if row is not None:
        _, mass, com_xyz, com_rpy, inertia = row
        inertial = ET.SubElement(link, "inertial")
        _origin(inertial, com_xyz, com_rpy)
        ET.SubElement(inertial, "mass", value=_numbers([mass]))
        names = ("ixx", "ixy", "ixz", "iyy", "iyz", "izz")
        ET.SubElement(inertial, "inertia", {k: _numbers([v]) for k, v in zip(names, inertia, strict=True)})
    for use in ("visual", "collision"):
        for entry in entries:
            for tag, attributes, xyz, rpy in _shapes(entry, mirror):
                element = ET.SubElement(link, use)
                _origin(element, xyz, rpy)
                ET.SubElement(ET.SubElement(element, "geometry"), tag, attributes)


def _add_fixed(
    robot: ET.Element, name: str, parent: str, child: str, xyz: Iterable[float], rpy: Iterable[float]
) -> None:
    joint = ET.SubElement(robot, "joint", name=name, type="fixed")
    ET.SubElement(joint, "parent", link=parent)
    ET.SubElement(joint, "child", link=child)
    _origin(joint, xyz, rpy)


def _limits(side: str, name: str, lower: float, upper: float) -> tuple[float, float]:
    if name not in ARM_LIMITS_RIGHT:
        return lower, upper
    lower, upper = ARM_LIMITS_RIGHT[name]
    if side == "left":
        offset = MIRROR_OFFSET[name]
        lower, upper = offset - upper, offset - lower
    return lower, upper


def _add_joint(robot: ET.Element, side: str, row: list[Any]) -> None:
    name, parent, child, xyz, rpy, axis, lower, upper, effort, velocity = row
    lower, upper = _limits(side, name, lower, upper)
    joint = ET.SubElement(robot, "joint", name=f"{side}_{name}", type="revolute")
    ET.SubElement(joint, "parent", link=f"{side}_{parent}")
    ET.SubElement(joint, "child", link=f"{side}_{child}")
    _origin(joint, map(_length, xyz), rpy)
    ET.SubElement(joint, "axis", xyz=_numbers(axis))
    limit = {"lower": lower, "upper": upper, "effort": effort, "velocity": velocity}
    ET.SubElement(joint, "limit", {k: _numbers([v]) for k, v in limit.items()})
    ET.SubElement(joint, "dynamics", damping="0", friction="0")


def build_robot(numbers: dict[str, Any], primitives: dict[str, Any]) -> ET.ElementTree:
    """The URDF tree of the whole robot."""
    robot = ET.Element("robot", name="udg_robot")
    ET.SubElement(robot, "link", name="world")
    for side in ("left", "right"):
        _add_link(robot, f"{side}_base_link", None, [], False)
        _add_fixed(robot, f"{side}_base_fixed", "world", f"{side}_base_link", ROBOT.bases[side], (0, 0, 0))
        for row in numbers["arm"]["links"]:
            _add_link(robot, f"{side}_{row[0]}", row, primitives["arm"].get(row[0], []), False)
        controller = f"{side}_base_link_inertia"
        base_rpy = matrix_to_rpy(np.array(ROBOT.arm.base_controller_rotation)) + 0.0  # no -0
        _add_fixed(robot, f"{side}_base_yaw_fixed", f"{side}_base_link", controller, (0, 0, 0), base_rpy)
        for row in numbers["arm"]["joints"]:
            _add_joint(robot, side, row)
        hand = numbers[f"{side}_hand"]
        for row in hand["links"]:
            _add_link(robot, f"{side}_{row[0]}", row, primitives["hand"].get(row[0], []), side == "left")
        flange, palm = f"{side}_wrist_3_link", f"{side}_hand_link"
        T_flange_hand, rpy = ROBOT.T_flange_hand[side], FLANGE_HAND_RPY[side]
        assert np.allclose(rpy_to_matrix(np.array(rpy)), T_flange_hand[:3, :3])
        _add_fixed(robot, f"{side}_hand_fixed", flange, palm, T_flange_hand[:3, 3], rpy)
        for row in hand["joints"]:
            _add_joint(robot, side, row)
    tree = ET.ElementTree(robot)
    ET.indent(tree, space="  ")
    return tree


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, default=OUTPUT)
    args = parser.parse_args()
    numbers = yaml.safe_load((HERE / "robot.yaml").read_text())
    primitives = yaml.safe_load((HERE / "primitives.yaml").read_text())
    text = ET.tostring(build_robot(numbers, primitives).getroot(), encoding="unicode")
    header = '<?xml version="1.0"?>\n<!-- Written by tools/make_urdf.py: edit its tables, not this file. -->\n'
    write_atomically(args.output, header + text + "\n")


if __name__ == "__main__":
    main()
