"""Datasets of schema 1 become datasets of today."""

import json
from pathlib import Path

import numpy as np
import pytest

from udg_description.layout import JOINT_NAMES
from udg_policy.episodes.convert import run_command
from udg_policy.episodes.dataset import EpisodeDataset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import DatasetError


def write_old(path: Path, seed: int) -> None:
    episode = make_episode(seed, steps=2)
    meta = {
        "object": "ball",
        "side": "left",
        "seed": seed,
        "schema": 1,
        "step_s": 0.1,
        "joint_names": list(JOINT_NAMES),
    }
    np.savez_compressed(
        path,
        cloud_xyz=episode.cloud_xyz.astype(np.float16),
        cloud_label=episode.cloud_label,
        q=episode.q,
        target=episode.target,
        stage=episode.stage,
        meta=np.array(json.dumps(meta)),
    )


def test_an_old_set_is_converted(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    (old / "attempts").mkdir(parents=True)
    (old / "attempts" / "a_000000.json").write_text('{"result": "success"}')
    for seed in (0, 1):
        write_old(old / f"episode_a_00000{seed}.npz", seed)
    assert run_command([str(old), str(new)]) == 0
    dataset = EpisodeDataset(new)
    assert [p.stem for p in dataset.paths] == ["episode_a_000000", "episode_a_000001"]
    assert dataset[0].meta == {"object": "ball", "sides": ["left"], "seed": 0}
    np.testing.assert_allclose(dataset[1].cloud_xyz, make_episode(1, steps=2).cloud_xyz, atol=6e-4)
    assert (new / "attempts" / "a_000000.json").exists() and (new / "manifest.json").exists()
    with pytest.raises(DatasetError, match="holds episodes already"):
        run_command([str(old), str(new)])


def test_what_is_not_an_old_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="holds no episode"):
        run_command([str(tmp_path), str(tmp_path / "new")])
    (tmp_path / "episode_a.npz").write_bytes(b"not a zip")
    with pytest.raises(DatasetError, match="episode_a.npz: not a readable"):
        run_command([str(tmp_path), str(tmp_path / "new")])
