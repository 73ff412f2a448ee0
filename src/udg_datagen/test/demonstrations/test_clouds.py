"""Clouds imaged again from states: bit for bit the original's, or another draw of the noise and nothing else."""

import dataclasses
import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest

from udg_datagen.demonstrations import clouds, states
from udg_datagen.demonstrations.attempt import AttemptConfig, Attempter, draw, task_rng
from udg_datagen.demonstrations.corrections import CorrectionConfig, CorrectionTask, Corrector
from udg_datagen.demonstrations.demos import SETTINGS_NAME
from udg_datagen.demonstrations.imaging import Imager
from udg_datagen.demonstrations.states_file import StatesError, read_states, write_states
from udg_datagen.demonstrations.stopwatch import Stopwatch
from udg_description.errors import UdgError
from udg_perception.scene_cloud import SceneCloudConfig
from udg_policy.bench.bench_policy import random_checkpoint
from udg_policy.config import preset
from udg_policy.episodes.dataset import EpisodeDataset, EpisodeWriter
from udg_policy.episodes.episode import Episode
from udg_policy.episodes.episode_file import content_hash, decode_episode
from udg_policy.episodes.synthetic import make_episode

FRAMES = 4
CONFIG = AttemptConfig(noisy_share=0.0)
CORRECTIONS = CorrectionConfig(  # with whole images
    attempt=replace(CONFIG, whole_images_share=1.0), failed_share=0.0, missed_share=1.0
)
DRAWN = (
    True,
    4,
    False,
    1.0404772401764244,
    0.9262603603610617,
    -1.6044322059999387,
    0.44676260308005533,
    1.0991424717577842,
    0.9854699998407958,
)
"""For cube_60 with seed 3."""


def beginning(episode: Episode) -> Episode:
    """The first frames, whose noise is that of the whole episode."""
    arrays = {f.name: getattr(episode, f.name)[:FRAMES] for f in dataclasses.fields(Episode) if f.name != "meta"}
    return Episode(**arrays, meta=episode.meta)


