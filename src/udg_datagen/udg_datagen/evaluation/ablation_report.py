"""What a study of variants has shown: intervals, a table, a picture.

Two kinds of 95 % interval: over the seeds (Student's t: what another training may give), and over the trials of all
seeds together (what other objects may give, which are clusters of trials). Differences are of the same trials, seed by
seed; p is of a test that exchanges both variants in all trials of an object at once. The report holds the outcome of
each trial, so that anyone can compute the figures again.
"""

from __future__ import annotations

import io
import json
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy import stats

from udg_datagen import clusters
from udg_description.files import write_atomically

Task = tuple[str, int]
GROUPS = ("all", "known", "unseen")
REPORT_JSON, REPORT_TABLE, PICTURE = "report.json", "report.md", "success.png"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One trained and measured policy: trials (object, seed) -> success, on objects of the training and on others."""

    variant: str
    seed: int
    validation: dict[str, float]
    known: dict[Task, bool]
    unseen: dict[Task, bool]
    weights: str = ""  # SHA-256 of the trained policy's
    code: str = ""  # commit that trained it

    def trials(self, group: str) -> dict[Task, bool]:
        """The trials of one of GROUPS."""
        return {"all": {**self.known, **self.unseen}, "known": self.known, "unseen": self.unseen}[group]


def student_interval(values: Sequence[float]) -> dict[str, Any]:
    """Mean and half width of its 95 % interval (None for fewer than two values)."""
    n = len(values)
    if n == 0:
        return {"mean": None, "half_width_95": None, "n": 0}
    half = float(stats.t.ppf(0.975, n - 1) * np.std(values, ddof=1) / math.sqrt(n)) if n > 1 else None
    return {"mean": round(float(np.mean(values)), 4), "half_width_95": None if half is None else round(half, 4), "n": n}


def success(runs: Sequence[Run], group: str) -> dict[str, Any]:
    """Success of the runs of one variant."""
    outcomes = [list(run.trials(group).values()) for run in runs]
    trials, successes = sum(map(len, outcomes)), sum(map(sum, outcomes))
    of_objects = clusters.share([(object, won) for run in runs for (object, _), won in run.trials(group).items()])
    by_seed = [sum(of_run) / len(of_run) for of_run in outcomes if of_run]
    return {
        "trials": trials,
        "successes": successes,
        "rate": round(successes / trials, 4) if trials else None,
        "interval_95": [round(of_objects.lower, 3), round(of_objects.upper, 3)],
        "by_seed": [round(rate, 4) for rate in by_seed],
        "seeds": student_interval(by_seed),
    }


def difference(runs: Sequence[Run], reference: Sequence[Run], group: str) -> dict[str, Any]:
    """Success less the reference's in the same trials, seed by seed; trials that only one of both won."""
    others = {run.seed: run.trials(group) for run in reference}
    by_seed, won, lost = [], 0, 0
    pair: tuple[dict[tuple[str, Any], bool], dict[tuple[str, Any], bool]] = {}, {}
    for run in runs:
        own, other = run.trials(group), others.get(run.seed, {})
        both = own.keys() & other.keys()
        if both:
            by_seed.append(sum(own[task] - other[task] for task in both) / len(both))
            won += sum(own[task] and not other[task] for task in both)
            lost += sum(other[task] and not own[task] for task in both)
            for all_of, one in zip(pair, (other, own), strict=True):
                all_of.update({(object, (run.seed, trial)): one[object, trial] for object, trial in both})
    p = clusters.difference(*pair).p if by_seed else 1.0
    return {"seeds": student_interval(by_seed), "won": int(won), "lost": int(lost), "p": round(p, 5)}


def report_of(
    runs: Sequence[Run], variants: Sequence[str], plan: dict[str, Any], failures: Sequence[str]
) -> dict[str, Any]:
    """The report as JSON values; the first variant is what the others are compared with."""
    by_variant = {
        name: sorted((run for run in runs if run.variant == name), key=lambda run: run.seed) for name in variants
    }
    rows: dict[str, dict[str, Any]] = {}
    for name, own in by_variant.items():
        keys = sorted(set.intersection(*(set(run.validation) for run in own))) if own else []
        rows[name] = {
            "seeds": [run.seed for run in own],
            "validation": {key: student_interval([run.validation[key] for run in own]) for key in keys},
            "success": {group: success(own, group) for group in GROUPS},
            "difference": {group: difference(own, by_variant[variants[0]], group) for group in GROUPS},
        }
    summary = {
        "steps": plan["steps"],
        "failed_runs": len(failures),
        "variants": {
            name: {
                "seeds": len(row["seeds"]),
                "success": row["success"]["all"]["rate"],
                "interval_95": row["success"]["all"]["interval_95"],
                "known": row["success"]["known"]["rate"],
                "unseen": row["success"]["unseen"]["rate"],
                "over_seeds": row["success"]["all"]["seeds"],
                "difference": row["difference"]["all"]["seeds"],
                "validation_l1": row["validation"].get("l1", student_interval([])),
            }
            for name, row in rows.items()
        },
    }
    told = [_told(run) for of_variant in by_variant.values() for run in of_variant]
    return {"summary": summary, "variants": rows, "plan": plan, "failures": list(failures), "runs": told}


