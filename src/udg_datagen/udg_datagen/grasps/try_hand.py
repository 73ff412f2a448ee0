"""Grasps with a described hand, tried in physics: the first look at whether a description is right.

    udg try-hand --hand my_hand/hand.yaml --objects ball_70,cube_60 --strategy tripod

Writes the grasps that were tried, with what they withstood, as <out>/<object>_<strategy>.npz.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from udg_datagen.grasp_set import GraspSet
from udg_datagen.hands.body import load_body
from udg_datagen.hands.description import load_hand
from udg_datagen.intervals import share
from udg_datagen.metrics import q1_of
from udg_datagen.synthesis import STRATEGIES, GraspObject, SynthesisConfig, synthesize
from udg_datagen.validation.validation import ValidationConfig, validate
from udg_description.errors import cli
from udg_description.files import check_folder, next_free, user_path
from udg_description.names import safe_name
from udg_description.settings import seed_number
from udg_sim.objects.library import ObjectLibrary
from udg_sim.objects.selection import HELP, select

TESTS = (
    ValidationConfig(rule="six_axis", mass_kg=0.1, friction=0.6),
    ValidationConfig(rule="lift", mass_kg=0.5, friction=0.6),
)


def try_hand(hand_file: Path, object_id: str, strategy: str, *, candidates: int, trials: int, seed: int) -> GraspSet:
    """Synthesise `candidates` grasps, try `trials` of those within the gates, at random; with the tests in the set."""
    hand, body = load_hand(hand_file), load_body(hand_file)
    model = ObjectLibrary().get(object_id)
    obj = GraspObject.from_model(model)
    config = SynthesisConfig(strategy=strategy, n_candidates=candidates)
    grasps = synthesize(obj, hand, config, T_table_object=model.stable_poses[0], seed=seed)
    chosen = np.sort(np.random.default_rng(seed).permutation(len(grasps))[:trials])
    tried = grasps.take(chosen)
    for test in TESTS:
        report = validate(tried, model, test, bodies={hand.spec.side: body})
        tried = tried.with_test(test.test_name(model), report.held)
    note = f"{object_id}, {strategy}: {len(grasps)} of {candidates} candidates within the gates; of {len(tried)} tried"
    outcomes = zip(tried.tests, tried.withstood.T, strict=True)
    shares = [f"{name}: {share(int(held.sum()), len(held))}" for name, held in outcomes]
    quality = f"{np.median(q1_of(tried, obj)):.3f}" if len(tried) else "-"
    print(f"{note}: {'; '.join(shares)}; median Q1 {quality}", flush=True)
    return tried


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--hand", type=user_path, required=True, help="description file")
    parser.add_argument("--objects", default="ball_70,cube_60,cylinder_60", help=HELP)
    parser.add_argument("--strategy", choices=[s for s in STRATEGIES if s != "bimanual"], default="tripod")
    parser.add_argument("--n", type=int, default=100, help="candidates")
    parser.add_argument("--trials", type=int, default=16)
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--out", type=user_path, default=Path("out/hands"))
    parser.add_argument("--force", action="store_true", help="replace earlier files of the same name")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    check_folder(options.out)
    for name in select(options.objects, ObjectLibrary()):
        tried = try_hand(
            options.hand, name, options.strategy, candidates=options.n, trials=options.trials, seed=options.seed
        )
        stem = options.out / f"{safe_name(name)}_{options.strategy}"
        path = Path(f"{stem if options.force else next_free(stem, '.npz')}.npz")
        tried.save(path)
        print(f"  {path}", flush=True)
    return 0


if __name__ == "__main__":
    cli(main)
