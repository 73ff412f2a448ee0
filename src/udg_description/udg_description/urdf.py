"""Reading a URDF: links with their primitives, joints with their limits. Numbers only; no meshes."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal
from xml.etree import ElementTree as ET

import numpy as np

from udg_description.errors import RobotModelError
from udg_description.transforms import make_transform, rpy_to_matrix


@dataclass(frozen=True, kw_only=True, eq=False)
class Primitive:
    """A collision shape. size [m]: box = full edges (3,), sphere = (radius,), cylinder, capsule = (radius, z length).

    A capsule's length is that of its axis, without the round ends. URDF files have none: see shapes.merge_capsules.
    """

    kind: Literal["box", "sphere", "cylinder", "capsule"]
    size: tuple[float, ...]
    T_link_shape: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Inertial:
    """Mass [kg], centre of mass [m] in the link, inertia (3, 3) [kg m^2] about it in the link's axes."""

    mass: float
    com: np.ndarray
    inertia: np.ndarray


@dataclass(frozen=True, kw_only=True, eq=False)
class Link:
    name: str
    primitives: tuple[Primitive, ...]
    inertial: Inertial | None


@dataclass(frozen=True, kw_only=True, eq=False)
class Joint:
    """lower, upper [rad], velocity [rad/s], effort [Nm]; infinite where the URDF says nothing."""

    name: str
    kind: str
    parent: str
    child: str
    T_parent_joint: np.ndarray
    axis: np.ndarray
    lower: float
    upper: float
    velocity: float
    effort: float


@dataclass(frozen=True, kw_only=True, eq=False)
class Urdf:
    path: Path
    links: dict[str, Link]
    joints: dict[str, Joint]


def urdf_path() -> Path:
    """The URDF of the whole robot, shipped with the package."""
    with as_file(files("udg_description") / "data" / "udg_robot.urdf") as path:
        return path


@lru_cache(maxsize=8)
def load_urdf(path: Path | None = None) -> Urdf:
    """Read a URDF (the shipped robot when None). Raises RobotModelError on a file that is missing or not a URDF."""
    path = urdf_path() if path is None else Path(path)
    try:
        robot = ET.parse(path).getroot()
    except OSError as error:
        raise RobotModelError(f"cannot read URDF {path}: {error.strerror}") from None
    except ET.ParseError as error:
        raise RobotModelError(f"{path} is not valid XML: {error}") from None
    if robot.tag != "robot":
        raise RobotModelError(f"{path} is not a URDF: its root element is <{robot.tag}>, expected <robot>")
    try:
        links = {element.attrib["name"]: _link(element) for element in robot.findall("link")}
        joints = {element.attrib["name"]: _joint(element) for element in robot.findall("joint")}
    except (KeyError, ValueError) as error:
        raise RobotModelError(f"{path}: missing or malformed: {error}") from None
    return Urdf(path=path, links=links, joints=joints)


def _floats(text: str) -> np.ndarray:
    return np.array([float(word) for word in text.split()])


def _child(element: ET.Element, tag: str) -> ET.Element:
    child = element.find(tag)
    if child is None:
        raise ValueError(f"<{tag}> in <{element.tag}> {element.get('name', '')}".strip())
    return child


def _origin(element: ET.Element) -> np.ndarray:
    origin = element.find("origin")
    if origin is None:
        return np.eye(4)
    rpy, xyz = _floats(origin.get("rpy", "0 0 0")), _floats(origin.get("xyz", "0 0 0"))
    return make_transform(rpy_to_matrix(rpy), xyz)


def _inertial(element: ET.Element | None) -> Inertial | None:
    if element is None:
        return None
    values = {key: float(value) for key, value in _child(element, "inertia").attrib.items()}
    xx, xy, xz, yy, yz, zz = (values[key] for key in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz"))
    T_link_com = _origin(element)
    rotation = T_link_com[:3, :3]
    inertia = rotation @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ rotation.T
    return Inertial(mass=float(_child(element, "mass").attrib["value"]), com=T_link_com[:3, 3], inertia=inertia)


def _primitive(collision: ET.Element) -> Primitive | None:
    geometry = _child(collision, "geometry")
    T_link_shape = _origin(collision)
    if (box := geometry.find("box")) is not None:
        return Primitive(kind="box", size=tuple(_floats(box.attrib["size"])), T_link_shape=T_link_shape)
    if (sphere := geometry.find("sphere")) is not None:
        return Primitive(kind="sphere", size=(float(sphere.attrib["radius"]),), T_link_shape=T_link_shape)
    if (cylinder := geometry.find("cylinder")) is not None:
        size = (float(cylinder.attrib["radius"]), float(cylinder.attrib["length"]))
        return Primitive(kind="cylinder", size=size, T_link_shape=T_link_shape)
    return None  # a mesh: not ours to load


def _link(element: ET.Element) -> Link:
    shapes = (_primitive(collision) for collision in element.findall("collision"))
    return Link(
        name=element.attrib["name"],
        primitives=tuple(shape for shape in shapes if shape is not None),
        inertial=_inertial(element.find("inertial")),
    )


def _joint(element: ET.Element) -> Joint:
    axis = element.find("axis")
    limit = element.find("limit")
    bounds = {} if limit is None else {key: float(value) for key, value in limit.attrib.items()}
    moves = element.attrib["type"] != "fixed"
    axis_xyz = np.array([1.0, 0.0, 0.0]) if axis is None or not moves else _floats(axis.attrib["xyz"])
    return Joint(
        name=element.attrib["name"],
        kind=element.attrib["type"],
        parent=_child(element, "parent").attrib["link"],
        child=_child(element, "child").attrib["link"],
        T_parent_joint=_origin(element),
        axis=axis_xyz / np.linalg.norm(axis_xyz),
        lower=bounds.get("lower", -np.inf),
        upper=bounds.get("upper", np.inf),
        velocity=bounds.get("velocity", np.inf),
        effort=bounds.get("effort", np.inf),
    )
