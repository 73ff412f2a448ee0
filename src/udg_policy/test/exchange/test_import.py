"""LeRobot data sets and episodes, there and back; LeRobot's own reader opens what is written, where it is installed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from udg_policy.episodes.dataset import CLOUD_POINTS, Episode, EpisodeDataset, EpisodeWriter
from udg_policy.episodes.episode import NO_STAGE
from udg_policy.episodes.episode_file import content_hash
from udg_policy.errors import DatasetError
from udg_policy.exchange.export import export
from udg_policy.exchange.export_lerobot import EXTRA
from udg_policy.exchange.import_ import import_episodes, run_command
from udg_policy.exchange.import_lerobot import read_lerobot

LENGTHS = (4, 3, 2)


def episode(seed: int, frames: int) -> Episode:
    rng = np.random.default_rng(seed)
    return Episode(
        cloud_xyz=np.rint(rng.uniform(-1, 1, (frames, CLOUD_POINTS, 3)) * 8192) / 8192,
        cloud_label=rng.integers(0, 3, (frames, CLOUD_POINTS)),
        q=rng.normal(size=(frames, 36)),
        target=rng.normal(size=(frames, 36)),
        stage=rng.integers(0, 5, frames),
        T_world_object=None if seed == 1 else np.tile(np.eye(4), (frames, 1, 1)),
        meta={"object": f"ball_{seed}", "category": "ball", "seed": seed, "success": seed != 2, "mass_kg": 0.25},
    )


@pytest.fixture
def dataset(tmp_path: Path) -> EpisodeDataset:
    writer = EpisodeWriter(tmp_path / "data")
    for seed, frames in enumerate(LENGTHS):
        writer.write(f"{seed:02d}", episode(seed, frames))
    return EpisodeDataset(tmp_path / "data")


@pytest.fixture
def robot(dataset: EpisodeDataset, tmp_path: Path) -> Path:
    """The same as a LeRobot data set."""
    export(dataset, "lerobot", tmp_path / "robot")
    return tmp_path / "robot"


def test_episodes_come_back_bit_for_bit(dataset: EpisodeDataset, robot: Path, tmp_path: Path) -> None:
    assert import_episodes("lerobot", [robot], tmp_path / "back") == len(LENGTHS)
    back = EpisodeDataset(tmp_path / "back")
    assert [content_hash(one) for one in back] == [content_hash(one) for one in dataset]
    assert [one.meta for one in back] == [one.meta for one in dataset]


def test_there_and_back_and_there_again_gives_the_same_tables(robot: Path, tmp_path: Path) -> None:
    import_episodes("lerobot", [robot], tmp_path / "back")
    export(EpisodeDataset(tmp_path / "back"), "lerobot", tmp_path / "again")
    for path in sorted(robot.rglob("*.*")):
        other = tmp_path / "again" / path.relative_to(robot)
        if path.suffix == ".parquet":
            assert pq.read_table(path).equals(pq.read_table(other)), path.name
        elif path.is_file():
            assert path.read_bytes() == other.read_bytes(), path.name


def test_a_set_of_others_has_no_stage_no_pose_and_its_task(robot: Path) -> None:
    (robot / EXTRA).unlink()
    found = [one for _, one in read_lerobot(robot)]
    assert [len(one) for one in found] == list(LENGTHS)
    assert all(one.T_world_object is None and (one.stage == NO_STAGE).all() for one in found)
    assert found[0].meta == {"source": "lerobot", "task": "grasp the ball and lift it"}


def test_columns_of_fixed_size_lists_and_without_labels_are_read_too(dataset: EpisodeDataset, robot: Path) -> None:
    """As Hugging Face's datasets may write them."""
    (path,) = robot.glob("data/*/*.parquet")
    table = pq.read_table(path)
    flat = table["observation.point_cloud"].combine_chunks().flatten().flatten()
    inner = pa.FixedSizeListArray.from_arrays(flat, 3)
    cloud = pa.FixedSizeListArray.from_arrays(inner, CLOUD_POINTS)
    table = table.set_column(table.column_names.index("observation.point_cloud"), "observation.point_cloud", cloud)
    pq.write_table(table.drop_columns(["observation.point_label"]), path)
    found = [one for _, one in read_lerobot(robot)]
    np.testing.assert_array_equal(found[1].cloud_xyz, dataset[1].cloud_xyz)
    assert not found[1].cloud_label.any()


