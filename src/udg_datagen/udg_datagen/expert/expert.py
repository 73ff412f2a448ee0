"""The expert's grasp of a scene: near a reference, the best that is within reach and holds; a function of the scene.

Strategy and hand follow from the object in its pose. Grasps are sought near the hand's home orientation carried to the
object, ranked by eq. 10 with terms for posture, energy and table, and lifted in physics in the order of their rank
until one holds: the same grasp as if all were tried. Scenes that differ little so get grasps that differ little.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections import Counter
from collections.abc import Generator, Iterator, Sequence
from dataclasses import asdict, dataclass, field
from enum import Enum, auto
from itertools import islice
from pathlib import Path

import numpy as np

from udg_datagen.expert.choice import Choice, ChoiceConfig, reachable
from udg_datagen.expert.reference import reference
from udg_datagen.grasp_set import GRASP_SCHEMA, GraspFileError, GraspSet
from udg_datagen.grasps.grasp_store import robot_key
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.metrics.torsion import torsion
from udg_datagen.objects.offers import ENCLOSED_M, offers
from udg_datagen.planning.collision import CollisionScene
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize
from udg_datagen.validation.validation import ValidationConfig, validate
from udg_description.cache import cache_dir, say_once
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q, SIDES, Side, other_side
from udg_sim.objects.library import ObjectModel

VERSION = "7"
"""Of the expert: bumped when it chooses otherwise, so that cached choices are made again and data sets tell."""
_OBJECTS_KEPT = 64  # about 4 MB each
_THIN_M = 0.025  # height or width at rest below which small objects are pinched first


class Search(Enum):
    """Where grasps are sought, in this order."""

    NEAR = auto()  # the reference
    SECOND = auto()  # the reference turned the second best way across the object
    WIDE = auto()  # all round the object


@dataclass(frozen=True, kw_only=True)
class ExpertConfig:
    """How the expert chooses. Costs are in metres of eq. 10."""

    near: SynthesisConfig = field(
        default_factory=lambda: SynthesisConfig(
            n_candidates=64,
            n_open=24,
            screen_factor=1,
            qp_steps=52,
            refine_steps=20,
            screen_step=40,
            margin_table=0.005,
        )
    )
    weight_near_bimanual: float = 150.0  # [1/m] of two hands, whose grip the arms' give must not loosen
    wide: SynthesisConfig = field(  # all round the object, where nothing near the reference will do
        default_factory=lambda: SynthesisConfig(
            n_candidates=64, n_open=24, qp_steps=150, refine_steps=50, margin_table=0.005
        )
    )
    table_wish_m: float = 0.004  # of the hands above the table at pregrasp and grasp
    table_weight: float = 4.0  # cost [m/m] of what is missing
    torsion_weight: float = 3.0  # cost [m/m] of the lever of the weight that the pads have to hold by torsion
    tried: int = 12  # grasps of one strategy, hand and search that are lifted at most, in each test
    mass_factor: float = 2.0  # times the object's own mass in the hard test, up to max_mass_kg
    max_mass_kg: float = 1.0
    friction: float = 0.5  # in the hard test
    stiffness_scales: tuple[float, ...] = (
        0.8,
        1.25,
    )  # of the joints there: hands that squeeze less, or more
    validation: ValidationConfig = field(
        default_factory=lambda: ValidationConfig(approach_s=0.3, close_s=0.3, squeeze_s=0.4, lift_s=0.6, hold_s=0.4)
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if self.tried < 1:
            raise UdgError(f"expert: tried is {self.tried}, valid: at least 1")
        if not self.mass_factor >= 1.0 or not min(self.max_mass_kg, self.friction, *self.stiffness_scales) > 0.0:
            raise UdgError("expert: mass_factor must be >= 1, max_mass_kg, friction and stiffness_scales > 0")
        if min(self.table_wish_m, self.table_weight, self.torsion_weight) < 0.0:
            raise UdgError("expert: table_wish_m, table_weight and torsion_weight must be >= 0")


class Expert:
    """Chooses grasps; keeps what it chose in the cache.

    Args:
        scene: the robot's collision model; the target is placed in it.
        folder: of the cache; `$UDG_CACHE` or its default if None.
    """

    def __init__(
        self,
        scene: CollisionScene,
        config: ExpertConfig | None = None,
        choice: ChoiceConfig | None = None,
        folder: Path | None = None,
    ) -> None:
        self._scene = scene
        self.config = ExpertConfig() if config is None else config
        self._choice = ChoiceConfig() if choice is None else choice
        self._folder = (folder or cache_dir()) / "choices"
        self._objects: dict[tuple[str, str], GraspObject] = {}  # by id and mesh: two ids may have one mesh

    def choices(
        self, target: ObjectModel, T_world_object: np.ndarray, counts: Counter[str] | None = None
    ) -> Iterator[Choice]:
        """Grasps that are within reach of the robot at home and hold, the expert's choice first.

        Taking only the first costs little. They depend on the object, its pose and the settings alone. `counts`
        tells of candidates, of those lifted, and why others were discarded.
        """
        counts = Counter() if counts is None else counts
        self._scene.set_objects((target.mesh, T_world_object))
        path = self._folder / f"{self._key(target, T_world_object)}.npz"
        first = self._kept(path, target, T_world_object)
        if first is not None:
            yield first
        chosen = self._found(target, T_world_object, counts)
        for place, choice in enumerate(chosen):
            if place > 0:
                yield choice
            elif first is None:
                try:
                    choice.grasps.save(path)
                except OSError as error:  # the cache only saves time
                    say_once(error)
                yield choice

    def again(self, choice: Choice, target: ObjectModel, T_world_object: np.ndarray) -> Choice | None:
        """The same grasp of the object where it lies now; None if it is out of reach."""
        self._scene.set_objects((target.mesh, T_world_object))
        return next(iter(self._within_reach(choice.grasps, target, T_world_object, Counter())), None)

    def _found(self, target: ObjectModel, T_world_object: np.ndarray, counts: Counter[str]) -> Iterator[Choice]:
        """Near the reference before all round the object; what holds in the hard test before what holds as it is."""
        for searches in ((Search.NEAR, Search.SECOND), (Search.WIDE,)):
            loose: list[Choice] = []
            for strategy, sides in plans(target, T_world_object):
                lifted = 0
                for search in searches:
                    grasps = self._synthesised(target, T_world_object, strategy, sides, search, counts)
                    lifted += yield from self._held(grasps, target, T_world_object, counts, loose)
                    if lifted >= self.config.tried:
                        break  # there are grasps within reach, and they do not hold
            for choice in loose:
                counts["lifted"] += 1
                if validate(choice.grasps, target, self.config.validation).held[0]:
                    yield choice

    def _synthesised(
        self,
        target: ObjectModel,
        T_world_object: np.ndarray,
        strategy: str,
        sides: Sequence[Side],
        search: Search,
        counts: Counter[str],
    ) -> GraspSet:
        obj = self._object(target)
        hands = tuple(robot_hand(side) for side in sides)
        config = self.config.wide if search is Search.WIDE else self.config.near
        if len(hands) == 2:
            config = dataclasses.replace(config, weight_near=self.config.weight_near_bimanual)
        near = None
        if search is not Search.WIDE:
            near = reference(obj, T_world_object, hands, strategy, second=search is Search.SECOND)
        grasps = synthesize(
            obj,
            hands if len(hands) == 2 else hands[0],
            dataclasses.replace(config, strategy=strategy),
            T_table_object=T_world_object,
            near=near,
            seed=self.config.seed,
        )
        counts["candidates"] += len(grasps)
        return grasps

    def _held(
        self,
        grasps: GraspSet,
        target: ObjectModel,
        T_world_object: np.ndarray,
        counts: Counter[str],
        loose: list[Choice],
    ) -> Generator[Choice, None, int]:
        """Those that hold in the hard test, by rank; `loose` takes the others. Returns how many were within reach."""
        lifted = 0
        for choice in islice(self._within_reach(grasps, target, T_world_object, counts), self.config.tried):
            lifted += 1
            counts["lifted"] += 1
            if all(validate(choice.grasps, target, test).held[0] for test in self._hard_tests(target)):
                yield choice
            else:
                loose.append(choice)
        return lifted

    def _hard_tests(self, target: ObjectModel) -> Iterator[ValidationConfig]:
        """Lifts that ask more of a grasp than those of the demonstrations will."""
        config = self.config
        mass_kg = max(target.mass_kg, min(config.mass_factor * target.mass_kg, config.max_mass_kg))
        for scale in config.stiffness_scales:
            world = dataclasses.replace(config.validation.world, stiffness_scale=scale)
            yield dataclasses.replace(config.validation, mass_kg=mass_kg, friction=config.friction, world=world)

    def _within_reach(
        self, grasps: GraspSet, target: ObjectModel, T_world_object: np.ndarray, counts: Counter[str]
    ) -> Iterator[Choice]:
        order = [(cost, 0, k) for k, cost in enumerate(self.costs(grasps, target))]
        order.sort()
        for reach in reachable(
            [grasps], T_world_object, HOME_Q, self._scene, self._choice, order=order, discarded=counts
        ):
            one = grasps.take([reach.grasp_index])
            yield Choice(one, dataclasses.replace(reach, grasp_index=0))

    def costs(self, grasps: GraspSet, target: ObjectModel) -> list[float]:
        """Of every grasp [m]: energy, which holds eq. 10 and posture; table clearance it lacks; torsion it needs."""
        config = self.config
        missing = np.clip(config.table_wish_m - grasps.table_clearance, 0.0, None)
        lever = np.nan_to_num(torsion(grasps, target).gravity_m)
        weight = config.weight_near_bimanual if len(grasps.sides) == 2 else config.near.weight_near
        costs = grasps.energy / weight + config.table_weight * missing + config.torsion_weight * lever
        return [float(cost) for cost in costs]

    def _kept(self, path: Path, target: ObjectModel, T_world_object: np.ndarray) -> Choice | None:
        """The choice of an earlier run."""
        try:
            grasps = GraspSet.load(path)
        except GraspFileError:
            return None
        return next(iter(self._within_reach(grasps, target, T_world_object, Counter())), None)

    def _object(self, target: ObjectModel) -> GraspObject:
        key = target.id, target.key
        if key not in self._objects:
            if len(self._objects) >= _OBJECTS_KEPT:
                self._objects.pop(next(iter(self._objects)))
            self._objects[key] = GraspObject.from_model(target)
        return self._objects[key]

    def _key(self, target: ObjectModel, T_world_object: np.ndarray) -> str:
        text = json.dumps(
            [
                VERSION,
                GRASP_SCHEMA,
                robot_key(),
                target.id,
                target.key,
                target.friction,
                target.mass_kg,
                len(target.convex_parts),
                np.round(T_world_object, 9).tolist(),
                asdict(self.config),
                asdict(self._choice),
            ]
        )
        return hashlib.sha256(text.encode()).hexdigest()[:24]


def plans(target: ObjectModel, T_world_object: np.ndarray) -> list[tuple[str, tuple[Side, ...]]]:
    """Strategies and hands to try, the expert's first choice first: by the object's shape in its pose alone.

    The hand is that on whose side of the robot's middle the object lies, then the other one.
    """
    first: Side = "left" if T_world_object[1, 3] > 0.0 else "right"
    found: list[tuple[str, tuple[Side, ...]]] = []
    for strategy in strategies(target, T_world_object):
        if strategy == "bimanual":
            found.append((strategy, SIDES))
        else:
            found += [(strategy, (side,)) for side in (first, other_side(first))]
    return found


def strategies(target: ObjectModel, T_world_object: np.ndarray) -> tuple[str, ...]:
    """Strategies in the order in which the expert tries them on an object at rest.

    Small objects by three fingers, thin ones by two; medium ones by the whole hand; large ones by both hands, but
    by one that closes round them; then whatever else the shape offers.
    """
    offered = offers(target.mesh)
    if target.size_class == "small":
        vertices = np.asarray(target.mesh.vertices) @ T_world_object[2, :3]
        thin = min(float(np.ptp(vertices)), _least_width_m(target, T_world_object)) < _THIN_M
        preferred: tuple[str, ...] = ("pinch", "tripod", "whole_hand") if thin else ("tripod", "pinch", "whole_hand")
    elif target.size_class == "medium":
        preferred = ("whole_hand", "tripod")
    else:
        enclosed = sorted(target.mesh.extents)[1] <= ENCLOSED_M
        preferred = ("whole_hand", "bimanual") if enclosed else ("bimanual",)
    return tuple(dict.fromkeys((*preferred, *offered)))


def _least_width_m(target: ObjectModel, T_world_object: np.ndarray) -> float:
    """Least horizontal width [m] of the object in its pose."""
    xy = np.asarray(target.mesh.convex_hull.vertices) @ T_world_object[:2, :3].T
    angles = np.linspace(0.0, np.pi, 36, endpoint=False)
    return float(np.ptp(xy @ np.stack([np.cos(angles), np.sin(angles)]), axis=0).min())
