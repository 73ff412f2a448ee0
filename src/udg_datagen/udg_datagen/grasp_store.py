"""Grasps of an object at rest, made once and kept in the cache."""

from __future__ import annotations

import hashlib
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np

from udg_datagen.grasps import GraspSet
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize, xhand
from udg_datagen.validation import ValidationConfig, validate
from udg_description.layout import SIDES, Side
from udg_description.urdf import urdf_path
from udg_sim.cache import cache_dir
from udg_sim.objects import ObjectModel


@dataclass(frozen=True, kw_only=True)
class GraspStoreConfig:
    synthesis: SynthesisConfig = field(default_factory=lambda: SynthesisConfig(n_candidates=250))
    validation: ValidationConfig = field(default_factory=ValidationConfig)
    validated: int = 24  # best candidates by energy that are lifted by the hand alone
    seed: int = 0

    def __post_init__(self) -> None:
        if self.validated < 1:
            raise ValueError(f"validated is {self.validated}, valid: >= 1")


class GraspStore:
    """Physically validated grasps by (object, resting pose, side): synthesised when first asked for."""

    def __init__(self, config: GraspStoreConfig, folder: Path | None = None) -> None:
        self._config = config
        self._folder = (folder or cache_dir()) / "grasps"
        self._loaded: dict[tuple[str, int], dict[Side, GraspSet]] = {}

    def get(self, target: ObjectModel, pose_index: int) -> dict[Side, GraspSet]:
        """Grasps by side, best first, that held in the hand-alone lift; in the object's frame."""
        key = (target.key, pose_index)
        if key not in self._loaded:
            self._loaded[key] = {side: self._one(target, pose_index, side) for side in SIDES}
        return self._loaded[key]

    def _one(self, target: ObjectModel, pose_index: int, side: Side) -> GraspSet:
        config = self._config
        text = repr((robot_key(), target.key, target.friction, target.mass_kg, pose_index, side, asdict(config)))
        path = self._folder / f"{hashlib.sha256(text.encode()).hexdigest()[:24]}.npz"
        if path.exists():
            return GraspSet.load(path)
        grasps = synthesize(
            GraspObject.from_model(target),
            xhand(side),
            config.synthesis,
            T_table_object=target.stable_poses[pose_index],
            seed=config.seed,
        )
        best = grasps.take(np.arange(min(config.validated, len(grasps))))
        held = best.take(validate(best, target, config.validation).held)
        held.save(path)
        return held


@lru_cache(maxsize=1)
def robot_key() -> str:
    """Hash of the robot's description: grasps made for another hand are not found in the cache."""
    folder = Path(urdf_path()).parent
    digest = hashlib.sha256()
    for name in ("udg_robot.urdf", "contacts.yaml"):
        digest.update((folder / name).read_bytes())
    return digest.hexdigest()


def resting_pose(target: ObjectModel, T_world_object: np.ndarray) -> int:
    """Index of the stable pose in which the object rests: the one with the nearest upward direction."""
    up_object = T_world_object[2, :3]
    return int(np.argmax([T[2, :3] @ up_object for T in target.stable_poses]))
