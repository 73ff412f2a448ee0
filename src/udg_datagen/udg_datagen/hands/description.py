"""The description file of a hand (YAML) and its loader; docs/any_hand.md explains every field.

Lengths in m, angles in rad. Points and directions of a link are in that link's URDF frame, those of the hand in the
root link's frame. Limits and efforts of the joints are the URDF's: they are written down once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from udg_datagen.errors import HandModelError
from udg_datagen.hands.model import HandModel, HandSpec
from udg_datagen.hands.sphere_cover import cover_with_spheres
from udg_datagen.hands.tree import HandTree, hand_tree
from udg_description.layout import Side
from udg_description.shapes import area, sample_union

_SURFACE_DENSITY = 2.0e4  # [1/m^2] points on the collision geometry for the final check
_LEAST_POINTS, _MOST_POINTS = 60, 20_000  # of a link
_SPHERE_GROW = 0.001  # [m] of spheres that are derived from primitives
_SPHERE_GAP = 0.0015  # [m] what of the surface may stand out of them


@dataclass(frozen=True, kw_only=True)
class Pad:
    """Where a finger touches: a sphere in a link, and the direction out of the finger that it faces."""

    link: str
    center: tuple[float, float, float]
    radius: float
    axis: tuple[float, float, float]

    def __post_init__(self) -> None:
        _vector(self.center, 3, "pad center")
        if not self.radius > 0.0:
            raise HandModelError(f"pad of link '{self.link}': radius {self.radius} must be > 0 [m]")
        if np.linalg.norm(_vector(self.axis, 3, "pad axis")) < 1e-6:
            raise HandModelError(f"pad of link '{self.link}': axis {self.axis} has no direction")


@dataclass(frozen=True, kw_only=True)
class HandDescription:
    """What the file says. `spheres` by link: (x, y, z, radius); links that are left out get theirs from the URDF."""

    name: str
    urdf: str  # relative to the file
    root_link: str
    palm_normal: tuple[float, float, float]  # out of the palm
    grasp_center: tuple[float, float, float]  # what the open hand closes around
    preshape: Mapping[str, float]  # open hand, by joint
    contacts: Mapping[str, Pad]  # "thumb", "index", "mid", "ring", "pinky", or names of your own
    side: Side = "right"
    joints: Sequence[str] | None = None  # order of q; None: that of the URDF
    spheres: Mapping[str, Sequence[tuple[float, float, float, float]]] = field(default_factory=dict)
    guard: Sequence[tuple[float, float, float, float]] = ()  # what carries the hand, in the root link's frame

    def __post_init__(self) -> None:
        if self.side not in ("left", "right"):
            raise HandModelError(f"hand '{self.name}': side is '{self.side}'; valid: left, right")
        if abs(np.linalg.norm(_vector(self.palm_normal, 3, "palm_normal")) - 1.0) > 1e-3:
            raise HandModelError(f"hand '{self.name}': palm_normal {self.palm_normal} is not a unit vector")
        _vector(self.grasp_center, 3, "grasp_center")
        for rows in (*self.spheres.values(), self.guard):
            for row in rows:
                if _vector(row, 4, "sphere")[3] <= 0.0:
                    raise HandModelError(f"hand '{self.name}': sphere {row} has no radius")


def read_description(path: Path | str) -> HandDescription:
    """Read and check a description file.

    Raises:
        HandModelError: missing or malformed file, unknown or missing fields.
    """
    path = Path(path)
    try:
        data = yaml.safe_load(path.read_text())
    except OSError as error:
        raise HandModelError(f"cannot read the hand description {path}: {error.strerror}") from None
    except yaml.YAMLError as error:
        raise HandModelError(f"hand description {path} is not valid YAML: {error}") from None
    if not isinstance(data, dict) or not isinstance(data.get("contacts"), dict):
        raise HandModelError(f"hand description {path}: a mapping with 'contacts' is needed")
    try:
        pads = {name: _checked(Pad, pad, f"contact '{name}'") for name, pad in data.pop("contacts").items()}
        description = _checked(HandDescription, {**data, "contacts": pads}, "hand")
    except HandModelError as error:
        raise HandModelError(f"hand description {path}: {error}") from None
    return description


def load_hand(path: Path | str, device: str = "cpu") -> HandModel:
    """The hand of a description file, ready for `synthesize`.

    Raises:
        HandModelError: the file or its URDF is missing, malformed, or they contradict each other.
    """
    return HandModel(hand_spec(read_description(path), Path(path).parent), device)


def hand_spec(description: HandDescription, folder: Path) -> HandSpec:
    """The synthesiser's view of a described hand whose URDF lies relative to `folder`."""
    tree = hand_tree(folder / description.urdf, description.root_link, description.joints)
    names = [joint.name for joint in tree.joints]
    if set(description.preshape) != set(names):
        raise HandModelError(
            f"hand '{description.name}': preshape has {', '.join(description.preshape)}; "
            f"the joints are {', '.join(names)}"
        )
    spheres = _spheres(tree, description)
    sphere_link = np.repeat(np.arange(len(spheres)), [len(rows) for rows in spheres])
    sphere = np.concatenate(spheres)
    surface = surface_points(tree)
    pads = [(name, pad, *tree.link_of(pad.link)) for name, pad in description.contacts.items()]
    axes = np.stack([T[:3, :3] @ np.asarray(pad.axis) for _, pad, _, T in pads])
    guard = np.asarray(description.guard, dtype=float).reshape(-1, 4)
    lower, upper = (np.array([getattr(joint, end) for joint in tree.joints]) for end in ("lower", "upper"))
    return HandSpec(
        side=description.side,
        joint_names=tuple(names),
        parent_link=tree.parent_link,
        T_parent_joint=tree.T_parent_joint,
        axis=np.stack([joint.axis for joint in tree.joints]),
        lower=lower,
        upper=upper,
        effort=np.array([joint.effort for joint in tree.joints]),
        sphere_link=sphere_link,
        sphere_center=sphere[:, :3],
        sphere_radius=sphere[:, 3],
        guard_center=guard[:, :3],
        guard_radius=guard[:, 3],
        surface_link=np.repeat(np.arange(len(surface)), [len(points) for points in surface]),
        surface_point=np.concatenate(surface),
        contact_names=tuple(description.contacts),
        contact_link=np.array([link for _, _, link, _ in pads]),
        contact_center=np.stack([T[:3, :3] @ np.asarray(pad.center) + T[:3, 3] for _, pad, _, T in pads]),
        contact_radius=np.array([pad.radius for _, pad, _, _ in pads]),
        contact_axis=axes / np.linalg.norm(axes, axis=1, keepdims=True),
        self_pairs=_self_pairs(tree, sphere_link, [link for _, _, link, _ in pads]),
        grasp_center=np.asarray(description.grasp_center, dtype=float),
        palm_normal=np.asarray(description.palm_normal, dtype=float),
        preshape=np.clip([description.preshape[name] for name in names], lower, upper),
    )


