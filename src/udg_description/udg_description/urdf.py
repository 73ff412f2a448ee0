"""Reading a URDF: links with their primitives, joints with their limits. Numbers only; no meshes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from functools import lru_cache
from pathlib import Path
from typing import Literal, TypeVar
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


MAX_BYTES = 20_000_000
"""A larger URDF is refused."""
KINDS = ("revolute", "continuous", "prismatic", "fixed", "floating", "planar")
"""Kinds of joints that a URDF has."""
SHAPES = ("box", "sphere", "cylinder", "capsule", "mesh")
"""Collision geometry that is understood; meshes are left to who loads them."""
MAX_LENGTH = 5.0
"""Longest offset or edge [m] of a robot's part; longer ones are in another unit."""
MAX_MASS = 500.0
"""Heaviest part [kg]."""


def load_urdf(path: Path) -> Urdf:
    """Read a URDF; again only if the file has changed.

    Raises:
        RobotModelError: the file is missing, not a URDF, or describes no tree of rigid bodies; the message names the
            file and the link or joint.
    """
    path = Path(path)
    try:
        status = path.stat()
    except OSError as error:
        raise RobotModelError(f"cannot read URDF {path}: {error.strerror}") from None
    return _load_urdf(path, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _load_urdf(path: Path, changed_ns: int, size: int) -> Urdf:
    robot = read_urdf_xml(path)
    links: dict[str, Link] = {}
    joints: dict[str, Joint] = {}
    try:
        for element in robot.findall("link"):
            link = _named(element, _link, links)
            links[link.name] = link
        for element in robot.findall("joint"):
            joint = _named(element, _joint, joints)
            joints[joint.name] = joint
        _check_tree(links, joints)
    except ValueError as error:
        raise RobotModelError(f"{path}: {error}") from None
    return Urdf(path=path, links=links, joints=joints)


def read_urdf_xml(path: Path) -> ET.Element:
    """The <robot> element of a file. Raises RobotModelError: missing, too large, not XML, not a URDF, xacro."""
    try:
        if path.stat().st_size > MAX_BYTES:
            raise RobotModelError(f"{path} is no URDF: {path.stat().st_size / 1e6:.0f} MB, valid: up to 20 MB")
        content = path.read_bytes()
    except OSError as error:
        raise RobotModelError(f"cannot read URDF {path}: {error.strerror}") from None
    if b"<!ENTITY" in content:
        raise RobotModelError(f"{path} defines XML entities, which are not expanded here; write them out")
    try:
        robot = ET.fromstring(content)
    except (ET.ParseError, LookupError, ValueError) as error:
        raise RobotModelError(
            f"{path} is not valid XML: {error}; is it complete, and in the encoding that it names (UTF-8 if none)?"
        ) from None
    if robot.tag != "robot":
        raise RobotModelError(f"{path} is not a URDF: its root element is <{robot.tag}>, expected <robot>")
    if any("xacro" in element.tag for element in robot.iter()) or "${" in content.decode(errors="replace"):
        raise RobotModelError(f"{path} is a xacro file; expand it first: xacro {path.name} > robot.urdf")
    return robot


Part = TypeVar("Part")


def _named(element: ET.Element, read: Callable[[ET.Element], Part], known: Mapping[str, Part]) -> Part:
    """The part of an element. Raises ValueError with the element's name: no or a doubled one, or what `read` says."""
    name = element.get("name", "")
    if not name.strip():
        raise ValueError(f"a <{element.tag}> has no name")
    if name in known:
        raise ValueError(f"two {element.tag}s are called '{name}'")
    try:
        return read(element)
    except (KeyError, ValueError) as error:
        reason = f"missing {error}" if isinstance(error, KeyError) else str(error)
        raise ValueError(f"{element.tag} '{name}': missing or malformed: {reason}") from None


def _check_tree(links: Mapping[str, Link], joints: Mapping[str, Joint]) -> None:
    """Raise ValueError unless the joints make trees of the links."""
    carried: dict[str, Joint] = {}
    for joint in joints.values():
        for what, name in (("parent", joint.parent), ("child", joint.child)):
            if name not in links:
                near = get_close_matches(name, list(links), n=1)
                raise ValueError(
                    f"joint '{joint.name}': its {what} '{name}' is no link of the file"
                    + (f"; did you mean '{near[0]}'?" if near else "")
                )
        if joint.child in carried:
            raise ValueError(
                f"link '{joint.child}' has two parents: joints '{carried[joint.child].name}' and "
                f"'{joint.name}' carry it"
            )
        carried[joint.child] = joint
    rooted: set[str] = set(links) - set(carried)
    for name in links:
        walk: list[str] = []
        while name not in rooted and name not in walk:
            walk.append(name)
            name = carried[name].parent
        if name not in rooted:
            loop = [*walk[walk.index(name) :], name]
            raise ValueError(f"links go round in a loop: {' <- '.join(loop[:8])}")
        rooted.update(walk)


def _floats(text: str, count: int | None = None) -> np.ndarray:
    """The finite numbers of an attribute, `count` of them. Raises ValueError."""
    try:
        values = np.array([float(word) for word in text.split()])
    except ValueError:
        hint = "; numbers are written with a point, between blanks" if "," in text else ""
        raise ValueError(f"'{text}' is no row of numbers{hint}") from None
    if count is not None and len(values) != count:
        raise ValueError(f"'{text}' has {len(values)} numbers, {count} are needed")
    if not np.isfinite(values).all():
        raise ValueError(f"'{text}' is not finite")
    return values


def _lengths(element: ET.Element, *names: str) -> tuple[float, ...]:
    """Positive lengths [m] of a shape. Raises ValueError."""
    for name in names:
        if name not in element.attrib:
            raise ValueError(f"<{element.tag}> has no '{name}'")
    values = [_floats(element.attrib[name], 3 if name == "size" else 1) for name in names]
    sizes = tuple(float(value) for row in values for value in row)
    if min(sizes) <= 0.0:
        raise ValueError(f"<{element.tag}> of size {sizes}: every length must be > 0")
    if max(sizes) > MAX_LENGTH:
        raise ValueError(f"<{element.tag}> is {max(sizes):.4g} m long, valid: up to {MAX_LENGTH} m; is it in mm?")
    return sizes


def _child(element: ET.Element, tag: str) -> ET.Element:
    child = element.find(tag)
    if child is None:
        raise ValueError(f"<{tag}> in <{element.tag}>")
    return child


def _origin(element: ET.Element) -> np.ndarray:
    origin = element.find("origin")
    if origin is None:
        return np.eye(4)
    rpy, xyz = _floats(origin.get("rpy", "0 0 0"), 3), _floats(origin.get("xyz", "0 0 0"), 3)
    if np.abs(xyz).max() > MAX_LENGTH:
        raise ValueError(f"its origin is {np.abs(xyz).max():.4g} m away, valid: up to {MAX_LENGTH} m; is it in mm?")
    return make_transform(rpy_to_matrix(rpy), xyz)


def _inertial(element: ET.Element | None) -> Inertial | None:
    if element is None:
        return None
    values = {key: float(_floats(value, 1)[0]) for key, value in _child(element, "inertia").attrib.items()}
    xx, xy, xz, yy, yz, zz = (values[key] for key in ("ixx", "ixy", "ixz", "iyy", "iyz", "izz"))
    mass = float(_floats(_child(element, "mass").attrib["value"], 1)[0])
    if not 0.0 <= mass <= MAX_MASS:
        raise ValueError(f"its mass is {mass:.4g} kg, valid: 0 to {MAX_MASS:.0f} kg")
    T_link_com = _origin(element)
    rotation = T_link_com[:3, :3]
    inertia = rotation @ np.array([[xx, xy, xz], [xy, yy, yz], [xz, yz, zz]]) @ rotation.T
    moments = np.linalg.eigvalsh(inertia)
    if moments[0] < -1e-3 * abs(moments[2]):
        raise ValueError(f"its inertia has the principal moments {np.round(moments, 9).tolist()}; a body's are >= 0")
    return Inertial(mass=mass, com=T_link_com[:3, 3], inertia=inertia)


def _primitives(collision: ET.Element) -> list[Primitive]:
    """The primitives of a <collision>: none of a mesh, three of a capsule. Raises ValueError."""
    geometry = _child(collision, "geometry")
    T_link_shape = _origin(collision)
    shape = next(iter(geometry), None)
    if shape is None:
        raise ValueError("its collision <geometry> is empty")
    if shape.tag not in SHAPES:
        raise ValueError(f"collision geometry <{shape.tag}> is not known; valid: {', '.join(SHAPES)}")
    if shape.tag == "mesh":
        return []  # not ours to load
    if shape.tag == "box":
        return [Primitive(kind="box", size=_lengths(shape, "size"), T_link_shape=T_link_shape)]
    if shape.tag == "sphere":
        return [Primitive(kind="sphere", size=_lengths(shape, "radius"), T_link_shape=T_link_shape)]
    radius, length = _lengths(shape, "radius", "length")
    cylinder = Primitive(kind="cylinder", size=(radius, length), T_link_shape=T_link_shape)
    if shape.tag == "cylinder":
        return [cylinder]
    ends = [T_link_shape @ make_transform(translation=np.array([0.0, 0.0, z])) for z in (-length / 2, length / 2)]
    return [cylinder, *(Primitive(kind="sphere", size=(radius,), T_link_shape=T) for T in ends)]


def _link(element: ET.Element) -> Link:
    shapes = [shape for collision in element.findall("collision") for shape in _primitives(collision)]
    return Link(name=element.attrib["name"], primitives=tuple(shapes), inertial=_inertial(element.find("inertial")))


def _joint(element: ET.Element) -> Joint:
    axis = element.find("axis")
    limit = element.find("limit")
    kind = element.attrib["type"]
    if kind not in KINDS:
        raise ValueError(f"type '{kind}'; valid: {', '.join(KINDS)}")
    bounds = {} if limit is None else {key: float(_floats(value, 1)[0]) for key, value in limit.attrib.items()}
    axis_xyz = np.array([1.0, 0.0, 0.0]) if axis is None or kind == "fixed" else _floats(axis.attrib["xyz"], 3)
    if np.linalg.norm(axis_xyz) < 1e-6:
        raise ValueError("its axis is 0 0 0; a direction is needed")
    return Joint(
        name=element.attrib["name"],
        kind=kind,
        parent=_child(element, "parent").attrib["link"],
        child=_child(element, "child").attrib["link"],
        T_parent_joint=_origin(element),
        axis=axis_xyz / np.linalg.norm(axis_xyz),
        lower=bounds.get("lower", -np.inf),
        upper=bounds.get("upper", np.inf),
        velocity=bounds.get("velocity", np.inf),
        effort=bounds.get("effort", np.inf),
    )
