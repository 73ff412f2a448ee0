"""`Robot`: two arms on a table, a hand on each, built from the files in data/robots; and the robot of this process."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, lru_cache
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np

from udg_description.cache import needed_cache_dir
from udg_description.environment import ROBOT_VARIABLE
from udg_description.errors import HandModelError, RobotModelError, UdgError
from udg_description.files import user_path, write_atomically
from udg_description.robot.arm import ArmDescription, read_arm
from udg_description.robot.assemble import arm_elements, hand_elements, hand_name, urdf_text
from udg_description.robot.hand import HandDescription, Pad, read_hand
from udg_description.robot.hand_tree import hand_tree
from udg_description.robot.yaml_file import checked, read_yaml, vector
from udg_description.sides import SIDES, Side, other_side
from udg_description.transforms import MIRROR, frozen, make_transform

DEFAULT = "ur5e_xhand"
SUFFIXES = (".yaml", ".yml")
_DATA = Path(__file__).resolve().parents[1] / "data"


@dataclass(frozen=True, kw_only=True)
class _RobotFile:
    """What the file says. Paths are relative to it; `arm` and `hands` may be names of those that are shipped."""

    name: str
    arm: str
    hands: Mapping[Side, str]  # of one side: the other hand is its mirror image
    bases: Mapping[Side, Sequence[float]]  # [m] on the table top, unrotated
    flange_hand_xyz: Sequence[float]  # [m] hand frame in the right flange
    flange_hand_rotation: Sequence[Sequence[float]]  # rows
    right_arm_home: Sequence[float]  # [rad]; the left arm's is its mirror image
    urdf: str | None = None  # of the whole robot, whose names the hands' files use; None: put together
    spheres: str | None = None  # of the whole robot, in cuRobo's layout; None: the hands' own on the arm's

    def __post_init__(self) -> None:
        if set(self.hands) not in ({"left"}, {"right"}, {"left", "right"}):
            raise RobotModelError(f"hands are those of {', '.join(map(str, self.hands))}; valid: left, right, or both")
        if set(self.bases) != set(SIDES):
            raise RobotModelError(f"bases are those of {', '.join(map(str, self.bases))}; valid: left and right")
        if self.urdf is not None and len(self.hands) == 1:
            raise RobotModelError("with the URDF of the whole robot, the files of both hands are needed")


@dataclass(frozen=True, kw_only=True, eq=False)
class Robot:
    """A robot of two arms, each with a hand. Joints stand as left arm, left hand, right arm, right hand.

    The frame of a hand, `left_hand_link`, has its z axis against the stretched fingers and its y axis out of the right
    palm, into the left one: so the hands are mirror images (y -> -y) whatever frames their URDFs have. `hands` says
    everything in these frames and with the robot's names of links and joints. Arrays are read-only.
    """

    name: str
    arm: ArmDescription
    hands: Mapping[Side, HandDescription]
    bases: Mapping[Side, np.ndarray]  # (3,) [m] in the world
    T_flange_hand: Mapping[Side, np.ndarray]  # (4, 4)
    right_arm_home: np.ndarray  # (n,) [rad]
    arm_urdf: Path
    whole_urdf: Path | None
    spheres: Path | None
    arm_spheres: Path
    _hand_files: Mapping[Side, tuple[Path, str, np.ndarray, bool]] = field(default_factory=dict)  # see hand_elements

    @cached_property
    def hand_joints(self) -> dict[Side, tuple[str, ...]]:
        """The joints of each hand by their names in the robot."""
        return {side: tuple(self.hands[side].joints or ()) for side in SIDES}

    @cached_property
    def joint_names(self) -> tuple[str, ...]:
        """All joints, in the layout's order."""
        return tuple(
            name
            for side in SIDES
            for name in (*(f"{side}_{joint}" for joint in self.arm.joints), *self.hand_joints[side])
        )

    @property
    def n_arm_joints(self) -> int:
        """Joints of one arm."""
        return len(self.arm.joints)

    @property
    def n_hand_joints(self) -> int:
        """Joints of one hand."""
        return len(self.hand_joints["right"])

    @cached_property
    def parts(self) -> dict[str, slice]:
        """Where the joints of each part stand."""
        arm, side = self.n_arm_joints, self.n_arm_joints + self.n_hand_joints
        return {
            "left_arm": slice(0, arm),
            "left_hand": slice(arm, side),
            "right_arm": slice(side, side + arm),
            "right_hand": slice(side + arm, 2 * side),
            "left": slice(0, side),
            "right": slice(side, 2 * side),
            "all": slice(0, 2 * side),
        }

    @cached_property
    def mirror_offset(self) -> np.ndarray:
        """(n,) [rad]: the arm of the mirrored scene stands at offset - q of the other one."""
        return frozen(self.arm.mirror_offset)

    @cached_property
    def home_q(self) -> np.ndarray:
        """Home (N,) [rad]."""
        hands = []
        for side in SIDES:
            hand = self.hands[side]
            hands.append([{**hand.preshape, **hand.home}[joint] for joint in self.hand_joints[side]])
        return frozen(
            np.concatenate([self.mirror_offset - self.right_arm_home, hands[0], self.right_arm_home, hands[1]])
        )

    @property
    def fingers(self) -> tuple[str, ...]:
        """Names of the contacts of a hand, the one that stands opposite the others first."""
        return tuple(self.hands["right"].contacts)

    @cached_property
    def finger_of_link(self) -> dict[str, str]:
        """The contact whose finger a link of a hand belongs to; without links of the palm or of several fingers."""
        found: dict[str, str] = {}
        for side in SIDES:
            hand, tree = self.hands[side], hand_tree(self.urdf, f"{side}_hand_link", self.hand_joints[side])
            chains = {name: set(tree.chain(tree.link_of(pad.link)[0])) for name, pad in hand.contacts.items()}
            for link, (moving, _) in tree.place.items():
                names = [name for name, chain in chains.items() if moving in chain]
                if len(names) == 1:
                    found[link] = names[0]
        return found

    @cached_property
    def urdf(self) -> Path:
        """The whole robot's URDF; put together in the cache where it does not come as a file.

        Raises:
            RobotModelError: a part is missing or malformed.
            PathError: the cache cannot be written.
        """
        if self.whole_urdf is not None:
            return self.whole_urdf
        elements: list[ET.Element] = []
        for side in SIDES:
            elements += arm_elements(self.arm_urdf, self.arm, side, self.bases[side])
            path, root, T_hand_root, mirror = self._hand_files[side]
            flange = f"{side}_{self.arm.flange_link}"
            elements += hand_elements(path, root, side, flange, self.T_flange_hand[side], T_hand_root, mirror)
        text = urdf_text(self.name, elements)
        digest = hashlib.sha256(text.encode()).hexdigest()[:12]
        path = needed_cache_dir("robots") / f"{self.name}-{digest}.urdf"
        if not path.exists():
            write_atomically(path, text)
        return path


