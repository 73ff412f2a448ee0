"""Training: `udg train --data DIR --preset edge --out DIR --minutes 40 --seed 0 [--resume]`.

Over machines, all arguments the same: `torchrun --nnodes N --nproc-per-node M -m udg_policy.training.train ...`.
"""

from __future__ import annotations

import argparse
import ctypes
import dataclasses
import hashlib
import json
import math
import os
import shutil
import time
from collections.abc import Container, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from udg_description.cache import cache_dir
from udg_description.errors import cli
from udg_description.files import check_folder, one_writer, user_path, write_atomically
from udg_description.settings import seed_number
from udg_policy.config import PolicyConfig, from_dict, load_yaml, preset, preset_names, to_dict
from udg_policy.errors import CheckpointError, ConfigError
from udg_policy.frames.frame_cache import is_cached
from udg_policy.frames.frame_store import Batch, FrameStore, load_frames
from udg_policy.frames.mixing import Source, data_hash, sources
from udg_policy.frames.sampling import ViewSampler, step_generator
from udg_policy.network.checkpoint import (
    DESCRIPTION_NAME,
    WEIGHTS_NAME,
    Checkpoint,
    git_hash,
    load_checkpoint,
    save_checkpoint,
)
from udg_policy.network.network import PolicyNetwork
from udg_policy.parallel import Parallel, default_device
from udg_policy.training.captured_step import CapturedStep
from udg_policy.training.flat_parameters import FlatParameters
from udg_policy.training.journal import LOGS_NAME, Journal
from udg_policy.training.loss import Losses, errors_by_kind, grasp_errors, l1_weights, policy_loss, stage_share

STATE_NAME = "train_state.safetensors"
_LOG_EVERY = 50
_VALIDATION_VIEWS = 1024
_SAVE_EVERY_S = 120.0
_MOMENTS = ("exp_avg", "exp_avg_sq")  # of AdamW
_DEVICE_SHARE = 0.6  # of the free memory of a device that frames may take
_MEAN_VIEWS = 4096  # for the mean action that the network starts from


@dataclass(frozen=True, kw_only=True)
class Run:
    """What one training run is about, apart from the policy's configuration."""

    out: Path
    seed: int = 0
    minutes: float | None = None  # budget of wall time; None: config.train.steps decides
    resume: bool = False
    data_hash: str = ""
    quiet: bool = False
    stop_at_step: int | None = None  # end early, as an interruption would, state saved
    split_seed: int | None = None  # of the validation split; None: seed
    validations: int = 20  # in all; the last one is at the end
    start: Checkpoint | None = None  # its weights are trained further, within its action bounds

    def __post_init__(self) -> None:
        if self.minutes is not None and not self.minutes > 0.0:
            raise ConfigError(f"minutes: {self.minutes}, must be positive")
        if self.validations < 1:
            raise ConfigError(f"validations: {self.validations}, must be at least 1")


class Split(NamedTuple):
    """Views to train on and to validate on, and the objects of the training episodes."""

    train: Tensor
    validation: Tensor
    train_objects: tuple[str, ...]


def split_views(store: FrameStore, seed: int, known: Container[str] = ()) -> Split:
    """Split by episode or by object; the same seed gives the same split.

    Objects that are `known`, from an earlier training, are no measure of what is new: they are not validated on, nor
    are episodes without a name of their object if "" is among them.
    """
    train = store.config.train
    named = store.object_of_episode
    objects = [name or f"of episode {i}" for i, name in enumerate(named)]  # no name: one of its own
    old = {o for o, name in zip(objects, named, strict=True) if name in known}
    names = sorted(set(objects)) if train.validation_split == "object" else list(range(len(objects)))
    order = [names[i] for i in np.random.default_rng(seed).permutation(len(names)) if names[i] not in old]
    held_out = set(order[: int(round(train.validation_share * len(names)))])
    held = [(objects[i] if train.validation_split == "object" else i) in held_out for i in range(len(objects))]
    mask = torch.tensor(held)
    episodes = torch.arange(len(objects))
    training = store.views(episodes[~mask], mirrored=train.mirror)
    if len(training) == 0:
        raise ConfigError(f"train: no episodes to train on ({len(objects)} in the dataset)")
    trained = {name for name, is_held in zip(named, held, strict=True) if name and not is_held}
    return Split(training, store.views(episodes[mask], mirrored=False), tuple(sorted(trained)))


