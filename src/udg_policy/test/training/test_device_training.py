"""Training with the frames in a device's memory: on the CPU as far as it goes, on CUDA where there is one."""

import contextlib
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from udg_policy.bench.bench_train import samples_per_s
from udg_policy.config import PolicyConfig, preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_store import FrameStore, frames_of
from udg_policy.frames.records import Records
from udg_policy.frames.sampling import step_generator
from udg_policy.heads import HEADS
from udg_policy.network.network import PolicyNetwork
from udg_policy.parallel import Parallel
from udg_policy.training.captured_step import CapturedStep
from udg_policy.training.loss import Losses, l1_weights, policy_loss
from udg_policy.training.train import Run, Trainer

CPU, META, CUDA = torch.device("cpu"), torch.device("meta"), torch.device("cuda")
needs_cuda = pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")


def config_of(name: str = "debug", **train: object) -> PolicyConfig:
    """With everything that a batch can have, but hand-to-surface vectors."""
    config = preset(name)
    decoder = dataclasses.replace(config.decoder, grasp_query=True, stage_head=True)
    changes = {"scene_shift_m": 0.02, "scene_turn_rad": 0.1, "state_dropout": 0.2, **train}
    return dataclasses.replace(config, decoder=decoder, train=dataclasses.replace(config.train, **changes))


def store_of(config: PolicyConfig) -> FrameStore:
    return frames_of([make_episode(i, steps=6) for i in range(3)], config)


def test_records_in_memory_have_the_fields_of_those_in_files(tmp_path: Path) -> None:
    dtype = np.dtype([("a", "<i2", (3,)), ("b", "u1"), ("c", "<f4", (2, 2))], align=True)
    records = np.zeros(5, dtype=dtype)
    records["a"], records["b"], records["c"] = np.arange(15).reshape(5, 3) - 7, np.arange(5), np.ones((5, 2, 2)) / 3
    records.tofile(tmp_path / "records")
    filed = Records([(tmp_path / "records", 5)], dtype)
    index = torch.tensor([[4, 0], [2, 2]])
    both = (records.fields(index, "a", "b", "c") for records in (filed.to(CPU), filed))
    for ours, theirs in zip(*both, strict=True):
        assert ours.dtype == theirs.dtype and torch.equal(ours, theirs)


def test_batches_of_frames_in_memory_are_the_same() -> None:
    store = store_of(config_of())
    there, views = store.to(CPU), torch.tensor([0, 7, 20, 35])
    bounds = store.bounds(torch.arange(18))
    for seed in (None, 3):
        own, other = (
            one.batch(views, bounds, None if seed is None else step_generator(seed)) for one in (store, there)
        )
        for name, a, b in zip(own._fields, own, other, strict=True):
            assert torch.equal(a, b), name


@pytest.mark.parametrize("head", HEADS)
def test_a_step_asks_the_host_for_nothing(head: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """On the device without memory whatever would read a number, or mixes devices, is an error."""
    monkeypatch.setattr(torch, "is_autocast_enabled", lambda *_: False)  # neither knows that device
    monkeypatch.setattr(torch, "autocast", lambda *_, **__: contextlib.nullcontext())
    config = config_of()
    config = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, head=head))
    store = store_of(config)
    bounds = store.bounds(torch.arange(18))
    there, views = store.to(META), torch.zeros(4, dtype=torch.long, device=META)
    batch = there.batch(views, bounds, torch.Generator())
    assert all(tensor.device == META for tensor in batch)
    network = PolicyNetwork(config).to(META).train()
    losses = policy_loss(network, network(*batch[:4]), batch, l1_weights(config, bounds).to(META), 0.5)
    losses.total.backward()
    assert all(value.device == META for value in (losses.total, *losses.actions.values(), losses.grasp, losses.stage))


@pytest.mark.parametrize("alone", [True, False])
def test_training_from_memory_has_the_same_curve(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, alone: bool) -> None:
    config = config_of()
    store = store_of(config)
    curves = []
    for resident in (False, True):
        monkeypatch.setattr(Trainer, "_store_on_device", lambda self: self.store.to(CPU) if resident else None)  # noqa: B023
        trainer = Trainer(config, store, Run(out=tmp_path), Parallel())
        assert (trainer._captured is not None) == resident
        if not alone:
            trainer._captured = None
        curves.append([float(trainer.train_step(step / 5).total) for step in range(5)])
    assert curves[0] == curves[1]


def test_what_cannot_be_captured_runs_operation_by_operation() -> None:
    captured, seen = CapturedStep(3, CPU), []

    def step(views: torch.Tensor, generator: torch.Generator) -> Losses:
        seen.append((views.tolist(), generator.initial_seed()))
        value = torch.tensor(float(len(seen)))
        return Losses(value, {"l1": value}, value, value)

    for number in range(6):
        losses = captured(step, torch.arange(3) + number, 10 + number, kind=number > 3)
        assert float(losses.total) == number + 1
    assert captured.failure == "not a CUDA device"
    assert seen == [([n, n + 1, n + 2], 10 + n) for n in range(6)]


@pytest.mark.gpu
@needs_cuda
def test_batches_on_cuda_are_those_of_the_host() -> None:
    store = store_of(config_of())
    views, bounds = torch.tensor([0, 7, 20, 35]), store.bounds(torch.arange(18))
    own, other = store.batch(views, bounds), store.to(CUDA).batch(views.to(CUDA), bounds)
    for name, a, b in zip(own._fields, own, other, strict=True):
        torch.testing.assert_close(b.cpu(), a, rtol=1e-4, atol=1e-4, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.gpu
@needs_cuda
@pytest.mark.parametrize("name", ["debug", "edge", "paper"])
def test_captured_steps_train_as_those_one_by_one(name: str, tmp_path: Path) -> None:
    """Without noise, in single precision: batches do not depend on the device's random numbers."""
    quiet = {
        f"{what}_noise_{unit}": 0.0
        for what, unit in (("point", "m"), ("cloud", "m"), ("hand", "m"), ("hand", "rad"), ("joint", "rad"))
    }
    config = preset(name)
    nll_start = 0.5 if config.train.l1_weight > 0.0 else 0.0
    config = dataclasses.replace(
        config, train=dataclasses.replace(config.train, batch=8, bf16=False, nll_start=nll_start, **quiet)
    )
    store = store_of(config)
    curves = []
    for captured in (True, False):
        trainer = Trainer(config, store, Run(out=tmp_path), Parallel(device="cuda"))
        assert trainer._captured is not None
        if not captured:
            trainer._captured.failure = "not wanted"
        curves.append([float(trainer.train_step(step / 12).total) for step in range(12)])
        if captured:
            assert not trainer._captured.failure and len(trainer._captured._graphs) == (2 if nll_start else 1)
    np.testing.assert_allclose(*curves, rtol=1e-3)


@pytest.mark.gpu
@needs_cuda
def test_the_bench_measures_cuda() -> None:
    rates = samples_per_s("debug", rounds=1)
    assert rates["ours"] > 0 and rates["plain"] > 0
