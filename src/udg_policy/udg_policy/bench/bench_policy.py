"""Measure inference (cloud in, action out) and training throughput against a plain implementation: make bench-policy.

The implementations take turns of a few runs, so that whatever else the machine does meets all. Without
a checkpoint the weights are random, with the norms' statistics of the measured clouds. Progress on stderr; the last
line of stdout is JSON.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor
from tqdm import tqdm

from udg_description.errors import cli
from udg_description.settings import seed_number
from udg_policy.bench.bench_train import samples_per_s
from udg_policy.config import PolicyConfig, preset, preset_names
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import ConfigError
from udg_policy.frames.frame_store import Batch, frames_of
from udg_policy.inference.engine import PolicyEngine
from udg_policy.inference.prepared import PRECISIONS, InferenceConfig
from udg_policy.network.checkpoint import Checkpoint, load_checkpoint
from udg_policy.network.network import PolicyNetwork
from udg_policy.network.reference import PlainEngine, plain_network

PRESETS = ("paper", "edge")
_WARM_UP = 3
_TURN = 5  # runs at a stretch: torch's threads wait busily for a while after a run, which slows another's next one
_HOPELESS = 2.0  # times slower
_EPISODES = 2
_STEPS = 8


@dataclass(frozen=True, kw_only=True)
class BenchConfig:
    """How inference is measured."""

    runs: int = 60  # of each implementation
    threads: int = 2  # also tried, besides one thread, for both implementations
    device: str = "cpu"  # of the engine; the plain implementation stays on the CPU
    precision: str = "auto"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.runs < 1:
            raise ConfigError("bench: runs must be at least 1")


class Observation(NamedTuple):
    """A scene cloud (2048, 4) and joint angles (36,)."""

    points: np.ndarray
    q: np.ndarray


def observations(seed: int) -> list[Observation]:
    """Scene clouds of 2,048 points on the way to a ball and up with it."""
    found = []
    for episode in (make_episode(seed + i, steps=_STEPS, n_seen=1024) for i in range(_EPISODES)):
        clouds = np.concatenate([episode.cloud_xyz, episode.cloud_label[..., None]], axis=-1, dtype=np.float32)
        found += [Observation(points, q.astype(np.float64)) for points, q in zip(clouds, episode.q, strict=True)]
    return found


def random_checkpoint(config: PolicyConfig, seed: int = 0) -> Checkpoint:
    """An untrained policy whose norms have the statistics of synthetic clouds and whose actions vary."""
    store = frames_of([make_episode(seed, steps=2, n_seen=1024)], config)
    views = store.views(torch.arange(1), False)
    bounds = store.bounds(views)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = PolicyNetwork(config)
        last = network.head[-1]
        assert isinstance(last, torch.nn.Linear)
        torch.nn.init.normal_(last.weight, std=0.1)
    weights = network.state_dict()
    weights.update(_norm_statistics(config, weights, store.batch(views, bounds)))
    return Checkpoint(config=config, bounds=bounds, weights=weights)


@torch.no_grad()
def _norm_statistics(config: PolicyConfig, weights: Mapping[str, Tensor], batch: Batch) -> dict[str, Tensor]:
    """Running means and variances of the batch norms that a batch has."""
    plain = plain_network(config, weights).train()
    for module in plain.modules():
        if isinstance(module, torch.nn.BatchNorm2d):
            module.momentum = 1.0
    plain(batch.features, batch.proprioception, batch.neighbours_1, batch.neighbours_2)
    return {
        name.replace(".norms.", ".mlp.norms."): value
        for name, value in plain.state_dict().items()
        if ".running_" in name
    }


class Times(NamedTuple):
    """Durations [ms] of repeated runs: by the clock, and of the processor over all threads."""

    wall: list[float]
    cpu: list[float]

    def add(self, run: Callable[[], object]) -> None:
        """Time one run."""
        cpu, wall = time.process_time(), time.perf_counter()
        run()
        self.wall.append(1e3 * (time.perf_counter() - wall))
        self.cpu.append(1e3 * (time.process_time() - cpu))


def bench_inference(checkpoint: Checkpoint, config: BenchConfig) -> dict[str, float]:
    """Figures of one policy: times from cloud to action, and the greatest difference of normalised actions.

    Both implementations run with one thread and with `threads`; of each the faster choice counts.
    """
    thread_counts = sorted({1, config.threads})
    engines = {
        threads: PolicyEngine(
            checkpoint, InferenceConfig(device=config.device, threads=threads, precision=config.precision)
        )
        for threads in thread_counts
    }
    plain = PlainEngine(checkpoint)
    scenes = observations(config.seed)
    error = max(_difference(engine, plain, scene) for scene in scenes for engine in engines.values())
    ours = {threads: Times([], []) for threads in thread_counts}
    theirs = {threads: Times([], []) for threads in thread_counts}

    def take_turns(runs: int) -> None:
        for first in tqdm(range(0, runs, _TURN), desc=checkpoint.config.name, unit="turn", leave=False):
            for times, implementations in ((ours, engines), (theirs, dict.fromkeys(engines, plain))):
                for threads, kept in times.items():
                    torch.set_num_threads(threads)
                    for run in range(first, min(first + _TURN, runs)):
                        kept.add(partial(implementations[threads].act, *scenes[run % len(scenes)]))

    take_turns(_WARM_UP)
    ours, theirs = _worth_more(ours), _worth_more(theirs)
    take_turns(config.runs)
    best, plain_best = _quickest(ours), _quickest(theirs)
    return {
        "p50_ms": _percentile(ours[best].wall, 50),
        "p99_ms": _percentile(ours[best].wall, 99),
        "plain_p50_ms": _percentile(theirs[plain_best].wall, 50),
        "plain_p99_ms": _percentile(theirs[plain_best].wall, 99),
        "max_abs_error": round(error, 7),
        "times_faster": round(float(np.median(np.divide(theirs[plain_best].wall, ours[best].wall))), 2),
        "threads": best,
        "plain_threads": plain_best,
        "one_thread_p50_ms": _percentile(ours[1].wall, 50),
        "plain_one_thread_p50_ms": _percentile(theirs[1].wall, 50),
        "one_thread_cpu_p50_ms": _percentile(ours[1].cpu, 50),
        "plain_one_thread_cpu_p50_ms": _percentile(theirs[1].cpu, 50),
    }


def _difference(engine: PolicyEngine, plain: PlainEngine, scene: Observation) -> float:
    ours, theirs = (one.distribution(*scene).mode for one in (engine, plain))
    return float((ours - theirs).abs().max())


def _quickest(times: Mapping[int, Times]) -> int:
    return min(times, key=lambda threads: float(np.median(times[threads].wall)))


def _worth_more(warm_up: Mapping[int, Times]) -> dict[int, Times]:
    """Empty times of one thread, and of more unless they were hopeless in the warm-up, as on a busy machine."""
    least = min(min(times.wall) for times in warm_up.values())
    return {
        threads: Times([], [])
        for threads, times in warm_up.items()
        if threads == 1 or min(times.wall) < _HOPELESS * least
    }


def _percentile(values: Sequence[float], q: float) -> float:
    return round(float(np.percentile(values, q)), 2)


def bench_training(names: Sequence[str]) -> dict[str, Any]:
    """Training throughput [samples/s] of the presets; that of the edge preset, or the only one, at the top."""
    rates = {name: samples_per_s(name) for name in tqdm(names, desc="training", leave=False)}
    return {**rates.get("edge", rates[names[0]]), **rates}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="udg bench-policy", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    default = BenchConfig()
    parser.add_argument(
        "--preset",
        action="append",
        choices=preset_names(),
        help=f"what to measure; repeatable; default: {', '.join(PRESETS)}",
    )
    parser.add_argument(
        "--checkpoint",
        action="append",
        default=[],
        metavar="FOLDER",
        help="measure this policy instead of its preset with random weights; repeatable, one of each preset",
    )
    parser.add_argument("--runs", type=int, default=default.runs, help="of each implementation (default %(default)s)")
    parser.add_argument(
        "--threads",
        type=int,
        default=default.threads,
        help="also tried, besides one thread, for both implementations (default %(default)s)",
    )
    parser.add_argument("--device", default=default.device, help="of the engine: cpu, cuda (default %(default)s)")
    parser.add_argument(
        "--precision",
        default=default.precision,
        choices=PRECISIONS,
        help="of the engine's encoder (default %(default)s)",
    )
    parser.add_argument("--seed", type=seed_number, default=default.seed)
    parser.add_argument("--no-training", action="store_true", help="skip training throughput")
    return parser


def run_command(argv: Sequence[str] | None = None) -> int:
    """The command with its arguments; the exit code."""
    options = _parser().parse_args(argv)
    config = BenchConfig(
        runs=options.runs,
        threads=options.threads,
        device=options.device,
        precision=options.precision,
        seed=options.seed,
    )
    given: dict[str, Checkpoint] = {}
    for folder in options.checkpoint:
        checkpoint = load_checkpoint(folder)
        if checkpoint.config.name in given:
            raise ConfigError(
                f"--checkpoint {folder}: the second of preset '{checkpoint.config.name}'; valid: one of each"
            )
        given[checkpoint.config.name] = checkpoint
    names = options.preset or list(dict.fromkeys([*PRESETS, *given]))
    result: dict[str, Any] = {}
    for name in names:
        result[name] = bench_inference(given.get(name) or random_checkpoint(preset(name), config.seed), config)
        print(f"{name}: {result[name]}", file=sys.stderr)
    if not options.no_training:
        result["train_samples_per_s"] = bench_training(names)
    print(json.dumps(result))
    return 0


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run_command)


if __name__ == "__main__":
    main()
