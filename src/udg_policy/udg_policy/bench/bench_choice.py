"""What single choices of the configuration cost against the preset, taking turns in one process.

    udg bench-choice decoder.grasp_query=true observation.hand_surface=true

Each choice alone, and all of them together if there are several: time from scene cloud to action (one thread, random
weights) and samples a second that a training takes in (one core, CPU time). The last line is JSON.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from tqdm import tqdm

from udg_description.errors import cli
from udg_policy.bench.bench_policy import Times, observations, random_checkpoint
from udg_policy.config import PolicyConfig, from_dict, preset, preset_names
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import ConfigError
from udg_policy.frames.frame_store import frames_of
from udg_policy.inference.engine import PolicyEngine
from udg_policy.parallel import Parallel
from udg_policy.training.train import Run, Trainer, keep_large_blocks

_WARM_UP = 5
_PROGRESS = 0.5  # of the training: all parts of the loss are on


def chosen(base: PolicyConfig, choices: Sequence[str]) -> PolicyConfig:
    """`base` with choices `section.key=value`. Raises ConfigError for what is none."""
    for choice in choices:
        place, equals, text = choice.partition("=")
        if not equals:
            raise ConfigError(f"choice {choice!r}: valid is section.key=value, such as decoder.grasp_query=true")
        value = yaml.safe_load(text)
        for name in reversed(place.split(".")):
            value = {name: value}
        base = from_dict(value, base)
    return base


def variants(base: PolicyConfig, choices: Sequence[str]) -> dict[str, PolicyConfig]:
    """The base, each choice alone, all together, by name."""
    found = {base.name: base} | {choice: chosen(base, [choice]) for choice in choices}
    return found | ({"all": chosen(base, choices)} if len(choices) > 1 else {})


def act_ms(configs: Mapping[str, PolicyConfig], runs: int) -> dict[str, dict[str, float]]:
    """Median wall and CPU time [ms] from cloud to action of each, over `runs` runs that take turns."""
    engines = {name: PolicyEngine(random_checkpoint(config)) for name, config in configs.items()}
    scenes = observations(seed=0)
    times = {name: Times([], []) for name in engines}
    for run in tqdm(range(-_WARM_UP, runs), desc="cloud to action", leave=False):
        for name, engine in engines.items():
            kept = times[name] if run >= 0 else Times([], [])
            kept.add(partial(engine.act, *scenes[run % len(scenes)]))
    return {
        name: {"p50_ms": round(float(np.median(kept.wall)), 2), "cpu_p50_ms": round(float(np.median(kept.cpu)), 2)}
        for name, kept in times.items()
    }


def samples_per_s(configs: Mapping[str, PolicyConfig], rounds: int) -> dict[str, float]:
    """Samples a second and core of each training; the fastest of `rounds` steps that take turns."""
    episodes = [make_episode(i, steps=16) for i in range(4)]
    best = dict.fromkeys(configs, float("inf"))
    with tempfile.TemporaryDirectory() as folder:
        trainers = {}
        for name, config in configs.items():
            config = dataclasses.replace(config, train=dataclasses.replace(config.train, validation_share=0.0))
            store = frames_of(episodes, config)
            trainers[name] = Trainer(config, store, Run(out=Path(folder), quiet=True), Parallel())
        for round_ in tqdm(range(rounds + 1), desc="training", leave=False):  # the first one warms up
            for name, trainer in trainers.items():
                start = time.process_time()
                trainer.train_step(_PROGRESS)
                if round_ > 0:
                    best[name] = min(best[name], time.process_time() - start)
    return {name: round(configs[name].train.batch / seconds, 1) for name, seconds in best.items()}


def run_command(argv: Sequence[str] | None = None) -> int:
    """The command with its arguments; the exit code."""
    parser = argparse.ArgumentParser(
        prog="udg bench-choice", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("choices", nargs="*", metavar="section.key=value")
    parser.add_argument("--preset", default="edge", choices=preset_names())
    parser.add_argument("--runs", type=int, default=100, help="from cloud to action, of each (default %(default)s)")
    parser.add_argument("--rounds", type=int, default=8, help="training steps of each (default %(default)s)")
    options = parser.parse_args(argv)
    if options.runs < 1 or options.rounds < 1:
        raise ConfigError("--runs and --rounds must be at least 1")
    configs = variants(preset(options.preset), options.choices)
    torch.set_num_threads(1)
    keep_large_blocks()
    times, rates = act_ms(configs, options.runs), samples_per_s(configs, options.rounds)
    result: dict[str, Any] = {name: {**times[name], "train_samples_per_s": rates[name]} for name in configs}
    for name, figures in result.items():
        print(f"{name}: {figures}")
    print(json.dumps(result))
    return 0


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run_command)


if __name__ == "__main__":
    main()
