"""One cell of the benchmark: synthesis, metrics and physical tests of one object with one strategy."""

from __future__ import annotations

import dataclasses
import math
import os
import time
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch

from udg_datagen.bench.settings import TESTS, BenchConfig, Cell
from udg_datagen.grasp_set import GraspSet
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.metrics import Diversity, diversity, q1_of
from udg_datagen.synthesis import GraspObject, HandModel, SynthesisConfig, synthesize
from udg_datagen.validation.validation import validate
from udg_description.errors import UdgError
from udg_description.layout import Side
from udg_sim.objects.library import ObjectLibrary, ObjectModel

_SEED_STEP = 1000


@dataclass(frozen=True, kw_only=True)
class CellResult:
    """What came out of a cell. Lists hold one entry per grasp tried, in the same order."""

    cell: Cell
    method: str
    candidates: int
    returned: int  # candidates that stayed finite
    good: int  # of those, within the gates of distance, penetration and table
    cpu_s: float  # of the synthesis
    raw_rank: list[float]  # share of the good candidates that are better; nan for a candidate outside the gates
    raw: dict[str, list[bool]]  # by test: candidates drawn from all
    ranked: dict[str, list[bool]]  # by test: drawn from the best quarter
    penetration_mm: list[float]  # exact, of the kept ones
    tip_mm: list[float]  # worst contact of each kept grasp
    q1: list[float]  # of kept ones
    diversity_all: Diversity
    diversity_kept: Diversity  # the best 500 of 800 in proportion
    diversity_ranked: Diversity  # the best quarter
    note: str = ""


def run_cell(cell: Cell, config: BenchConfig) -> CellResult:
    """Everything of one cell, in this process on one thread."""
    torch.set_num_threads(1)
    model = library().get(cell.object_id)
    obj = grasp_object(cell.object_id)
    hands = tuple(hand_model(side) for side in cell.sides)
    seed = cell_seed(cell, config.seed)
    synthesis = open_gates(SynthesisConfig(strategy=cell.strategy, n_candidates=config.candidates))
    start = time.process_time()
    try:
        grasps = synthesize(obj, hands, synthesis, T_table_object=model.stable_poses[0], seed=seed)
    except UdgError as error:  # an object that the strategy cannot grasp: all candidates failed
        return _nothing(cell, str(error), time.process_time() - start, config)
    cpu_s = time.process_time() - start
    good = within_gates(grasps, SynthesisConfig(strategy=cell.strategy))
    return judge(cell, "ours", grasps, good, config.candidates, cpu_s, config)


def judge(
    cell: Cell, method: str, grasps: GraspSet, good: np.ndarray, candidates: int, cpu_s: float, config: BenchConfig
) -> CellResult:
    """Metrics and tests of candidates `grasps` (lowest energy first), of which `good` (N,) are within the gates.

    Candidates that were lost on the way (`candidates` minus those given) count as tried and failed.
    """
    model, obj = library().get(cell.object_id), grasp_object(cell.object_id)
    hands = tuple(hand_model(side) for side in cell.sides)
    rng = np.random.default_rng(cell_seed(cell, config.seed))
    order = np.flatnonzero(good)
    n_kept = min(len(order), round(config.kept_share * candidates))
    n_ranked = min(len(order), max(config.trials, round(config.ranked_share * len(order))))
    kept, best = order[:n_kept], order[:n_ranked]
    slots = rng.permutation(candidates)[: config.trials]
    drawn = np.sort(slots[slots < len(grasps)])
    top = np.sort(rng.permutation(best)[: config.trials])
    rank = np.full(len(grasps), np.nan)
    rank[order] = np.arange(len(order)) / max(1, len(order))
    raw, ranked = {}, {}
    for name, test in TESTS.items():
        raw[name] = _held(grasps, drawn, model, test) + [False] * (len(slots) - len(drawn))
        ranked[name] = _held(grasps, top, model, test)
    sample = np.sort(rng.permutation(kept)[: config.quality_samples])
    some = grasps.take(sample)
    return CellResult(
        cell=cell,
        method=method,
        candidates=candidates,
        returned=len(grasps),
        good=len(order),
        cpu_s=cpu_s,
        raw_rank=[*rank[drawn].tolist(), *[float("nan")] * (len(slots) - len(drawn))],
        raw=raw,
        ranked=ranked,
        penetration_mm=(1e3 * exact_penetration(some, hands, obj)).tolist(),
        tip_mm=(1e3 * np.nanmax(np.abs(grasps.tip_distance[kept]), axis=1)).tolist() if len(kept) else [],
        q1=q1_of(some, obj).tolist(),
        diversity_all=diversity(grasps),
        diversity_kept=diversity(grasps.take(kept)),
        diversity_ranked=diversity(grasps.take(best)),
    )


