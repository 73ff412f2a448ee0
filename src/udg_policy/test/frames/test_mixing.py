"""Several data sets in one training: their shares, what they read, and that a training of them resumes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from udg_policy.config import preset
from udg_policy.episodes.dataset import EpisodeDataset, EpisodeWriter
from udg_policy.episodes.episode import Episode
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import CheckpointError, ConfigError
from udg_policy.frames.frame_store import load_frames
from udg_policy.frames.mixing import Part, data_hash, shares, sources
from udg_policy.frames.records import Records
from udg_policy.network.checkpoint import load_checkpoint
from udg_policy.training.train import run_command


def marked(episode: Episode) -> Episode:
    """As a correction."""
    arrays = {name: getattr(episode, name) for name in ("cloud_xyz", "cloud_label", "q", "target", "stage")}
    return Episode(**arrays, meta={**episode.meta, "correction": {"steps": 3}})


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("data")
    demos, own = EpisodeWriter(folder / "demos"), EpisodeWriter(folder / "own")
    for i in range(2):
        demos.write(str(i), make_episode(i, steps=4))
    for i in range(3):
        own.write(str(i), marked(make_episode(10 + i, steps=6)))
    return demos.folder, own.folder


def test_shares_by_hand() -> None:
    demos, own, free = Part(None, False), Part(None, True), Part(0.3, True)
    assert shares([demos, own], [300.0, 100.0]) == pytest.approx([0.75, 0.25])  # in proportion
    assert shares([demos, own], [100.0, 300.0]) == pytest.approx([0.5, 0.5])  # at most half on-policy
    assert shares([demos, own, own], [100.0, 300.0, 100.0]) == pytest.approx([0.5, 0.375, 0.125])
    assert shares([demos, free], [100.0, 900.0]) == pytest.approx([0.7, 0.3])
    assert shares([demos, free, own], [100.0, 5.0, 900.0]) == pytest.approx([0.5, 0.3, 0.2])  # 0.3 + 0.2 is half
    assert shares([own], [7.0]) == [1.0]
    assert shares([Part(0.8, True), Part(0.2, False)], [1.0, 1.0]) == pytest.approx([0.8, 0.2])  # as given
    assert shares([demos, own], [0.0, 5.0]) == [0.0, 1.0]
    with pytest.raises(ConfigError, match="no data set has a frame"):
        shares([demos, own], [0.0, 0.0])


def test_what_the_user_names_is_checked(folders: tuple[Path, Path]) -> None:
    demos, own = folders
    found = sources(f"{demos},{own}=0.25")
    assert [source.part for source in found] == [Part(None, False), Part(0.25, True)]
    for text, why in (
        (f"{demos}=0", "valid: above 0"),
        (f"{demos}=x", "the share is 'x'"),
        (f"{demos}=0.5", "valid: 1"),
        (f"{demos}=1,{own}", "less if a data set has none"),
        (f"{demos},,{own}", "a folder is missing"),
        (f"{demos},{demos}", "is given twice"),
        (f"{demos}=0.7,{own}=0.7", "add up to 1.4"),
    ):
        with pytest.raises(ConfigError, match=why):
            sources(text)
    hashes = {data_hash(sources(text)) for text in (str(demos), f"{demos},{own}", f"{demos},{own}=0.25")}
    assert len(hashes) == 3 and EpisodeDataset(demos).hash() in hashes


def test_the_frames_are_those_of_each_and_drawn_by_the_shares(folders: tuple[Path, Path], tmp_path: Path) -> None:
    config = preset("debug")
    found = sources(",".join(map(str, folders)))
    store = load_frames(found, config, cache=tmp_path)
    alone = [load_frames(source.dataset, config, cache=tmp_path) for source in found]
    assert store.n_frames == sum(one.n_frames for one in alone) == 2 * 4 + 3 * 6
    assert store.object_of_episode == alone[0].object_of_episode + alone[1].object_of_episode
    views = torch.tensor([3, 8 + 5, 26 + 8 + 2])  # one of the first, one of the second, a mirror image of the second
    bounds = store.bounds(torch.arange(26))
    batch = store.batch(views, bounds)
    for place, (one, view) in enumerate([(alone[0], 3), (alone[1], 5), (alone[1], 18 + 2)]):
        own = one.batch(torch.tensor([view]), bounds)
        for name in ("features", "proprioception", "actions"):
            torch.testing.assert_close(getattr(batch, name)[place], getattr(own, name)[0], msg=name)
    weights = store.weights(torch.arange(26))
    assert float(weights[8:].sum() / weights.sum()) == pytest.approx(0.5)
    assert alone[1].weights(torch.arange(18)) is None


def test_a_training_of_two_data_sets_resumes_with_the_same_ones(folders: tuple[Path, Path], tmp_path: Path) -> None:
    text = ",".join(map(str, folders))
    common = ["--preset", "debug", "--processes", "1", "--cache", str(tmp_path / "cache")]
    run_command(["--data", text, "--out", str(tmp_path / "whole"), "--steps", "4", *common])
    assert load_checkpoint(tmp_path / "whole").data_hash == data_hash(sources(text))
    with pytest.raises(CheckpointError, match="another data_hash"):
        run_command(["--data", str(folders[0]), "--out", str(tmp_path / "whole"), "--steps", "8", "--resume", *common])


def test_records_of_two_files_are_one_array(tmp_path: Path) -> None:
    values = np.arange(7, dtype="<i4")
    values[:3].tofile(tmp_path / "a")
    values[3:].tofile(tmp_path / "b")
    records = Records([(tmp_path / "a", 3), (tmp_path / "b", 4)], np.dtype("<i4"))
    index = np.array([[6, 0], [2, 3]])
    assert len(records) == 7 and (records[index] == index).all()
    records.prefetch(np.array([0, 6]))
