"""Grasps as data: `GraspSet`, its file format, and the choice of subsets."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from udg_description.cache import UNREADABLE
from udg_description.errors import UdgError
from udg_description.files import write_arrays
from udg_description.layout import Side
from udg_description.transforms import se3_distance

GRASP_SCHEMA = 2

# Per grasp: shape after the leading N; H hands, J joints of a hand, C active contacts of all hands, K tests.
_PER_GRASP: dict[str, tuple[int | str, ...]] = {
    "T_object_hand": ("H", 4, 4),
    "q_pregrasp": ("H", "J"),
    "q_grasp": ("H", "J"),
    "q_squeeze": ("H", "J"),
    "tau_squeeze": ("H", "J"),
    "energy": (),
    "wrench_residual": (),
    "force_imbalance": (),
    "tip_distance": ("C",),
    "penetration": (),
    "self_penetration": (),
    "hand_hand_penetration": (),
    "table_clearance": (),
    "approach_clearance": (),
    "q1": (),
    "contact_points_object": ("C", 3),
    "contact_forces_object": ("C", 3),
    "withstood": ("K",),
}


class GraspFileError(UdgError):
    """A grasp file that is missing, truncated, of another schema, or whose arrays disagree."""


@dataclass(frozen=True, kw_only=True, eq=False)
class HandGrasp:
    """What one hand does in a grasp, in the object frame; joints in the order of the set's `joint_names` [rad]."""

    side: Side
    T_object_hand: np.ndarray  # (4, 4) hand link at contact
    T_object_pregrasp: np.ndarray  # (4, 4) hand link before the approach
    q_pregrasp: np.ndarray  # (J,)
    q_grasp: np.ndarray  # (J,)
    q_squeeze: np.ndarray  # (J,) position targets that press
    tau_squeeze: np.ndarray  # (J,) [Nm] torque the targets are meant to make


@dataclass(frozen=True, kw_only=True, eq=False)
class Grasp:
    """One grasp: its hands, left before right, move together."""

    hands: tuple[HandGrasp, ...]
    energy: float

    @property
    def sides(self) -> tuple[Side, ...]:
        return tuple(hand.side for hand in self.hands)