def exact_penetration(grasps: GraspSet, hands: tuple[HandModel, ...], obj: GraspObject) -> np.ndarray:
    """Depth (N,) [m] of the deepest point of the hands' collision geometry in the object, by the exact distance."""
    depth = np.zeros(len(grasps))
    for h, hand in enumerate(hands):
        T = torch.as_tensor(grasps.T_object_hand[:, h], dtype=torch.float32)
        state = hand.forward(T[:, :3, 3], T[:, :3, :3], torch.as_tensor(grasps.q_grasp[:, h], dtype=torch.float32))
        points = (state.X @ hand.W_surface).transpose(1, 2).numpy()
        if len(points):
            depth = np.maximum(depth, -obj.distance(points).min(axis=1))
    return depth


def open_gates(config: SynthesisConfig) -> SynthesisConfig:
    """The same synthesis, but no finite candidate is dropped."""
    gates = [field.name for field in dataclasses.fields(config) if field.name.startswith("max_")]
    return dataclasses.replace(config, **{name: float("inf") for name in gates})  # type: ignore[arg-type]


def within_gates(grasps: GraspSet, config: SynthesisConfig) -> np.ndarray:
    """Which candidates (N,) the default gates would have let pass."""
    return (
        (np.nanmax(np.abs(grasps.tip_distance), axis=1, initial=0.0) < config.max_tip_distance)
        & (grasps.penetration < config.max_penetration)
        & (grasps.self_penetration < config.max_self_penetration)
        & (grasps.hand_hand_penetration <= config.max_hands_penetration)
        & (grasps.table_clearance > -config.max_table_penetration)
        & (grasps.approach_clearance > -config.max_approach_penetration)
    )


def cell_seed(cell: Cell, seed: int) -> int:
    """A seed of its own for every cell, the same in every run."""
    return _SEED_STEP * seed + sum(ord(c) * (k + 1) for k, c in enumerate(cell.object_id + cell.strategy)) % _SEED_STEP


def _nothing(cell: Cell, note: str, cpu_s: float, config: BenchConfig) -> CellResult:
    failed = {name: [False] * config.trials for name in TESTS}
    none = Diversity(
        count=0,
        pca_share_1=math.nan,
        pca_share_2=math.nan,
        pca_share_5=math.nan,
        approach_angle_deg=math.nan,
        approach_entropy=math.nan,
        point_spread_mm=math.nan,
    )
    return CellResult(
        cell=cell,
        method="ours",
        candidates=config.candidates,
        returned=0,
        good=0,
        cpu_s=cpu_s,
        raw_rank=[math.nan] * config.trials,
        raw=failed,
        ranked=failed,
        penetration_mm=[],
        tip_mm=[],
        q1=[],
        diversity_all=none,
        diversity_kept=none,
        diversity_ranked=none,
        note=note,
    )


def _held(grasps: GraspSet, index: np.ndarray, model: ObjectModel, test: object) -> list[bool]:
    if len(index) == 0:
        return []
    return validate(grasps.take(index), model, test).held.tolist()  # type: ignore[arg-type]


@lru_cache(maxsize=1)
def library() -> ObjectLibrary:
    """The objects, once a process."""
    return ObjectLibrary()


@lru_cache(maxsize=2)
def grasp_object(object_id: str) -> GraspObject:
    """What the synthesiser sees of an object; the last ones are kept."""
    return GraspObject.from_model(library().get(object_id))


@lru_cache(maxsize=2)
def hand_model(side: Side) -> HandModel:
    """The XHand of a side, once a process."""
    return robot_hand(side)


def prepare_process() -> None:
    """Run at the start of a worker: one thread, quiet."""
    os.environ["OMP_NUM_THREADS"] = "1"
    torch.set_num_threads(1)
