"""The measurement runs without a checkpoint and with one, and its last line is what is promised."""

import json
from pathlib import Path

import numpy as np
import pytest

from udg_policy.bench.bench_policy import BenchConfig, bench_inference, observations, random_checkpoint, run_command
from udg_policy.config import preset
from udg_policy.errors import CheckpointError, ConfigError
from udg_policy.network.checkpoint import save_checkpoint


def test_clouds_have_2048_points_of_three_classes() -> None:
    for points, q in observations(0):
        assert points.shape == (2048, 4) and points.dtype == np.float32 and q.shape == (36,)
        assert set(np.unique(points[:, 3])) == {0.0, 1.0, 2.0}
        assert len(np.unique(points[:, :3], axis=0)) == 2048


def test_random_policies_follow_from_the_seed() -> None:
    weights = [random_checkpoint(preset("debug"), seed).weights["queries"] for seed in (0, 0, 1)]
    assert (weights[0] == weights[1]).all() and (weights[0] != weights[2]).any()


def test_figures_of_a_policy() -> None:
    figures = bench_inference(random_checkpoint(preset("debug")), BenchConfig(runs=3, threads=1))
    assert 0.0 < figures["p50_ms"] <= figures["p99_ms"]
    assert figures["plain_p50_ms"] > 0.0
    assert figures["max_abs_error"] < 1e-4


def test_the_last_line_is_json(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_checkpoint(tmp_path / "policy", random_checkpoint(preset("debug")))
    assert run_command(["--checkpoint", str(folder), "--preset", "debug", "--runs", "2", "--no-training"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert {"p50_ms", "p99_ms", "plain_p50_ms", "max_abs_error"} <= set(result["debug"])


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        run_command(["--checkpoint", str(tmp_path / "absent")])
    folder = str(save_checkpoint(tmp_path / "policy", random_checkpoint(preset("debug"))))
    with pytest.raises(ConfigError, match="the second of preset 'debug'; valid: one of each"):
        run_command(["--checkpoint", folder, "--checkpoint", folder])
    with pytest.raises(ConfigError, match="runs must be at least 1"):
        run_command(["--runs", "0"])