def _check_shares(config: PolicyConfig, processes: int) -> None:
    """Raise ConfigError if a batch cannot be shared evenly."""
    if config.train.batch % processes != 0:
        raise ConfigError(f"train.batch: {config.train.batch}, must be a multiple of the {processes} processes")


class Trainer:
    """Network, optimiser and moving average of one run."""

    def __init__(self, config: PolicyConfig, store: FrameStore, run: Run, parallel: Parallel) -> None:
        self.config, self.store, self.run, self.parallel = config, store, run, parallel
        _check_shares(config, parallel.size)
        known = () if run.start is None else (*run.start.train_objects, "")
        self.split = split_views(store, run.seed if run.split_seed is None else run.split_seed, known)
        self.sampler = ViewSampler(self.split.train, config.train.batch, run.seed, store.weights(self.split.train))
        self.bounds = store.bounds(self.split.train) if run.start is None else run.start.bounds
        self.device = torch.device(parallel.device)
        self.weights = l1_weights(config, self.bounds).to(self.device)
        torch.manual_seed(run.seed)
        self.network = PolicyNetwork(config)
        if run.start is None:
            some = self.split.train[:: max(1, len(self.split.train) // _MEAN_VIEWS)]
            self.network.start_from(self.bounds.normalise(store.actions(some)).clamp(-1.0, 1.0).mean(dim=(0, 1)))
        else:
            self.network.load_state_dict(run.start.network().state_dict())
        self.network.to(self.device)
        self.flat = FlatParameters(self.network)
        train = config.train
        self.optimiser = torch.optim.AdamW(
            [
                {"params": [self.flat.matrices], "weight_decay": train.weight_decay},
                {"params": [self.flat.others], "weight_decay": 0.0},
            ],
            lr=train.learning_rate,
            betas=(0.9, 0.98),
            fused=True,
            capturable=self.device.type == "cuda",
        )
        self._keep: float | Tensor = 0.0  # share of the average that a step keeps
        self._resident = self._store_on_device()
        self._captured = CapturedStep(train.batch, self.device) if self._resident and parallel.size == 1 else None
        if self.device.type == "cuda":  # what changes from step to step stays where it is
            self._keep = torch.zeros((), device=self.device)
            for group in self.optimiser.param_groups:
                group["lr"] = torch.zeros((), device=self.device)
        self._flat_average = self.flat.values.clone()
        self.average = self.flat.views(self._flat_average)  # by name, as in the network's state
        self._buffers = self._network_buffers()
        self.average |= {name: tensor.clone() for name, tensor in self._buffers.items()}
        self.step = 0
        self.elapsed_s = 0.0

    def learning_rate(self, progress: float) -> float:
        """Linear warm-up by step, then a cosine over the progress [0, 1]."""
        train = self.config.train
        warm = min(1.0, (self.step + 1) / max(train.warmup_steps, 1))
        cosine = 0.5 * (1.0 + math.cos(math.pi * min(progress, 1.0)))
        return warm * (train.learning_rate_final + (train.learning_rate - train.learning_rate_final) * cosine)

    def progress(self, elapsed_s: float) -> float:
        """Share of the training that is done: by time if there is a budget of time, else by step."""
        if self.run.minutes is not None:
            return elapsed_s / (60.0 * self.run.minutes)
        return self.step / self.config.train.steps

    def _views(self, step: int) -> Tensor:
        """The views of a step that are this process's share."""
        return self.sampler(step)[self.parallel.rank :: self.parallel.size]

    def train_step(self, progress: float) -> Losses:
        """One optimisation step."""
        views = self._views(self.step)
        generator = step_generator(self.run.seed, 2, self.step, self.parallel.rank)
        self._set_rates(progress)
        torch.manual_seed(step_generator(self.run.seed, 3, self.step, self.parallel.rank).initial_seed())  # of dropout
        self.network.train()
        if self._resident is None:
            self.store.prefetch(self._views(self.step + 1))
            losses = self._learn(self._on_device(self.store.batch(views, self.bounds, generator)), progress, generator)
        else:
            losses = self._resident_step(self._resident, views, generator.initial_seed(), progress)
        self.step += 1
        return losses

    def _set_rates(self, progress: float) -> None:
        keep = min(self.config.train.ema_decay, (2 + self.step) / (11 + self.step))
        rate = self.learning_rate(progress)
        if isinstance(self._keep, Tensor):
            self._keep.fill_(keep)
        else:
            self._keep = keep
        for group in self.optimiser.param_groups:
            if isinstance(group["lr"], Tensor):
                group["lr"].fill_(rate)
            else:
                group["lr"] = rate

    def _resident_step(self, store: FrameStore, views: Tensor, seed: int, progress: float) -> Losses:
        """A step whose frames are on the device, where its batch is made; as a graph where that can be."""

        def step(there: Tensor, generator: torch.Generator) -> Losses:
            return self._learn(store.batch(there, self.bounds, generator), progress, generator)

        if self._captured is None:
            return step(views.to(self.device), torch.Generator(self.device).manual_seed(seed))
        return self._captured(step, views, seed, progress >= self.config.train.nll_start)

    def _learn(self, batch: Batch, progress: float, generator: torch.Generator) -> Losses:
        """What a batch changes: parameters, moments, average."""
        train = self.config.train
        # A graph must cast the weights in each step: no copy is kept from one to the next.
        with torch.autocast(self.device.type, torch.bfloat16, enabled=train.bf16, cache_enabled=self._captured is None):
            output = self.network(*batch[:4])
        losses = policy_loss(self.network, output, batch, self.weights, progress, generator)
        self.flat.gradient.zero_()
        losses.total.backward()
        self.parallel.average(self.flat.gradient)
        self.flat.clip_gradient(train.gradient_clip)
        self.optimiser.step()
        self._update_average()
        return losses.each(Tensor.detach)

    def _store_on_device(self) -> FrameStore | None:
        """The frames in the device's memory, where there is one and they fit; else None, and the host makes batches."""
        if self.device.type != "cuda" or self.config.observation.hand_surface:  # that is computed on the host
            return None
        free, _ = torch.cuda.mem_get_info(self.device)
        return self.store.to(self.device) if self.store.bytes < _DEVICE_SHARE * free else None

    def _on_device(self, batch: Batch) -> Batch:
        return Batch(*(tensor.to(self.device, non_blocking=True) for tensor in batch))

    @torch.no_grad()
    def _update_average(self) -> None:
        change = 1.0 - self._keep
        self._flat_average.lerp_(self.flat.values, change)
        for name, tensor in self._buffers.items():
            if tensor.is_floating_point():
                self.average[name].lerp_(tensor, change)
            else:
                self.average[name].copy_(tensor)

    def _network_buffers(self) -> dict[str, Tensor]:
        """What the network keeps besides parameters, by name; the same memory."""
        parameters = self.flat.views(self.flat.values)
        return {name: tensor for name, tensor in self.network.state_dict().items() if name not in parameters}

    @torch.no_grad()
    def validate(self) -> dict[str, float]:
        """Losses and errors of the averaged weights on the held-out episodes; empty without any."""
        views = self.split.validation
        if len(views) == 0:
            return {}
        views = views[torch.linspace(0, len(views) - 1, min(len(views), _VALIDATION_VIEWS)).long()]
        network = PolicyNetwork(self.config).to(self.device)
        network.load_state_dict(self.average)
        network.eval()
        sums: dict[str, float] = {}
        for part in views.split(self.config.train.batch):
            batch = self._on_device(self.store.batch(part, self.bounds))
            output = network(*batch[:4])
            losses = policy_loss(network, output, batch, self.weights, 1.0)
            values = {name: float(value) for name, value in losses.actions.items()}
            values |= errors_by_kind(
                self.config.space, network.action_head.act(output.actions), batch.actions, self.bounds
            )
            if output.grasp is not None:
                values |= grasp_errors(output.grasp, batch)
            if output.stage is not None:
                values["stage"] = stage_share(output.stage, batch)
            for name, value in values.items():
                sums[name] = sums.get(name, 0.0) + value * len(part) / len(views)
        return sums

    # State for --resume: one file, written atomically.

    def _tensors(self) -> dict[str, Tensor]:
        tensors = {f"network.{k}": v for k, v in self.network.state_dict().items()}
        tensors |= {f"average.{k}": v for k, v in self.average.items()}
        return tensors | self._optimiser_tensors()

    def _optimiser_tensors(self) -> dict[str, Tensor]:
        """Moments of each parameter and their step; empty before the first step."""
        state = [self.optimiser.state.get(part, {}) for part in (self.flat.matrices, self.flat.others)]
        if not all(state):
            return {}
        tensors = {
            f"optimiser.{key}.{name}": view
            for key in _MOMENTS
            for name, view in self.flat.views(torch.cat([one[key] for one in state])).items()
        }
        return tensors | {f"optimiser.step.{name}": state[0]["step"] for name in self.flat.views(self.flat.values)}

    def save_state(self) -> None:
        """Write what --resume needs."""
        header = {
            "step": self.step,
            "elapsed_s": self.elapsed_s,
            "minutes": self.run.minutes,
            "seed": self.run.seed,
            "split_seed": self.run.split_seed,
            "data_hash": self.run.data_hash,
            "config": to_dict(self.config),
            "start": start_hash(self.run.start),
        }
        data = save_tensors(
            {k: v.detach().cpu().clone().contiguous() for k, v in self._tensors().items()},
            metadata={"train": json.dumps(header)},
        )
        write_atomically(self.run.out / STATE_NAME, data)

    def load_state(self) -> None:
        """Continue from the state in the output folder; CheckpointError if it is of another run."""
        header = read_state_header(self.run, self.config)
        path = self.run.out / STATE_NAME
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118 (not a mapping)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path}: not a readable training state: {error}") from error
        self.network.load_state_dict({k[len("network.") :]: v for k, v in tensors.items() if k.startswith("network.")})
        for name, tensor in self.average.items():
            tensor.copy_(tensors[f"average.{name}"])
        if any(name.startswith("optimiser.") for name in tensors):
            self._load_optimiser(tensors)
        self.step, self.elapsed_s = int(header["step"]), float(header["elapsed_s"])

    def _load_optimiser(self, tensors: dict[str, Tensor]) -> None:
        parts = (self.flat.matrices, self.flat.others)
        step = next(tensor for name, tensor in tensors.items() if name.startswith("optimiser.step."))
        for part in parts:
            self.optimiser.state[part] = {"step": step.clone().to(self.device)}
        for key in _MOMENTS:
            flat = torch.zeros_like(self.flat.values)
            for name, view in self.flat.views(flat).items():
                view.copy_(tensors[f"optimiser.{key}.{name}"])
            for part, values in zip(parts, flat.split([len(part) for part in parts]), strict=True):
                self.optimiser.state[part][key] = values.clone()

    def checkpoint(self, figures: dict[str, Any]) -> Checkpoint:
        """The averaged weights as a checkpoint."""
        earlier = () if self.run.start is None else self.run.start.train_objects
        return Checkpoint(
            config=self.config,
            bounds=self.bounds,
            weights={k: v.detach().cpu().clone() for k, v in self.average.items()},
            data_hash=self.run.data_hash,
            git_hash=git_hash(),
            train_objects=tuple(sorted({*self.split.train_objects, *earlier})),
            figures=figures,
        )

    def save(self, validation: dict[str, float], samples_per_s: float) -> None:
        """Write the state for --resume and the checkpoint, with its figures."""
        self.save_state()
        figures: dict[str, Any] = {
            "validation": {k: round(v, 5) for k, v in validation.items()},
            "steps": self.step,
            "minutes": round(self.elapsed_s / 60.0, 2),
            "samples_per_s": round(samples_per_s, 1),
            "frames": self.store.n_frames,
            "episodes": len(self.store.object_of_episode),
            "seed": self.run.seed,
        }
        if self.run.start is not None:
            figures["from"] = earlier_trainings(self.run.start)
        save_checkpoint(self.run.out, self.checkpoint(figures))


def earlier_trainings(start: Checkpoint) -> list[dict[str, Any]]:
    """What a checkpoint that is trained further has behind it, the first training first."""
    figures: dict[str, Any] = {
        key: start.figures[key] for key in ("steps", "frames", "episodes", "seed") if key in start.figures
    }
    this = {"weights": start_hash(start), "data_hash": start.data_hash, "git_hash": start.git_hash, **figures}
    return [*start.figures.get("from", []), this]


def start_hash(start: Checkpoint | None) -> str:
    """Of the weights that a training starts from; empty if it starts from none."""
    if start is None:
        return ""
    weights = {name: start.weights[name].contiguous() for name in sorted(start.weights)}
    return hashlib.sha256(save_tensors(weights)).hexdigest()


def check_start(start: Checkpoint, config: PolicyConfig) -> None:
    """ConfigError if the checkpoint's network is not the one that is to be trained."""
    before, now = to_dict(start.config), to_dict(config)
    for key in ("action_space", "observation", "encoder", "decoder"):
        if before[key] != now[key]:
            raise ConfigError(
                "--from: the checkpoint has another network"
                + _first_difference(before[key], now[key], key)
                + "; give its settings by --preset and --config"
            )


def read_state_header(run: Run, config: PolicyConfig) -> dict[str, Any]:
    """What the state in the output folder says about its run; CheckpointError if it cannot be resumed by this one."""
    path = run.out / STATE_NAME
    if not path.is_file():
        raise CheckpointError(f"{path}: nothing to resume there")
    try:
        with safe_open(path, framework="pt") as file:
            header = json.loads(file.metadata()["train"])
    except (SafetensorError, KeyError, TypeError, json.JSONDecodeError, OSError) as error:
        raise CheckpointError(f"{path}: not a readable training state: {error}") from error
    same: dict[str, object] = {
        "seed": run.seed,
        "split_seed": run.split_seed,
        "data_hash": run.data_hash,
        "config": json.loads(json.dumps(to_dict(config))),
        "start": start_hash(run.start),
    }
    header.setdefault("start", "")
    header["config"] = _with_defaults(header.get("config"))
    for key, value in same.items():
        if header.get(key) != value:
            raise CheckpointError(
                f"{path}: is of a run with another {key}; resume needs the same one"
                + _first_difference(header.get(key), value)
            )
    return header


def _with_defaults(config: object) -> object:
    """What a state says of its configuration, with the options that came later: their defaults change nothing."""
    try:
        return json.loads(json.dumps(to_dict(from_dict(config)))) if isinstance(config, dict) else config
    except ConfigError:
        return config


def _first_difference(before: object, now: object, name: str = "") -> str:
    if isinstance(before, dict) and isinstance(now, dict):
        return next(
            (
                _first_difference(before.get(key), now.get(key), f"{name}.{key}".strip("."))
                for key in sorted({*before, *now})
                if before.get(key) != now.get(key)
            ),
            "",
        )
    return f": {name} was {before}, is {now}" if name else f": was {before}, is {now}"


def _prepare_out(run: Run, config: PolicyConfig, force: bool, steps_given: bool) -> Run:
    """Look at the output folder before any work: nothing that is there is lost by mistake, and it can be written.

    Returns the run with the budget that a resumed one has. Raises ConfigError, CheckpointError, PathError.
    """
    if run.resume:
        header = read_state_header(run, config)
        minutes = header.get("minutes") if run.minutes is None and not steps_given else run.minutes
        done_min = float(header["elapsed_s"]) / 60.0
        if minutes is not None and done_min >= minutes:
            raise ConfigError(
                f"{run.out}: has trained for {done_min:.1f} minutes of a total of {minutes:g}; valid: more --minutes"
            )
        if minutes is None and int(header["step"]) >= config.train.steps:
            raise ConfigError(
                f"{run.out}: has done all {config.train.steps} steps; give a new folder, or --minutes "
                f"of more than {done_min:.1f} in total"
            )
        check_folder(run.out)
        return dataclasses.replace(run, minutes=minutes)
    earlier = [name for name in (STATE_NAME, DESCRIPTION_NAME, WEIGHTS_NAME) if (run.out / name).exists()]
    if earlier and not force:
        raise ConfigError(
            f"{run.out}: already holds a training; --resume continues it, --force replaces it, or give a new folder"
        )
    check_folder(run.out)
    if earlier:
        shutil.rmtree(run.out / LOGS_NAME, ignore_errors=True)  # the curves of two runs would mix
    return run


def train(config: PolicyConfig, store: FrameStore, run: Run, parallel: Parallel | None = None) -> list[float]:
    """Train to the end of the budget, write state and checkpoint into run.out; the loss of each step done here."""
    parallel = parallel if parallel is not None else Parallel()
    trainer = Trainer(config, store, run, parallel)
    if run.resume:
        trainer.load_state()
    leader = parallel.rank == 0
    if leader:
        run.out.mkdir(parents=True, exist_ok=True)
    journal = Journal(run.out, leader, run.quiet)
    shares = store.shares(trainer.split.train) if leader else {}
    if shares:
        journal.line(
            "frames: "
            + ", ".join(f"{kind} {100 * had:.0f} -> {100 * has:.0f} %" for kind, (had, has) in shares.items())
        )
    start, first_step, first_s = time.monotonic() - trainer.elapsed_s, trainer.step, trainer.elapsed_s
    last_save_s, next_validation = trainer.elapsed_s, 0.0 if run.validations > 1 else 1.0
    losses: list[Tensor] = []
    figures: dict[str, float] = {}
    while True:
        trainer.elapsed_s = time.monotonic() - start
        progress = parallel.agree(trainer.progress(trainer.elapsed_s))
        done = progress >= 1.0 or trainer.step == run.stop_at_step
        if leader and (progress >= next_validation or done):
            figures = trainer.validate()
            next_validation = progress + 1.0 / (run.validations - 1) if run.validations > 1 else 1.0
            journal.scalars("validation", figures, trainer.step)
            journal.line(f"step {trainer.step}: " + ", ".join(f"{k} {v:.4f}" for k, v in figures.items()))
        if done:
            break
        loss = trainer.train_step(progress)
        losses.append(loss.total)
        rate = (trainer.step - first_step) * config.train.batch / max(time.monotonic() - start - first_s, 1e-9)
        if trainer.step % _LOG_EVERY == 0:
            mean = float(torch.stack(losses[-_LOG_EVERY:]).mean())  # the first time that the host waits for the device
            journal.scalars(
                "train",
                {"loss": mean, **loss.parts, "samples_per_s": rate, "learning_rate": trainer.learning_rate(progress)},
                trainer.step,
            )
            journal.progress(progress, f"step {trainer.step} loss {mean:.4f} {rate:.0f} samples/s")
        if leader and trainer.elapsed_s - last_save_s > _SAVE_EVERY_S:
            trainer.save(figures, rate)
            last_save_s = trainer.elapsed_s
    journal.close()
    if leader:
        trainer.save(figures, rate if losses else 0.0)
    return torch.stack(losses).tolist() if losses else []


def keep_large_blocks() -> None:
    """Let glibc keep freed large blocks: the same activations are allocated each step (page faults cost 20 %)."""
    try:
        libc = ctypes.CDLL("libc.so.6")
        libc.mallopt(-3, 1 << 30)  # M_MMAP_THRESHOLD
        libc.mallopt(-1, (1 << 31) - 1)  # M_TRIM_THRESHOLD
    except (OSError, AttributeError):
        return


def _arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="udg train", description="Train a grasp policy.")
    parser.add_argument(
        "--data",
        required=True,
        help="folder of episodes; or several, FOLDER,FOLDER=SHARE,...: with "
        "their shares of the samples, corrections at most half by default",
    )
    parser.add_argument("--out", type=user_path, required=True, help="folder for checkpoint, state and logs")
    parser.add_argument("--preset", default="edge", help=f"one of {', '.join(preset_names())}")
    parser.add_argument("--config", type=user_path, help="YAML that overrides the preset")
    parser.add_argument(
        "--from",
        dest="start",
        type=user_path,
        help="checkpoint whose weights are trained further, on these data, with a new learning-rate schedule; "
        "give it again with --resume",
    )
    parser.add_argument("--minutes", type=float, help="budget of wall time; default: the preset's number of steps")
    parser.add_argument("--steps", type=int, help="number of steps, where no minutes are given")
    parser.add_argument("--seed", type=seed_number, default=0)
    parser.add_argument(
        "--processes",
        type=int,
        help="training processes, one core each; default: 2, on CUDA 1. Under "
        "torchrun it decides, and this is of preparing the frames alone",
    )
    parser.add_argument(
        "--cache",
        type=user_path,
        help="folder for the prepared frames; default: $UDG_CACHE/frames or ~/.cache/udg/frames",
    )
    parser.add_argument("--skip-corrupt", action="store_true", help="skip corrupt episodes instead of stopping")
    parser.add_argument(
        "--resume", action="store_true", help="continue the run in --out, up to its own budget, or --minutes in total"
    )
    parser.add_argument("--force", action="store_true", help="replace an earlier training in --out")
    return parser.parse_args(argv)


