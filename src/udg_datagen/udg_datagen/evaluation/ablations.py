"""Study of choices: variants of a policy trained with the same budget and seeds, measured in the same trials.

`udg ablations --data DIR --out DIR [--seeds 3] [--minutes 5 | --steps N] [--trials 60]
[--variants full,regression,full_attention]`. All variants share the split of the data, the number of steps, and the
trials: half on objects of the training, half on objects that no variant has seen, without a second attempt. Each run is
one job of one core. What is finished is kept: the same command continues after an interruption, and with more seeds or
variants it adds to the study. In DIR: runs/<variant>_<seed>/, report.json, report.md, success.png. Last line: JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import math
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import torch

from udg_datagen.evaluation.ablation_report import Run as MeasuredRun
from udg_datagen.evaluation.ablation_report import report_of, write_report
from udg_datagen.evaluation.engine_policy import EnginePolicy
from udg_datagen.evaluation.trials import LostTrial, Rollout, RolloutConfig, Trial
from udg_datagen.workers import LocalPool, Pool, outcomes
from udg_description.cache import say_if_not_writable
from udg_description.errors import UdgError, cli
from udg_description.files import check_folder, one_writer, user_path, write_atomically
from udg_policy.config import PolicyConfig, from_dict, load_yaml, preset, preset_names, to_dict
from udg_policy.frames.frame_store import FrameStore, load_frames
from udg_policy.frames.mixing import Source, data_hash, sources
from udg_policy.inference.engine import PolicyEngine
from udg_policy.inference.retry import RetryConfig
from udg_policy.network.checkpoint import DESCRIPTION_NAME, WEIGHTS_NAME, load_checkpoint
from udg_policy.parallel import Parallel
from udg_policy.training.train import STATE_NAME, Run, Trainer, keep_large_blocks, split_views, train
from udg_sim.objects.library import SIZES, ObjectLibrary
from udg_sim.objects.selection import check_present, in_turn
from udg_sim.trials.trial import TrialError

VARIANTS: dict[str, dict[str, Any]] = {
    "full": {},
    "regression": {"decoder": {"head": "regression", "head_settings": {}}},
    "full_attention": {"decoder": {"attention": "full"}},
    "flow_matching": {"decoder": {"head": "flow_matching"}},
    "likelihood_only": {"train": {"l1_weight": 0.0, "nll_weight": 1.0, "nll_start": 0.0}},
    "no_state_token": {
        "observation": {"proprioception": False, "following_error": False},
        "train": {"state_dropout": 0.0, "touch_share": 0.0},
    },
    "no_following_error": {"observation": {"following_error": False}, "train": {"touch_share": 0.0}},
    "touches": {"observation": {"following_error": True}, "train": {"touch_share": 0.2}},
    "grasp_query": {"decoder": {"grasp_query": True}},
    "stage_head": {"decoder": {"stage_head": True}},
    "hand_surface": {"observation": {"hand_surface": True}},
    "state_dropout": {"train": {"state_dropout": 0.2}},
    "weighted_frames": {"train": {"sampling": {"cruise": 0.5, "near": 1.5, "lift": 0.5, "hold": 0.25}}},
    "world_frame": {"observation": {"frames": ["world"]}},
    "wrist_absolute": {"action_space": "wrist_absolute", "train": {"scene_shift_m": 0.0, "scene_turn_rad": 0.0}},
    "joint_absolute": {"action_space": "joint_absolute", "train": {"scene_shift_m": 0.0, "scene_turn_rad": 0.0}},
    "batch_norm": {"encoder": {"batch_norm": True, "layer_norm": False}},
    "layer_norm": {"encoder": {"batch_norm": False, "layer_norm": True}},
    "no_mirror": {"train": {"mirror": False}},
    "no_noise": {
        "train": {
            "point_noise_m": 0.0,
            "cloud_noise_m": 0.0,
            "hand_noise_m": 0.0,
            "hand_noise_rad": 0.0,
            "joint_noise_rad": 0.0,
            "following_noise_rad": 0.0,
            "scene_shift_m": 0.0,
            "scene_turn_rad": 0.0,
        }
    },
    "moved_scene": {"train": {"scene_shift_m": 0.02, "scene_turn_rad": 0.1}},
    "still_scene": {"train": {"scene_shift_m": 0.0, "scene_turn_rad": 0.0}},
    "width_64": {
        "encoder": {"widths_1": [16, 32], "widths_2": [64]},
        "decoder": {"width": 64, "heads": 4, "layers": 2},
    },
    "width_128": {
        "encoder": {"widths_1": [32, 64], "widths_2": [128]},
        "decoder": {"width": 128, "heads": 4, "layers": 2},
    },
    "width_192": {
        "encoder": {"widths_1": [48, 96], "widths_2": [192]},
        "decoder": {"width": 192, "heads": 6, "layers": 3},
    },
    "width_256": {
        "encoder": {"widths_1": [64, 128], "widths_2": [256]},
        "decoder": {"width": 256, "heads": 8, "layers": 3},
    },
    "likelihood_strong": {"train": {"nll_weight": 0.5}},
    "sigma_small": {"decoder": {"sigma_initial": 0.05, "sigma_least": 0.003}},
    "sigma_large": {"decoder": {"sigma_initial": 0.25, "sigma_least": 0.03}},
}
"""What differs from the preset; the first of a study is what the others are compared with."""
PLAN_NAME, TRIALS_NAME = "plan.json", "trials.jsonl"
_FIRST_SEED = 300_000  # of the trials: outside of the demonstrations'
_SPLIT_SEED = 0
_JOB_TIMEOUT_S = 12 * 3600.0
_RATE_STEPS = 6


@dataclass(frozen=True, kw_only=True)
class Plan:
    """What all runs of a study share."""

    data_hash: str
    steps: int
    base: dict[str, Any]  # configuration
    known: tuple[tuple[str, int], ...]  # trials (object, seed) on objects of the training
    unseen: tuple[tuple[str, int], ...]  # on objects held out

    def save(self, folder: Path) -> None:
        """Write it into the folder of the study."""
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(folder / PLAN_NAME, (json.dumps(asdict(self), indent=1) + "\n").encode())

    @staticmethod
    def load(folder: Path) -> Plan | None:
        """The plan of a study that has begun; None for a new one. Raises UdgError for a file that is none."""
        path = folder / PLAN_NAME
        if not path.is_file():
            return None
        try:
            values = json.loads(path.read_text(encoding="utf-8"))
            trials = {key: tuple((str(name), int(seed)) for name, seed in values[key]) for key in ("known", "unseen")}
            return Plan(data_hash=values["data_hash"], steps=int(values["steps"]), base=values["base"], **trials)
        except (json.JSONDecodeError, KeyError, TypeError, ValueError) as error:
            raise UdgError(f"{path}: not a plan of a study ({error}); give another --out") from error


def variant_config(base: PolicyConfig, name: str) -> PolicyConfig:
    """The configuration of a variant; UdgError names the valid ones."""
    if name not in VARIANTS:
        raise UdgError(f"variant {name!r} does not exist; valid are {', '.join(VARIANTS)}")
    return from_dict(VARIANTS[name], base)


def choose_trials(
    size_of: dict[str, str], known: Sequence[str], count: int
) -> tuple[tuple[tuple[str, int], ...], tuple[tuple[str, int], ...]]:
    """Trials (object, seed) on known and on other objects of a dataset, `count` in all, sizes in turn."""
    others = sorted(set(size_of) - set(known))
    half = count // 2 if others else 0
    return tuple(_spread(size_of, sorted(known), count - half)), tuple(_spread(size_of, others, half))


def _spread(size_of: dict[str, str], names: Sequence[str], count: int) -> Iterator[tuple[str, int]]:
    shuffled = [names[i] for i in np.random.default_rng(_SPLIT_SEED).permutation(len(names))]
    objects = in_turn([[name for name in shuffled if size_of[name] == size] for size in SIZES])
    for k in range(count):
        yield objects[k % len(objects)], _FIRST_SEED + k // len(objects)


def make_plan(data: Sequence[Source], store: FrameStore, base: PolicyConfig, steps: int, trials: int) -> Plan:
    """A new study of data sets. Raises UdgError where no object could be held out."""
    metas = [source.dataset.meta(k) for source in data for k in range(len(source.dataset))]
    size_of = {str(meta["object"]): str(meta["size_class"]) for meta in metas}
    known, unseen = choose_trials(size_of, split_views(store, _SPLIT_SEED).train_objects, trials)
    if trials > 1 and not unseen:
        raise UdgError(
            "study: no object is held out of the training; a larger train.validation_share or more objects are needed"
        )
    return Plan(data_hash=data_hash(data), steps=steps, base=to_dict(base), known=known, unseen=unseen)


def steps_in(minutes: float, config: PolicyConfig, store: FrameStore) -> int:
    """Steps that one core does in this many minutes of its time, measured."""
    with tempfile.TemporaryDirectory() as folder:
        trainer = Trainer(config, store, Run(out=Path(folder), quiet=True), Parallel())
        took_s = []
        for _ in range(_RATE_STEPS):
            start = time.process_time()
            trainer.train_step(1.0)
            took_s.append(time.process_time() - start)
    return max(1, round(60.0 * minutes / min(took_s)))


@dataclass(frozen=True)
class RunWorker:
    """Trains and measures one variant with one seed, in a worker; continues with what is there."""

    data: str  # FOLDER[=SHARE],...
    out: Path
    cache: Path | None
    plan: Plan

    def __call__(self, job: tuple[str, int]) -> MeasuredRun:
        torch.set_num_threads(1)
        name, seed = job
        folder = run_folder(self.out, name, seed)
        config = variant_config(from_dict(self.plan.base), name)
        if not is_trained(folder):
            keep_large_blocks()
            store = load_frames(sources(self.data), config, 1, self.cache)
            train(
                config,
                store,
                Run(
                    out=folder,
                    seed=seed,
                    split_seed=_SPLIT_SEED,
                    data_hash=self.plan.data_hash,
                    resume=(folder / STATE_NAME).is_file(),
                    quiet=True,
                    validations=1,
                ),
            )
            write_atomically(folder / "trained", b"")
        self._run_trials(folder)
        return measured_run(self.out, self.plan, name, seed)

    def _run_trials(self, folder: Path) -> None:
        done = read_trials(folder)
        pending = [task for task in (*self.plan.known, *self.plan.unseen) if task not in done]
        if not pending:
            return
        policy = EnginePolicy(PolicyEngine.load(folder), retry=RetryConfig(after_s=0.0))
        rollout = Rollout(policy, RolloutConfig(whole_images=False, end_decided=True))
        with more_trials(folder) as stream:
            for task in pending:
                try:
                    trial = rollout.run(*task)
                except LostTrial as lost:
                    trial = lost.trial
                except TrialError as error:  # an object that lies nowhere, for any variant
                    print(f"{task[0]}, seed {task[1]}: not run: {error}", file=sys.stderr)
                    continue
                stream.write(json.dumps(asdict(trial)) + "\n")
                stream.flush()


def _differs(before: PolicyConfig, now: PolicyConfig) -> str:
    """The settings that differ: "train.dropout=0.0, not 0.1"."""
    then, today = (dict(_leaves(to_dict(config))) for config in (before, now))
    changed = sorted(name for name in then.keys() | today.keys() if then.get(name) != today.get(name))
    return ", ".join(f"{name}={then.get(name)}, not {today.get(name)}" for name in changed)


def _leaves(values: dict[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value


def run_folder(out: Path, name: str, seed: int) -> Path:
    """Folder of one run."""
    return out / "runs" / f"{name}_{seed}"


def is_trained(folder: Path) -> bool:
    """Whether the training of a run is finished."""
    return (folder / "trained").is_file() and (folder / DESCRIPTION_NAME).is_file()


def more_trials(folder: Path) -> TextIO:
    """The file of a run's trials, to add lines; one that an interruption cut short is ended."""
    stream = open(folder / TRIALS_NAME, "ab+")
    if stream.tell() > 0:
        stream.seek(-1, os.SEEK_END)
        stream.write(b"" if stream.read(1) == b"\n" else b"\n")
    return io.TextIOWrapper(stream, encoding="utf-8")