def data_set(folder: Path, settings: object, episodes: dict[str, Episode]) -> Path:
    for name, episode in episodes.items():
        EpisodeWriter(folder).write(name, beginning(episode))
    (folder / SETTINGS_NAME).write_text(json.dumps(dataclasses.asdict(settings)))  # type: ignore[call-overload]
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file of states and the data sets that it is of: two demonstrations, and a correction with whole images."""
    folder = tmp_path_factory.mktemp("clouds")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("UDG_CACHE", str(tmp_path_factory.mktemp("cache")))
        attempter = Attempter(CONFIG)
        made = {f"cube-60_{seed:06d}": attempter.attempt("cube_60", seed, Stopwatch()) for seed in (0, 1)}
        task = CorrectionTask("cube_60", 0, draw=1)
        corrected = Corrector(CORRECTIONS, random_checkpoint(preset("debug"))).correct(task, Stopwatch())
    demos = data_set(folder / "demos", CONFIG, made)
    corrections = data_set(folder / "corrections", CORRECTIONS, {task.name: corrected})
    states.run(["--data", f"{demos},{corrections}", "--out", str(folder / "states.h5")])
    return folder


Command = Callable[..., dict]


@pytest.fixture
def command(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Command:
    """`udg clouds` with further options into a folder; its last line."""

    def call(out: str, *options: str, states: Path = folder / "states.h5") -> dict:
        clouds.run(["--states", str(states), "--out", str(tmp_path / out), *options])
        return json.loads(capsys.readouterr().out.splitlines()[-1])

    return call


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.glob("*/episode_*"))}


def test_the_first_draws_of_a_task_are_those_of_all_data_sets_so_far() -> None:
    drawn = draw(AttemptConfig(), task_rng("cube_60", 3))
    assert (drawn.noisy, drawn.rig, drawn.whole_images) == DRAWN[:3]
    found = [drawn.stiffness, drawn.damping, drawn.start[0], drawn.start[-1], drawn.mass_factor, drawn.friction]
    np.testing.assert_allclose(found, DRAWN[3:], rtol=1e-12)


def test_states_hold_all_but_the_clouds(folder: Path) -> None:
    found = read_states(folder / "states.h5")
    assert [s.name for s in found.sets] == ["demos", "corrections"]
    originals = [e for s in found.sets for e in EpisodeDataset(folder / s.name)]
    assert len(originals) == len(found.episodes) == 3
    for original, episode in zip(originals, found.episodes, strict=True):
        for name in ("q", "target", "stage", "T_world_object"):
            np.testing.assert_array_equal(getattr(episode, name), getattr(original, name))
        assert episode.meta == original.meta and episode.content == content_hash(original)
    assert [e.noise_seed for e in found.episodes] == [0, 1, CorrectionTask("cube_60", 0, draw=1).noise_seed]
    assert found.episodes[-1].whole_images and not found.episodes[0].whole_images


def test_draw_0_is_the_original_whatever_the_number_of_workers_and_resumes(
    folder: Path, tmp_path: Path, command: Command
) -> None:
    summary = command("two", "--workers", "2")
    assert (summary["made"], summary["frames_made"], summary["differ"]) == (3, 3 * FRAMES, [])
    assert files(tmp_path / "two") == files(folder)
    command("one", "--first", "1", "--last", "1")
    (there,) = (tmp_path / "one" / "demos").glob("episode_*")
    assert there.name == "episode_cube-60_000001.h5"
    shutil.copytree(tmp_path / "two", tmp_path / "again")
    damaged, *_, missing = sorted((tmp_path / "again").glob("*/episode_*"))
    damaged.write_bytes(damaged.read_bytes()[:-1])
    missing.unlink()
    assert command("again")["made"] == 2 and command("again")["made"] == 0
    assert files(tmp_path / "again") == files(folder)
    settings = [json.loads((at / "demos" / SETTINGS_NAME).read_text()) for at in (folder, tmp_path / "two")]
    assert settings[0] == settings[1]


def test_another_draw_differs_in_the_cloud_and_in_nothing_else(folder: Path) -> None:
    episode = read_states(folder / "states.h5").episodes[0]
    original, one, again, two = (
        decode_episode(Imager([SceneCloudConfig()], number)(episode).data, "") for number in (0, 1, 1, 2)
    )
    for name in ("q", "target", "stage", "T_world_object"):
        np.testing.assert_array_equal(getattr(one, name), getattr(original, name))
    assert one.meta == {**original.meta, "draw": 1} and content_hash(one) == content_hash(again)
    shares = [(a.cloud_xyz == b.cloud_xyz).all(axis=2).mean() for a, b in ((original, one), (one, two))]
    assert max(shares) < 0.9
    np.testing.assert_allclose(one.cloud_xyz.mean(axis=(0, 1)), original.cloud_xyz.mean(axis=(0, 1)), atol=0.005)


def test_draws_share_a_folder_and_no_states_are_taken_of_them(folder: Path, tmp_path: Path, command: Command) -> None:
    command("both", "--last", "0")
    assert command("both", "--last", "0", "--draw", "2")["made"] == 1
    both = tmp_path / "both" / "demos"
    assert [path.name for path in EpisodeDataset(both).paths] == [
        "episode_cube-60_000000-draw2.h5",
        "episode_cube-60_000000.h5",
    ]
    with pytest.raises(StatesError, match="-draw2.h5: its clouds are another draw; valid: the data set"):
        states.run(["--data", str(both), "--out", str(tmp_path / "draws.h5")])


@pytest.mark.parametrize("content", [b"", b"no HDF5", "episode", "truncated", "damaged"])
def test_a_file_that_is_no_states_file_is_named(
    folder: Path, tmp_path: Path, command: Command, content: bytes | str
) -> None:
    path = tmp_path / "states.h5"
    whole = (folder / "states.h5").read_bytes()
    if content == "episode":
        content = next((folder / "demos").glob("*.h5")).read_bytes()
    elif content == "truncated":
        content = whole[:-500]
    elif content == "damaged":
        with h5py.File(folder / "states.h5") as file:
            at = file["q"].id.get_chunk_info(0).byte_offset
        content = whole[: at + 20] + bytes(20) + whole[at + 40 :]
    assert isinstance(content, bytes)
    path.write_bytes(content)
    with pytest.raises(StatesError, match=r"states\.h5: (not a readable file of states|holds no states)"):
        command("out", states=path)
    assert not (tmp_path / "out").exists()


def test_what_cannot_be_imaged_is_named(folder: Path, tmp_path: Path, command: Command) -> None:
    found = read_states(folder / "states.h5")
    strange = replace(found.episodes[0], meta={**found.episodes[0].meta, "object": "cube_61x"})
    write_states(tmp_path / "strange.h5", replace(found, episodes=(strange,)))
    with pytest.raises(StatesError, match="episode_cube-60_000000.h5: object 'cube_61x' is not in the library"):
        command("out", states=tmp_path / "strange.h5")
    for options in (("--first", "3"), ("--first", "1", "--last", "0"), ("--last", "3")):
        with pytest.raises(StatesError, match="valid: 0 to 2"):
            command("out", *options)
    for options in (("--draw", "-1"), ("--workers", "0"), ("--timeout", "0")):
        with pytest.raises(StatesError, match="the draw must be at least 0, the others positive"):
            command("out", *options)
    with pytest.raises(StatesError, match="absent.h5: no such file"):
        command("out", states=tmp_path / "absent.h5")


def test_a_folder_of_something_else_is_refused(folder: Path, tmp_path: Path, command: Command) -> None:
    out = tmp_path / "out" / "demos"
    EpisodeWriter(out).write("cube-60_000000", make_episode(0, steps=2))
    with pytest.raises(StatesError, match="demos: holds episodes of something else"):
        command("out")
    settings = json.loads((folder / "demos" / SETTINGS_NAME).read_text())
    (out / SETTINGS_NAME).write_text(json.dumps({**settings, "camera_rigs": 3}))
    with pytest.raises(StatesError, match="demos: holds a data set of other settings"):
        command("out")
    (out / SETTINGS_NAME).write_text(json.dumps(settings))
    with pytest.raises(StatesError, match="episode_cube-60_000000.h5: is of another episode; valid: another folder"):
        command("out")
    (tmp_path / "file").touch()
    with pytest.raises(UdgError, match="a file is in the place of a folder"):
        command("file")


def test_data_without_states_are_refused(folder: Path, tmp_path: Path) -> None:
    def run(*data: Path, out: Path = tmp_path / "states.h5") -> None:
        states.run(["--data", ",".join(map(str, data)), "--out", str(out)])

    with pytest.raises(UdgError, match="states.h5: is there already"):
        run(folder / "demos", out=folder / "states.h5")
    with pytest.raises(StatesError, match="folders of one name"):
        run(folder / "demos", tmp_path / "demos")
    bare = tmp_path / "bare"
    EpisodeWriter(bare).write("ball", make_episode(0, steps=2))
    with pytest.raises(StatesError, match=r"factory.json: cannot be read; valid: a data set of `udg demos`"):
        run(bare)
    (bare / SETTINGS_NAME).write_text("{}")
    with pytest.raises(StatesError, match="not the settings of demonstrations"):
        run(bare)
    shutil.copy(folder / "demos" / SETTINGS_NAME, bare)
    with pytest.raises(StatesError, match=r"episode_ball.h5: no clouds follow from it, it has no .*cameras"):
        run(bare)
    assert not (tmp_path / "states.h5").exists()
