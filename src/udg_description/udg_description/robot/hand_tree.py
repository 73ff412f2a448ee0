"""The kinematic tree of a hand below one link of a URDF, fixed joints folded into the links that carry them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from udg_description.errors import HandModelError
from udg_description.shapes import bounding_radius
from udg_description.transforms import skew
from udg_description.urdf import Joint, Primitive, Urdf, load_urdf, read_urdf_xml

MAX_LINK_M = 0.6
"""How far a link of a hand may reach from its frame [m]; more is another unit, or no hand."""
MAX_JOINTS = 64
"""Joints of a hand."""
MIN_LINK_KG, MAX_LINK_KG = 1e-5, 20.0
"""Mass of what moves as one."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandTree:
    """Link 0 is the root, link k > 0 the child of joint k - 1; parents come before children."""

    urdf: Urdf
    links: tuple[str, ...]  # n + 1
    joints: tuple[Joint, ...]  # n
    parent_link: np.ndarray  # (n,)
    T_parent_joint: np.ndarray  # (n, 4, 4) in the moving link that carries the joint
    place: dict[str, tuple[int, np.ndarray]]  # every URDF link below the root: its moving link, T_link_part
    primitives: tuple[tuple[Primitive, ...], ...]  # n + 1, in the frames of the moving links

    def link_of(self, name: str) -> tuple[int, np.ndarray]:
        """Index of the moving link that carries the URDF link `name`, and that link's pose (4, 4) in it."""
        if name not in self.place:
            raise HandModelError(
                f"{self.urdf.path}: no link '{name}' below '{self.links[0]}'; valid: {', '.join(self.place)}"
            )
        return self.place[name]

    def chain(self, link: int) -> list[int]:
        """Moving links from `link` up to the root, without the root."""
        walk = []
        while link > 0:
            walk.append(link)
            link = int(self.parent_link[link - 1])
        return walk

    def poses(self, q: np.ndarray) -> np.ndarray:
        """T_root_link (n + 1, 4, 4) for joints q (n,) [rad]."""
        T = np.tile(np.eye(4), (len(self.links), 1, 1))
        for k, joint in enumerate(self.joints):
            turn = np.eye(4)
            turn[:3, :3] = _axis_rotation(joint.axis, float(q[k]))
            T[k + 1] = T[self.parent_link[k]] @ self.T_parent_joint[k] @ turn
        return T


def hand_tree(urdf_path: Path, root: str, order: Sequence[str] | None = None) -> HandTree:
    """The hand below the link `root`; its joints in the order of the file, or in `order` (names of all of them).

    Raises:
        HandModelError: an unknown link, a joint that does not turn, has no limits or effort, or mimics another; a
            moving link without mass; a shape or an offset that is too long for a hand.
        RobotModelError: the file is no URDF.
    """
    urdf = load_urdf(Path(urdf_path))
    if root not in urdf.links:
        raise HandModelError(f"{urdf.path}: no link '{root}'; valid: {', '.join(urdf.links)}")
    mimics = _mimics(urdf.path)
    children: dict[str, list[Joint]] = {}
    for joint in urdf.joints.values():
        children.setdefault(joint.parent, []).append(joint)
    links, joints, parents, offsets = [root], [], [], []
    place: dict[str, tuple[int, np.ndarray]] = {root: (0, np.eye(4))}
    shapes: list[list[Primitive]] = [[]]
    walk = [root]
    for name in walk:  # grows while it is walked
        link, T_link_part = place[name]
        shapes[link] += [_moved(p, T_link_part) for p in urdf.links[name].primitives]
        for joint in children.get(name, []):
            walk.append(joint.child)
            T_link_joint = T_link_part @ joint.T_parent_joint
            if joint.kind == "fixed":
                place[joint.child] = (link, T_link_joint)
                continue
            _check_joint(joint, urdf.path, mimics)
            links.append(joint.child)
            joints.append(joint)
            parents.append(link)
            offsets.append(T_link_joint)
            shapes.append([])
            place[joint.child] = (len(links) - 1, np.eye(4))
            if len(joints) > MAX_JOINTS:
                raise HandModelError(f"{urdf.path}: more than {MAX_JOINTS} joints move below '{root}'; that is no hand")
    if not joints:
        raise HandModelError(f"{urdf.path}: no joint moves anything below '{root}'")
    _check_bodies(urdf, place, shapes, links)
    tree = HandTree(
        urdf=urdf,
        links=tuple(links),
        joints=tuple(joints),
        parent_link=np.array(parents),
        T_parent_joint=np.stack(offsets),
        place=place,
        primitives=tuple(tuple(s) for s in shapes),
    )
    return tree if order is None else _reordered(tree, order)


