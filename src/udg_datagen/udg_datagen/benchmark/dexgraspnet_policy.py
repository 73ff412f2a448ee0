"""DexGraspNet's grasps of the known mesh, carried out by our planner: open loop, one hand, small and medium objects.

Its energy is minimised once for each object and hand, and the result kept in the cache. In a trial the hands are opened
and squeezed as of our own grasps, and the grasp of the lowest energy within reach is taken; tested, the nearest within
reach that lifts the object in physics, as of our own (its authors keep what holds under gravity from six sides, which
leaves grasps from under the table).
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import numpy as np
import torch

from udg_datagen.baselines import DexGraspNetConfig, MalaResult, optimise, to_grasps
from udg_datagen.bench.cell import hand_model, open_gates
from udg_datagen.evaluation.policy import Start
from udg_datagen.expert.choice import Choice, reachable
from udg_datagen.grasp_set import GraspSet
from udg_datagen.grasps.grasp_store import robot_key
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.planning.collision import CollisionScene
from udg_datagen.synthesis import SynthesisConfig
from udg_datagen.validation.validation import ValidationConfig, validate
from udg_description.cache import UNREADABLE, cache_dir, say_once
from udg_description.errors import UdgError
from udg_description.files import write_atomically
from udg_description.layout import Side, other_side
from udg_sim.objects.library import ObjectModel

METHOD = "dexgraspnet"
VERSION = 3
"""Of what a mesh becomes: grasps of another one are made anew."""
SIZES = ("small", "medium")
"""What one hand can hold."""


@dataclass(frozen=True, kw_only=True)
class DexGraspNetChoice:
    """How many grasps are made, and by which test one is taken (None: by its energy alone)."""

    method: DexGraspNetConfig = field(default_factory=lambda: DexGraspNetConfig(n_candidates=256, iterations=3000))
    test: ValidationConfig | None = None
    seed: int = 0


def parse(argument: str, *, tested: bool = False) -> DexGraspNetChoice:
    """Settings of "256x3000": candidates and iterations; the default for an empty text. Raises UdgError."""
    test = ValidationConfig() if tested else None
    if not argument:
        return DexGraspNetChoice(test=test)
    candidates, _, iterations = argument.partition("x")
    if not (candidates.isdecimal() and iterations.isdecimal()):
        raise UdgError(f"dexgraspnet:{argument}: valid: dexgraspnet:<candidates>x<iterations>, as dexgraspnet:256x3000")
    method = DexGraspNetConfig(n_candidates=int(candidates), iterations=int(iterations))
    return DexGraspNetChoice(method=method, test=test)


class DexGraspNetChoices:
    """Grasps of the hand on whose side the object lies, then of the other.

    Without a test the lowest energy comes first, with one the nearest of those that hold.
    """

    def __init__(self, config: DexGraspNetChoice, folder: Path | None = None) -> None:
        self._config = config
        self._folder = (folder or cache_dir()) / METHOD

    def __call__(self, start: Start, scene: CollisionScene) -> Iterator[Choice]:
        """Choices of the planner's."""
        scene.set_objects((start.target.mesh, start.T_world_object))
        first: Side = "left" if start.T_world_object[1, 3] > 0.0 else "right"
        for side in (first, other_side(first)):
            grasps = self.grasps(start.target, side, start.T_world_object)
            order = None
            if self._config.test is None:
                order = [(float(energy), 0, index) for index, energy in enumerate(grasps.energy)]
            for reach in reachable([grasps], start.T_world_object, start.q, scene, order=order):
                if self._holds(grasps, reach.grasp_index, start.target):
                    yield Choice(grasps, reach)

    def grasps(self, target: ObjectModel, side: Side, T_world_object: np.ndarray) -> GraspSet:
        """All grasps by one hand of an object that lies so on the table, lowest energy first."""
        obj, hand = GraspObject.from_model(target), hand_model(side)
        path = self._folder / f"{self._key(target)}-{side}.npz"
        result = _loaded(path)
        if result is None:
            result = optimise(obj, hand, self._config.method, seed=self._config.seed)
            _keep(result, path)
        finish = open_gates(SynthesisConfig(strategy="whole_hand"))
        return to_grasps(result, obj, hand, finish, T_table_object=T_world_object, method=METHOD)

    def _holds(self, grasps: GraspSet, index: int, target: ObjectModel) -> bool:
        test = self._config.test
        return test is None or bool(validate(grasps.take(slice(index, index + 1)), target, test).held[0])

    def _key(self, target: ObjectModel) -> str:
        text = json.dumps([VERSION, robot_key(), target.key, asdict(self._config.method), self._config.seed])
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def _loaded(path: Path) -> MalaResult | None:
    try:
        with np.load(path, allow_pickle=False) as data:
            return MalaResult(*(torch.from_numpy(data[name]) for name in MalaResult._fields))
    except UNREADABLE:  # it is made anew
        return None


def _keep(result: MalaResult, path: Path) -> None:
    data = io.BytesIO()
    np.savez(data, **{name: tensor.cpu().numpy() for name, tensor in result._asdict().items()})
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, data.getvalue())
    except OSError as error:  # the cache only saves time
        say_once(error)