def shipped_robots() -> tuple[str, ...]:
    """Names of the robots that come with the package."""
    return tuple(sorted(path.stem for path in (_DATA / "robots").glob("*.yaml")))


@lru_cache(maxsize=8)
def load_robot(robot: str | Path = DEFAULT) -> Robot:
    """The robot of that name, or of a file (`.yaml`).

    Raises:
        RobotModelError: unknown name, missing or malformed file; with the file and the field.
        HandModelError: the same of a hand, or hands that do not go together.
    """
    path = _robot_path(str(robot))
    data = read_yaml(path, "robot")
    try:
        return _robot(checked(_RobotFile, data, "robot"), path.parent)
    except UdgError as error:
        kind = HandModelError if isinstance(error, HandModelError) else RobotModelError
        text = str(error)
        raise kind(text if "description /" in text else f"robot description {path}: {text}") from None


@lru_cache(maxsize=1)
def current_robot() -> Robot:
    """The robot of this process: that of the environment variable UDG_ROBOT when it was first asked for.

    It never changes afterwards, and processes that are started from here inherit it: a graph of nodes, a pool of
    workers and a benchmark are about one robot. What works on any robot takes a `Robot`. Raises as `load_robot`.
    """
    name = os.environ.get(ROBOT_VARIABLE) or DEFAULT
    robot = load_robot(name)
    if name.endswith(SUFFIXES):
        os.environ[ROBOT_VARIABLE] = str(user_path(name).resolve())  # for processes that work in another folder
    return robot


def _robot_path(robot: str) -> Path:
    if robot.endswith(SUFFIXES):
        return user_path(robot)
    if robot not in shipped_robots():
        raise RobotModelError(f"unknown robot '{robot}'; valid: {', '.join(shipped_robots())}, or a file .yaml")
    return _DATA / "robots" / f"{robot}.yaml"


def _part(folder: Path, kind: str, value: str) -> Path:
    """The file of an arm or a hand: a path from `folder`, or the name of a shipped one. Raises RobotModelError."""
    if value.endswith(SUFFIXES):
        return folder / value
    shipped = sorted(path.stem for path in (_DATA / kind).glob("*.yaml"))
    if value not in shipped:
        raise RobotModelError(f"{kind}: unknown '{value}'; valid: {', '.join(shipped)}, or a file .yaml")
    return _DATA / kind / f"{value}.yaml"


