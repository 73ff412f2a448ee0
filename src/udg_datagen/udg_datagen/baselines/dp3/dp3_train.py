"""Training of DP3 from our data sets: `udg dp3-train --data DIR --out DIR [--size simple] [--steps N | --minutes M]`.

`--resume` continues a run that was interrupted. Data, frames, mirror images and split are those of `udg train` with
config/policy.yaml, so that equal samples (steps times 128) and equal time can be compared.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import math
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from udg_datagen.baselines.dp3.checkpoint import DESCRIPTION_NAME, SCALES, DP3Checkpoint, Scale, save
from udg_datagen.baselines.dp3.config import SIZES, DP3Config, size_of
from udg_datagen.baselines.dp3.network import DP3Network
from udg_description.errors import UdgError, cli
from udg_description.files import check_folder, one_writer, user_path, write_atomically
from udg_description.settings import seed_number
from udg_policy.config import preset
from udg_policy.frames.frame_store import FrameStore, load_frames
from udg_policy.frames.mixing import data_hash, sources
from udg_policy.frames.sampling import ViewSampler, step_generator
from udg_policy.network.checkpoint import git_hash
from udg_policy.training.train import keep_large_blocks, split_views

STATE_NAME = "train_state.safetensors"
_SAVE_EVERY_S = 120.0
_SCALE_VIEWS = 4096
_VALIDATION_VIEWS = 1024
_TELL_EVERY = 200


@dataclasses.dataclass(frozen=True, kw_only=True)
class Budget:
    """How long to train: `minutes` of wall time, or else steps."""

    steps: int = 20_000
    minutes: float | None = None

    def __post_init__(self) -> None:
        if self.steps < 1 or (self.minutes is not None and not self.minutes > 0.0):
            raise UdgError(f"dp3: steps {self.steps} must be at least 1 and minutes {self.minutes} positive")

    def progress(self, step: int, elapsed_s: float) -> float:
        """From 0 to 1."""
        return step / self.steps if self.minutes is None else elapsed_s / (60.0 * self.minutes)


class Samples(NamedTuple):
    """In their own units, oldest first."""

    points: Tensor  # (B, O, N, 3) [m]
    q: Tensor  # (B, O, 36) [rad]
    targets: Tensor  # (B, T, 36) [rad]


def samples(store: FrameStore, views: Tensor, config: DP3Config) -> Samples:
    """Of views: the observations up to each, and the targets from the oldest one's on."""
    past = config.n_observations - 1
    points = torch.stack([store.points(store.earlier(views, back)) for back in range(past, -1, -1)], dim=1)
    q, _ = store.joints(views, range(-past, 1))
    _, targets = store.joints(views, range(-past, config.horizon - past))
    return Samples(points, q, targets)


def scales_of(store: FrameStore, views: Tensor) -> dict[str, Scale]:
    """Ranges of the points, measured and target joints of all views."""
    ranges: dict[str, Scale] = {}
    for some in views.sort().values.split(_SCALE_VIEWS):
        q, targets = store.joints(some, (0,))
        for name, values in zip(SCALES, (store.points(some), q, targets), strict=True):
            values = values.flatten(0, 1)
            one = Scale(values.amin(dim=0), values.amax(dim=0))
            before = ranges.get(name, one)
            ranges[name] = Scale(torch.minimum(before.low, one.low), torch.maximum(before.high, one.high))
    return ranges


def rate_share(step: int, progress: float, warmup_steps: int) -> float:
    """Share of the learning rate: rises in a line over the warm-up, then falls by a cosine until `progress` is 1."""
    if step < warmup_steps:
        return step / warmup_steps
    warm = progress * warmup_steps / step if step else 0.0  # what the warm-up took of the budget
    return 0.5 * (1.0 + math.cos(math.pi * min((progress - warm) / (1.0 - warm), 1.0)))


