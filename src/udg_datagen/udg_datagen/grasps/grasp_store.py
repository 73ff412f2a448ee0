"""Grasps of an object at rest, made once and kept in the cache."""

from __future__ import annotations

import dataclasses
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from udg_datagen.grasp_set import GRASP_SCHEMA, GraspFileError, GraspSet
from udg_datagen.grasps.mirror import mirrored, symmetry_plane
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.objects.offers import BY_SIZE, ENCLOSED_M
from udg_datagen.synthesis import STRATEGIES, GraspObject, StrategyError, SynthesisConfig, synthesize
from udg_datagen.validation.validation import ValidationConfig, validate
from udg_description.cache import cache_dir, say_once
from udg_description.errors import UdgError
from udg_description.layout import SIDES, Side
from udg_description.robot import current_robot
from udg_sim.objects.library import ObjectModel

VERSION = "7"
"""Of synthesis and validation as the store uses them: bumped when their results change, so that old grasps are redone.
"""


class GraspStoreError(UdgError):
    """A setting of the grasp store that makes no sense."""


@dataclass(frozen=True, kw_only=True)
class GraspStoreConfig:
    """How many grasps are made and what they must withstand; few, for it is done for every object and pose."""

    synthesis: SynthesisConfig = field(
        default_factory=lambda: SynthesisConfig(n_candidates=64, qp_steps=150, refine_steps=50)
    )
    better_share: float = 0.5  # of the candidates, by energy, from which grasps that differ are picked
    validated: int = 8  # that many are tried in physics, of each strategy and side
    validated_bimanual: int = 12  # the same with both hands: fewer of those are within reach
    mass_factor: float = 2.0  # times the object's own mass in the hard test, up to max_mass_kg
    max_mass_kg: float = 1.0
    friction: float = 0.6  # in the hard test
    enough: int = 4  # with fewer that withstand the hard test, those that lift the object as it is are taken too
    validation: ValidationConfig = field(  # a lift that is faster than the rule's, and so a little harder
        default_factory=lambda: ValidationConfig(approach_s=0.4, close_s=0.3, squeeze_s=0.4, lift_s=0.8, hold_s=0.5)
    )
    seed: int = 0

    def __post_init__(self) -> None:
        if self.validated < 1 or self.validated_bimanual < 1:
            raise GraspStoreError(f"validated {self.validated}, {self.validated_bimanual} must be at least 1")
        if not 0.0 < self.better_share <= 1.0:
            raise GraspStoreError(f"better_share is {self.better_share}, valid: 0 < x <= 1")
        if not self.mass_factor >= 1.0 or not self.max_mass_kg > 0.0 or not self.friction > 0.0:
            raise GraspStoreError("mass_factor must be >= 1, max_mass_kg and friction > 0")


