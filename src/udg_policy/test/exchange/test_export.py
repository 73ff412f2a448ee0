"""Exports, read back by the rules of the layouts that they claim to have."""

import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest
import zarr

from udg_description.files import PathError
from udg_description.layout import JOINT_NAMES
from udg_policy.episodes.dataset import EpisodeDataset, EpisodeWriter
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import DatasetError
from udg_policy.exchange.export import export, run_command
from udg_policy.exchange.export_lerobot import task_of

LENGTHS = (3, 5, 2)


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> EpisodeDataset:
    folder = tmp_path_factory.mktemp("data")
    writer = EpisodeWriter(folder)
    for i, steps in enumerate(LENGTHS):
        writer.write(str(i), make_episode(i, steps=steps))
    return EpisodeDataset(folder)


def test_dp3_is_a_replay_buffer(dataset: EpisodeDataset, tmp_path: Path) -> None:
    assert run_command(["--data", str(dataset.folder), "--to", "dp3", "--out", str(tmp_path / "a.zarr")]) == 0
    root = zarr.open(str(tmp_path / "a.zarr"), "r")
    ends = root["meta"]["episode_ends"][:]
    # What ReplayBuffer asserts when it opens a group.
    assert ends.dtype == np.int64 and ends.tolist() == [3, 8, 10]
    assert all(array.shape[0] == ends[-1] for _, array in root["data"].items())
    assert json.loads((tmp_path / "a.zarr" / ".zgroup").read_text()) == {"zarr_format": 2}
    episode, rows = dataset[1], slice(ends[0], ends[1])
    np.testing.assert_array_equal(root["data/point_cloud"][rows], episode.cloud_xyz)
    np.testing.assert_array_equal(root["data/state"][rows], episode.q)
    np.testing.assert_array_equal(root["data/action"][rows], episode.target)
    assert {root[f"data/{name}"].dtype for name in ("point_cloud", "state", "action")} == {np.dtype("f4")}


def test_fewer_points_are_points_of_the_cloud(dataset: EpisodeDataset, tmp_path: Path) -> None:
    export(dataset, "dp3", tmp_path / "a.zarr", points=1024)
    root = zarr.open(str(tmp_path / "a.zarr"), "r")
    assert root["data/point_cloud"].shape == (10, 1024, 3)
    whole = {tuple(p) for p in dataset[0].cloud_xyz[0]}
    part = {tuple(p) for p in root["data/point_cloud"][0]}
    assert part <= whole and len(part) > 1000


def test_lerobot_follows_version_3(dataset: EpisodeDataset, tmp_path: Path) -> None:
    root = tmp_path / "robot"
    assert run_command(["--data", str(dataset.folder), "--to", "lerobot", "--out", str(root)]) == 0
    info = json.loads((root / "meta/info.json").read_text())
    assert info["codebase_version"] == "v3.0" and info["fps"] == 10 and info["video_path"] is None
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"]) == (3, 10, 1)
    episodes = pq.read_table(root / "meta/episodes/chunk-000/file-000.parquet").to_pylist()
    for number, (row, length) in enumerate(zip(episodes, LENGTHS, strict=True)):
        assert row["episode_index"] == number and row["length"] == length
        assert row["dataset_to_index"] - row["dataset_from_index"] == length
        np.testing.assert_allclose(row["stats/action/mean"], dataset[number].target.mean(axis=0), atol=1e-6)
        np.testing.assert_allclose(
            row["stats/observation.point_cloud/max"],
            dataset[number].cloud_xyz.reshape(-1, 3).max(axis=0, keepdims=True),
        )
        assert row["stats/action/count"] == [length] and row["stats/frame_index/max"] == [length - 1]
    place = {"chunk_index": episodes[1]["data/chunk_index"], "file_index": episodes[1]["data/file_index"]}
    table = pq.read_table(root / info["data_path"].format(**place))
    assert set(table.column_names) == set(info["features"])
    assert table["index"].to_pylist() == list(range(10))
    rows = table.slice(episodes[1]["dataset_from_index"], LENGTHS[1])
    assert set(rows["episode_index"].to_pylist()) == {1} and rows["frame_index"].to_pylist() == list(range(LENGTHS[1]))
    np.testing.assert_allclose(rows["timestamp"].to_numpy(), 0.1 * np.arange(LENGTHS[1]), atol=1e-6)
    for name, expected in (
        ("observation.state", dataset[1].q),
        ("action", dataset[1].target),
        ("observation.point_cloud", dataset[1].cloud_xyz),
        ("observation.point_label", dataset[1].cloud_label),
    ):
        got = np.array(rows[name].to_pylist(), dtype=info["features"][name]["dtype"])
        np.testing.assert_array_equal(got, expected)
        assert list(got.shape[1:]) == info["features"][name]["shape"]
    tasks = pq.read_table(root / "meta/tasks.parquet").to_pylist()
    assert tasks == [{"task_index": 0, "task": "grasp the ball and lift it"}]
    assert info["features"]["action"]["names"] == list(JOINT_NAMES)


@pytest.mark.parametrize(
    ("meta", "named"),
    [
        ({"category": "ball", "object": "ball_60"}, "ball"),
        ({"category": "spray_bottle"}, "spray bottle"),
        ({"category": "mesh", "object": "parts/My  cup.obj@0.1"}, "My cup"),
        ({"category": "mesh", "object": "/a/杯子.stl@0.09"}, "杯子"),
        ({"category": "mesh", "object": "user_oil_can_a1b2c3"}, "oil can"),
        ({}, "object"),
    ],
)
def test_the_task_names_the_object(meta: dict[str, str], named: str) -> None:
    assert task_of(meta) == f"grasp the {named} and lift it"


def test_lerobots_statistics_are_those_of_the_data(dataset: EpisodeDataset, tmp_path: Path) -> None:
    export(dataset, "lerobot", tmp_path / "robot")
    stats = json.loads((tmp_path / "robot/meta/stats.json").read_text())
    q = np.concatenate([episode.q for episode in dataset])
    xyz = np.concatenate([episode.cloud_xyz.reshape(-1, 3) for episode in dataset])
    np.testing.assert_allclose(stats["observation.state"]["mean"], q.mean(axis=0), atol=1e-5)
    np.testing.assert_allclose(stats["observation.state"]["std"], q.std(axis=0), atol=1e-5)
    np.testing.assert_allclose(stats["observation.point_cloud"]["std"], [xyz.std(axis=0)], atol=1e-5)
    np.testing.assert_allclose(stats["observation.point_cloud"]["max"], [xyz.max(axis=0)], atol=1e-6)
    assert stats["action"]["count"] == [10] and stats["index"]["max"] == [9.0]


def test_a_failed_export_leaves_nothing(dataset: EpisodeDataset, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    writer = EpisodeWriter(folder)
    writer.write("a", make_episode(0, steps=2))
    path = writer.write("b", make_episode(1, steps=2))
    path.write_bytes(path.read_bytes()[:-1])
    for layout in ("dp3", "lerobot"):
        with pytest.raises(DatasetError, match="episode_b.h5"):
            export(EpisodeDataset(folder), layout, tmp_path / layout)
    assert [p.name for p in tmp_path.iterdir()] == ["data"]


def test_bad_exports_are_named(dataset: EpisodeDataset, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="valid are dp3, lerobot"):
        export(dataset, "rlds", tmp_path / "a")
    with pytest.raises(DatasetError, match="valid are 1 to 2048"):
        export(dataset, "dp3", tmp_path / "a", points=4096)
    (tmp_path / "a file").touch()
    with pytest.raises(PathError, match="is there already"):
        export(dataset, "dp3", tmp_path)
