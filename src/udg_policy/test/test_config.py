"""Presets and their overrides."""

import json
from pathlib import Path

import pytest

from udg_policy.config import from_dict, load_yaml, preset, preset_names, to_dict
from udg_policy.errors import ConfigError


@pytest.mark.parametrize("name", preset_names())
def test_a_preset_survives_json(name: str) -> None:
    assert from_dict(json.loads(json.dumps(to_dict(preset(name))))) == preset(name)


def test_yaml_overrides_only_what_it_names(tmp_path: Path) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text("train: {batch: 7}\nencoder: {centres_1: [100, 10], centres_2: [20, 4]}\n")
    config = load_yaml(path, preset("edge"))
    assert config.train.batch == 7 and config.encoder.centres_1 == (100, 10)
    assert config.decoder == preset("edge").decoder


def test_the_shipped_overrides_are_valid() -> None:
    path = Path(__file__).parents[3] / "config" / "policy.yaml"
    assert load_yaml(path, preset("edge")).name == "edge"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("trian: {batch: 7}", "unknown key 'trian'"),
        ("train: {batch: many}", "policy.train.batch: expected int"),
        ("train: {bf16: 1}", "expected bool"),
        ("train: 3", "expected a mapping"),
        ("decoder: {head: other}", "decoder.head"),
        ("train: {batch: [}", "not valid YAML"),
        (
            "action_space: joint_absolute\ntrain: {scene_turn_rad: 0.1}",
            "joint_absolute targets do not move with the scene",
        ),
        ("train: {hand_noise_m: -0.1}", "must not be negative"),
        ("train: {nll_weight: 0}", "untrained"),
        ("train: {l1_weight: 0}", "nothing is trained before"),
        ("encoder: {batch_norm: true, layer_norm: true}", "at most one"),
        ("action_space: wrist", "valid are wrist_relative, wrist_absolute, joint_absolute"),
        ("observation: {frames: []}", "valid are world"),
        ("observation: {frames: [left]}", "must contain world"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_yaml(path, preset("edge"))
