"""Packed folders: parts of a given size, read as they are or unpacked; what is missing or damaged is named."""

import io
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from udg_description.files import PathError
from udg_policy.bench.bench_policy import random_checkpoint
from udg_policy.config import preset
from udg_policy.episodes.dataset import EpisodeDataset, EpisodeWriter
from udg_policy.episodes.pack import INDEX_NAME, PackedFolder, pack, run, unpack
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import DatasetError
from udg_policy.network.checkpoint import load_checkpoint, save_checkpoint

PART_MB = 0.03


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    writer = EpisodeWriter(tmp_path_factory.mktemp("data"))
    for i in range(3):
        writer.write(f"ball_{i:06d}", make_episode(i, steps=4))
    writer.finish()
    (writer.folder / "attempts").mkdir()
    (writer.folder / "attempts" / "one.json").write_text("{}")
    return writer.folder


@pytest.fixture
def packed(data: Path, tmp_path: Path) -> Path:
    pack(data, tmp_path / "packed", PART_MB)
    return tmp_path / "packed"


def test_parts_have_the_size_and_are_a_tar_file(data: Path, packed: Path) -> None:
    parts = sorted(packed.glob("part_*"))
    sizes = [path.stat().st_size for path in parts]
    assert len(parts) > 3 and set(sizes[:-1]) == {30_000} and 0 < sizes[-1] <= 30_000
    with tarfile.open(fileobj=io.BytesIO(b"".join(path.read_bytes() for path in parts))) as tar:
        assert sorted(tar.getnames()) == [
            "episode_ball_000000.h5",
            "episode_ball_000001.h5",
            "episode_ball_000002.h5",
            "manifest.json",
        ]
        member = tar.extractfile("episode_ball_000001.h5")
        assert member is not None and member.read() == (data / "episode_ball_000001.h5").read_bytes()


def test_the_same_files_give_the_same_parts(data: Path, packed: Path, tmp_path: Path) -> None:
    pack(data, tmp_path / "again", PART_MB)
    for path in packed.iterdir():
        assert (tmp_path / "again" / path.name).read_bytes() == path.read_bytes()


def test_a_packed_data_set_is_read_as_it_is(data: Path, packed: Path) -> None:
    plain, dataset = EpisodeDataset(data), EpisodeDataset(packed)
    assert dataset.hash() == plain.hash() and len(dataset) == 3 and dataset.bytes == plain.bytes
    assert not dataset.verify()
    assert dataset.meta(1) == plain.meta(1) and dataset.header(2) == plain.header(2)
    assert all((a.cloud_xyz == b.cloud_xyz).all() for a, b in zip(dataset, plain, strict=True))


def test_a_packed_data_set_is_trained_from_without_simulator_objects_or_ros(packed: Path, tmp_path: Path) -> None:
    """With the whole command, in a process that cannot import them."""
    code = """
import sys
for name in ("udg_sim", "udg_datagen", "udg_control", "udg_perception", "rclpy", "sapien", "trimesh", "open3d"):
    sys.modules[name] = None
from udg_policy.training.train import main
main()
"""
    out = tmp_path / "train"
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            code,
            "--data",
            str(packed),
            "--out",
            str(out),
            "--preset",
            "debug",
            "--steps",
            "2",
            "--processes",
            "1",
            "--cache",
            str(tmp_path / "cache"),
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert load_checkpoint(out).data_hash == EpisodeDataset(packed).hash()


def test_a_checkpoint_comes_back(tmp_path: Path) -> None:
    folder = save_checkpoint(tmp_path / "policy", random_checkpoint(preset("debug")))
    run([str(folder), "--out", str(tmp_path / "packed"), "--part-mb", "0.02"])
    assert len(PackedFolder(tmp_path / "packed").parts) > 2
    run(["--unpack", str(tmp_path / "packed"), "--out", str(tmp_path / "back")])
    assert (load_checkpoint(tmp_path / "back").weights["queries"] == load_checkpoint(folder).weights["queries"]).all()


def test_a_missing_or_shortened_part_is_named(packed: Path) -> None:
    part = packed / "part_0001"
    data = part.read_bytes()
    part.write_bytes(data[:-1])
    with pytest.raises(DatasetError, match="part_0001: has 29999 bytes, should have 30000"):
        EpisodeDataset(packed)
    part.unlink()
    with pytest.raises(DatasetError, match="part_0001: is missing; all"):
        EpisodeDataset(packed)


def test_a_damaged_part_is_found(packed: Path, tmp_path: Path) -> None:
    part = packed / "part_0001"
    data = bytearray(part.read_bytes())
    data[15_000] ^= 1
    part.write_bytes(data)
    with pytest.raises(DatasetError, match="part_0001: is not as it was packed"):
        unpack(packed, tmp_path / "back")
    assert not (tmp_path / "back").exists()
    assert len(EpisodeDataset(packed).verify()) == 1  # one episode, by its own checksum


def test_mistakes_are_named(data: Path, packed: Path, tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="no such folder"):
        pack(tmp_path / "absent", tmp_path / "out", 1.0)
    with pytest.raises(DatasetError, match="valid: more than 0"):
        pack(data, tmp_path / "out", 0.0)
    with pytest.raises(DatasetError, match="is packed already"):
        pack(packed, tmp_path / "out", 1.0)
    with pytest.raises(PathError, match="is there already"):
        pack(data, packed, 1.0)
    (packed / INDEX_NAME).write_text("{")
    with pytest.raises(DatasetError, match="is not the index of a packed folder"):
        PackedFolder(packed)
