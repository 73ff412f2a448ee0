"""The URDF of a robot from those of its arms and hands: two arms on the table, a hand on each flange."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Iterator
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from udg_description.errors import HandModelError, RobotModelError
from udg_description.robot.arm import ArmDescription
from udg_description.sides import Side
from udg_description.transforms import MIRROR, make_transform, matrix_to_rpy, mirror_T, rpy_to_matrix
from udg_description.urdf import read_urdf_xml


def hand_name(side: Side, name: str, root: str) -> str:
    """Name in the robot of a link or joint of a hand: the root is `left_hand_link`, the others `left_hand_<name>`."""
    return f"{side}_hand_link" if name == root else f"{side}_hand_{name}"


def arm_elements(urdf: Path, arm: ArmDescription, side: Side, base_xyz: np.ndarray) -> Iterator[ET.Element]:
    """The links and joints of one arm from its base, which stands on the table at `base_xyz` (3,) [m], to its flange.

    Raises RobotModelError when the file lacks the base or the flange.
    """
    robot = read_urdf_xml(urdf)
    flange = f"{side}_{arm.flange_link}"
    kept = list(_below(robot, f"{side}_{arm.base_link}", stop=flange))
    links = {element.get("name") for element in kept if element.tag == "link"}
    for name in (arm.base_link, arm.flange_link):
        if f"{side}_{name}" not in links:
            raise RobotModelError(f"{urdf} has no link '{side}_{name}'")
    yield _fixed(f"{side}_base_fixed", "world", f"{side}_{arm.base_link}", make_transform(translation=base_xyz))
    yield from kept


def hand_elements(
    urdf: Path, root: str, side: Side, flange: str, T_flange_hand: np.ndarray, T_hand_root: np.ndarray, mirror: bool
) -> Iterator[ET.Element]:
    """The links and joints of a hand below `root`, mirrored (y -> -y in every frame) or not, on the link `flange`.

    T_hand_root is the root's pose in the robot's hand frame before it is mirrored. Raises HandModelError for meshes.
    """
    elements = list(_below(read_urdf_xml(urdf), root))
    yield _fixed(f"{side}_hand_fixed", flange, f"{side}_hand_link", T_flange_hand)
    for element in elements:
        element = copy.deepcopy(element)
        if element.find("collision/geometry/mesh") is not None:
            raise HandModelError(
                f"{urdf}: link '{element.get('name')}' has a collision mesh, a robot's hand has primitives: "
                "`udg hand` writes a URDF with spheres in place of meshes"
            )
        for visual in element.findall("visual"):
            element.remove(visual)
        parent = element.find("parent")
        if element.get("name") == root or (parent is not None and parent.get("link") == root):
            _move(element, T_hand_root)
        if mirror:
            _mirror(element)
        _rename(element, side, root)
        for collision in element.findall("collision"):
            visual = copy.deepcopy(collision)
            visual.tag = "visual"
            element.append(visual)
        yield element


def urdf_text(name: str, elements: Iterable[ET.Element]) -> str:
    """The text of a URDF with these links and joints, below the link `world`."""
    robot = ET.Element("robot", name=name)
    ET.SubElement(robot, "link", name="world")
    robot.extend(elements)
    ET.indent(robot, space="  ")
    return '<?xml version="1.0"?>\n' + ET.tostring(robot, encoding="unicode") + "\n"


def _below(robot: ET.Element, root: str, stop: str | None = None) -> Iterator[ET.Element]:
    """The link `root` and all links and joints below it; nothing below the link `stop`."""
    links = {link.get("name"): link for link in robot.findall("link")}
    joints: dict[str, list[ET.Element]] = {}
    for joint in robot.findall("joint"):
        joints.setdefault(_end(joint, "parent"), []).append(joint)
    walk = [root]
    for name in walk:  # grows while it is walked
        if name in links:
            yield links[name]
        for joint in joints.get(name, []) if name != stop else []:
            yield joint
            walk.append(_end(joint, "child"))


def _end(joint: ET.Element, tag: str) -> str:
    end = joint.find(tag)
    return "" if end is None else end.get("link", "")


def _fixed(name: str, parent: str, child: str, T_parent_child: np.ndarray) -> ET.Element:
    joint = ET.Element("joint", name=name, type="fixed")
    ET.SubElement(joint, "parent", link=parent)
    ET.SubElement(joint, "child", link=child)
    _set_origin(joint, T_parent_child)
    return joint


def _numbers(values: Iterable[float]) -> str:
    return " ".join(f"{float(value) + 0.0:.12g}" for value in values)


def _read(element: ET.Element | None, key: str) -> np.ndarray:
    text = "" if element is None else element.get(key, "")
    return np.array([float(word) for word in text.split()] or [0.0, 0.0, 0.0])


def _set_origin(element: ET.Element, T: np.ndarray) -> None:
    origin = element.find("origin")
    if origin is None:
        origin = ET.Element("origin")
        element.insert(0, origin)
    origin.set("xyz", _numbers(T[:3, 3]))
    origin.set("rpy", _numbers(matrix_to_rpy(T[:3, :3])))


def _origin(element: ET.Element) -> np.ndarray:
    origin = element.find("origin")
    return make_transform(rpy_to_matrix(_read(origin, "rpy")), _read(origin, "xyz"))


def _placed(element: ET.Element) -> list[ET.Element]:
    """What has an origin: the joint, or the parts of the link."""
    if element.tag == "joint":
        return [element]
    return [part for tag in ("inertial", "collision") for part in element.findall(tag)]


def _move(element: ET.Element, T: np.ndarray) -> None:
    for part in _placed(element):
        _set_origin(part, T @ _origin(part))


def _mirror(element: ET.Element) -> None:
    for part in _placed(element):
        _set_origin(part, mirror_T(_origin(part)))
        inertia = part.find("inertia")
        if inertia is not None:
            for key in ("ixy", "iyz"):
                inertia.set(key, _numbers([-float(inertia.get(key, "0"))]))
    axis = element.find("axis")
    if axis is not None:  # a turn by the same angle about the mirrored axis, which is a pseudo-vector
        axis.set("xyz", _numbers(-MIRROR @ _read(axis, "xyz")))


def _rename(element: ET.Element, side: Side, root: str) -> None:
    element.set("name", hand_name(side, element.get("name", ""), root if element.tag == "link" else ""))
    for tag in ("parent", "child"):
        end = element.find(tag)
        if end is not None:
            end.set("link", hand_name(side, end.get("link", ""), root))
