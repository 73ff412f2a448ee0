"""What a hand is: a short YAML beside a URDF, the same for every hand; docs/any_hand.md explains every field.

Lengths in m, angles in rad. Points and directions of a link are in that link's URDF frame, those of the hand in the
root link's frame. Limits and efforts of the joints are the URDF's: they are written down once.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from udg_description.errors import HandModelError, UdgError
from udg_description.robot.yaml_file import checked, read_yaml, vector
from udg_description.sides import Side, other_side
from udg_description.transforms import MIRROR

UNIT_TOLERANCE = 1e-3
"""A direction of a hand's file is at most this much longer or shorter than 1."""


@dataclass(frozen=True, kw_only=True)
class Pad:
    """Where a finger touches: a sphere in a link, and the direction out of the finger that it faces."""

    link: str
    center: Sequence[float]
    radius: float
    axis: Sequence[float]

    def __post_init__(self) -> None:
        vector(self.center, 3, "pad center", HandModelError)
        if not self.radius > 0.0:
            raise HandModelError(f"pad of link '{self.link}': radius {self.radius} must be > 0 [m]")
        if np.linalg.norm(vector(self.axis, 3, "pad axis", HandModelError)) < 1e-6:
            raise HandModelError(f"pad of link '{self.link}': axis {self.axis} has no direction")

    @property
    def normal(self) -> np.ndarray:
        """The axis (3,) at unit length."""
        return np.asarray(self.axis, dtype=float) / np.linalg.norm(self.axis)


@dataclass(frozen=True, kw_only=True)
class TypicalGrasp:
    """How the right hand stands and is bent at a typical grasp, relative to its home orientation carried to the object.

    In the axes of the robot's hand frame: y out of the palm, z against the fingers (`Robot`).
    """

    shift_m: Sequence[float]
    rotvec: Sequence[float]  # [rad]
    joints_rad: Sequence[float]  # in the order of the hand's joints

    def __post_init__(self) -> None:
        vector(self.shift_m, 3, "shift_m", HandModelError)
        vector(self.rotvec, 3, "rotvec", HandModelError)


