"""The dataset format: what is written is read back; what is not as it was written is refused by name."""

import dataclasses
import json
import os
import resource
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest

from udg_policy.episodes.dataset import EpisodeDataset, EpisodeWriter, read_episode
from udg_policy.episodes.episode_file import METRE
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import DatasetError

HALF_UNIT_M = 0.5 / METRE


def test_an_episode_is_read_back_as_written(tmp_path: Path) -> None:
    episode = make_episode(0, steps=11)
    back = read_episode(EpisodeWriter(tmp_path).write("a", episode))
    for name in ("cloud_label", "q", "target", "stage", "T_world_object"):
        np.testing.assert_array_equal(getattr(back, name), getattr(episode, name))
    np.testing.assert_allclose(back.cloud_xyz, episode.cloud_xyz, atol=1.001 * HALF_UNIT_M, rtol=0)
    assert back.meta == episode.meta
    assert sorted(p.name for p in tmp_path.iterdir()) == ["episode_a.h5"]


def test_coordinates_once_rounded_stay_as_they_are(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path)
    once = read_episode(writer.write("a", make_episode(0, steps=2)))
    twice = read_episode(writer.write("b", once))
    np.testing.assert_array_equal(once.cloud_xyz, twice.cloud_xyz)
    dataset = EpisodeDataset(tmp_path)
    assert dataset.header(0).content == dataset.header(1).content


def test_an_episode_may_lack_the_pose_of_the_object(tmp_path: Path) -> None:
    episode = dataclasses.replace(make_episode(0, steps=2), T_world_object=None)
    assert read_episode(EpisodeWriter(tmp_path).write("a", episode)).T_world_object is None


def test_any_hdf5_tool_reads_an_episode(tmp_path: Path) -> None:
    episode = make_episode(0, steps=3)
    with h5py.File(EpisodeWriter(tmp_path).write("a", episode)) as file:
        xyz = np.moveaxis(file["cloud_xyz"][1], 0, 1) / file.attrs["metre"]
        assert json.loads(file.attrs["meta"])["object"] == "ball"
    np.testing.assert_allclose(xyz, episode.cloud_xyz[1], atol=1.001 * HALF_UNIT_M)


def test_the_manifest_counts_frames_and_keeps_values(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path)
    for i, steps in enumerate((2, 3)):
        episode = make_episode(i, steps=steps)
        writer.write(str(i), dataclasses.replace(episode, meta={**episode.meta, "cameras": [{"name": "left"}]}))
    text = writer.finish(config={"a": 1}).read_text()
    manifest = json.loads(text)
    assert manifest["episodes"][1]["object"] == "ball" and "cameras" not in manifest["episodes"][1]
    assert sum('"file"' in line for line in text.splitlines()) == 2  # one line an episode
    assert manifest["frames"] == 5 and [e["frames"] for e in manifest["episodes"]] == [2, 3]
    assert manifest["config"] == {"a": 1} and manifest["hash"] == EpisodeDataset(tmp_path).hash()


def test_the_hash_follows_from_the_data_and_not_from_who_wrote_them_when(tmp_path: Path) -> None:
    one, other = EpisodeWriter(tmp_path / "one"), EpisodeWriter(tmp_path / "other")
    for i in (0, 1):
        one.write(str(i), make_episode(i, steps=2))
    for i in (1, 0):
        other.write(str(i), make_episode(i, steps=2))
    before = EpisodeDataset(tmp_path / "one").hash()
    assert before == EpisodeDataset(tmp_path / "other").hash()
    other.write("1", make_episode(2, steps=2))
    assert before != EpisodeDataset(tmp_path / "other").hash()


def test_arrays_of_another_shape_are_refused() -> None:
    episode = make_episode(0, steps=2)
    with pytest.raises(DatasetError, match="target has shape"):
        dataclasses.replace(episode, target=episode.target[:, :12])


def test_values_that_are_not_finite_are_refused() -> None:
    episode = make_episode(0, steps=2)
    with pytest.raises(DatasetError, match="q has values"):
        dataclasses.replace(episode, q=np.full_like(episode.q, np.nan))
    with pytest.raises(DatasetError, match="meta must hold"):
        dataclasses.replace(episode, meta={"mass_kg": float("nan")})


def test_points_out_of_range_are_refused_and_nothing_is_written(tmp_path: Path) -> None:
    episode = make_episode(0, steps=2)
    far = episode.cloud_xyz.copy()
    far[1, 5, 0] = 4.1
    with pytest.raises(DatasetError, match="valid: -4 to 4 m"):
        EpisodeWriter(tmp_path).write("a", dataclasses.replace(episode, cloud_xyz=far))
    assert list(tmp_path.iterdir()) == []


