"""What determines the grasps: object, hands, contacts, table and settings."""

from __future__ import annotations

from typing import NamedTuple

from udg_datagen.hands.model import HandModel
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.initial import TablePlane
from udg_datagen.synthesis.near import Near


class Problem(NamedTuple):
    """Everything that determines the grasps; poses are in the object frame."""

    obj: GraspObject
    hands: tuple[HandModel, ...]
    active: tuple[tuple[int, ...], ...]  # for each hand the positions of the contacts that carry the object
    table: TablePlane
    config: SynthesisConfig
    seed: int = 0  # of the starts
    near: Near | None = None  # reference poses of the hands; nearer grasps have less energy