def read_trials(folder: Path) -> dict[tuple[str, int], Trial]:
    """The finished trials of a run; a line that an interruption cut short does not count."""
    path = folder / TRIALS_NAME
    trials: dict[tuple[str, int], Trial] = {}
    for line in path.read_text(encoding="utf-8").splitlines() if path.is_file() else ():
        try:
            values = json.loads(line)
            trial = Trial(**{**values, "position_xy": tuple(values["position_xy"])})
        except (json.JSONDecodeError, TypeError, KeyError):
            continue
        trials[trial.object, trial.seed] = trial
    return trials


def measured_run(out: Path, plan: Plan, name: str, seed: int) -> MeasuredRun:
    """What is known of a run so far."""
    folder = run_folder(out, name, seed)
    trials = read_trials(folder)
    checkpoint = load_checkpoint(folder)
    return MeasuredRun(
        variant=name,
        seed=seed,
        weights=hashlib.sha256((folder / WEIGHTS_NAME).read_bytes()).hexdigest(),
        code=checkpoint.git_hash,
        validation=dict(checkpoint.figures["validation"]),
        known={task: trials[task].success for task in plan.known if task in trials},
        unseen={task: trials[task].success for task in plan.unseen if task in trials},
    )


def do_jobs(jobs: Sequence[tuple[str, int]], pool: Pool) -> tuple[list[MeasuredRun], list[str]]:
    """Do all jobs, in order; the runs, and a line for each that failed."""
    runs: list[MeasuredRun] = []
    failures: list[str] = []
    for key, outcome in outcomes(pool, zip(jobs, jobs, strict=True)):
        if outcome.failure:
            failures.append(f"{key}: {outcome.failure}: {outcome.message}")
            print(failures[-1], flush=True)
            continue
        run: MeasuredRun = outcome.value
        runs.append(run)
        known, unseen = (f"{sum(part.values())}/{len(part)}" for part in (run.known, run.unseen))
        l1 = run.validation["l1"]
        print(f"{run.variant}, seed {run.seed}: l1 {l1:.4f}, lifted {known} known, {unseen} unseen", flush=True)
    return runs, failures


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="udg ablations", description="Study of a policy's choices.")
    parser.add_argument("--data", required=True, help="folder of episodes, or several, as `udg train` takes them")
    parser.add_argument("--out", type=user_path, required=True, help="folder of the study")
    parser.add_argument("--preset", default="edge", help=f"one of {', '.join(preset_names())}")
    parser.add_argument("--config", type=user_path, help="YAML that overrides the preset for all variants")
    parser.add_argument(
        "--variants",
        default="full,regression,full_attention",
        help=f"comma-separated, the first is the baseline; valid: {', '.join(VARIANTS)}",
    )
    parser.add_argument("--seeds", type=int, default=3, help="trainings of each variant")
    parser.add_argument(
        "--minutes",
        type=float,
        default=5.0,
        help="CPU time for training the first variant; all take the same number of steps",
    )
    parser.add_argument("--steps", type=int, help="steps of each training instead of --minutes")
    parser.add_argument("--trials", type=int, default=60, help="trials of each trained policy")
    parser.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="parallel runs, one core each")
    parser.add_argument("--cache", type=user_path, help="folder for the prepared frames")
    return parser.parse_args(argv)


