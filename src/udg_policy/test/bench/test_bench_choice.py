"""The cost of single choices: which variants are measured, and that each is."""

from __future__ import annotations

import json

import pytest

from udg_policy.bench.bench_choice import chosen, run_command, variants
from udg_policy.config import preset
from udg_policy.errors import ConfigError


def test_each_choice_alone_and_all_together() -> None:
    found = variants(preset("debug"), ["decoder.grasp_query=true", "train.sampling.near=2"])
    assert list(found) == ["debug", "decoder.grasp_query=true", "train.sampling.near=2", "all"]
    assert not found["debug"].decoder.grasp_query and found["all"].decoder.grasp_query
    assert found["train.sampling.near=2"].train.sampling.near == found["all"].train.sampling.near == 2.0
    assert not found["train.sampling.near=2"].decoder.grasp_query
    assert list(variants(preset("debug"), ["decoder.layers=2"])) == ["debug", "decoder.layers=2"]


def test_what_is_no_choice_is_named() -> None:
    with pytest.raises(ConfigError, match="valid is section.key=value"):
        chosen(preset("debug"), ["decoder.grasp_query"])
    with pytest.raises(ConfigError, match="unknown key 'grip_query'"):
        chosen(preset("debug"), ["decoder.grip_query=true"])
    with pytest.raises(ConfigError, match="must be at least 1"):
        run_command(["--runs", "0"])


def test_figures_of_all_are_told(capsys: pytest.CaptureFixture[str]) -> None:
    run_command(["decoder.grasp_query=true", "--preset", "debug", "--runs", "2", "--rounds", "1"])
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert list(result) == ["debug", "decoder.grasp_query=true"]
    for figures in result.values():
        assert all(figures[name] > 0.0 for name in ("p50_ms", "cpu_p50_ms", "train_samples_per_s"))
