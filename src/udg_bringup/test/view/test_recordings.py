"""Recordings of the view: each kind of file shows its moments; others are refused by name."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import viser

from udg_bringup.replay import Player
from udg_bringup.view.recordings import RecordingError, open_recording
from udg_bringup.view.scene import Scene
from udg_bringup.view.server import open_server
from udg_datagen.grasps.handmade import made_grasps
from udg_description.camera import default_cameras
from udg_description.layout import HOME_Q
from udg_description.transforms import make_transform
from udg_policy.episodes.dataset import CLOUD_POINTS, Episode, EpisodeWriter
from udg_sim.objects.library import ObjectLibrary
from udg_sim.trials.status import TrialStatus


@pytest.fixture(scope="module")
def server() -> Iterator[viser.ViserServer]:
    made = open_server(0)
    yield made
    made.stop()


@pytest.fixture(scope="module")
def library() -> ObjectLibrary:
    return ObjectLibrary()


class Seen:
    """A scene that writes down what it is told."""

    def __init__(self) -> None:
        self.told: dict[str, list[tuple[object, ...]]] = {}

    def __getattr__(self, name: str) -> object:
        return lambda *words: self.told.setdefault(name, []).append(words)


def episode(folder: Path, frames: int = 12) -> Path:
    q = np.tile(HOME_Q, (frames, 1)) + np.linspace(0.0, 0.2, frames)[:, None]
    made = Episode(
        cloud_xyz=np.full((frames, CLOUD_POINTS, 3), 0.1),
        cloud_label=np.zeros((frames, CLOUD_POINTS)),
        q=q,
        target=q + 0.05,
        stage=np.zeros(frames),
        T_world_object=np.tile(np.eye(4), (frames, 1, 1)),
        meta={"object": "soda_can", "success": True},
    )
    return EpisodeWriter(folder).write("one", made)


def trial(folder: Path) -> Path:
    lines = [
        TrialStatus(
            object="soda_can",
            seed=0,
            trial=2,
            start_s=0.0,
            time_s=0.1 * k,
            object_z_m=0.06,
            raised_m=0.01 * k,
            success=k > 18,
            done=k > 18,
            q=HOME_Q.tolist(),
            T_world_object=np.eye(4).tolist(),
            image_sent_s=float("nan"),
            tick_ms=30.0 if k else float("nan"),
            contacts=[[0.6, 0.0, 0.1, 2.0]],
        ).to_json()
        for k in range(20)
    ]
    path = folder / "trial.jsonl"
    path.write_text("\n".join(lines))
    return path


def grasps(folder: Path) -> Path:
    path = folder / "grasps.npz"
    T_object_hand = np.tile(make_transform(translation=np.array([0.1, 0.0, 0.1])), (3, 1, 1, 1))
    made_grasps(ObjectLibrary().get("soda_can"), ("right",), T_object_hand).save(path)
    return path


@pytest.mark.parametrize("make", [episode, trial, grasps])
def test_every_moment_of_a_file_can_be_shown_and_played(
    make: object, tmp_path: Path, server: viser.ViserServer, library: ObjectLibrary
) -> None:
    recording = open_recording(make(tmp_path), library)  # type: ignore[operator]
    player = Player(server, Scene(server, default_cameras()), recording)
    assert np.all(np.diff(recording.times_s) > 0)
    player._plays.value = True
    shown = set()
    for _ in range(2 * len(recording.times_s)):
        player.step(float(recording.times_s[1] - recording.times_s[0]) if len(recording.times_s) > 1 else 0.1)
        shown.add(player._shown)
    assert shown == set(range(len(recording.times_s)))
    assert recording.title in player._text.content


def test_a_frame_of_an_episode_is_what_it_holds(tmp_path: Path, library: ObjectLibrary) -> None:
    recording, seen = open_recording(episode(tmp_path), library), Seen()
    recording.show(seen, 3)  # type: ignore[arg-type]
    np.testing.assert_allclose(seen.told["set_q"][0][0], HOME_Q + 0.2 * 3 / 11, atol=1e-6)
    assert seen.told["set_chunk"][0][0].shape == (8, 36)
    assert seen.told["set_object"][0][0] == "soda_can"
    recording.show(seen, 11)  # type: ignore[arg-type]
    assert seen.told["set_chunk"][1][0].shape == (1, 36)  # nothing follows the last target


def test_a_trial_tells_its_contacts_and_its_height(tmp_path: Path, library: ObjectLibrary) -> None:
    recording, seen = open_recording(trial(tmp_path), library), Seen()
    assert "**lifted**" in recording.show(seen, 19)  # type: ignore[arg-type]
    np.testing.assert_allclose(seen.told["set_contacts"][0][0], [[0.6, 0.0, 0.1, 2.0]])
    plots = recording.plots()
    assert len(plots["Tick"].arrays()[0]) == 19 and plots["Height of the object"].arrays()[1][-1] == pytest.approx(0.19)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [("a.txt", "", "valid: an episode"), ("a.jsonl", "{}", "not the record of a trial"), ("a.jsonl", "", "no ticks")],
)
def test_what_is_no_recording_is_refused_by_name(
    name: str, content: str, message: str, tmp_path: Path, library: ObjectLibrary
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(RecordingError, match=f"{name}.*{message}"):
        open_recording(tmp_path / name, library)
