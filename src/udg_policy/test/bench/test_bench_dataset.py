"""The measurement of a dataset, and the size that the format promises."""

import json
from pathlib import Path

import numpy as np
import pytest

from udg_policy.bench.bench_dataset import run_command
from udg_policy.episodes.dataset import EpisodeWriter
from udg_policy.episodes.synthetic import make_episode


def test_rates_and_size_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = EpisodeWriter(tmp_path)
    for i in range(3):
        writer.write(str(i), make_episode(i, steps=10))
    assert run_command(["--data", str(tmp_path), "--preset", "debug", "--episodes", "2"]) == 0
    found = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert found["episodes"] == 2 and found["frames"] == 20
    assert all(value > 0 for value in found.values())


def test_even_noise_takes_less_than_14_kb_a_frame(tmp_path: Path) -> None:
    episode = make_episode(0, steps=16)
    noise = np.random.default_rng(0).uniform(-4.0, 3.999, episode.cloud_xyz.shape)
    object.__setattr__(episode, "cloud_xyz", noise.astype(np.float32))
    assert EpisodeWriter(tmp_path).write("noise", episode).stat().st_size / 16 < 14_000
