"""Benchmark of grasp synthesis: ours by strategy, the baselines, times, full scenes. `make bench-synthesis`.

Writes report.json and report.md into --out; the last line of the output is the summary as JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import os
import platform
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import Any, TypeVar

from tqdm import tqdm

from udg_datagen.bench import report
from udg_datagen.bench.baseline import run_baseline_cell
from udg_datagen.bench.cell import prepare_process, run_cell
from udg_datagen.bench.scenes import run_scene, scene_tasks
from udg_datagen.bench.settings import BenchConfig, BenchError, Cell, cells, pick_objects, quick
from udg_datagen.bench.timing import time_cell
from udg_datagen.synthesis import STRATEGIES
from udg_description.errors import cli
from udg_description.files import check_folder, next_free, user_path, write_atomically
from udg_description.settings import seed_number
from udg_sim.objects.library import ObjectLibrary
from udg_sim.objects.selection import HELP, select

_Task = TypeVar("_Task")
_Result = TypeVar("_Result")
PARTS = ("times", "cells", "baselines", "scenes")


def benchmark(config: BenchConfig, objects: dict[str, list[str]], parts: Sequence[str]) -> report.Results:
    """Run the parts named (of `PARTS`) and collect what they measured."""
    start = time.perf_counter()
    library = ObjectLibrary()
    categories = {name: library.get(name).category for names in objects.values() for name in names}
    all_cells = cells(objects, categories, tuple(STRATEGIES))
    timings = []
    if "times" in parts:
        chosen = timed_cells(all_cells, config.timed_objects)
        timings = [time_cell(c, workers=config.workers, seed=config.seed) for c in tqdm(chosen, desc="times", ncols=80)]
    with ProcessPoolExecutor(config.workers, mp_context=get_context("spawn"), initializer=prepare_process) as pool:
        ours = _map(pool, run_cell, all_cells if "cells" in parts else [], config, "cells")
        wanted = baseline_cells(all_cells, config.baseline_objects) if "baselines" in parts else []
        baselines = _map(pool, run_baseline_cell, wanted, config, "baselines")
        tasks = scene_tasks(objects, config) if "scenes" in parts else []
        scenes = _map(pool, run_scene, tasks, config, "scenes")
    return report.Results(
        config=config,
        ours=ours,
        baselines=baselines,
        timings=timings,
        scenes=scenes,
        machine=_machine(),
        seconds=time.perf_counter() - start,
    )


def timed_cells(all_cells: Sequence[Cell], count: int) -> list[Cell]:
    """Up to `count` cells with one hand, over the strategies, and up to `count` with both."""
    single = [c for c in all_cells if len(c.sides) == 1]
    both = [c for c in all_cells if len(c.sides) == 2]
    by_strategy = [[c for c in single if c.strategy == s] for s in ("whole_hand", "tripod", "pinch")]
    turn = [group[k] for k in range(max(map(len, by_strategy), default=0)) for group in by_strategy if k < len(group)]
    return turn[:count] + both[:count]


def baseline_cells(all_cells: Sequence[Cell], count: int) -> list[Cell]:
    """`count` whole-hand cells, evenly over the objects."""
    whole = [c for c in all_cells if c.strategy == "whole_hand"]
    return [whole[(k * len(whole)) // min(count, len(whole))] for k in range(min(count, len(whole)))]


def _map(
    pool: Executor,
    run: Callable[[_Task, BenchConfig], _Result],
    tasks: Sequence[_Task],
    config: BenchConfig,
    name: str,
) -> list[_Result]:
    """Results in the order of the tasks; a task that fails ends the run with its own error."""
    futures = {pool.submit(run, task, config): k for k, task in enumerate(tasks)}
    results: dict[int, _Result] = {}
    for future in tqdm(as_completed(futures), total=len(futures), desc=name, ncols=80, disable=not futures):
        results[futures[future]] = future.result()
    return [results[k] for k in range(len(tasks))]


def _machine() -> str:
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else math.nan
    return f"{platform.machine()}, {os.cpu_count()} CPUs, load {load:.1f} at the end"


def _plain(value: Any) -> Any:  # noqa: ANN401 - whatever the results hold, as JSON
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {f.name: _plain(getattr(value, f.name)) for f in dataclasses.fields(value)}
    if isinstance(value, tuple) and hasattr(value, "_asdict"):
        return {k: _plain(v) for k, v in value._asdict().items()}
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="three objects per size, a few minutes")
    parser.add_argument("--objects", help=f"{HELP}; default: those not used for tuning")
    parser.add_argument("--n", type=int, help="candidates per object and strategy")
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--out", type=user_path, default=Path("out/bench_synthesis"))
    parser.add_argument("--force", action="store_true", help="replace an earlier report in --out; else numbered")
    parser.add_argument("--docs", type=user_path, help="page whose tables are replaced (docs/measured/...)")
    parser.add_argument("--only", default=",".join(PARTS), help="parts to run")
    options = parser.parse_args(arguments)
    config = quick() if options.quick else BenchConfig()
    config = dataclasses.replace(config, seed=options.seed, workers=options.workers)
    if options.n is not None:
        config = dataclasses.replace(config, candidates=options.n)
    parts = options.only.split(",")
    if set(parts) - set(PARTS):
        raise BenchError(f"--only {options.only}: valid parts are {', '.join(PARTS)}")
    out = check_folder(options.out if options.force else next_free(options.out))
    if options.docs is not None:
        report.check_marks(options.docs.read_text())
    library = ObjectLibrary()
    if options.objects:
        objects: dict[str, list[str]] = {"small": [], "medium": [], "large": []}
        for name in select(options.objects, library):
            objects[library.get(name).size_class].append(name)
    else:
        objects = pick_objects(library, config.objects_per_size)
    results = benchmark(config, objects, parts)
    summary = report.summary(results)
    out.mkdir(parents=True, exist_ok=True)
    write_atomically(out / "report.json", json.dumps({"summary": summary, **_plain(results)}, indent=1))
    page = report.markdown(results)
    write_atomically(out / "report.md", page)
    if options.docs is not None:
        write_atomically(options.docs, report.insert(options.docs.read_text(), results))
    print(page)
    print(json.dumps(summary))
    return 0


if __name__ == "__main__":
    cli(main)