def surface_points(tree: HandTree) -> list[np.ndarray]:
    """Points (m, 3) [m] on the collision geometry of every moving link, in its frame; the same in every call."""
    rng = np.random.default_rng(0)
    points = []
    for shapes in tree.primitives:
        wanted = round(_SURFACE_DENSITY * sum(area(shape) for shape in shapes))
        count = min(max(_LEAST_POINTS, wanted), _MOST_POINTS)
        points.append(sample_union(shapes, count, rng) if shapes else np.zeros((0, 3)))
    return points


def _spheres(tree: HandTree, description: HandDescription) -> list[np.ndarray]:
    """Rows (k, 4) of centre and radius for every moving link: those of the file, else a cover of its primitives."""
    given: dict[int, list[np.ndarray]] = {}
    for name, rows in description.spheres.items():
        link, T = tree.link_of(name)
        values = np.asarray(rows, dtype=float).reshape(-1, 4)
        values[:, :3] = values[:, :3] @ T[:3, :3].T + T[:3, 3]
        given.setdefault(link, []).append(values)
    spheres = []
    for link, (shapes, points) in enumerate(zip(tree.primitives, surface_points(tree), strict=True)):
        if link in given:
            spheres.append(np.concatenate(given[link]))
        elif shapes:
            centers, radii = cover_with_spheres(shapes, points, grow=_SPHERE_GROW, gap=_SPHERE_GAP)
            spheres.append(np.column_stack([centers, radii]))
        else:
            spheres.append(np.zeros((0, 4)))
    if sum(len(rows) for rows in spheres) == 0:
        raise HandModelError(f"hand '{description.name}': neither spheres in the file nor primitives in its URDF")
    return spheres


def _self_pairs(tree: HandTree, sphere_link: np.ndarray, contact_links: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
    """Spheres of the first contact's finger (the thumb) and of the other fingers; what they share is in neither."""
    first = set(tree.chain(contact_links[0]))
    others = {link for contact in contact_links[1:] for link in tree.chain(contact)}
    return (
        np.flatnonzero(np.isin(sphere_link, sorted(first - others))),
        np.flatnonzero(np.isin(sphere_link, sorted(others - first))),
    )


def _checked(kind: type, values: object, what: str) -> Any:  # noqa: ANN401 - an instance of `kind`
    if not isinstance(values, dict):
        raise HandModelError(f"{what}: a mapping is needed, got {values!r}")
    valid = kind.__dataclass_fields__  # type: ignore[attr-defined]
    unknown = sorted(set(values) - set(valid))
    if unknown:
        raise HandModelError(f"{what}: unknown fields {unknown}; valid: {', '.join(valid)}")
    try:
        return kind(**values)
    except TypeError as error:
        raise HandModelError(f"{what}: {error}") from None


def _vector(values: Sequence[float], size: int, what: str) -> np.ndarray:
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise HandModelError(f"{what} is {values!r}, {size} numbers are needed") from None
    if array.shape != (size,) or not np.isfinite(array).all():
        raise HandModelError(f"{what} is {values!r}, {size} finite numbers are needed")
    return array