def run(argv: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    options = _arguments(argv)
    names = list(dict.fromkeys(name for name in options.variants.split(",") if name))
    if not names or options.seeds < 1 or options.trials < 1 or options.workers < 1:
        raise UdgError("--variants must name one at least; --seeds, --trials and --workers must be at least 1")
    if not 0.0 < options.minutes < math.inf or (options.steps is not None and options.steps < 1):
        raise UdgError("--minutes must be positive, --steps must be at least 1")
    base = preset(options.preset)
    base = load_yaml(options.config, base) if options.config is not None else base
    base = replace(base, train=replace(base.train, validation_split="object"))
    os.environ["OMP_NUM_THREADS"] = "1"  # one core a worker; inherited
    torch.set_num_threads(1)
    check_folder(options.out)
    with one_writer(options.out):
        _study(options, names, base)


def _study(options: argparse.Namespace, names: Sequence[str], base: PolicyConfig) -> None:
    """Do the runs that the folder lacks, then write its report."""
    say_if_not_writable()
    data = sources(options.data)
    configs = {name: variant_config(base, name) for name in names}
    stores = {name: load_frames(data, config, options.workers, options.cache) for name, config in configs.items()}
    plan = _agreed_plan(options, data, stores[names[0]], base, configs[names[0]])
    print(
        f"{len(names)} variants x {options.seeds} seeds x {plan.steps} steps, then {len(plan.known)} trials on known "
        f"and {len(plan.unseen)} on unseen objects each",
        flush=True,
    )
    jobs = [(name, seed) for seed in range(options.seeds) for name in names]
    for name, seed in jobs:
        folder, config = run_folder(options.out, name, seed), variant_config(from_dict(plan.base), name)
        if is_trained(folder) and (before := load_checkpoint(folder).config) != config:
            raise UdgError(f"{folder}: was trained as {_differs(before, config)}; remove it, or give another --out")
    worker = RunWorker(options.data, options.out, options.cache, plan)
    with LocalPool(options.workers, partial(_start, worker), timeout_s=_JOB_TIMEOUT_S) as pool:
        runs, failures = do_jobs(jobs, pool)
    if not runs:
        raise UdgError(f"study: no run was finished: {failures[0]}")
    report = report_of(runs, names, asdict(plan), failures)
    write_report(options.out, report)
    print(f"report: {options.out / 'report.md'}")
    print(json.dumps(report["summary"]))


def _start(worker: RunWorker) -> RunWorker:
    return worker


def _check_objects(ids: Sequence[str]) -> None:
    """Raise UdgError for one that the library does not have, or not on this machine: before hours of training."""
    library = ObjectLibrary()
    for name in ids:
        library.check(name)
    check_present(ids)


def _agreed_plan(
    options: argparse.Namespace, data: Sequence[Source], store: FrameStore, base: PolicyConfig, first: PolicyConfig
) -> Plan:
    """The plan of the study in the folder if there is one, else a new one. Raises UdgError where they do not agree."""
    old = Plan.load(options.out)
    if old is not None and options.steps is None:
        print(f"{options.out}: continues its study of {old.steps} steps; --minutes is not looked at", flush=True)
    if options.steps is not None:
        steps = options.steps
    else:
        steps = old.steps if old is not None else steps_in(options.minutes, first, store)
    base = replace(base, train=replace(base.train, steps=steps))
    plan = make_plan(data, store, base, steps, options.trials)
    _check_objects(sorted({name for name, _ in (*plan.known, *plan.unseen)}))
    if old is None:
        plan.save(options.out)
    elif json.loads(json.dumps(asdict(old))) != json.loads(json.dumps(asdict(plan))):
        raise UdgError(
            f"{options.out}: holds a study of other data, steps, trials or configuration; give another "
            "--out, or the options of that study"
        )
    return plan


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
