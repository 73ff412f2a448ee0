"""The mean of checkpoints."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from udg_policy.action_spaces import ActionBounds
from udg_policy.config import preset
from udg_policy.errors import CheckpointError
from udg_policy.network.average import average, run
from udg_policy.network.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from udg_policy.network.network import PolicyNetwork


def checkpoint(seed: int, *objects: str) -> Checkpoint:
    config = preset("debug")
    torch.manual_seed(seed)
    shape = (config.decoder.chunk, config.space.size)
    bounds = ActionBounds(lower=-np.ones(shape, dtype=np.float32), upper=np.ones(shape, dtype=np.float32))
    return Checkpoint(config=config, bounds=bounds, weights=PolicyNetwork(config).state_dict(), train_objects=objects)


def test_each_weight_is_the_mean() -> None:
    a, b, c = checkpoint(0, "ball"), checkpoint(1, "cube"), checkpoint(2, "ball")
    mean = average([a, b, c])
    for name, values in mean.weights.items():
        expected = (a.weights[name].double() + b.weights[name].double() + c.weights[name].double()) / 3
        torch.testing.assert_close(values.double(), expected, atol=1e-7, rtol=0)
        assert values.dtype == a.weights[name].dtype
    assert mean.train_objects == ("ball", "cube")
    for name, values in average([a, a]).weights.items():
        assert torch.equal(values, a.weights[name])


def test_only_checkpoints_of_one_network_are_averaged() -> None:
    a = checkpoint(0)
    with pytest.raises(CheckpointError, match="valid: two or more"):
        average([a])
    other = replace(a, config=replace(a.config, decoder=replace(a.config.decoder, heads=1)))
    with pytest.raises(CheckpointError, match="checkpoint 1 has another decoder"):
        average([other, a])
    moved = replace(a, bounds=ActionBounds(lower=a.bounds.lower - 1.0, upper=a.bounds.upper))
    with pytest.raises(CheckpointError, match="checkpoint 2 has other bounds"):
        average([a, moved, a])
    longer = replace(a, config=replace(a.config, train=replace(a.config.train, steps=7)))
    average([longer, a])


def test_the_command_writes_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (save_checkpoint(tmp_path / str(seed), checkpoint(seed)) for seed in range(2))
    run([str(a), str(b), "--out", str(tmp_path / "mean")])
    expected = average([load_checkpoint(a), load_checkpoint(b)])
    got = load_checkpoint(tmp_path / "mean")
    assert all(torch.equal(got.weights[name], values) for name, values in expected.weights.items())
    assert '"averaged"' in capsys.readouterr().out
