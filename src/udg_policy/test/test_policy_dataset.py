"""The dataset format: what is written is read back; what does not follow the schema is refused by name."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from udg_policy.dataset import Episode, EpisodeDataset, EpisodeWriter, read_episode
from udg_policy.errors import DatasetError
from udg_policy.synthetic import make_episode


def test_an_episode_is_read_back_as_written(tmp_path: Path) -> None:
    episode = make_episode(0, steps=3)
    back = read_episode(EpisodeWriter(tmp_path).write("a", episode))
    for name in ("cloud_xyz", "cloud_label", "q", "target", "stage"):
        np.testing.assert_array_equal(getattr(back, name), getattr(episode, name))
    assert back.meta["object"] == "ball"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["episode_a.npz"]


def test_the_manifest_counts_frames_and_keeps_values(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path)
    for i, steps in enumerate((2, 3)):
        writer.write(str(i), make_episode(i, steps=steps))
    manifest = json.loads(writer.finish(config={"a": 1}).read_text())
    assert manifest["frames"] == 5 and len(manifest["episodes"]) == 2
    assert manifest["config"] == {"a": 1} and manifest["hash"] == EpisodeDataset(tmp_path).hash()


def test_the_hash_changes_with_the_data(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path)
    writer.write("a", make_episode(0, steps=2))
    before = EpisodeDataset(tmp_path).hash()
    writer.write("a", make_episode(1, steps=2))
    assert EpisodeDataset(tmp_path).hash() != before


def test_arrays_of_another_shape_are_refused() -> None:
    episode = make_episode(0, steps=2)
    with pytest.raises(DatasetError, match="target has shape"):
        dataclasses.replace(episode, target=episode.target[:, :12])


def test_values_that_are_not_finite_are_refused() -> None:
    episode = make_episode(0, steps=2)
    with pytest.raises(DatasetError, match="q has values"):
        dataclasses.replace(episode, q=np.full_like(episode.q, np.nan))


def test_missing_folder_empty_folder_and_truncated_file_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such dataset folder"):
        EpisodeDataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match="holds no"):
        EpisodeDataset(tmp_path)
    path = EpisodeWriter(tmp_path).write("a", make_episode(0, steps=2))
    path.write_bytes(path.read_bytes()[:1000])
    with pytest.raises(DatasetError, match="episode_a.npz"):
        read_episode(path)


def test_another_layout_is_refused(tmp_path: Path) -> None:
    episode: Episode = make_episode(0, steps=2)
    path = EpisodeWriter(tmp_path).write("a", episode)
    with np.load(path) as file:
        arrays = dict(file)
    meta = json.loads(str(arrays["meta"]))
    meta["joint_names"][0] = "other"
    np.savez(path, **{**arrays, "meta": np.array(json.dumps(meta))})
    with pytest.raises(DatasetError, match="joint names"):
        read_episode(path)


def test_names_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="valid are letters"):
        EpisodeWriter(tmp_path).path("../a")
