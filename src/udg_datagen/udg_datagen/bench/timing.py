"""How long the best 500 of 800 candidates of one object take, on all processes, by wall clock."""

from __future__ import annotations

import time
from typing import NamedTuple

from udg_datagen.bench.settings import Cell
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize
from udg_sim.objects.library import ObjectLibrary

CANDIDATES = 800
KEPT = 500
_WARM_UP = 4  # candidates a process


class Timing(NamedTuple):
    """Time of one object: seconds on the wall, grasps that came back of those asked for."""

    cell: Cell
    seconds: float
    returned: int


def time_cell(cell: Cell, *, workers: int, seed: int) -> Timing:
    """Optimise the best 500 of 800 candidates; processes are started and warmed up before the clock runs."""
    model = ObjectLibrary().get(cell.object_id)
    obj = GraspObject.from_model(model)
    hands = tuple(robot_hand(side) for side in cell.sides)
    hand = hands if len(hands) > 1 else hands[0]
    pose = model.stable_poses[0]
    warm_up = SynthesisConfig(strategy=cell.strategy, n_candidates=_WARM_UP * workers, batch=_WARM_UP)
    synthesize(obj, hand, warm_up, T_table_object=pose, seed=seed, workers=workers)
    config = SynthesisConfig(strategy=cell.strategy, n_candidates=CANDIDATES, n_keep=KEPT)
    start = time.perf_counter()
    grasps = synthesize(obj, hand, config, T_table_object=pose, seed=seed, workers=workers)
    return Timing(cell, time.perf_counter() - start, len(grasps))