def test_missing_and_empty_folders_and_old_formats_are_named(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such dataset folder"):
        EpisodeDataset(tmp_path / "absent")
    with pytest.raises(DatasetError, match="holds no"):
        EpisodeDataset(tmp_path)
    (tmp_path / "episode_a.npz").write_bytes(b"old")
    with pytest.raises(DatasetError, match="udg convert"):
        EpisodeDataset(tmp_path)


def test_a_flipped_byte_anywhere_is_noticed(tmp_path: Path) -> None:
    path = EpisodeWriter(tmp_path).write("a", make_episode(0, steps=2))
    data = path.read_bytes()
    everywhere = np.random.default_rng(0).integers(len(data), size=60)
    for place in (*range(0, 600, 7), *everywhere, len(data) - 1):
        changed = bytearray(data)
        changed[place] ^= 0x20
        path.write_bytes(changed)
        with pytest.raises(DatasetError, match="episode_a.h5"):
            read_episode(path)


@pytest.mark.parametrize("length", [0, 10, 300, 512, 5000, -1])
def test_a_truncated_file_is_noticed(tmp_path: Path, length: int) -> None:
    path = EpisodeWriter(tmp_path).write("a", make_episode(0, steps=2))
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(DatasetError, match="episode_a.h5: corrupt"):
        read_episode(path)


def test_corrupt_files_are_left_out_if_asked(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path)
    for name in "abc":
        path = writer.write(name, make_episode(ord(name), steps=2))
        if name == "b":
            path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(DatasetError, match="episode_b.h5"):
        list(EpisodeDataset(tmp_path))
    dataset = EpisodeDataset(tmp_path, skip_corrupt=True)
    assert [p.stem for p in dataset.paths] == ["episode_a", "episode_c"]
    assert [p.stem for p in dataset.skipped] == ["episode_b"]
    assert len(list(dataset)) == 2


def test_another_layout_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = EpisodeWriter(tmp_path).write("a", make_episode(0, steps=2))
    monkeypatch.setattr("udg_policy.episodes.episode_file.JOINT_NAMES", ("other",))
    with pytest.raises(DatasetError, match="joint names"):
        read_episode(path)


def test_names_that_leave_the_folder_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="valid are letters"):
        EpisodeWriter(tmp_path).path("../a")


def test_a_full_disk_is_told_and_leaves_nothing(tmp_path: Path) -> None:
    writer = EpisodeWriter(tmp_path)
    old = writer.write("a", make_episode(0, steps=2)).read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (len(old) // 2, limits[1]))
        for name in "ab":
            with pytest.raises(DatasetError, match=f"episode_{name}.h5: not written: no space is left"):
                writer.write(name, make_episode(1, steps=2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert [p.name for p in tmp_path.iterdir()] == ["episode_a.h5"]
    assert (tmp_path / "episode_a.h5").read_bytes() == old


# A writer that stands still between the bytes of its second episode and the renaming.
STUCK_WRITER = """
import os, sys, time
import udg_description.files as files
from udg_policy.episodes.dataset import EpisodeWriter
from udg_policy.episodes.synthetic import make_episode
writer = EpisodeWriter(sys.argv[1])
writer.write("a", make_episode(0, steps=2))
def stuck(*paths):
    print("writing", flush=True)
    time.sleep(600)
files.os.replace = stuck
writer.write("b", make_episode(1, steps=2))
"""


def test_a_killed_writer_loses_its_episode_only(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    with subprocess.Popen(
        [sys.executable, "-c", STUCK_WRITER, str(tmp_path)], stdout=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None and process.stdout.readline() == "writing\n"
        process.kill()
    left = [p.name for p in tmp_path.iterdir()]
    assert len(left) == 2 and "episode_a.h5" in left
    assert [p.name for p in EpisodeDataset(tmp_path).paths] == ["episode_a.h5"]
    assert len(EpisodeDataset(tmp_path)[0]) == 2
    writer = EpisodeWriter(tmp_path)
    writer.write("b", make_episode(1, steps=2))  # as a resumed run does
    writer.finish()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["episode_a.h5", "episode_b.h5", "manifest.json"]


def test_writers_at_the_same_time_do_not_meet(tmp_path: Path) -> None:
    code = (
        "import sys\nfrom udg_policy.episodes.dataset import EpisodeWriter\n"
        "from udg_policy.episodes.synthetic import make_episode\n"
        "writer = EpisodeWriter(sys.argv[1])\n"
        "[writer.write(n, make_episode(i, steps=2)) for i, n in enumerate(['same', sys.argv[2]] * 4)]"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    writers = [subprocess.Popen([sys.executable, "-c", code, str(tmp_path), str(i)], env=environment) for i in range(2)]
    assert [process.wait(timeout=120) for process in writers] == [0, 0]
    assert sorted(p.stem for p in EpisodeDataset(tmp_path).paths) == ["episode_0", "episode_1", "episode_same"]
    assert EpisodeDataset(tmp_path).verify() == {}
