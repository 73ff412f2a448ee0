"""Command: grasps of one object, as a file, a picture and a web page.

    udg grasps --object soda_can --strategy tripod --n 100 --seed 0 --out out/grasps

The last line printed is one JSON object with the figures of the run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from tqdm import tqdm

from udg_datagen.grasp_set import GraspSet
from udg_datagen.grasps.grasp_page import write_page
from udg_datagen.grasps.grasp_picture import draw_grasps
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.processes import worker_pool
from udg_datagen.synthesis import AUTO, STRATEGIES, GraspObject, SynthesisConfig, choose, synthesize
from udg_datagen.validation.validation import RULES, ValidationConfig, validate
from udg_description.errors import UdgError, cli
from udg_description.files import atomic_path, check_folder, next_free, user_path
from udg_description.layout import SIDES
from udg_description.names import safe_name
from udg_description.settings import add_config, configured, seed_number
from udg_sim.objects.library import ObjectLibrary, ObjectModel

_SUFFIXES = {"grasps": ".npz", "picture": ".png", "page": ".html"}
_OVERSAMPLING = 1.6  # candidates per grasp that is wanted: the best 500 of 800


class GraspCommandError(UdgError):
    """Arguments that do not fit together."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = _parser().parse_args(arguments)
    _check(args)
    rules = _rules(args)
    torch.set_num_threads(1)
    model = ObjectLibrary().get(args.object)
    if not 0 <= args.pose < len(model.stable_poses):
        raise GraspCommandError(
            f"--pose {args.pose}: object '{model.id}' has the resting poses 0 to {len(model.stable_poses) - 1}"
        )
    print(
        f"{model.id}: {model.mass_kg:.3f} kg, {_millimetres(model)} mm, resting pose {args.pose}"
        + (f"; {model.note}" if model.note else "")
    )
    check_folder(args.out)
    began, began_cpu = time.monotonic(), time.process_time()
    grasps = _synthesise(model, args)
    seconds, cpu_seconds = time.monotonic() - began, time.process_time() - began_cpu
    grasps = _validated(grasps, model, rules, args.workers)
    paths = _write(grasps, model, args.out, args.force)
    print(_table(grasps))
    for name, path in paths.items():
        print(f"  {name:8s} {path}")
    print(
        json.dumps(
            {
                "object": model.id,
                "seconds": round(seconds, 2),
                "cpu_seconds": round(cpu_seconds, 2),
                **_figures(grasps),
                "files": {name: str(path) for name, path in paths.items()},
            }
        )
    )
    return 0


def _write(grasps: GraspSet, model: ObjectModel, folder: Path, force: bool) -> dict[str, Path]:
    """The three files, all or none of them; under another number where there are some of the name."""
    stem = folder / f"{safe_name(model.id)}_{grasps.strategy}_{'_'.join(grasps.sides)}"
    if not force:
        stem = next_free(stem, *_SUFFIXES.values())
    paths = {name: Path(f"{stem}{suffix}") for name, suffix in _SUFFIXES.items()}
    with ExitStack() as whole:
        temporary = {name: whole.enter_context(atomic_path(path)) for name, path in paths.items()}
        grasps.save(temporary["grasps"])
        draw_grasps(grasps, model.mesh, temporary["picture"])
        write_page(grasps, model.mesh, temporary["page"])
    return paths


def _synthesise(model: ObjectModel, args: argparse.Namespace) -> GraspSet:
    obj = GraspObject.from_model(model)
    strategy = choose(obj, robot_hand(args.side)) if args.strategy == AUTO else args.strategy
    candidates = args.candidates or round(_OVERSAMPLING * args.n)
    config = configured(args.config, SynthesisConfig(), "grasps")
    config = replace(config, strategy=strategy, n_candidates=candidates, n_keep=args.n)
    hands = tuple(robot_hand(side) for side in (SIDES if strategy == "bimanual" else (args.side,)))
    with _bar(f"{strategy}: {candidates} candidates") as progress:
        return synthesize(
            obj,
            hands if len(hands) == 2 else hands[0],
            config,
            T_table_object=model.stable_poses[args.pose],
            seed=args.seed,
            workers=args.workers,
            progress=progress,
        )


def _validated(grasps: GraspSet, model: ObjectModel, rules: Sequence[ValidationConfig], workers: int) -> GraspSet:
    """The grasps with the outcome of each rule that was asked for."""
    with worker_pool(workers) if workers > 1 and rules and len(grasps) else nullcontext() as pool:
        for config in rules:
            name = config.test_name(model)
            with _bar(f"try {name}") as progress:
                held = validate(grasps, model, config, pool=pool, progress=progress).held
            grasps = grasps.with_test(name, held)
    return grasps


def _rules(args: argparse.Namespace) -> list[ValidationConfig]:
    names = () if args.validate is None else args.validate or RULES
    config = ValidationConfig(mass_kg=args.mass, friction=args.friction)
    return [
        replace(config, rule="six_axis", engine="mujoco", torsion_m=1e-3 * args.torsion)
        if name == "mujoco"
        else replace(config, rule=name)
        for name in names
    ]