def _told(run: Run) -> dict[str, Any]:
    """A run as JSON values, each trial as [object, seed, success]."""
    told = {name: getattr(run, name) for name in ("variant", "seed", "weights", "code", "validation")}
    return told | {group: [[*task, won] for task, won in run.trials(group).items()] for group in ("known", "unseen")}


def table_of(report: dict[str, Any]) -> str:
    """The report as a page in Markdown."""
    first = next(iter(report["variants"]))
    plan = report["plan"]
    lines = [
        "# Study of variants",
        "",
        f"{plan['steps']} steps each; trials of each policy: {len(plan['known'])} on objects of the training, "
        f"{len(plan['unseen'])} on objects held out. Intervals: 95 %, objects as clusters.",
        "",
        f"| variant | seeds | L1 | NLL | known | unseen | all | mean over seeds | minus {first} | won / lost |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for name, row in report["variants"].items():
        rates = [_rate(row["success"][group]) for group in GROUPS]
        apart = row["difference"]["all"]
        versus = "" if name == first else _mean(apart["seeds"], 100.0, 1, " points")
        counts = "" if name == first else f"{apart['won']} / {apart['lost']} (p {clusters.p_text(apart['p'])})"
        validation = [_mean(row["validation"].get(key, student_interval([])), 1.0, 4, "") for key in ("l1", "nll")]
        lines.append(
            "| "
            + " | ".join(
                [
                    name,
                    str(len(row["seeds"])),
                    *validation,
                    rates[1],
                    rates[2],
                    rates[0],
                    _mean(row["success"]["all"]["seeds"], 100.0, 1, " %"),
                    versus,
                    counts,
                ]
            )
            + " |"
        )
    if report["failures"]:
        lines += ["", "Runs that failed:", "", *(f"- {line}" for line in report["failures"])]
    return "\n".join([*lines, "", f"![success]({PICTURE})", ""])


def _rate(values: dict[str, Any]) -> str:
    if not values["trials"]:
        return "-"
    low, high = (100.0 * bound for bound in values["interval_95"])
    return f"{values['successes']}/{values['trials']} = {100.0 * values['rate']:.1f} % [{low:.0f}, {high:.0f}]"


def _mean(values: dict[str, Any], scale: float, digits: int, unit: str) -> str:
    if values["mean"] is None:
        return "-"
    half = values["half_width_95"]
    spread = "" if half is None else f" ± {scale * half:.{digits}f}"
    return f"{scale * values['mean']:.{digits}f}{spread}{unit}"


def picture_of(report: dict[str, Any]) -> bytes:
    """PNG: success of each variant on known and on unseen objects with intervals over trials; a dot for each seed."""
    names = list(report["variants"])
    figure = Figure(figsize=(2.5 + 1.5 * len(names), 4.2), dpi=120, layout="constrained")
    axes = figure.subplots()
    places = np.arange(len(names))
    for shift, group, colour in ((-0.2, "known", "#3b75af"), (0.2, "unseen", "#c98a2d")):
        rows = [report["variants"][name]["success"][group] for name in names]
        rates = np.array([row["rate"] if row["rate"] is not None else 0.0 for row in rows])
        bounds = np.array([row["interval_95"] for row in rows])
        errors = np.clip(np.stack([rates - bounds[:, 0], bounds[:, 1] - rates]), 0.0, None)
        axes.bar(
            places + shift, 100.0 * rates, 0.36, yerr=100.0 * errors, capsize=4, color=colour, label=f"{group} objects"
        )
        for place, row in zip(places + shift, rows, strict=True):
            seeds = 100.0 * np.array(row["by_seed"])
            axes.plot(
                place + 0.05 * (np.arange(len(seeds)) - (len(seeds) - 1) / 2),
                seeds,
                "o",
                markersize=4,
                color="black",
                markerfacecolor="white",
            )
    axes.set_xticks(places, [name.replace("_", "\n") for name in names])
    axes.set_ylim(0.0, 100.0)
    axes.set_ylabel("lifted and held [%]")
    axes.set_title("bars: all seeds, 95 % interval over objects; dots: seeds", fontsize=9)
    axes.legend()
    stream = io.BytesIO()
    figure.savefig(stream, format="png")
    return stream.getvalue()


def write_report(folder: Path, report: dict[str, Any]) -> None:
    """Write report.json, report.md and the picture."""
    write_atomically(folder / REPORT_JSON, (json.dumps(report, indent=1) + "\n").encode())
    write_atomically(folder / PICTURE, picture_of(report))
    write_atomically(folder / REPORT_TABLE, table_of(report).encode())
