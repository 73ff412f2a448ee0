"""Diverse grasps of a scene: the nearest of a few varied ones, whichever they are (`GraspSet.spread`).

For data that show many ways to take an object. One that shows the same way in the same scene: `expert.py`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from udg_datagen.expert.choice import Choice, ChoiceConfig, reachable
from udg_datagen.grasp_set import GraspSet
from udg_datagen.planning.collision import CollisionScene
from udg_sim.objects.library import ObjectModel


@dataclass(frozen=True, kw_only=True)
class SpreadConfig:
    """Fingers that come down to the table touch it before the arm has settled; a few millimetres cost no grasp."""

    hand_table_wish_m: float = 0.004  # grasps whose hands stay this far off the table come first,
    raise_m: float = 0.005  # then those that do when they are taken this much higher, then the others so
    raise_share: float = 0.1  # but by this share of the object's height at most: low objects slip out of high grasps


def spread_choices(
    grasps: Sequence[GraspSet],
    target: ObjectModel,
    T_world_object: np.ndarray,
    start: np.ndarray,
    scene: CollisionScene,
    config: SpreadConfig | None = None,
    choice: ChoiceConfig | None = None,
    counts: Counter[str] | None = None,
) -> Iterator[Choice]:
    """Reachable grasps, nearest (eq. 10) to the hands at ``start`` (36,) first, in the order of `SpreadConfig`."""
    config = SpreadConfig() if config is None else config
    choice = ChoiceConfig() if choice is None else choice
    scene.set_objects((target.mesh, T_world_object))
    high = replace(choice, hand_table_margin_m=config.hand_table_wish_m)
    top_m = float((np.asarray(target.mesh.vertices) @ T_world_object[2, :3]).max() + T_world_object[2, 3])
    raise_m = min(config.raise_m, config.raise_share * top_m)
    seen = set()
    for each in (high, replace(high, raise_m=raise_m), replace(choice, raise_m=raise_m)):
        for reach in reachable(grasps, T_world_object, start, scene, each, discarded=counts):
            if (reach.set_index, reach.grasp_index) not in seen:
                seen.add((reach.set_index, reach.grasp_index))
                yield Choice(grasps[reach.set_index], reach)
