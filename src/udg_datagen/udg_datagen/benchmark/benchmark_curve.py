"""Success against what policies were trained with: frames (figure 5 of the paper) or minutes; from several results.

    udg benchmark-curve out/bench-5k=5000 out/bench-20k=20000 out/bench-60k=60000 --policy ours --out curve.png
    udg benchmark-curve out/5min.jsonl=5 out/20min.jsonl=20 --against minutes --out curve.png

A result is the folder of a benchmark or the file of `udg trials --out`. Several results with the same number are
trainings with different seeds: their trials are taken together, those of an object as one cluster. The generator's own
success is drawn where a folder has trials of `planner`. Last line: JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from udg_datagen.benchmark.protocol import ObjectFacts, facts_of, seen_of
from udg_datagen.benchmark.report import NEW, cell, judged
from udg_datagen.benchmark.rows import ROWS_NAME, Row, read
from udg_datagen.clusters import Share
from udg_datagen.evaluation.paired import read_trials
from udg_description.clock import STEP_S
from udg_description.errors import UdgError, cli
from udg_description.files import atomic_path, check_folder, user_path
from udg_sim.objects.library import ObjectLibrary

GENERATOR = "planner"
_LINES = {"seen": ("seen",), "unseen": ("unseen",), "new objects": NEW}


_AXES = {"frames": "frames trained on", "minutes": "minutes of training"}


class Place(NamedTuple):
    """A result, and how many frames its policy was trained on, or how many minutes."""

    path: Path
    number: int


class Curve(NamedTuple):
    """Mean over sizes by kind of objects and number; the generator's on new objects, if it was tried."""

    shares: dict[str, dict[int, Share]]
    generator: Share | None


def place(text: str) -> Place:
    """Of "RESULT=NUMBER". Raises UdgError."""
    path, equals, number = text.rpartition("=")
    if not (equals and path and number.isdecimal() and int(number) > 0):
        raise UdgError(f"{text!r}: valid: RESULT=NUMBER, as out/bench-5k=5000")
    return Place(user_path(path), int(number))


def results(path: Path, policy: str) -> list[Row]:
    """Rows of a benchmark's folder; of a file of trials, whose policy is called `policy`. Raises UdgError."""
    if not path.is_file():
        return judged(read(path / ROWS_NAME))
    trials = read_trials(path)
    facts = facts_of(sorted({object_id for object_id, _ in trials}), ObjectLibrary())
    return [_row(policy, trial, facts[object_id]) for (object_id, _), trial in trials.items()]


def _row(policy: str, trial: Mapping[str, Any], facts: ObjectFacts) -> Row:
    x, y = trial["position_xy"]
    return Row(
        policy=policy,
        object=trial["object"],
        seen=seen_of(trial["object"], facts, (trial["object"],) if facts.trains else ()),
        category=facts.category,
        size=facts.size,
        seed=trial["seed"],
        mass_kg=float("nan"),
        success=trial["success"],
        cause=trial["cause"],
        phase="",
        time_s=trial["steps"] * STEP_S,
        frames=trial["steps"],
        refused=trial["refused"],
        raised_m=trial["raised_m"],
        final_m=trial["final_m"],
        x=x,
        y=y,
    )


def curve(places: Sequence[Place], policy: str) -> Curve:
    """The curve of a policy; one whose name begins so, if there is one alone (ours:out/train). Raises UdgError."""
    of: dict[int, list[Row]] = {}
    generator: list[Row] = []
    for one in places:
        rows = results(one.path, policy)
        names = {row.policy for row in rows if row.policy == policy or row.policy.startswith(f"{policy}:")}
        if len(names) != 1:
            found, valid = ", ".join(sorted(names)) or "none", sorted({row.policy for row in rows})
            raise UdgError(f"{one.path}: has {found} for {policy!r}; valid: one of {valid}")
        of.setdefault(one.number, []).extend(row for row in rows if row.policy in names)
        generator += [row for row in rows if row.policy == GENERATOR]
    shares = {
        name: {number: share for number in sorted(of) if (share := cell(of[number], seen)).trials}
        for name, seen in _LINES.items()
    }
    lines = {name: line for name, line in shares.items() if line}
    return Curve(lines, cell(generator, NEW) if generator else None)


def draw(found: Curve, path: Path, against: str) -> None:
    """A picture (PNG, SVG or PDF by its name)."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for name, line in found.shares.items():
        values = [100.0 * share.value for share in line.values()]
        below = [100.0 * (share.value - share.lower) for share in line.values()]
        above = [100.0 * (share.upper - share.value) for share in line.values()]
        axes.errorbar(list(line), values, yerr=[below, above], marker="o", capsize=3, label=name)
    if found.generator is not None and found.generator.trials:
        axes.axhspan(100.0 * found.generator.lower, 100.0 * found.generator.upper, alpha=0.15, color="grey")
        axes.axhline(100.0 * found.generator.value, color="grey", linestyle="--", label="generator, known mesh")
    axes.set(xscale="log", xlabel=_AXES[against], ylabel="success [%], 95 % intervals", ylim=(0.0, 100.0))
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def run(arguments: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    parser = argparse.ArgumentParser(
        prog="udg benchmark-curve", description="Success against frames or minutes of training."
    )
    parser.add_argument("places", nargs="+", help="RESULT=NUMBER: folder of a benchmark, or file of udg trials --out")
    parser.add_argument("--against", choices=_AXES, default="frames", help="what the numbers are (default: frames)")
    parser.add_argument("--policy", default="ours", help="its name in the tables, or a prefix of it (ours)")
    parser.add_argument("--out", type=user_path, required=True, help="picture: .png, .svg or .pdf")
    options = parser.parse_args(arguments)
    if options.out.suffix not in (".png", ".svg", ".pdf"):
        raise UdgError(f"--out {options.out}: valid: a name that ends in .png, .svg or .pdf")
    check_folder(options.out.parent)
    found = curve([place(text) for text in options.places], options.policy)
    draw(found, options.out, options.against)

    def told(share: Share) -> list[float]:
        return [round(value, 4) for value in (share.value, share.lower, share.upper)]

    lines = {name: {number: told(share) for number, share in line.items()} for name, line in found.shares.items()}
    generator = told(found.generator) if found.generator is not None and found.generator.trials else None
    print(json.dumps({"curve": lines, "generator": generator}))


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
