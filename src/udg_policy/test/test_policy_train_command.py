"""The training command as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from udg_policy.checkpoint import load_checkpoint
from udg_policy.dataset import EpisodeWriter
from udg_policy.synthetic import make_episode

# Without noise a step depends on the batch alone, not on which process has which part of it.
WITHOUT_NOISE = """
train: {point_noise_m: 0.0, cloud_noise_m: 0.0, hand_noise_m: 0.0, hand_noise_rad: 0.0, joint_noise_rad: 0.0}
"""


def command(*arguments: str) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run([sys.executable, "-m", "udg_policy.train", *arguments], capture_output=True, text=True,
                          timeout=300, env=environment)


@pytest.mark.slow
def test_two_processes_train_like_one(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "data")
    for i in range(3):
        writer.write(str(i), make_episode(i, steps=4))
    (tmp_path / "policy.yaml").write_text(WITHOUT_NOISE)
    for processes in ("1", "2"):
        done = command("--data", str(tmp_path / "data"), "--out", str(tmp_path / processes), "--preset", "debug",
                       "--steps", "5", "--processes", processes, "--config", str(tmp_path / "policy.yaml"),
                       "--cache", str(tmp_path / "cache"))
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "cache").iterdir())) == 1
    one, two = (load_checkpoint(tmp_path / processes) for processes in ("1", "2"))
    for name, weight in one.weights.items():
        torch.testing.assert_close(two.weights[name], weight, atol=1e-4, rtol=1e-3)


def test_a_missing_dataset_is_one_line(tmp_path: Path) -> None:
    done = command("--data", str(tmp_path / "absent"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ") and "absent" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