def _worker(rank: int, size: int, port: int, config: PolicyConfig, store: FrameStore, run: Run) -> None:
    with Parallel.join(rank, size, port) as parallel:
        train(config, store, run, parallel)


def run_command(argv: Sequence[str] | None = None) -> int:
    """The command with its arguments; the exit code."""
    arguments = _arguments(argv)
    config = preset(arguments.preset)
    if arguments.config is not None:
        config = load_yaml(arguments.config, config)
    if arguments.steps is not None:
        config = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=arguments.steps))
    torch.set_num_threads(1)  # small products: processes are faster than threads
    keep_large_blocks()
    data = sources(arguments.data, skip_corrupt=arguments.skip_corrupt)
    for why in (why for source in data for why in source.dataset.skipped.values()):
        print(f"skipped: {why}", flush=True)
    run = Run(
        out=arguments.out,
        seed=arguments.seed,
        minutes=arguments.minutes,
        resume=arguments.resume,
        data_hash=data_hash(data),
        start=None if arguments.start is None else load_checkpoint(arguments.start),
    )
    if run.start is not None:
        check_start(run.start, config)
    with one_writer(run.out) if Parallel.leads() else nullcontext():
        run = _prepare_out(run, config, arguments.force, arguments.steps is not None)
        _train_by_all(arguments, config, data, run)
    print(f"checkpoint: {arguments.out}")
    return 0


