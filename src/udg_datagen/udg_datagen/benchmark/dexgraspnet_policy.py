"""DexGraspNet's grasps of the known mesh, carried out by our planner: open loop, one hand, small and medium objects.

What its paper leaves open, or needs more than one core: `DexGraspNetChoice`. Grasps are made for each object and hand
once, and kept in the cache; they are not tried in physics before, as nothing of this method is.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

from udg_datagen.baselines import DexGraspNetConfig, optimise, to_grasps
from udg_datagen.bench.cell import hand_model, open_gates
from udg_datagen.evaluation.policy import Start
from udg_datagen.expert.choice import Choice, reachable
from udg_datagen.grasp_set import GRASP_SCHEMA, GraspFileError, GraspSet
from udg_datagen.grasps.grasp_store import robot_key
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.planning.collision import CollisionScene
from udg_datagen.synthesis import SynthesisConfig
from udg_description.cache import cache_dir, say_once
from udg_description.errors import UdgError
from udg_description.layout import Side, other_side
from udg_sim.objects.library import ObjectModel

METHOD = "dexgraspnet"
SIZES = ("small", "medium")
"""What one hand can hold."""


@dataclass(frozen=True, kw_only=True)
class DexGraspNetChoice:
    """How many grasps are made, and which are tried."""

    method: DexGraspNetConfig = field(default_factory=lambda: DexGraspNetConfig(n_candidates=64))
    better_share: float = 0.5  # by energy, of which the nearest within reach is taken (eq. 10)
    seed: int = 0

    def __post_init__(self) -> None:
        if not 0.0 < self.better_share <= 1.0:
            raise UdgError(f"dexgraspnet: better_share is {self.better_share}, valid: 0 < x <= 1")


def parse(argument: str) -> DexGraspNetChoice:
    """Settings of "64x6000": candidates and iterations; the default for an empty text. Raises UdgError."""
    if not argument:
        return DexGraspNetChoice()
    candidates, _, iterations = argument.partition("x")
    if not (candidates.isdecimal() and iterations.isdecimal()):
        raise UdgError(f"dexgraspnet:{argument}: valid: dexgraspnet:<candidates>x<iterations>, as dexgraspnet:64x6000")
    return DexGraspNetChoice(method=DexGraspNetConfig(n_candidates=int(candidates), iterations=int(iterations)))


class DexGraspNetChoices:
    """Grasps of the hand on whose side the object lies, then of the other: the better ones, the nearest first."""

    def __init__(self, config: DexGraspNetChoice, folder: Path | None = None) -> None:
        self._config = config
        self._folder = (folder or cache_dir()) / METHOD

    def __call__(self, start: Start, scene: CollisionScene) -> Iterator[Choice]:
        """Choices of the planner's."""
        scene.set_objects((start.target.mesh, start.T_world_object))
        first: Side = "left" if start.T_world_object[1, 3] > 0.0 else "right"
        for side in (first, other_side(first)):
            grasps = self.grasps(start.target, side)
            better = grasps.take(slice(0, max(1, round(self._config.better_share * len(grasps)))))  # by energy
            for reach in reachable([better], start.T_world_object, start.q, scene):
                yield Choice(better, reach)

    def grasps(self, target: ObjectModel, side: Side) -> GraspSet:
        """All grasps of an object by one hand, lowest energy first."""
        path = self._folder / f"{self._key(target)}-{side}.npz"
        try:
            return GraspSet.load(path)
        except GraspFileError:
            found = self._made(target, side)
        try:
            found.save(path)
        except OSError as error:  # the cache only saves time
            say_once(error)
        return found

    def _made(self, target: ObjectModel, side: Side) -> GraspSet:
        obj, hand = GraspObject.from_model(target), hand_model(side)
        result = optimise(obj, hand, self._config.method, seed=self._config.seed)
        finish = open_gates(SynthesisConfig(strategy="whole_hand"))
        return to_grasps(result, obj, hand, finish, T_table_object=target.stable_poses[0], method=METHOD)

    def _key(self, target: ObjectModel) -> str:
        text = json.dumps([GRASP_SCHEMA, robot_key(), target.key, asdict(self._config.method), self._config.seed])
        return hashlib.sha256(text.encode()).hexdigest()[:24]
