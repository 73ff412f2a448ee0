"""The training command as a user runs it."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
import torch.distributed as dist

from udg_policy.episodes.dataset import EpisodeWriter
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import CheckpointError, ConfigError, ProcessError
from udg_policy.network.checkpoint import load_checkpoint
from udg_policy.parallel import Parallel
from udg_policy.training.train import run_command

# Without noise a step depends on the batch alone, not on which process has which part of it.
CONFIG = """
encoder: {batch_norm: true}
train: {point_noise_m: 0.0, cloud_noise_m: 0.0, hand_noise_m: 0.0, hand_noise_rad: 0.0, joint_noise_rad: 0.0}
"""
TORCHRUN = ("torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "udg_policy.training.train")


def command(*arguments: str, module: tuple[str, ...] = ("udg_policy.training.train",)) -> subprocess.CompletedProcess:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.run(
        [sys.executable, "-m", *module, *arguments], capture_output=True, text=True, timeout=600, env=environment
    )


@pytest.mark.slow
def test_two_processes_train_like_one_also_by_torchrun(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path / "data")
    for i in range(3):
        writer.write(str(i), make_episode(i, steps=4))
    (tmp_path / "policy.yaml").write_text(CONFIG)
    own = ("udg_policy.training.train",)
    for name, processes, module in (("one", "1", own), ("two", "2", own), ("torchrun", "1", TORCHRUN)):
        done = command(
            "--data",
            str(tmp_path / "data"),
            "--out",
            str(tmp_path / name),
            "--preset",
            "debug",
            "--steps",
            "4",
            "--processes",
            processes,
            "--config",
            str(tmp_path / "policy.yaml"),
            "--cache",
            str(tmp_path / "cache"),
            module=module,
        )
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


def _dataset(folder: Path, episodes: int = 3) -> Path:
    writer = EpisodeWriter(folder)
    for i in range(episodes):
        writer.write(str(i), make_episode(i, steps=3))
    return folder


def _contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_a_training_is_not_replaced_and_goes_on_where_it_is_asked_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [
        "--data",
        str(_dataset(tmp_path / "data")),
        "--out",
        str(tmp_path / "out"),
        "--preset",
        "debug",
        "--processes",
        "1",
        "--cache",
        str(tmp_path / "cache"),
        "--steps",
    ]
    assert run_command([*arguments, "2"]) == 0
    assert f"preparing the frames of 3 episodes (minutes where they are many; kept in {tmp_path / 'cache'})" in (
        capsys.readouterr().out
    )
    before = _contents(tmp_path / "out")
    for more in ([], ["--seed", "7"]):
        with pytest.raises(ConfigError, match="already holds a training; --resume continues it, --force"):
            run_command([*arguments, "2", *more])
    with pytest.raises(ConfigError, match="has done all 2 steps"):
        run_command([*arguments, "2", "--resume"])
    with pytest.raises(CheckpointError, match="another config; resume needs the same one: train.steps was 2, is 4"):
        run_command([*arguments, "4", "--resume"])
    with pytest.raises(CheckpointError, match="another seed; resume needs the same one: was 0, is 1"):
        run_command([*arguments, "2", "--resume", "--seed", "1"])
    assert _contents(tmp_path / "out") == before
    assert run_command([*arguments, "3", "--force"]) == 0
    assert "preparing" not in capsys.readouterr().out  # the frames are kept
    assert load_checkpoint(tmp_path / "out").figures["steps"] == 3
    assert len(list((tmp_path / "out" / "tensorboard").iterdir())) == 1  # the curves of two runs would mix


def test_a_training_by_time_keeps_its_budget_when_it_is_resumed(tmp_path: Path) -> None:
    arguments = [
        "--data",
        str(_dataset(tmp_path / "data")),
        "--out",
        str(tmp_path / "out"),
        "--preset",
        "debug",
        "--processes",
        "1",
        "--cache",
        str(tmp_path / "cache"),
    ]
    assert run_command([*arguments, "--minutes", "0.01"]) == 0
    for more in ([], ["--minutes", "0.01"]):
        with pytest.raises(ConfigError, match=r"of a total of 0.01; valid: more --minutes"):
            run_command([*arguments, "--resume", *more])
    steps = load_checkpoint(tmp_path / "out").figures["steps"]
    assert run_command([*arguments, "--resume", "--minutes", "0.03"]) == 0
    assert load_checkpoint(tmp_path / "out").figures["steps"] > steps


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--resume"], "nothing to resume there"),
        (["--processes", "5"], "must be a multiple of the 5 processes"),
        (["--preset", "none"], "none"),
        (["--minutes", "-1"], "minutes"),
    ],
)
def test_a_mistake_is_one_line_whichever_process_finds_it(tmp_path: Path, options: list[str], told: str) -> None:
    data = _dataset(tmp_path / "data")
    done = command(
        "--data",
        str(data),
        "--out",
        str(tmp_path / "out"),
        "--preset",
        "debug",
        "--steps",
        "2",
        "--cache",
        str(tmp_path / "cache"),
        *options,
    )
    lines = [line for line in done.stderr.splitlines() if line.startswith(("error:", "Traceback"))]
    assert done.returncode == 2 and len(lines) == 1 and told in lines[0], done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


def test_batches_that_cannot_be_shared_are_refused_before_frames_are_prepared(tmp_path: Path) -> None:
    cache, data = tmp_path / "cache", _dataset(tmp_path / "data")
    given = ["--data", str(data), "--out", str(tmp_path / "out"), "--preset", "debug", "--cache", str(cache)]
    with pytest.raises(ConfigError, match="must be a multiple of the 5 processes"):
        run_command([*given, "--processes", "5"])
    assert not cache.exists()


def test_a_process_stays_with_the_others_until_it_has_told_its_mistake() -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(ConfigError, match="no"), Parallel.join(0, 1, port):
        raise ConfigError("no")
    assert dist.is_initialized()
    dist.destroy_process_group()
    with Parallel.join(0, 1, port):
        pass
    assert not dist.is_initialized()


def _fail(rank: int, size: int, port: int, kind: str) -> None:
    del size, port
    if rank == 1:
        raise ConfigError("rank 1 does not like it") if kind == "user" else OSError(28, "No space left", "/data/x")
    signal.pause()


@pytest.mark.parametrize(("kind", "told"), [("user", "^rank 1 does not like it$"), ("disk", "^/data/x: no space")])
def test_what_a_process_stops_with_ends_all_and_comes_back_as_its_line(kind: str, told: str) -> None:
    with pytest.raises(ProcessError, match=told):
        Parallel.spawn(_fail, 2, kind)