class GraspStore:
    """Physically validated grasps by object, resting pose and strategy: synthesised when first asked for."""

    def __init__(self, config: GraspStoreConfig | None = None, folder: Path | None = None) -> None:
        self._config = GraspStoreConfig() if config is None else config
        self._folder = (folder or cache_dir()) / "grasps"
        self._loaded: dict[str, list[GraspSet]] = {}

    def get(self, target: ObjectModel, pose_index: int, strategies: Sequence[str] | None = None) -> list[GraspSet]:
        """Grasps that held in a lift by the hands alone, in the object's frame; one set a strategy and side.

        Sets without grasps are skipped. strategies: those that suit the object's size if None; where these give
        nothing, both hands together (large objects: one whole hand) are tried.

        Raises:
            UdgError: unknown strategy, or an object that cannot be grasped for its mesh.
        """
        if strategies is not None:
            return [grasps for strategy in strategies for grasps in self._sets(target, pose_index, strategy)]
        found = [grasps for strategy in fitting(target) for grasps in self._sets(target, pose_index, strategy)]
        if not found:
            found = self._sets(target, pose_index, "whole_hand" if target.size_class == "large" else "bimanual")
        return found

    def _sets(self, target: ObjectModel, pose_index: int, strategy: str) -> list[GraspSet]:
        if strategy not in STRATEGIES:
            raise StrategyError(f"unknown strategy '{strategy}'; valid: {', '.join(STRATEGIES)}")
        key = self._key(target, pose_index, strategy)
        if key not in self._loaded:
            sides = ("both",) if strategy == "bimanual" else SIDES
            paths = [self._folder / f"{key}-{side}.npz" for side in sides]
            try:
                sets = [GraspSet.load(path) for path in paths]
            except GraspFileError:  # absent or damaged: generated again
                sets = self._make(target, pose_index, strategy)
                try:
                    for path, grasps in zip(paths, sets, strict=True):
                        grasps.save(path)
                except OSError as error:
                    say_once(error)
            self._loaded[key] = [grasps for grasps in sets if len(grasps)]
        return self._loaded[key]

    def _key(self, target: ObjectModel, pose_index: int, strategy: str) -> str:
        pose = np.round(target.stable_poses[pose_index], 5).tolist()
        config = asdict(self._config)
        text = repr(
            (
                VERSION,
                GRASP_SCHEMA,
                robot_key(),
                target.id,
                target.key,
                target.friction,
                target.mass_kg,
                len(target.convex_parts),
                pose,
                strategy,
                config,
            )
        )
        return hashlib.sha256(text.encode()).hexdigest()[:24]

    def _make(self, target: ObjectModel, pose_index: int, strategy: str) -> list[GraspSet]:
        """Both hands together, or the left and the right one."""
        obj = GraspObject.from_model(target)
        T_table_object = target.stable_poses[pose_index]
        if strategy == "bimanual":
            return [self._validated(obj, target, T_table_object, strategy, SIDES)]
        plane = symmetry_plane(obj, T_table_object)
        right = self._validated(obj, target, T_table_object, strategy, ("right",))
        if plane is not None:
            return [mirrored(right, plane, obj.com), right]
        return [self._validated(obj, target, T_table_object, strategy, ("left",)), right]

    def _validated(
        self, obj: GraspObject, target: ObjectModel, T_table_object: np.ndarray, strategy: str, sides: Sequence[Side]
    ) -> GraspSet:
        config = self._config
        hands = tuple(robot_hand(side) for side in sides)
        grasps = synthesize(
            obj,
            hands if len(hands) == 2 else hands[0],
            dataclasses.replace(config.synthesis, strategy=strategy),
            T_table_object=T_table_object,
            seed=config.seed,
        )
        better = slice(0, max(1, round(config.better_share * len(grasps))))
        count = config.validated if len(hands) == 1 else config.validated_bimanual
        picked = grasps.take(better).spread(count)
        hard = dataclasses.replace(
            config.validation,
            mass_kg=max(target.mass_kg, min(config.mass_factor * target.mass_kg, config.max_mass_kg)),
            friction=config.friction,
        )
        held = validate(picked, target, hard).held
        picked = picked.with_test(hard.test_name(target), held)
        if held.sum() >= config.enough or held.all():
            return picked.take(held)
        rest = np.flatnonzero(~held)
        as_it_is = held.copy()
        as_it_is[rest] = validate(picked.take(rest), target, config.validation).held
        return picked.with_test(config.validation.test_name(target), as_it_is).take(as_it_is)


def fitting(target: ObjectModel) -> tuple[str, ...]:
    """The strategies that suit an object: by its size class, and one whole hand where that closes round it."""
    strategies = BY_SIZE[target.size_class]
    if target.size_class == "large" and sorted(target.mesh.extents)[1] <= ENCLOSED_M:
        strategies = (*strategies, "whole_hand")
    return strategies


@lru_cache(maxsize=1)
def robot_key() -> str:
    """Hash of the robot's description: grasps made for another hand are not found in the cache."""
    robot = current_robot()
    hands = repr([robot.hands[side] for side in SIDES])
    return hashlib.sha256(robot.urdf.read_bytes() + hands.encode()).hexdigest()
