"""What an action is: the numbers that the network predicts for each step of a chunk, and how they become joint targets.

An action is a row of slots: the position, the rotation or the joints of one part of the robot. The network sees it
scaled to [-1, 1] by bounds (K, A) that the checkpoint keeps.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from udg_description.layout import JOINT_NAMES, Side, part_indices
from udg_description.limits import joint_limits

if TYPE_CHECKING:
    from udg_policy.config import TrainConfig

_LEAST_WIDTH = 1e-3  # of bounds, so that a number that never moves can be scaled


class Kind(Enum):
    """What the numbers of a slot are."""

    POSITION = "position"
    ROTATION = "rotation"
    ARM_JOINTS = "arm_joints"
    HAND_JOINTS = "hand_joints"

    @property
    def unit(self) -> str:
        """Of a number."""
        return "m" if self is Kind.POSITION else "rad"


@dataclass(frozen=True, kw_only=True)
class Slot:
    """A part of an action."""

    name: str
    side: Side
    kind: Kind
    numbers: tuple[str, ...]  # name of each
    columns: slice = field(default_factory=lambda: slice(0, 0))  # where they stand in an action: as laid out
    joints: slice | None = None  # where they stand among the joints; None for numbers of a pose


def pose_slots(side: Side) -> tuple[Slot, Slot]:
    """Position and rotation vector of a hand."""
    return (
        Slot(
            name=f"{side}_hand_position",
            side=side,
            kind=Kind.POSITION,
            numbers=tuple(f"{side}_hand {axis}" for axis in "xyz"),
        ),
        Slot(
            name=f"{side}_hand_rotation",
            side=side,
            kind=Kind.ROTATION,
            numbers=tuple(f"{side}_hand turn about {axis}" for axis in "xyz"),
        ),
    )


def joint_slot(side: Side, kind: Kind) -> Slot:
    """The joints of an arm or of a hand."""
    joints = part_indices(f"{side}_{'arm' if kind is Kind.ARM_JOINTS else 'hand'}")
    return Slot(name=f"{side}_{kind.value}", side=side, kind=kind, numbers=JOINT_NAMES[joints], joints=joints)


def lay_out(slots: Iterable[Slot]) -> tuple[Slot, ...]:
    """The slots one behind the other."""
    placed: list[Slot] = []
    for slot in slots:
        start = placed[-1].columns.stop if placed else 0
        placed.append(replace(slot, columns=slice(start, start + len(slot.numbers))))
    return tuple(placed)


@dataclass(frozen=True, kw_only=True)
class ActionBounds:
    """Range of each action number, lower and upper (K, A) float32, in the action's own units."""

    lower: np.ndarray
    upper: np.ndarray

    def normalise(self, actions: Tensor) -> Tensor:
        """(..., K, A) to [-1, 1]; not clipped."""
        lower, upper = self._tensors(actions.device)
        return 2.0 * (actions - lower) / (upper - lower) - 1.0

    def _tensors(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """The bounds on a device, copied there once."""
        kept = self.__dict__.setdefault("_kept", {})
        if device not in kept:
            kept[device] = torch.from_numpy(self.lower).to(device), torch.from_numpy(self.upper).to(device)
        return kept[device]

    def denormalise(self, actions: np.ndarray) -> np.ndarray:
        """(..., K, A) from [-1, 1] to the action's units."""
        return self.lower + 0.5 * (actions + 1.0) * (self.upper - self.lower)


class ActionSpace(ABC):
    """Encodes joint targets as actions of A numbers, and decodes them."""

    slots: tuple[Slot, ...]
    moves_with_scene: bool = False
    """Whether actions stay what they are when the scene and the robot in it move together."""

    @property
    def size(self) -> int:
        """A: numbers of an action."""
        return self.slots[-1].columns.stop

    @property
    def names(self) -> tuple[str, ...]:
        """Name with unit of each number."""
        return tuple(f"{number} [{slot.kind.unit}]" for slot in self.slots for number in slot.numbers)

    def slot(self, name: str) -> Slot:
        """The slot called `name`."""
        return next(slot for slot in self.slots if slot.name == name)

    def columns(self, *kinds: Kind) -> np.ndarray:
        """Columns of all slots of these kinds, in order; empty where the space has none."""
        chosen = [np.arange(slot.columns.start, slot.columns.stop) for slot in self.slots if slot.kind in kinds]
        return np.concatenate(chosen) if chosen else np.zeros(0, dtype=np.int64)

    @abstractmethod
    def encode(self, T_now: Tensor, T_targets: Tensor, q_targets: Tensor) -> Tensor:
        """Actions (B, K, A) of joint targets q_targets (B, K, 36) [rad].

        T_now (B, 2, 4, 4): measured grasp frames in the world. T_targets (B, K, 2, 4, 4): grasp frames at q_targets.
        """

    @abstractmethod
    def decode(self, actions: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Joint targets (K, 36) [rad], finite and within the limits, of actions (K, A) at the measured q (36,)."""

    @abstractmethod
    def mirror(self, actions: Tensor) -> Tensor:
        """Actions (..., A) of the mirrored scene (y -> -y)."""

    def bounds(self, actions: Tensor, margin: float, symmetric: bool) -> ActionBounds:
        """Bounds of actions (M, K, A): joint limits for joints; the data's range and a margin for poses.

        symmetric: the bounds are made their own mirror image, as mirrored data need.
        """
        limits = joint_limits()
        both = torch.cat([actions, self.mirror(actions)]) if symmetric else actions
        least, most = both.amin(dim=0).numpy(), both.amax(dim=0).numpy()
        spread = margin * (most - least) + _LEAST_WIDTH
        lower, upper = (np.empty(actions.shape[1:], dtype=np.float32) for _ in range(2))
        for slot in self.slots:
            here = (slice(None), slot.columns)
            if slot.joints is not None:
                lower[here], upper[here] = limits.lower[slot.joints], limits.upper[slot.joints]
            else:
                lower[here], upper[here] = least[here] - spread[here], most[here] + spread[here]
        return ActionBounds(lower=lower, upper=upper)

    def units(self, train: TrainConfig) -> np.ndarray:
        """(A,) float32: the error of each number that counts as one."""
        of_kind = {
            Kind.POSITION: train.unit_position_m,
            Kind.ROTATION: train.unit_rotation_rad,
            Kind.ARM_JOINTS: train.unit_rotation_rad,
            Kind.HAND_JOINTS: train.unit_joint_rad,
        }
        units = np.empty(self.size, dtype=np.float32)
        for slot in self.slots:
            units[slot.columns] = of_kind[slot.kind]
        return units
