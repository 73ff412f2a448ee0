"""The training command as a user runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from udg_policy.checkpoint import load_checkpoint
from udg_policy.dataset import EpisodeWriter
from udg_policy.errors import ConfigError
from udg_policy.parallel import Parallel
from udg_policy.synthetic import make_episode

# Without noise a step depends on the batch alone, not on which process has which part of it.
CONFIG = """
encoder: {batch_norm: true}
train: {point_noise_m: 0.0, cloud_noise_m: 0.0, hand_noise_m: 0.0, hand_noise_rad: 0.0, joint_noise_rad: 0.0}
"""
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "udg_policy.train")


def command(*arguments: str, module: tuple[str, ...] = ("udg_policy.train",)) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run([sys.executable, "-m", *module, *arguments], capture_output=True, text=True, timeout=600,
                          env=environment)


@pytest.mark.slow
def test_two_processes_train_like_one_also_by_torchrun(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "data")
    for i in range(3):
        writer.write(str(i), make_episode(i, steps=4))
    (tmp_path / "policy.yaml").write_text(CONFIG)
    own = ("udg_policy.train",)
    for name, processes, module in (("one", "1", own), ("two", "2", own), ("torchrun", "1", TORCHRUN)):
        done = command("--data", str(tmp_path / "data"), "--out", str(tmp_path / name), "--preset", "debug",
                       "--steps", "4", "--processes", processes, "--config", str(tmp_path / "policy.yaml"),
                       "--cache", str(tmp_path / "cache"), module=module)
        assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "cache").iterdir())) == 1
    one, two, torchrun = (load_checkpoint(tmp_path / name).weights for name in ("one", "two", "torchrun"))
    for name, weight in one.items():
        torch.testing.assert_close(two[name], weight, atol=1e-4, rtol=1e-3)
        torch.testing.assert_close(torchrun[name], two[name], atol=1e-5, rtol=1e-4)


def test_an_environment_that_is_not_torchruns_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RANK", "0")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert Parallel.by_torchrun()
    with pytest.raises(ConfigError, match="LOCAL_RANK is missing"), Parallel.from_environment():
        pass


def test_a_missing_dataset_is_one_line(tmp_path: Path) -> None:
    done = command("--data", str(tmp_path / "absent"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2
    assert done.stderr.strip().splitlines()[-1].startswith("error: ") and "absent" in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()
