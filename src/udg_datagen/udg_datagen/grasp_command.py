"""Command: grasps of one object, as a file and a picture.

    python -m udg_datagen.grasp_command --object soda_can --side right --n 500 --seed 0 --out can.npz

The last line printed is one JSON object with the figures of the run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from udg_datagen.grasp_picture import draw_grasps
from udg_datagen.synthesis import STRATEGIES, GraspObject, SynthesisConfig, synthesize, xhand
from udg_datagen.validation import RULES, ValidationConfig, validate
from udg_description.errors import UdgError, cli
from udg_description.layout import SIDES
from udg_sim.objects import ObjectLibrary

_RANKED_SHARE = 0.2  # best grasps by energy that are validated


class GraspCommandError(UdgError):
    """Arguments that do not fit together."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit code."""
    args = _parser().parse_args(arguments)
    torch.set_num_threads(1)
    model = ObjectLibrary().get(args.object)
    if not 0 <= args.pose < len(model.stable_poses):
        raise GraspCommandError(
            f"--pose {args.pose}: object '{model.id}' has the resting poses 0 to {len(model.stable_poses) - 1}"
        )
    if args.n < 1 or args.workers < 1 or args.validate < 0:
        raise GraspCommandError(f"--n {args.n}, --workers {args.workers} must be >= 1, --validate {args.validate} >= 0")
    config = SynthesisConfig(strategy=args.strategy, n_candidates=args.n, n_keep=args.keep)
    print(f"{model.id}: {model.mass_kg:.3f} kg, resting pose {args.pose}; {args.n} candidates, {args.side} hand")
    begin, begin_cpu = time.monotonic(), time.process_time()
    grasps = synthesize(
        GraspObject.from_model(model),
        xhand(args.side),
        config,
        T_table_object=model.stable_poses[args.pose],
        seed=args.seed,
        progress=lambda share: print(f"\r  optimised {100 * share:3.0f} %", end="", flush=True),
    )
    seconds, cpu_seconds = time.monotonic() - begin, time.process_time() - begin_cpu
    print(f"\r  {len(grasps)} grasps in {seconds:.1f} s")
    grasps.save(args.out)
    print(f"  wrote {args.out}")
    if not args.no_picture:
        picture = args.out.with_suffix(".png")
        draw_grasps(grasps, model.mesh, picture)
        print(f"  wrote {picture}")
    result: dict[str, object] = {
        "object": model.id,
        "side": args.side,
        "strategy": args.strategy,
        "seconds": round(seconds, 2),
        "cpu_seconds": round(cpu_seconds, 2),
        "n": len(grasps),
    }
    if len(grasps):
        worst_tip = 1e3 * np.abs(grasps.tip_distance).max(axis=1)
        result |= {
            "penetration_mm_p50": round(1e3 * float(np.median(grasps.penetration)), 3),
            "penetration_mm_p90": round(1e3 * float(np.percentile(grasps.penetration, 90)), 3),
            "worst_tip_mm_p50": round(float(np.median(worst_tip)), 3),
            "worst_tip_mm_p90": round(float(np.percentile(worst_tip, 90)), 3),
        }
    if args.validate and len(grasps):
        ranked = grasps.take(slice(0, max(1, min(args.validate, round(_RANKED_SHARE * len(grasps))))))
        report = validate(
            ranked, model, ValidationConfig(rule=args.rule, mass_kg=args.mass, friction=args.friction),
            workers=args.workers,
        )
        result |= {"validated": len(ranked), "rule": args.rule, "held_share": round(report.share, 3)}
    print(json.dumps(result))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description="Synthesise grasps of one object.")
    parser.add_argument("--object", required=True, help="library id, or path.obj@<longest edge in metres>")
    parser.add_argument("--side", choices=SIDES, default="right")
    parser.add_argument("--strategy", choices=tuple(STRATEGIES), default="whole_hand")
    parser.add_argument("--n", type=int, default=500, help="candidates to optimise")
    parser.add_argument("--keep", type=int, default=None, help="grasps to keep, best first (default: all good ones)")
    parser.add_argument("--pose", type=int, default=0, help="resting pose, likeliest first")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("grasps.npz"))
    parser.add_argument("--no-picture", action="store_true")
    parser.add_argument("--validate", type=int, default=0, help="how many of the best fifth to try in physics")
    parser.add_argument("--rule", choices=RULES, default="lift")
    parser.add_argument("--mass", type=float, default=None, help="mass in validation [kg] (default: the object's)")
    parser.add_argument("--friction", type=float, default=None, help="friction in validation (default: the object's)")
    parser.add_argument("--workers", type=int, default=1, help="processes for validation")
    return parser


if __name__ == "__main__":
    cli(main)
