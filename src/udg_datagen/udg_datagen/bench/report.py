"""From the results of all cells to the tables and the last line."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from udg_datagen import clusters
from udg_datagen.bench.cell import CellResult
from udg_datagen.bench.published import PUBLISHED
from udg_datagen.bench.scenes import SceneOutcome
from udg_datagen.bench.settings import MAIN_TEST, ROUND, SIZES, TESTS, BenchConfig, BenchError
from udg_datagen.bench.timing import KEPT, Timing
from udg_datagen.intervals import Share

_SINGLE = ("pinch", "tripod", "whole_hand")
_HEAVY = "lift 1 kg mu 1.0"
_BEGIN, _END = "<!-- bench:begin -->", "<!-- bench:end -->"


@dataclass(frozen=True, kw_only=True)
class Results:
    """All that was measured."""

    config: BenchConfig
    ours: Sequence[CellResult]
    baselines: Sequence[CellResult]
    timings: Sequence[Timing]
    scenes: Sequence[SceneOutcome]
    machine: str
    seconds: float


def pooled(results: Sequence[CellResult], test: str, which: str) -> Share:
    """Share of the tried grasps of all cells that withstood `test`; `which` is "raw" or "ranked"."""
    return _by_object([(r.cell.object_id, held) for r in results for held in getattr(r, which)[test]])


def kept_share(results: Sequence[CellResult], kept: float) -> Share:
    """Of raw candidates that are among those kept (the best `kept` of all by energy): share valid in the main test."""
    held = [
        (r.cell.object_id, h)
        for r in results
        for h, rank in zip(r.raw[MAIN_TEST], r.raw_rank, strict=True)
        if not math.isnan(rank) and rank * r.good < kept * r.candidates
    ]
    return _by_object(held)


def _by_object(outcomes: Sequence[tuple[str, bool]]) -> Share:
    """Share of (object, held) with the interval that takes the grasps of an object as a cluster."""
    found = clusters.share(outcomes)
    return Share(found.successes, found.trials, found.value, found.lower, found.upper)


def summary(results: Results) -> dict[str, Any]:
    """The last line: keys fixed by those who read it. Null where nothing was measured."""
    single = _of(results.ours, lambda r: len(r.cell.sides) == 1)
    both = _of(results.ours, lambda r: len(r.cell.sides) == 2)
    rates = {"ours": _valid_per_s(results), **_baseline_rates(results)}
    lifted = [(s.object_id, s.lifted) for s in results.scenes if s.executed]
    strategies = sorted({r.cell.strategy for r in results.ours})
    return {
        "single_s_per_500": _median_time(results.timings, 1),
        "bimanual_s_per_500": _median_time(results.timings, 2),
        "valid_share": {
            "single_mu06": _value(pooled(single, MAIN_TEST, "raw")),
            "single_mu06_ranked": _value(pooled(single, MAIN_TEST, "ranked")),
            "single_mu10": _value(pooled(single, "six 0.1 kg mu 1.0", "raw")),
            "bimanual_mu06": _value(pooled(both, MAIN_TEST, "raw")),
            "bimanual_mu06_ranked": _value(pooled(both, MAIN_TEST, "ranked")),
            "by_strategy": {
                s: _value(pooled(_of(results.ours, lambda r, s=s: r.cell.strategy == s), MAIN_TEST, "raw"))
                for s in strategies
            },
        },
        "penetration_mm_p50": _quantile(results.ours, "penetration_mm", 0.5),
        "contact_mm_p50": _quantile(results.ours, "tip_mm", 0.5),
        "valid_per_s": rates,
        "chosen_lift_share": _value(_by_object(lifted)),
    }


def markdown(results: Results) -> str:
    """The whole report as a page: the tables, every cell, the summary."""
    parts = [
        "# Benchmark of grasp synthesis\n",
        tables(results),
        "\n## Cells\n",
        _cells_table(results),
        "\n## Summary\n",
        "```json\n" + json.dumps(summary(results)) + "\n```\n",
    ]
    return "\n".join(parts)


def insert(page: str, results: Results) -> str:
    """The page with the tables between its marks `<!-- bench:begin -->` and `<!-- bench:end -->` replaced.

    Raises:
        BenchError: the page has no such marks.
    """
    check_marks(page)
    head, begin, rest = page.partition(_BEGIN)
    _, end, tail = rest.partition(_END)
    inner = tables(results).replace("\n## ", "\n### ")
    return f"{head}{begin}\n{inner}\n```json\n{json.dumps(summary(results))}\n```\n{end}{tail}"


def check_marks(page: str) -> None:
    """Raise BenchError unless the page has the marks between which the tables go."""
    if _END not in page.partition(_BEGIN)[2]:
        raise BenchError(f"the page has no marks {_BEGIN} and {_END} to put the tables between")


def tables(results: Results) -> str:
    """All tables but that of the cells."""
    config = results.config
    parts = [
        f"{len({r.cell.object_id for r in results.ours})} objects that were not used to tune, seed {config.seed}, "
        f"{config.candidates} candidates a cell (object and strategy), {config.trials} of them tried raw and "
        f"{config.trials} of the best quarter by energy (ranked). {results.machine}; "
        f"whole run {results.seconds / 60.0:.0f} min.\n",
        "Shares are followed by the 95 % interval, an object's grasps as a cluster, and (count/tried). A candidate "
        "that was lost or that is outside "
        "the gates of distance and penetration counts as tried in the raw shares.\n",
        "## Valid share by strategy\n",
        _tests_table(results),
        "\n## Methods on the same hand, objects and tests\n",
        _methods_table(results),
        "\n## By size, and thin bowls\n",
        _sizes_table(results),
        "\n## Diversity\n",
        "All finite candidates, the best 500 of 800 in proportion, the best quarter; means over cells.\n",
        _diversity_table(results),
        "\n## Time of the best 500 of 800 candidates\n",
        _time_table(results),
        "\n## Grasps chosen in full scenes\n",
        _scenes_table(results),
        "\n## Published figures (other hands, objects, tests and machines; not measured here)\n",
        _table(["method", "figure", "where"], [list(row) for row in PUBLISHED]),
    ]
    return "\n".join(parts)


def _tests_table(results: Results) -> str:
    rows = []
    for label, chosen in _groups(results.ours):
        for which in ("raw", "ranked"):
            rows.append([label, which, *(str(pooled(chosen, test, which)) for test in TESTS)])
    heavy = _of(results.ours, lambda r: len(r.cell.sides) == 1 and r.cell.category not in ROUND)
    rows.append(["one hand, no balls or bowls", "ranked", *(str(pooled(heavy, test, "ranked")) for test in TESTS)])
    return _table(["strategy", "candidates", *TESTS], rows)


def _methods_table(results: Results) -> str:
    names = sorted({r.method for r in results.baselines})
    baseline_objects = {r.cell.object_id for r in results.baselines}
    same = _of(results.ours, lambda r: r.cell.object_id in baseline_objects and r.cell.strategy == "whole_hand")
    single = _of(results.ours, lambda r: len(r.cell.sides) == 1)
    rows = [["ours, all single-hand cells", *_method(single, _valid_per_s(results))]]
    rows.append(["ours, whole hand, the baselines' objects", *_method(same, None)])  # not timed by itself
    rates = _baseline_rates(results)
    for name in names:
        rows.append([name, *_method(_of(results.baselines, lambda r, n=name: r.method == n), rates[name])])
    head = [
        "method",
        "valid/s",
        "valid raw",
        "valid ranked",
        "penetration p50 / p90 [mm]",
        "worst contact p50 [mm]",
        "Q1 p50",
        "approach angle all -> ranked [deg]",
    ]
    return _table(head, rows)


def _method(chosen: Sequence[CellResult], rate: float | None) -> list[str]:
    if not chosen:
        return ["-"] * 7
    angle = [_mean(chosen, d, "approach_angle_deg") for d in ("diversity_all", "diversity_ranked")]
    return [
        "-" if rate is None else f"{rate:.1f}",
        str(pooled(chosen, MAIN_TEST, "raw")),
        str(pooled(chosen, MAIN_TEST, "ranked")),
        f"{_number(_quantile(chosen, 'penetration_mm', 0.5))} / {_number(_quantile(chosen, 'penetration_mm', 0.9))}",
        _number(_quantile(chosen, "tip_mm", 0.5)),
        _number(_quantile(chosen, "q1", 0.5), 3),
        f"{angle[0]:.0f} -> {angle[1]:.0f}",
    ]


def _sizes_table(results: Results) -> str:
    groups = [(size, _of(results.ours, lambda r, s=size: r.cell.size == s)) for size in SIZES]
    groups.append(("thin bowls", _of(results.ours, lambda r: r.cell.category == "bowl")))
    rows = [[label, *(str(pooled(chosen, MAIN_TEST, w)) for w in ("raw", "ranked"))] for label, chosen in groups]
    return _table(["objects", f"raw, {MAIN_TEST}", "ranked"], rows)


def _diversity_table(results: Results) -> str:
    fields = ("pca_share_1", "pca_share_2", "pca_share_5", "approach_angle_deg", "approach_entropy", "point_spread_mm")
    rows = []
    for label, chosen in [
        *_groups(results.ours),
        *(
            (m, _of(results.baselines, lambda r, m=m: r.method == m))
            for m in sorted({r.method for r in results.baselines})
        ),
    ]:
        for part in ("all", "kept", "ranked"):
            rows.append([label, part, *(f"{_mean(chosen, f'diversity_{part}', f):.3g}" for f in fields)])
    head = ["strategy", "grasps", "PCA share 1", "2", "5", "approach angle [deg]", "entropy", "point spread [mm]"]
    return _table(head, rows)


def _time_table(results: Results) -> str:
    rows = [
        [t.cell.object_id, t.cell.strategy, f"{t.seconds:.2f}", str(t.returned)]
        for t in sorted(results.timings, key=lambda t: (len(t.cell.sides), t.seconds))
    ]
    return _table(["object", "strategy", f"wall time, {results.config.workers} processes [s]", "returned"], rows)


def _scenes_table(results: Results) -> str:
    if not results.scenes:
        return "Not run.\n"
    rows = []
    for label, chosen in [("all", results.scenes), *((s, [x for x in results.scenes if x.size == s]) for s in SIZES)]:
        executed = [s for s in chosen if s.executed]
        lifted = _by_object([(s.object_id, s.lifted) for s in executed])
        planned = _by_object([(s.object_id, s.executed) for s in chosen])
        rows.append([label, str(planned), str(lifted)])
    reasons: dict[str, int] = {}
    for scene in results.scenes:
        if not scene.lifted:
            reasons[scene.reason] = reasons.get(scene.reason, 0) + 1
    text = ", ".join(f"{reason} {count}" for reason, count in sorted(reasons.items())) or "none"
    return _table(["scenes", "reachable and planned", "lifted of those"], rows) + f"\nNot lifted: {text}.\n"


def _cells_table(results: Results) -> str:
    rows = []
    for r in [*results.ours, *results.baselines]:
        rows.append(
            [
                r.cell.object_id,
                r.cell.size,
                r.method,
                r.cell.strategy,
                "+".join(r.cell.sides),
                f"{r.good}/{r.candidates}",
                _few(r.raw[MAIN_TEST]),
                _few(r.ranked[MAIN_TEST]),
                _few(r.ranked["lift 0.5 kg mu 0.6"]),
                _few(r.ranked[_HEAVY]),
                f"{r.cpu_s:.1f}",
                r.note,
            ]
        )
    head = [
        "object",
        "size",
        "method",
        "strategy",
        "hands",
        "within gates",
        "raw",
        "ranked",
        "lift 0.5 kg",
        "lift 1 kg",
        "CPU [s]",
        "note",
    ]
    return _table(head, rows)


def _groups(ours: Sequence[CellResult]) -> list[tuple[str, list[CellResult]]]:
    strategies = [s for s in (*_SINGLE, "bimanual") if any(r.cell.strategy == s for r in ours)]
    groups = [(s, _of(ours, lambda r, s=s: r.cell.strategy == s)) for s in strategies]
    return [*groups, ("one hand", _of(ours, lambda r: len(r.cell.sides) == 1))]


def _valid_per_s(results: Results) -> float | None:
    """Valid grasps among the best 500 over the time that they take, single hands."""
    seconds = _median_time(results.timings, 1)
    single = _of(results.ours, lambda r: len(r.cell.sides) == 1)
    valid = kept_share(single, results.config.kept_share)
    if seconds is None or valid.total == 0:
        return None
    returned = float(np.median([t.returned for t in results.timings if len(t.cell.sides) == 1]))
    return round(min(KEPT, returned) * valid.value / seconds, 1)


def _baseline_rates(results: Results) -> dict[str, float]:
    rates = {}
    for name in sorted({r.method for r in results.baselines}):
        chosen = _of(results.baselines, lambda r, n=name: r.method == n)
        valid = pooled(chosen, MAIN_TEST, "raw").value * sum(r.candidates for r in chosen)
        rates[name] = round(valid / (sum(r.cpu_s for r in chosen) / results.config.workers), 3)
    return rates


def _median_time(timings: Sequence[Timing], hands: int) -> float | None:
    seconds = [t.seconds for t in timings if len(t.cell.sides) == hands]
    return round(float(np.median(seconds)), 2) if seconds else None


def _quantile(results: Sequence[CellResult], field: str, q: float) -> float | None:
    values = [v for r in results for v in getattr(r, field)]
    return round(float(np.quantile(values, q)), 4) if values else None


def _mean(results: Sequence[CellResult], part: str, field: str) -> float:
    values = [getattr(getattr(r, part), field) for r in results]
    finite = [v for v in values if not math.isnan(v)]
    return float(np.mean(finite)) if finite else math.nan


def _of(results: Sequence[CellResult], chosen: Callable[..., bool]) -> list[CellResult]:
    return [r for r in results if chosen(r)]


def _value(value: Share) -> float | None:
    return None if value.total == 0 else round(value.value, 4)


def _number(value: float | None, digits: int = 2) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def _few(held: Sequence[bool]) -> str:
    return f"{sum(held)}/{len(held)}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"
