"""One cell of the benchmark by a baseline: same object, hand, opening, squeeze and tests."""

from __future__ import annotations

import time

import torch

from udg_datagen.baselines import DexGraspNetConfig, optimise, to_grasps
from udg_datagen.bench.cell import CellResult, cell_seed, grasp_object, hand_model, judge, library, open_gates
from udg_datagen.bench.cell import within_gates as gates_of
from udg_datagen.bench.settings import BenchConfig, Cell
from udg_datagen.synthesis import SynthesisConfig


def run_baseline_cell(cell: Cell, config: BenchConfig) -> CellResult:
    """DexGraspNet on the cell's object and hand, with the settings of its paper."""
    torch.set_num_threads(1)
    model, obj, hand = library().get(cell.object_id), grasp_object(cell.object_id), hand_model(cell.sides[0])
    synthesis = open_gates(SynthesisConfig(strategy=cell.strategy))
    start = time.process_time()
    result = optimise(
        obj, hand, DexGraspNetConfig(n_candidates=config.baseline_candidates), seed=cell_seed(cell, config.seed)
    )
    grasps = to_grasps(result, obj, hand, synthesis, T_table_object=model.stable_poses[0], method="dexgraspnet")
    cpu_s = time.process_time() - start
    good = gates_of(grasps, synthesis)  # open gates: this method has none
    return judge(cell, "dexgraspnet", grasps, good, config.baseline_candidates, cpu_s, config)