class Trainer:
    """Network, optimiser and moving average."""

    def __init__(self, config: DP3Config, store: FrameStore, seed: int) -> None:
        self.config, self.store, self.seed = config, store, seed
        self.split = split_views(store, seed)
        self.sampler = ViewSampler(self.split.train, config.batch, seed, store.weights(self.split.train))
        self.scales = scales_of(store, self.split.train)
        torch.manual_seed(seed)
        self.network = DP3Network(config)
        self.average = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.optimiser = torch.optim.AdamW(
            self.network.parameters(), lr=config.learning_rate, betas=(0.95, 0.999), weight_decay=config.weight_decay
        )
        self.step = 0

    def train_step(self, progress: float) -> float:
        """One step; the loss."""
        for group in self.optimiser.param_groups:
            group["lr"] = self.config.learning_rate * rate_share(self.step, progress, self.config.warmup_steps)
        loss = self._loss(self.sampler(self.step), step_generator(self.seed, 2, self.step))
        self.optimiser.zero_grad(set_to_none=True)
        loss.backward()
        self.optimiser.step()
        self.step += 1
        keep = min(self.config.average_most, 1.0 - (1.0 + self.step) ** -self.config.average_power)
        with torch.no_grad():
            for name, tensor in self.network.state_dict().items():
                self.average[name].lerp_(tensor, 1.0 - keep)
        return float(loss.detach())

    def save_state(self, path: Path, run: str, elapsed_s: float, budget: Budget) -> None:
        """Write what `load_state` and `budget_of` need; `run` says of what it is."""
        tensors = {f"network.{name}": tensor for name, tensor in self.network.state_dict().items()}
        tensors |= {f"average.{name}": tensor for name, tensor in self.average.items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": tensor for name, tensor in moments.items()}
        told = {"run": run, "step": str(self.step), "elapsed_s": str(elapsed_s)}
        told["budget"] = json.dumps(dataclasses.asdict(budget))
        write_atomically(path, save_tensors({k: v.contiguous() for k, v in tensors.items()}, metadata=told))

    def load_state(self, path: Path, run: str) -> float:
        """Continue; the seconds that it has trained. Raises UdgError for what is not there or of another run."""
        with _opened(path) as file:
            told = file.metadata() or {}
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        if told.get("run") != run:
            raise UdgError(f"{path}: of another size, seed or data: it was {told.get('run')}, this is {run}")
        parts: dict[str, dict[str, Tensor]] = {"network": {}, "average": {}, "optimiser": {}}
        for key, tensor in tensors.items():
            part, _, name = key.partition(".")
            parts[part][name] = tensor
        self.network.load_state_dict(parts["network"])
        self.average = parts["average"]
        moments: dict[int, dict[str, Tensor]] = {}
        for key, tensor in parts["optimiser"].items():
            number, _, name = key.partition(".")
            moments.setdefault(int(number), {})[name] = tensor
        groups = self.optimiser.state_dict()["param_groups"]
        self.optimiser.load_state_dict({"state": moments, "param_groups": groups})
        self.step = int(told["step"])
        return float(told["elapsed_s"])

    def validate(self) -> float:
        """Loss of held-out views by the average; nan where there are none."""
        views = self.split.validation[:_VALIDATION_VIEWS]
        if not len(views):
            return math.nan
        own = {name: tensor.clone() for name, tensor in self.network.state_dict().items()}
        self.network.load_state_dict(self.average)
        with torch.inference_mode():
            loss = float(self._loss(views, step_generator(self.seed, 3)))
        self.network.load_state_dict(own)
        return loss

    def _loss(self, views: Tensor, generator: torch.Generator) -> Tensor:
        batch, scales = samples(self.store, views, self.config), self.scales
        with torch.autocast("cpu", torch.bfloat16):  # twice as fast, as our own training
            return self.network.loss(
                scales["points"].normalise(batch.points),
                scales["q"].normalise(batch.q),
                scales["target"].normalise(batch.targets),
                generator,
            )


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """The state of a training. Raises UdgError."""
    try:
        with safe_open(path, framework="pt") as file:
            yield file
    except (OSError, SafetensorError) as error:
        raise UdgError(f"{path}: nothing to resume there ({error})") from error


def budget_of(path: Path) -> Budget:
    """That of the training whose state this is. Raises UdgError."""
    with _opened(path) as file:
        told = (file.metadata() or {}).get("budget")
    if told is None:
        raise UdgError(f"{path}: does not say its budget; give --steps or --minutes")
    return Budget(**json.loads(told))


def train(
    config: DP3Config,
    store: FrameStore,
    out: Path,
    budget: Budget,
    seed: int,
    data: str = "",
    *,
    resume: bool = False,
) -> list[float]:
    """Train to the end of the budget and write the checkpoint of the average; the loss of each step done here."""
    trainer, losses = Trainer(config, store, seed), []
    out.mkdir(parents=True, exist_ok=True)
    run = json.dumps({**dataclasses.asdict(config), "seed": seed, "data": data}, sort_keys=True)
    began = time.monotonic() - (trainer.load_state(out / STATE_NAME, run) if resume else 0.0)
    saved = time.monotonic()
    while (progress := budget.progress(trainer.step, time.monotonic() - began)) < 1.0:
        losses.append(trainer.train_step(progress))
        if trainer.step % _TELL_EVERY == 0:
            mean = sum(losses[-_TELL_EVERY:]) / min(_TELL_EVERY, len(losses))
            print(f"{100 * progress:.0f} % step {trainer.step} loss {mean:.4f}", flush=True)
        if time.monotonic() - saved > _SAVE_EVERY_S:
            trainer.save_state(out / STATE_NAME, run, time.monotonic() - began, budget)
            saved = time.monotonic()
    trainer.save_state(out / STATE_NAME, run, time.monotonic() - began, budget)
    figures = {
        "steps": trainer.step,
        "samples": trainer.step * config.batch,
        "validation": trainer.validate(),
        "seconds": round(time.monotonic() - began, 1),
        "frames": store.n_frames,
    }
    save(
        out,
        DP3Checkpoint(
            config=config,
            scales=trainer.scales,
            weights=trainer.average,
            data_hash=data,
            git_hash=git_hash(),
            train_objects=trainer.split.train_objects,
            figures=figures,
        ),
    )
    print(f"{figures}", flush=True)
    return losses


def frames_of_size(config: DP3Config, data: str, processes: int, cache: Path | None) -> tuple[FrameStore, str]:
    """The frames of data sets and the hash of the data; validation is on other objects, as by config/policy.yaml."""
    found, base = sources(data), preset(config.frames)
    base = dataclasses.replace(base, train=dataclasses.replace(base.train, validation_split="object"))
    return load_frames(found, base, processes, cache), data_hash(found)


def run(argv: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    parser = argparse.ArgumentParser(prog="udg dp3-train", description="Train DP3, a baseline, on our data sets.")
    parser.add_argument("--data", required=True, help="folder of episodes, or several, as `udg train` takes them")
    parser.add_argument(
        "--out", type=user_path, required=True, help="folder for the checkpoint: new, or that of the run to resume"
    )
    parser.add_argument("--size", default="simple", help=f"one of {', '.join(SIZES)} (default: simple)")
    parser.add_argument(
        "--steps", type=int, help=f"of 128 samples; default: {Budget.steps}, or the resumed run's budget"
    )
    parser.add_argument("--minutes", type=float, help="budget of wall time instead of steps")
    parser.add_argument(
        "--learning-rate", type=float, help=f"largest one; default: its authors' {DP3Config.learning_rate:g}"
    )
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--cache", type=user_path, help="folder for the prepared frames, as of `udg train`")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out; --minutes are in total")
    options = parser.parse_args(argv)
    config = size_of(options.size)
    if options.steps is not None:
        budget = Budget(steps=options.steps, minutes=options.minutes)
    elif options.minutes is not None or not options.resume:
        budget = Budget(minutes=options.minutes)
    else:
        budget = budget_of(options.out / STATE_NAME)
    if options.learning_rate is not None:
        config = dataclasses.replace(config, learning_rate=options.learning_rate)
    if options.threads < 1:
        raise UdgError(f"--threads {options.threads} must be at least 1")
    if not options.resume and any((options.out / name).exists() for name in (STATE_NAME, DESCRIPTION_NAME)):
        raise UdgError(f"{options.out}: holds a training; --resume continues it, or give a new folder")
    check_folder(options.out)
    torch.set_num_threads(options.threads)
    keep_large_blocks()
    with one_writer(options.out):
        store, data = frames_of_size(config, options.data, options.threads, options.cache)
        train(config, store, options.out, budget, options.seed, data, resume=options.resume)
    print(f"checkpoint: {options.out}")


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
