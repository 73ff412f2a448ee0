"""The prepared frames on disk: made once, whole or not at all, and read in bounded memory."""

import dataclasses
import json
import os
import resource
import signal
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch

from udg_policy.config import preset
from udg_policy.episodes.dataset import EpisodeDataset, EpisodeWriter
from udg_policy.episodes.grasp import grasp_label
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import DatasetError
from udg_policy.frames.frame_cache import (
    FRAMES_NAME,
    HEADER_NAME,
    INDEX_NAME,
    STEP_RECORD,
    STEPS_NAME,
    Prepared,
    Preparer,
    cache_of,
    frame_record,
    write_cache,
)
from udg_policy.frames.frame_store import FrameStore, frames_of, load_frames

CONFIG = preset("debug")


@pytest.fixture
def dataset(tmp_path: Path) -> EpisodeDataset:
    writer = EpisodeWriter(tmp_path / "data")
    for i in range(3):
        writer.write(str(i), make_episode(i, steps=4))
    return EpisodeDataset(tmp_path / "data")


def test_frames_are_prepared_once(dataset: EpisodeDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    place = cache_of(dataset, CONFIG, tmp_path / "cache")
    monkeypatch.setattr(Preparer, "__call__", lambda self, episode: pytest.fail("prepared again"))
    assert cache_of(dataset, CONFIG, tmp_path / "cache") == place
    # Training settings do not matter, settings of the points do.
    other = dataclasses.replace(CONFIG, train=dataclasses.replace(CONFIG.train, batch=2))
    assert cache_of(dataset, other, tmp_path / "cache") == place


def test_other_data_and_other_points_are_prepared_anew(dataset: EpisodeDataset, tmp_path: Path) -> None:
    places = {cache_of(dataset, CONFIG, tmp_path / "cache")}
    encoder = dataclasses.replace(CONFIG.encoder, neighbours_1=5)
    places.add(cache_of(dataset, dataclasses.replace(CONFIG, encoder=encoder), tmp_path / "cache"))
    EpisodeWriter(dataset.folder).write("2", make_episode(9, steps=4))
    places.add(cache_of(dataset, CONFIG, tmp_path / "cache"))
    assert len(places) == 3


def test_frames_from_disk_equal_those_from_memory(dataset: EpisodeDataset, tmp_path: Path) -> None:
    store = load_frames(dataset, CONFIG, cache=tmp_path / "cache")
    two_processes = load_frames(dataset, CONFIG, processes=2, cache=tmp_path / "cache2")
    views = torch.arange(2 * store.n_frames)
    bounds = store.bounds(views)
    for a, b in zip(store.batch(views, bounds), two_processes.batch(views, bounds), strict=True):
        assert torch.equal(a, b)


def test_an_interruption_leaves_nothing(dataset: EpisodeDataset, tmp_path: Path) -> None:
    def interrupted() -> Iterator[Prepared]:
        yield Preparer(CONFIG)(dataset[0])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_cache(tmp_path / "cache" / "x", CONFIG, interrupted())
    assert list((tmp_path / "cache").iterdir()) == []


def test_a_full_disk_is_told_and_leaves_nothing(dataset: EpisodeDataset, tmp_path: Path) -> None:
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (3000, limits[1]))
        with pytest.raises(DatasetError, match="training frames not written.*--cache"):
            cache_of(dataset, CONFIG, tmp_path / "cache")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert list(tmp_path.glob("cache/*")) == []


def anonymous_mb() -> float:
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1024


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    config, frames = preset("edge"), 400_000
    for name, record in ((FRAMES_NAME, frame_record(config)), (STEPS_NAME, STEP_RECORD)):
        with open(tmp_path / name, "wb") as file:  # holes: nothing is written, zeros are read
            file.truncate(frames * record.itemsize)
    assert (tmp_path / FRAMES_NAME).stat().st_size > 4e9
    np.savez(
        tmp_path / INDEX_NAME,
        row=np.arange(frames),
        episode=np.arange(frames, dtype=np.int32) // 40,
        last_row=np.arange(39, frames, 40),
        **{
            f"grasp_{name}": np.stack([value] * (frames // 40))
            for name, value in grasp_label(make_episode(0, steps=4))._asdict().items()
        },
    )
    (tmp_path / HEADER_NAME).write_text(json.dumps({"objects": ["ball"] * (frames // 40)}))
    before = anonymous_mb()
    store = FrameStore(config, tmp_path)
    generator = torch.Generator().manual_seed(0)
    bounds = store.bounds(torch.randint(2 * frames, (256,), generator=generator))
    for _ in range(20):
        views = torch.randint(2 * frames, (64,), generator=generator)
        store.prefetch(views)
        assert len(store.batch(views, bounds).features) == 64
    assert anonymous_mb() - before < 150.0  # index arrays: 20 bytes a frame


def test_a_store_in_memory_removes_its_files(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    store = frames_of([make_episode(0, steps=2)], CONFIG)
    assert len(os.listdir(tmp_path)) == 1 and store.n_frames == 2
    del store
    assert os.listdir(tmp_path) == []