@contextmanager
def _bar(title: str) -> Iterator[Callable[[float], None]]:
    """A progress bar that is told the share that is done."""
    with tqdm(
        total=100,
        desc=title,
        unit="%",
        bar_format="{desc}: {percentage:3.0f}% |{bar}| {elapsed}<{remaining}",
        leave=True,
    ) as bar:

        def progress(share: float) -> None:
            bar.update(100.0 * share - bar.n)

        yield progress


def _figures(grasps: GraspSet) -> dict[str, Any]:
    figures: dict[str, Any] = {"strategy": grasps.strategy, "sides": list(grasps.sides), "n": len(grasps)}
    if len(grasps) == 0:
        return figures
    worst_pad = 1e3 * np.abs(grasps.tip_distance).max(axis=1)
    for name, values in (("penetration_mm", 1e3 * grasps.penetration), ("contact_mm", worst_pad)):
        figures |= {f"{name}_p{p}": round(float(np.percentile(values, p)), 3) for p in (50, 90)}
    held = {test: round(float(grasps.withstood[:, k].mean()), 3) for k, test in enumerate(grasps.tests)}
    return figures | ({"held_share": held} if held else {})


def _table(grasps: GraspSet) -> str:
    """Quartiles of the figures and what was withstood, in two groups: all grasps, and the better half by energy."""
    if len(grasps) == 0:
        return f"  {grasps.reason or 'no candidate became a grasp'}: try another strategy, side or resting pose"
    rows = [
        ("energy", grasps.energy, ".3f"),
        ("wrench residual", grasps.wrench_residual, ".3f"),
        ("worst pad to surface [mm]", 1e3 * np.abs(grasps.tip_distance).max(axis=1), ".2f"),
        ("penetration [mm]", 1e3 * grasps.penetration, ".2f"),
        ("table clearance [mm]", 1e3 * grasps.table_clearance, ".1f"),
    ]
    lines = [
        f"  {len(grasps)} grasps: {grasps.strategy}, {' and '.join(grasps.sides)} hand",
        f"  {'':28s}{'least':>9s}{'median':>9s}{'p90':>9s}",
    ]
    for name, values, style in rows:
        figures = (values.min(), np.median(values), np.percentile(values, 90))
        lines.append(f"  {name:28s}" + "".join(f"{format(float(x), style):>9s}" for x in figures))
    half = max(1, len(grasps) // 2)
    for k, test in enumerate(grasps.tests):
        held = grasps.withstood[:, k]
        lines.append(f"  held {test}: {held.mean():.0%} of all, {held[:half].mean():.0%} of the better half")
    return "\n".join(lines)


def _millimetres(model: ObjectModel) -> str:
    return " x ".join(f"{1e3 * edge:.0f}" for edge in model.mesh.extents)


def _check(args: argparse.Namespace) -> None:
    if args.n < 1 or args.workers < 1:
        raise GraspCommandError(f"--n {args.n} and --workers {args.workers} must be at least 1")
    if args.candidates is not None and args.candidates < args.n:
        raise GraspCommandError(f"--candidates {args.candidates} must not be fewer than --n {args.n}")
    if args.strategy not in (AUTO, *STRATEGIES):
        raise GraspCommandError(f"unknown strategy '{args.strategy}'; valid: {', '.join((AUTO, *STRATEGIES))}")
    if args.side not in SIDES:
        raise GraspCommandError(f"unknown side '{args.side}'; valid: {', '.join(SIDES)}")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="udg grasps", description="Synthesise grasps of one object.")
    parser.add_argument("--object", required=True, help="library id, or path.obj@<longest edge in metres>")
    parser.add_argument("--strategy", default=AUTO, help=f"{AUTO} (by size), {', '.join(STRATEGIES)}")
    parser.add_argument("--side", default="right", help="hand of strategies with one hand: left or right")
    parser.add_argument("--n", type=int, default=100, help="grasps wanted, best first")
    parser.add_argument("--candidates", type=int, default=None, help=f"to optimise (default {_OVERSAMPLING:g} n)")
    parser.add_argument("--pose", type=int, default=0, help="resting pose, likeliest first")
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--out", type=user_path, default=Path("out/grasps"), help="folder for the three files")
    parser.add_argument("--force", action="store_true", help="replace earlier files of the same name; else numbered")
    parser.add_argument(
        "--validate",
        nargs="*",
        choices=(*RULES, "mujoco"),
        default=None,
        metavar="RULE",
        help=f"try each grasp in physics: {', '.join(RULES)} (both if none is named), mujoco (six_axis in MuJoCo)",
    )
    parser.add_argument(
        "--torsion",
        type=float,
        default=0.0,
        help="with mujoco: torque about its normal that a contact resists [Nmm/N] (default: 0)",
    )
    parser.add_argument("--mass", type=float, default=None, help="mass in validation [kg] (default: the object's)")
    parser.add_argument("--friction", type=float, default=None, help="friction in validation (default: the object's)")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    add_config(parser, SynthesisConfig(), "{pregrasp_distance: 0.08}")
    return parser


if __name__ == "__main__":
    cli(main)