def without_collision(tree: HandTree) -> list[str]:
    """Names of the links below the root, and of the root, that nothing can touch: no collision geometry is in them.

    Links that only carry a frame (no mass, nothing to see) are skipped.
    """
    robot = read_urdf_xml(tree.urdf.path)
    seen = {link.get("name") for link in robot.findall("link") if link.find("visual") is not None}

    def is_body(name: str) -> bool:
        inertial = tree.urdf.links[name].inertial
        return name in seen or (inertial is not None and inertial.mass > 0.0)

    return [name for name in tree.place if not tree.urdf.links[name].primitives and is_body(name)]


def _check_bodies(
    urdf: Urdf, place: dict[str, tuple[int, np.ndarray]], shapes: list[list[Primitive]], links: list[str]
) -> None:
    """Raise HandModelError for moving links without mass, and for what is too long for a hand."""
    masses: dict[int, list[float]] = {}
    for name, (k, _) in place.items():
        inertial = urdf.links[name].inertial
        if inertial is not None:
            masses.setdefault(k, []).append(inertial.mass)
            if inertial.mass > MAX_LINK_KG:
                raise HandModelError(
                    f"{urdf.path}: link '{name}' has {inertial.mass:.4g} kg, valid for a hand: up to "
                    f"{MAX_LINK_KG} kg; is it in g?"
                )
    for k, values in masses.items():
        if sum(values) < MIN_LINK_KG:
            raise HandModelError(
                f"{urdf.path}: moving link '{links[k]}' has {sum(values):.2g} kg; give it at least "
                f"{MIN_LINK_KG} kg, or leave <inertial> out"
            )
    for name, row in zip(links, shapes, strict=True):
        for shape in row:
            reach = float(np.linalg.norm(shape.T_link_shape[:3, 3])) + bounding_radius(shape)
            if reach > 2.0 * MAX_LINK_M:
                raise HandModelError(
                    f"{urdf.path}: link '{name}': a {shape.kind} reaches {reach:.4g} m from its "
                    f"frame, valid for a hand: up to {2.0 * MAX_LINK_M} m; is it in mm?"
                )


def _reordered(tree: HandTree, order: Sequence[str]) -> HandTree:
    names = [joint.name for joint in tree.joints]
    if sorted(order) != sorted(names):
        raise HandModelError(f"{tree.urdf.path}: the joints of the hand are {', '.join(names)}; got {', '.join(order)}")
    old = [names.index(name) for name in order]  # joint at each new place
    new_link = np.zeros(len(old) + 1, dtype=int)
    new_link[[k + 1 for k in old]] = np.arange(1, len(old) + 1)
    parents = new_link[tree.parent_link[old]]
    if any(parents[k] > k for k in range(len(old))):
        raise HandModelError(f"{tree.urdf.path}: in the list of joints one comes before the joint that carries it")
    old_link = [0] + [k + 1 for k in old]
    return HandTree(
        urdf=tree.urdf,
        links=tuple(tree.links[k] for k in old_link),
        joints=tuple(tree.joints[k] for k in old),
        parent_link=parents,
        T_parent_joint=tree.T_parent_joint[old],
        place={name: (int(new_link[link]), T) for name, (link, T) in tree.place.items()},
        primitives=tuple(tree.primitives[k] for k in old_link),
    )


def _check_joint(joint: Joint, path: Path, mimics: set[str]) -> None:
    if joint.kind != "revolute":
        raise HandModelError(f"{path}: joint '{joint.name}' is '{joint.kind}'; a hand has revolute and fixed joints")
    if joint.name in mimics:
        raise HandModelError(f"{path}: joint '{joint.name}' mimics another; coupled joints are not supported")
    if not (np.isfinite(joint.lower) and np.isfinite(joint.upper) and joint.lower < joint.upper):
        raise HandModelError(f"{path}: joint '{joint.name}' needs limits with lower < upper [rad]")
    if not (np.isfinite(joint.effort) and joint.effort > 0.0):
        raise HandModelError(f"{path}: joint '{joint.name}' needs an effort limit > 0 [Nm]")


def _mimics(path: Path) -> set[str]:
    joints = read_urdf_xml(path).findall("joint")
    return {joint.attrib["name"] for joint in joints if joint.find("mimic") is not None}


def _moved(primitive: Primitive, T: np.ndarray) -> Primitive:
    return Primitive(kind=primitive.kind, size=primitive.size, T_link_shape=T @ primitive.T_link_shape)


def _axis_rotation(axis: np.ndarray, angle: float) -> np.ndarray:
    K = skew(axis)
    return np.eye(3) + np.sin(angle) * K + (1.0 - np.cos(angle)) * K @ K