def test_successes_alone_can_be_taken(robot: Path, tmp_path: Path) -> None:
    words = ["--from", "lerobot", str(robot), "--out", str(tmp_path / "back"), "--successes-only"]
    assert run_command(words) == 0
    assert len(EpisodeDataset(tmp_path / "back")) == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"codebase_version": "v2.1"}, "version v2.1; valid: v3.0"),
        ({"fps": 30}, "30 frames a second; valid: 10"),
        ({"features": {"observation.state": {"shape": [36]}, "action": {"shape": [36]}}}, "no column observation.po"),
        ({"features": {"observation.state": {"shape": [7]}, "action": {"shape": [7]}}}, "shape .7.; valid: .36."),
    ],
)
def test_what_does_not_fit_is_refused_by_name_and_nothing_is_left(
    change: dict[str, object], message: str, robot: Path, tmp_path: Path
) -> None:
    info = json.loads((robot / "meta/info.json").read_text())
    (robot / "meta/info.json").write_text(json.dumps({**info, **change}))
    with pytest.raises(DatasetError, match=f"robot.*{message}"):
        import_episodes("lerobot", [robot], tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_other_joints_are_refused(robot: Path, tmp_path: Path) -> None:
    info = json.loads((robot / "meta/info.json").read_text())
    info["features"]["action"]["names"] = list(reversed(info["features"]["action"]["names"]))
    (robot / "meta/info.json").write_text(json.dumps(info))
    with pytest.raises(DatasetError, match="column action names other joints"):
        import_episodes("lerobot", [robot], tmp_path / "back")


@pytest.mark.parametrize("lost", ["meta/info.json", "meta/episodes", "data"])
def test_a_damaged_set_is_refused(lost: str, robot: Path, tmp_path: Path) -> None:
    path = robot / lost
    shutil.rmtree(path) if path.is_dir() else path.unlink()
    with pytest.raises(DatasetError):
        import_episodes("lerobot", [robot], tmp_path / "back")


def test_lerobots_own_class_opens_what_is_written(dataset: EpisodeDataset, robot: Path) -> None:
    module = pytest.importorskip("lerobot.datasets.lerobot_dataset", reason="needs lerobot, which wants numpy 2")
    opened = module.LeRobotDataset("somebody/robot", root=robot)
    assert (opened.num_episodes, opened.num_frames, opened.fps) == (len(LENGTHS), sum(LENGTHS), 10)
    row = opened[LENGTHS[0] + 1]
    np.testing.assert_allclose(row["observation.state"].numpy(), dataset[1].q[1])
    np.testing.assert_allclose(row["action"].numpy(), dataset[1].target[1])
    np.testing.assert_allclose(np.asarray(row["observation.point_cloud"]), dataset[1].cloud_xyz[1])
    assert row["task"] == "grasp the ball and lift it"


def test_what_lerobots_own_class_writes_opens_here(tmp_path: Path) -> None:
    module = pytest.importorskip("lerobot.datasets.lerobot_dataset", reason="needs lerobot, which wants numpy 2")
    source = episode(0, 4)
    features = {
        "observation.state": {"dtype": "float32", "shape": (36,), "names": None},
        "action": {"dtype": "float32", "shape": (36,), "names": None},
        "observation.point_cloud": {"dtype": "float32", "shape": (CLOUD_POINTS, 3), "names": None},
    }
    made = module.LeRobotDataset.create(
        "somebody/other", fps=10, features=features, root=tmp_path / "other", use_videos=False
    )
    for step in range(len(source)):
        made.add_frame(
            {
                "observation.state": source.q[step],
                "action": source.target[step],
                "observation.point_cloud": source.cloud_xyz[step],
                "task": "take it",
            }
        )
    made.save_episode()
    made.finalize()
    ((_, back),) = list(read_lerobot(tmp_path / "other"))
    for name in ("q", "target", "cloud_xyz"):
        np.testing.assert_array_equal(getattr(back, name), getattr(source, name))
    assert back.meta["task"] == "take it"