def _robot(file: _RobotFile, folder: Path) -> Robot:
    arm_path = _part(folder, "arms", file.arm)
    arm = read_arm(arm_path)
    n = len(arm.joints)
    rotation = np.array([vector(row, 3, "flange_hand_rotation") for row in file.flange_hand_rotation])
    if rotation.shape != (3, 3) or not np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6):
        raise RobotModelError(f"flange_hand_rotation is {file.flange_hand_rotation}; valid: a rotation, row by row")
    T_right = make_transform(rotation, vector(file.flange_hand_xyz, 3, "flange_hand_xyz"))
    across = np.diag([*arm.flange_mirror, 1.0])
    T_left = across @ T_right @ np.diag([*np.diag(MIRROR), 1.0]) + 0.0
    whole = None if file.urdf is None else folder / file.urdf
    hands: dict[Side, HandDescription] = {}
    files: dict[Side, tuple[Path, str, np.ndarray, bool]] = {}
    for side in SIDES:
        mirror = side not in file.hands
        path = _part(folder, "hands", file.hands[other_side(side) if mirror else side])
        given = read_hand(path)
        if given.side != (other_side(side) if mirror else side):
            raise HandModelError(f"{path}: side is {given.side}, the robot has it as its {side} hand")
        if whole is not None:
            hands[side] = given
            continue
        T_hand_root = _T_hand_root(given)
        hands[side] = _in_robot(given, path, side, T_hand_root, mirror)
        files[side] = (path.parent / given.urdf, given.root_link, T_hand_root, mirror)
    _check_hands(hands)
    return Robot(
        name=file.name,
        arm=arm,
        hands=hands,
        bases={side: frozen(vector(file.bases[side], 3, f"base of the {side} arm")) for side in SIDES},
        T_flange_hand={"left": frozen(T_left), "right": frozen(T_right)},
        right_arm_home=frozen(vector(file.right_arm_home, n, "right_arm_home")),
        arm_urdf=arm_path.parent / arm.urdf,
        whole_urdf=whole,
        spheres=None if file.spheres is None else folder / file.spheres,
        arm_spheres=arm_path.parent / arm.spheres,
        _hand_files=files,
    )


def _T_hand_root(hand: HandDescription) -> np.ndarray:
    """Pose (4, 4) of a hand's root in the robot's hand frame, of the same origin."""
    y = np.asarray(hand.palm_normal, dtype=float) * (1.0 if hand.side == "right" else -1.0)
    z = -hand.finger_direction
    return make_transform(np.stack([np.cross(y, z), y, z])) + 0.0


def _in_robot(hand: HandDescription, path: Path, side: Side, T_hand_root: np.ndarray, mirror: bool) -> HandDescription:
    """The hand with the names that the robot has for its links and joints, in the robot's hand frame."""
    root, R = hand.root_link, T_hand_root[:3, :3]
    tree = hand_tree(path.parent / hand.urdf, root, hand.joints)
    names = [joint.name for joint in tree.joints]
    if set(hand.preshape) != set(names):
        raise HandModelError(
            f"hand description {path}: preshape has {', '.join(hand.preshape)}; the joints are {', '.join(names)}"
        )
    for joint in tree.joints:
        if not 0.0 < joint.velocity < np.inf:
            raise HandModelError(f"{tree.urdf.path}: joint '{joint.name}' needs a velocity limit > 0 [rad/s]")

    def turned(values: Sequence[float] | np.ndarray) -> tuple[float, ...]:
        return tuple((R @ np.asarray(values, dtype=float)).tolist())

    def of_link(link: str, values: Sequence[float]) -> tuple[float, ...]:
        return turned(values) if link == root else tuple(float(value) for value in values)

    def by_joint(values: Mapping[str, float]) -> dict[str, float]:
        return {hand_name(side, name, ""): float(value) for name, value in values.items()}

    tree.link_of(root)
    pads = {}
    for name, pad in hand.contacts.items():
        tree.link_of(pad.link)
        pads[name] = Pad(
            link=hand_name(side, pad.link, root),
            center=of_link(pad.link, pad.center),
            radius=pad.radius,
            axis=of_link(pad.link, pad.axis),
        )
    placed = dataclasses.replace(
        hand,
        urdf="",  # the robot's
        root_link=f"{side}_hand_link",
        palm_normal=turned(hand.palm_normal),
        grasp_center=turned(hand.grasp_center),
        fingers=turned(hand.finger_direction),
        preshape=by_joint(hand.preshape),
        home=by_joint(hand.home),
        contacts=pads,
        joints=tuple(hand_name(side, name, "") for name in names),
        spheres={
            hand_name(side, link, root): tuple((*of_link(link, row[:3]), float(row[3])) for row in rows)
            for link, rows in hand.spheres.items()
        },
        guard=tuple((*turned(row[:3]), float(row[3])) for row in hand.guard),
        may_touch=tuple(hand_name(side, link, root) for link in hand.may_touch),
        tips={name: of_link(hand.contacts[name].link, tip) for name, tip in hand.tips.items()},
        palm=tuple(turned(row) for row in hand.palm),
    )
    return placed.mirrored() if mirror else placed


def _check_hands(hands: Mapping[Side, HandDescription]) -> None:
    left, right = hands["left"], hands["right"]
    for side, hand in hands.items():
        if hand.joints is None:
            raise HandModelError(f"the {side} hand '{hand.name}' has no list of joints")
        if missing := set(hand.joints) - set(hand.preshape):
            raise HandModelError(f"the {side} hand's preshape lacks {', '.join(sorted(missing))}")
    if len(left.joints or ()) != len(right.joints or ()):
        raise HandModelError(
            f"hands with {len(left.joints or ())} and {len(right.joints or ())} joints; valid: as many"
        )
    if tuple(left.contacts) != tuple(right.contacts) or len(left.palm_points) != len(right.palm_points):
        raise HandModelError("the hands differ in the names of their contacts, or in the number of palm points")
