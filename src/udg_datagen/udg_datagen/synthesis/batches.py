"""Batches of candidates in this process or spread over others, one thread each: the result is always the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import Executor, ProcessPoolExecutor
from functools import lru_cache, partial
from typing import NamedTuple

import numpy as np
import torch

from udg_datagen.hands.model import HandModel, HandSpec
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.processes import worker_pool
from udg_datagen.synthesis.config import SynthesisConfig
from udg_datagen.synthesis.finish import finish
from udg_datagen.synthesis.initial import TablePlane, sample_starts
from udg_datagen.synthesis.near import Near, starts_near
from udg_datagen.synthesis.optimise import optimise
from udg_datagen.synthesis.problem import Problem
from udg_policy.threads import one_thread


class _Parcel(NamedTuple):
    """A problem as another process takes it: numpy arrays, no tensors."""

    obj: GraspObject
    specs: tuple[HandSpec, ...]
    device: str
    active: tuple[tuple[int, ...], ...]
    table: TablePlane
    config: SynthesisConfig
    seed: int
    near: Near | None


def solve_batches(
    problem: Problem, workers: int, pool: Executor | None, progress: Callable[[float], None] | None
) -> dict[str, np.ndarray]:
    """Arrays of `GraspSet`, by name, of the N candidates that pass the gates, in the order of their starts.

    Args:
        workers: processes; more than one start a pool that is kept for later calls, unless `pool` is given.
        progress: called after each batch with the share of candidates that are done.

    Raises:
        NoApproachError: no approach direction is free of the table.
    """
    config = problem.config
    count = -(-config.n_candidates // config.batch)
    sizes = [config.n_candidates // count + (k < config.n_candidates % count) for k in range(count)]
    if pool is None and workers > 1 and count > 1:
        pool = _kept_pool(workers)
    results: Iterator[dict[str, np.ndarray]]
    if pool is None:
        results = (_solve(problem, k, size) for k, size in enumerate(sizes))
    else:
        specs, device = tuple(hand.spec for hand in problem.hands), problem.hands[0].device
        parcel = _Parcel(problem.obj, specs, device, *problem[2:])
        results = pool.map(partial(_solve_parcel, parcel), range(count), sizes)
    parts, done = [], 0
    for part, size in zip(results, sizes, strict=True):
        parts.append(part)
        done += size
        if progress is not None:
            progress(done / config.n_candidates)
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def _solve(problem: Problem, batch: int, size: int) -> dict[str, np.ndarray]:
    obj, hands, active, table, config, seed, near = problem
    with one_thread():
        with torch.no_grad():
            rng = np.random.default_rng([seed, batch])
            count = size * config.screen_factor
            if near is None:
                starts = sample_starts(obj, hands, active, table, config, count, rng)
            else:
                starts = starts_near(near, hands, config, count, rng)
        result = optimise(problem, starts, keep=size)
        return finish(problem, result)


def _solve_parcel(parcel: _Parcel, batch: int, size: int) -> dict[str, np.ndarray]:
    hands = tuple(HandModel(spec, parcel.device) for spec in parcel.specs)
    return _solve(Problem(parcel.obj, hands, *parcel[3:]), batch, size)


@lru_cache(maxsize=1)
def _kept_pool(workers: int) -> ProcessPoolExecutor:
    return worker_pool(workers)