def _train_by_all(arguments: argparse.Namespace, config: PolicyConfig, data: Sequence[Source], run: Run) -> None:
    """Train in this process, in several of this machine, or as one of those that torchrun has started."""
    device = default_device()
    processes = max(1, arguments.processes or (2 if device == "cpu" else 1))
    if not Parallel.by_torchrun():
        _check_shares(config, processes)  # before the frames, which may take minutes
    if Parallel.by_torchrun():
        with Parallel.from_environment() as parallel:
            for mine in (True, False):  # the first process of each machine prepares the frames, the others find them
                if mine == (parallel.local_rank == 0):
                    store = _frames(data, config, processes, arguments.cache, parallel.rank == 0)
                parallel.wait()
            train(config, store, run, parallel)
    elif processes == 1:
        train(config, _frames(data, config, 1, arguments.cache), run, Parallel(device=device))
    else:
        Parallel.spawn(_worker, processes, config, _frames(data, config, processes, arguments.cache), run)


def _frames(
    data: Sequence[Source], config: PolicyConfig, processes: int, cache: Path | None, tell: bool = True
) -> FrameStore:
    start = time.monotonic()
    folder = cache_dir("frames") if cache is None else cache
    missing = [source.dataset for source in data if not is_cached(source.dataset, config, folder)]
    if missing and tell:
        n = sum(map(len, missing))
        print(f"preparing the frames of {n:,} episodes (minutes where they are many; kept in {folder})", flush=True)
    store = load_frames(data, config, min(processes, os.cpu_count() or 1), cache)
    if tell:
        took_s = time.monotonic() - start
        print(f"{len(store.object_of_episode)} episodes, {store.n_frames} frames, ready in {took_s:.0f} s", flush=True)
    return store


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run_command)


if __name__ == "__main__":
    main()