@dataclass(frozen=True, kw_only=True)
class HandDescription:
    """What the file says. `spheres` by link: (x, y, z, radius); links that are skipped get theirs from the URDF."""

    name: str
    urdf: str  # relative to the file
    root_link: str
    palm_normal: Sequence[float]  # out of the palm
    grasp_center: Sequence[float]  # what the open hand closes around
    preshape: Mapping[str, float]  # open hand, by joint
    contacts: Mapping[str, Pad]  # "thumb", "index", "mid", "ring", "pinky", or names of your own
    side: Side = "right"
    joints: Sequence[str] | None = None  # order of q; None: that of the URDF
    spheres: Mapping[str, Sequence[Sequence[float]]] = field(default_factory=dict)
    guard: Sequence[Sequence[float]] = ()  # what carries the hand, in the root link's frame
    may_touch: Sequence[str] = ()  # links of the first finger that are not kept off the others
    # What an arm's hand has beyond a floating one; every field has a default.
    fingers: Sequence[float] | None = None  # direction of the stretched fingers; None: from the guard to the centre
    home: Mapping[str, float] = field(default_factory=dict)  # joints at home; the others as in `preshape`
    tips: Mapping[str, Sequence[float]] = field(default_factory=dict)  # ends of the fingers in their pads' links
    palm: Sequence[Sequence[float]] = ()  # points on the palm's surface in the root link's frame, its centre first
    acceleration: float = 100.0  # [rad/s^2] of every joint
    typical: Mapping[str, TypicalGrasp] = field(default_factory=dict)  # by strategy; others start from `preshape`

    def __post_init__(self) -> None:
        if self.side not in ("left", "right"):
            raise HandModelError(f"hand '{self.name}': side is '{self.side}'; valid: left, right")
        for name in ("palm_normal", "fingers"):
            value = getattr(self, name)
            if value is None:
                continue
            if abs(np.linalg.norm(vector(value, 3, name, HandModelError)) - 1.0) > UNIT_TOLERANCE:
                raise HandModelError(f"hand '{self.name}': {name} {value} is not a unit vector")
        vector(self.grasp_center, 3, "grasp_center", HandModelError)
        for rows in (*self.spheres.values(), self.guard):
            for row in rows:
                if vector(row, 4, "sphere", HandModelError)[3] <= 0.0:
                    raise HandModelError(f"hand '{self.name}': sphere {row} has no radius")
        for point in (*self.tips.values(), *self.palm):
            vector(point, 3, "point", HandModelError)
        for what, names, valid in (
            ("tips", self.tips, self.contacts),
            ("home", self.home, self.preshape),
        ):
            unknown = sorted(set(names) - set(valid))
            if unknown:
                raise HandModelError(f"hand '{self.name}': {what} has '{unknown[0]}'; valid: {', '.join(valid)}")
        if not self.acceleration > 0.0:
            raise HandModelError(f"hand '{self.name}': acceleration {self.acceleration} must be > 0 [rad/s^2]")

    @property
    def finger_direction(self) -> np.ndarray:
        """Unit vector (3,) across the palm normal: `fingers`, else from what carries the hand to the grasp centre.

        Where the one lies straight in front of the other: the coordinate axis that is least along the palm normal.
        """
        normal = np.asarray(self.palm_normal, dtype=float)
        if self.fingers is not None:
            along = np.asarray(self.fingers, dtype=float)
        else:
            guard = np.asarray(self.guard, dtype=float).reshape(-1, 4)
            back = guard[:, :3].mean(axis=0) if len(guard) else np.zeros(3)
            along = np.asarray(self.grasp_center, dtype=float) - back
        across = along - along @ normal * normal
        if np.linalg.norm(across) < 1e-6:
            axis = np.eye(3)[np.abs(normal).argmin()]
            across = axis - axis @ normal * normal
        return across / np.linalg.norm(across)

    def tip(self, contact: str) -> np.ndarray:
        """The end (3,) [m] of a finger in its pad's link; that of the pad where none is given."""
        pad = self.contacts[contact]
        if contact in self.tips:
            return np.asarray(self.tips[contact], dtype=float)
        return np.asarray(pad.center, dtype=float) + pad.radius * pad.normal

    @property
    def palm_points(self) -> np.ndarray:
        """Points (P, 3) [m] on the palm, its centre first; by default the grasp centre dropped to the root's height."""
        if len(self.palm):
            return np.asarray(self.palm, dtype=float)
        center, normal = np.asarray(self.grasp_center, dtype=float), np.asarray(self.palm_normal, dtype=float)
        return (center - center @ normal * normal)[None]

    def mirrored(self) -> HandDescription:
        """The hand of the other side: every y changes its sign, joints turn by the same angles."""

        def point(values: Sequence[float]) -> tuple[float, ...]:
            return tuple((MIRROR @ np.asarray(values, dtype=float) + 0.0).tolist())

        def sphere(values: Sequence[float]) -> tuple[float, ...]:
            return (*point(values[:3]), float(values[3]))

        pads = {
            name: dataclasses.replace(pad, center=point(pad.center), axis=point(pad.axis))
            for name, pad in self.contacts.items()
        }
        return dataclasses.replace(
            self,
            side=other_side(self.side),
            palm_normal=point(self.palm_normal),
            grasp_center=point(self.grasp_center),
            fingers=None if self.fingers is None else point(self.fingers),
            contacts=pads,
            spheres={link: tuple(sphere(row) for row in rows) for link, rows in self.spheres.items()},
            guard=tuple(sphere(row) for row in self.guard),
            tips={name: point(tip) for name, tip in self.tips.items()},
            palm=tuple(point(row) for row in self.palm),
        )


def read_hand(path: Path | str) -> HandDescription:
    """Read and check a description file.

    Raises:
        HandModelError: missing or malformed file, unknown or missing fields.
    """
    path = Path(path)
    data = read_yaml(path, "hand", HandModelError)
    if not isinstance(data.get("contacts"), dict):
        raise HandModelError(f"hand description {path}: a mapping with 'contacts' is needed")
    try:
        pads = {name: checked(Pad, pad, f"contact '{name}'", HandModelError) for name, pad in data["contacts"].items()}
        typical = {
            name: checked(TypicalGrasp, grasp, f"typical grasp '{name}'", HandModelError)
            for name, grasp in (data.get("typical") or {}).items()
        }
        return checked(HandDescription, {**data, "contacts": pads, "typical": typical}, "hand", HandModelError)
    except UdgError as error:
        raise HandModelError(f"hand description {path}: {error}") from None
