"""Success against the number of frames that policies were trained on (figure 5 of the paper), from several benchmarks.

    udg benchmark-curve out/bench-5k=5000 out/bench-20k=20000 out/bench-60k=60000 --policy ours --out curve.png

Several folders with the same number of frames are trainings with different seeds: their trials are taken together,
those of an object as one cluster. The generator's own success is drawn where a folder has trials of `planner`. Last
line: JSON.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from udg_datagen.benchmark.clusters import Share
from udg_datagen.benchmark.report import NEW, cell, judged
from udg_datagen.benchmark.rows import ROWS_NAME, Row, read
from udg_description.errors import UdgError, cli
from udg_description.files import atomic_path, check_folder, user_path

GENERATOR = "planner"
_LINES = {"seen": ("seen",), "unseen": ("unseen",), "new objects": NEW}


class Place(NamedTuple):
    """A benchmark, and how many frames its policy was trained on."""

    folder: Path
    frames: int


class Curve(NamedTuple):
    """Mean over sizes by kind of objects and number of frames; the generator's on new objects, if it was tried."""

    shares: dict[str, dict[int, Share]]
    generator: Share | None


def place(text: str) -> Place:
    """Of "FOLDER=FRAMES". Raises UdgError."""
    folder, equals, frames = text.rpartition("=")
    if not (equals and folder and frames.isdecimal() and int(frames) > 0):
        raise UdgError(f"{text!r}: valid: FOLDER=FRAMES, as out/bench-5k=5000")
    return Place(user_path(folder), int(frames))


def curve(places: Sequence[Place], policy: str) -> Curve:
    """The curve of a policy; one whose name begins so, if there is one alone (ours:out/train). Raises UdgError."""
    of: dict[int, list[Row]] = {}
    generator: list[Row] = []
    for one in places:
        rows = judged(read(one.folder / ROWS_NAME))
        names = {row.policy for row in rows if row.policy == policy or row.policy.startswith(f"{policy}:")}
        if len(names) != 1:
            found, valid = ", ".join(sorted(names)) or "none", sorted({row.policy for row in rows})
            raise UdgError(f"{one.folder}: has {found} for {policy!r}; valid: one of {valid}")
        of.setdefault(one.frames, []).extend(row for row in rows if row.policy in names)
        generator += [row for row in rows if row.policy == GENERATOR]
    shares = {
        name: {frames: share for frames in sorted(of) if (share := cell(of[frames], seen, "mean")).trials}
        for name, seen in _LINES.items()
    }
    lines = {name: line for name, line in shares.items() if line}
    return Curve(lines, cell(generator, NEW, "mean") if generator else None)


def draw(found: Curve, path: Path) -> None:
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
    axes.set(xscale="log", xlabel="frames trained on", ylabel="success [%], 95 % intervals", ylim=(0.0, 100.0))
    axes.grid(alpha=0.3)
    axes.legend()
    with atomic_path(path) as temporary:
        figure.savefig(temporary, dpi=150)


def run(arguments: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    parser = argparse.ArgumentParser(prog="udg benchmark-curve", description="Success against frames trained on.")
    parser.add_argument("places", nargs="+", help="FOLDER=FRAMES of each benchmark")
    parser.add_argument("--policy", default="ours", help="its name in the tables, or a prefix of it (ours)")
    parser.add_argument("--out", type=user_path, required=True, help="picture: .png, .svg or .pdf")
    options = parser.parse_args(arguments)
    if options.out.suffix not in (".png", ".svg", ".pdf"):
        raise UdgError(f"--out {options.out}: valid: a name that ends in .png, .svg or .pdf")
    check_folder(options.out.parent)
    found = curve([place(text) for text in options.places], options.policy)
    draw(found, options.out)

    def told(share: Share) -> list[float]:
        return [round(value, 4) for value in (share.value, share.lower, share.upper)]

    lines = {name: {frames: told(share) for frames, share in line.items()} for name, line in found.shares.items()}
    generator = told(found.generator) if found.generator is not None and found.generator.trials else None
    print(json.dumps({"curve": lines, "generator": generator}))


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