@dataclass(frozen=True, kw_only=True, eq=False)
class GraspSet:
    """N grasps of one object in one resting pose, lowest energy first, each with the same H hands (1 or 2).

    Each hand moves at `q_pregrasp` from `Ts_object_pregrasp` to `T_object_hand`, closes to `q_grasp` (pads on the
    surface) and is commanded `q_squeeze`; two hands do so together. All poses are in the object frame, lengths in
    metres, forces in newtons on the object.
    """

    sides: tuple[Side, ...]  # H: ("left",), ("right",) or ("left", "right")
    strategy: str
    object_id: str
    object_key: str
    T_table_object: np.ndarray  # (4, 4) the resting pose they were made for
    palm_normal_hand: np.ndarray  # (H, 3) approach direction in each hand's frame
    pregrasp_distance: float  # [m]
    contact_names: tuple[str, ...]  # C, "<side>_<contact>"
    contact_hand: np.ndarray  # (C,) int, position in `sides` of the hand that makes the contact
    joint_names: tuple[tuple[str, ...], ...]  # H of J, of q_*
    T_object_hand: np.ndarray  # (N, H, 4, 4)
    q_pregrasp: np.ndarray  # (N, H, J) [rad]
    q_grasp: np.ndarray  # (N, H, J) [rad]
    q_squeeze: np.ndarray  # (N, H, J) [rad]
    tau_squeeze: np.ndarray  # (N, H, J) [Nm]
    energy: np.ndarray  # (N,)
    wrench_residual: np.ndarray  # (N,) mean |w - G f| over the target wrenches
    force_imbalance: np.ndarray  # (N,) net wrench of the squeeze over its normal forces
    tip_distance: np.ndarray  # (N, C) [m] pad to surface, signed
    penetration: np.ndarray  # (N,) [m] deepest point of any hand in the object
    self_penetration: np.ndarray  # (N,) [m] deepest overlap of a hand's own spheres
    hand_hand_penetration: np.ndarray  # (N,) [m] deepest overlap of the spheres of the two hands; 0 for one
    table_clearance: np.ndarray  # (N,) [m] at grasp and pregrasp
    approach_clearance: np.ndarray  # (N,) [m] open hand to object on its way
    contact_points_object: np.ndarray  # (N, C, 3) [m]
    contact_forces_object: np.ndarray  # (N, C, 3) [N]
    q1: np.ndarray  # (N,) Ferrari-Canny epsilon; nan until computed
    withstood: np.ndarray  # (N, K) bool, by test
    tests: tuple[str, ...] = ()  # K names such as "six_axis 0.10 kg mu 0.6"; empty until validated
    meta_json: str = "{}"

    def __post_init__(self) -> None:
        if len(self.sides) not in (1, 2) or len(set(self.sides)) != len(self.sides):
            raise GraspFileError(f"grasp set: sides are {self.sides}, valid: one side or ('left', 'right')")
        sizes = {
            "H": len(self.sides),
            "J": len(self.joint_names[0]) if self.joint_names else 0,
            "C": len(self.contact_names),
            "K": len(self.tests),
        }

        def check(name: str, expected: tuple[int, ...]) -> None:
            shape = np.shape(getattr(self, name))
            if shape != expected:
                raise GraspFileError(f"grasp set: {name} has shape {shape}, expected {expected}")

        for name, tail in _PER_GRASP.items():
            check(name, (len(self.energy), *(sizes[k] if isinstance(k, str) else k for k in tail)))
        check("palm_normal_hand", (sizes["H"], 3))
        check("contact_hand", (sizes["C"],))
        check("joint_names", (sizes["H"], sizes["J"]))

    def __len__(self) -> int:
        return len(self.energy)

    @property
    def reason(self) -> str:
        """Why there are no grasps, where the synthesis knows; else ""."""
        return str(json.loads(self.meta_json).get("reason", ""))

    def __getitem__(self, index: int) -> Grasp:
        back = self.Ts_object_pregrasp[index]
        hands = tuple(
            HandGrasp(
                side=side,
                T_object_hand=self.T_object_hand[index, h],
                T_object_pregrasp=back[h],
                q_pregrasp=self.q_pregrasp[index, h],
                q_grasp=self.q_grasp[index, h],
                q_squeeze=self.q_squeeze[index, h],
                tau_squeeze=self.tau_squeeze[index, h],
            )
            for h, side in enumerate(self.sides)
        )
        return Grasp(hands=hands, energy=float(self.energy[index]))

    @property
    def Ts_object_pregrasp(self) -> np.ndarray:
        """Hand poses (N, H, 4, 4) `pregrasp_distance` back along the palm normals."""
        poses = self.T_object_hand.copy()
        palm = (poses[..., :3, :3] @ self.palm_normal_hand[:, :, None])[..., 0]
        poses[..., :3, 3] -= self.pregrasp_distance * palm
        return poses

    def take(self, index: np.ndarray | Sequence[int] | slice) -> GraspSet:
        """The grasps at `index` (integers or booleans), in that order."""
        if not isinstance(index, slice):
            index = np.asarray(index)
            index = index if index.size else index.astype(np.int64)
        return dataclasses.replace(self, **{name: getattr(self, name)[index] for name in _PER_GRASP})

    def with_test(self, name: str, held: np.ndarray) -> GraspSet:
        """The same grasps with the outcome (N,) bool of test `name`, instead of an earlier one of that name."""
        held = np.asarray(held, dtype=bool).reshape(len(self), 1)
        others = [k for k, test in enumerate(self.tests) if test != name]
        return dataclasses.replace(
            self,
            tests=(*(self.tests[k] for k in others), name),
            withstood=np.concatenate([self.withstood[:, others], held], axis=1),
        )

    def spread(self, count: int, *, rotation_weight: float = 0.1, distance: float = 0.08) -> GraspSet:
        """At most `count` grasps that differ: lowest energy first, each at least `distance` from those before.

        The distance [m] is that of eq. 10 with `rotation_weight` [m/rad], the mean over the hands; it is halved until
        enough are found, so that fewer than `count` come back only where the set is smaller. Ranking by energy alone
        returns near copies.
        """
        chosen: list[int] = []
        while len(chosen) < min(count, len(self)):
            for k in range(len(self)):
                if len(chosen) == count:
                    break
                if k in chosen:
                    continue
                gap = se3_distance(self.T_object_hand[chosen], self.T_object_hand[k], rotation_weight)
                if np.all(gap.mean(axis=-1) >= distance):
                    chosen.append(k)
            distance = distance / 2.0 if distance > 1e-4 else 0.0
        return self.take(np.sort(np.array(chosen, dtype=np.int64)))

    def save(self, path: Path | str) -> None:
        """Write as .npz (no pickle), atomically; the suffix is kept as given."""
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        arrays = {f.name: np.asarray(getattr(self, f.name)) for f in dataclasses.fields(self)}
        write_arrays(path, {"schema": np.array(GRASP_SCHEMA), **arrays})

    @classmethod
    def load(cls, path: Path | str) -> GraspSet:
        """Read what `save` wrote.

        Raises:
            GraspFileError: missing, unreadable or truncated file, another schema, missing or inconsistent arrays.
        """
        try:
            with np.load(path, allow_pickle=False) as data:
                arrays = {name: data[name] for name in data.files}
        except FileNotFoundError:
            raise GraspFileError(f"grasp file {path} does not exist") from None
        except UNREADABLE as error:
            raise GraspFileError(f"grasp file {path} cannot be read ({error}); it may be truncated") from error
        schema = int(arrays.pop("schema", np.array(-1)))
        if schema != GRASP_SCHEMA:
            raise GraspFileError(
                f"grasp file {path} has schema {schema}, this version reads {GRASP_SCHEMA}; synthesise the grasps again"
            )
        names = {f.name for f in dataclasses.fields(cls)}
        if set(arrays) != names:
            raise GraspFileError(
                f"grasp file {path}: missing arrays {sorted(names - set(arrays))}, "
                f"unknown {sorted(set(arrays) - names)}"
            )
        for name in ("strategy", "object_id", "object_key", "meta_json"):
            arrays[name] = str(arrays[name])
        for name in ("sides", "contact_names", "tests"):
            arrays[name] = tuple(str(x) for x in arrays[name])
        arrays["joint_names"] = tuple(tuple(str(x) for x in names) for names in arrays["joint_names"])
        arrays["pregrasp_distance"] = float(arrays["pregrasp_distance"])
        return cls(**arrays)


def no_grasps(hands: int, joints: int, contacts: int) -> dict[str, np.ndarray]:
    """The arrays over grasps of a set without any: `hands` hands of `joints` joints, `contacts` contacts in all."""
    sizes = {"H": hands, "J": joints, "C": contacts, "K": 0}
    shapes = {name: tuple(sizes[k] if isinstance(k, str) else k for k in tail) for name, tail in _PER_GRASP.items()}
    return {name: np.zeros((0, *shape), dtype=bool if name == "withstood" else float) for name, shape in shapes.items()}
