"""How many samples per second training processes, against plain float32 training of the same network in the same run.

`udg bench-train [--preset edge --preset paper]`; last line: JSON. One core, CPU time, so that other
work on the machine does not count; with CUDA the device, by the clock. A step of either is the whole step: batch from
prepared frames, forward, loss, backward, clipping, AdamW (ours: the moving average of the weights, too).
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from udg_description.errors import cli
from udg_policy.config import PolicyConfig, preset, preset_names
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_store import Batch, FrameStore, frames_of
from udg_policy.frames.sampling import step_generator
from udg_policy.network.reference import PlainPolicyNetwork, plain_weights
from udg_policy.parallel import Parallel, default_device
from udg_policy.training.loss import policy_loss
from udg_policy.training.train import Run, Trainer, keep_large_blocks

BATCHES = {"paper": 8}  # of a bench step; other presets: their own. Larger ones only take longer
_CUDA_STEPS = 20
_PROGRESS = 0.5  # of the training: both parts of the loss are on


def samples_per_s(name: str, rounds: int = 5) -> dict[str, float]:
    """Samples a second, and core without CUDA, of a preset: {"ours": .., "plain": ..}.

    The fastest of `rounds` interleaved turns: a step each, on CUDA many.
    """
    config = preset(name)
    config = dataclasses.replace(
        config,
        train=dataclasses.replace(config.train, batch=BATCHES.get(name, config.train.batch), validation_share=0.0),
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    keep_large_blocks()
    try:
        store = frames_of([make_episode(i, steps=16) for i in range(4)], config)
        with tempfile.TemporaryDirectory() as folder:
            device = default_device()
            trainer = Trainer(config, store, Run(out=Path(folder), quiet=True), Parallel(device=device))
            turn, clock = (1, time.process_time) if device == "cpu" else (_CUDA_STEPS, _device_time)
            steps = {"ours": lambda: trainer.train_step(_PROGRESS), "plain": _plain_step(config, store, trainer)}
            best = {kind: float("inf") for kind in steps}
            for round_ in range(rounds + 1):  # the first one warms up
                for kind, step in steps.items():
                    start = clock()
                    for _ in range(turn):
                        step()
                    if round_ > 0:
                        best[kind] = min(best[kind], (clock() - start) / turn)
    finally:
        torch.set_num_threads(threads)
    return {kind: round(config.train.batch / seconds, 2) for kind, seconds in best.items()}


def _device_time() -> float:
    """Seconds, once the device has done all that it was asked for."""
    torch.cuda.synchronize()
    return time.perf_counter()


def _plain_step(config: PolicyConfig, store: FrameStore, trainer: Trainer) -> Callable[[], object]:
    network = PlainPolicyNetwork(config)
    network.load_state_dict(plain_weights(trainer.network.state_dict()))
    network.to(trainer.device).train()
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-4, weight_decay=config.train.weight_decay)
    views = trainer.split.train[: config.train.batch]

    def step() -> None:
        batch = Batch(*(x.to(trainer.device) for x in store.batch(views, trainer.bounds, step_generator(0, 0))))
        losses = policy_loss(network, network(*batch[:4]), batch, trainer.weights, _PROGRESS)
        optimiser.zero_grad()
        losses.total.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), config.train.gradient_clip)
        optimiser.step()

    return step


def run_command(argv: Sequence[str] | None = None) -> int:
    """The command with its arguments; the exit code."""
    parser = argparse.ArgumentParser(prog="udg bench-train", description="Training throughput, ours and plain.")
    parser.add_argument("--preset", action="append", choices=preset_names(), help="default: edge and paper")
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args(argv)
    rates = {name: samples_per_s(name, arguments.rounds) for name in arguments.preset or ("edge", "paper")}
    for name, rate in rates.items():
        print(f"{name}: {rate['ours']} samples/s a core, plain {rate['plain']}: {rate['ours'] / rate['plain']:.1f}x")
    print(json.dumps({"train_samples_per_s": rates}))
    return 0


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run_command)


if __name__ == "__main__":
    main()
