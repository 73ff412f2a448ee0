"""What data-info tells of a dataset: counts worked out by hand, corrupt files by name, pictures that show something."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest

from udg_datagen.demonstrations.data_info import frame_statistics, group, run, spread, summarise_attempts, was_executed
from udg_datagen.demonstrations.episode_picture import EpisodeRenderer, cloud_mesh
from udg_description.errors import UdgError
from udg_description.layout import part_indices
from udg_policy.episodes.dataset import Episode, EpisodeDataset, EpisodeWriter
from udg_policy.episodes.episode import Stage
from udg_policy.episodes.synthetic import make_episode


def episode_of(seed: int, object_id: str, size: str) -> Episode:
    episode = make_episode(seed, steps=3)
    return dataclasses.replace(episode, meta={**episode.meta, "object": object_id, "size_class": size})


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    writer = EpisodeWriter(tmp_path)
    for seed, (object_id, size) in enumerate((("ball_70", "medium"), ("ball_70", "medium"), ("absent", "small"))):
        writer.write(f"{object_id}_{seed}", episode_of(seed, object_id, size))
    (tmp_path / "attempts").mkdir()
    results = ["success", "success", "dropped", "no_path"]
    for seed, result in enumerate(results):
        account = {"object": "ball_70", "seed": seed, "result": result, "strategy": "tripod"}
        (tmp_path / "attempts" / f"ball-70_{seed}.json").write_text(json.dumps(account))
    account = {"object": "absent", "seed": 2, "result": "success", "size_class": "small", "strategy": "pinch"}
    (tmp_path / "attempts" / "absent_2.json").write_text(json.dumps(account))
    return tmp_path


def last_json(capsys: pytest.CaptureFixture[str]) -> dict:
    return json.loads(capsys.readouterr().out.strip().splitlines()[-1])


def test_counts_are_right(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--data", str(folder), "--pictures", "0", "--replay", "none", "--verify"]) == 0
    found = last_json(capsys)
    assert (found["episodes"], found["frames"], found["objects"]) == (3, 9, 2)
    assert found["episodes_by_size"] == {"medium": 2, "small": 1}
    attempts = found["attempts"]
    assert (attempts["attempted"], attempts["executed"], attempts["successes"]) == (5, 4, 3)
    assert attempts["success_rate"] == 0.75 and attempts["unplanned_share"] + attempts["not_tried_share"] == 0.2
    # An account without a size takes it from the episodes of its object.
    assert attempts["by_size"]["medium"] == {"attempted": 4, "executed": 3, "successes": 2, "success_rate": 0.6667}
    assert attempts["by_strategy"]["pinch"]["success_rate"] == 1.0
    assert attempts["reasons"] == {"dropped": 1, "no_path": 1}
    assert found["corrupt"] == [] and found["verified"] and found["pictures"] == {}
    assert found["statistics"]["raised_m"]["least"] == 0.15


def test_the_following_error_is_that_of_the_finger_farthest_behind() -> None:
    episode = episode_of(0, "ball_70", "medium")
    q = np.zeros_like(episode.q)
    target = np.zeros_like(q)
    target[0, part_indices("right_hand")] = np.linspace(0.0, 0.1, 12)
    target[:, part_indices("left_arm")] = 1.0  # arms do not count
    stage = np.array([Stage.GRASP, Stage.SQUEEZE, Stage.LIFT])
    found = frame_statistics([dataclasses.replace(episode, q=q, target=target, stage=stage)])
    assert found["following_error_of_fingers_rad"] == {str(int(Stage.SQUEEZE)): 0.1, str(int(Stage.LIFT)): 0.0}


def test_the_manifest_names_every_episode(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    prefix = tmp_path / "kept" / "demos"
    assert run(["--data", str(folder), "--pictures", "0", "--replay", "none", "--manifest", str(prefix)]) == 0
    found = last_json(capsys)
    assert found["manifest"] == [f"{prefix}.json", f"{prefix}_episodes.csv"]
    kept = json.loads(Path(found["manifest"][0]).read_text())
    assert kept["hash"] == found["hash"] and kept["episodes"] == 3 and kept["config"] is None
    rows = [line.split(",") for line in Path(found["manifest"][1]).read_text().splitlines()]
    assert len(rows) == 4 and {len(row) for row in rows} == {8}
    dataset = EpisodeDataset(folder)
    assert [row[-1] for row in rows[1:]] == [dataset.header(i).content[:16] for i in range(3)]
    assert [row[1] for row in rows[1:]] == ["small", "medium", "medium"]


def test_a_corrupt_episode_is_named_and_left_out(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = sorted(folder.glob("episode_*.h5"))[1]
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(data)
    for arguments in ([], ["--verify"]):
        assert run(["--data", str(folder), "--pictures", "0", "--replay", "none", *arguments]) == 1
        found = last_json(capsys)
        assert found["corrupt"] == [path.name] and found["episodes"] == 2


def test_attempts_without_a_plan_are_not_executed() -> None:
    assert not was_executed({"result": "no_path"}) and was_executed({"result": "dropped"})
    assert not was_executed({"result": "bad_mesh", "executed": False})
    assert summarise_attempts([])["success_rate"] is None
    assert group([{"result": "no_ik"}], "size_class")["unknown"]["success_rate"] is None


def test_episodes_are_spread_evenly() -> None:
    assert spread(10, 3) == [0, 4, 9] and spread(2, 12) == [0, 1] and spread(3, 0) == []


def test_pictures_show_the_scene_and_the_cloud(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = folder / "pictures"
    assert run(["--data", str(folder), "--out", str(out), "--pictures", "2", "--replay", "ball_70_0"]) == 0
    found = last_json(capsys)["pictures"]
    assert sorted(p.name for p in out.iterdir()) == ["episode_ball_70_0.mp4", "episodes.png"]
    assert all(Path(path).stat().st_size > 1000 for path in found.values())


def test_an_unknown_object_is_drawn_by_its_points() -> None:
    renderer = EpisodeRenderer(width=96, height=80)
    known, unknown = episode_of(0, "ball_70", "medium"), episode_of(0, "absent", "medium")
    pictures = [renderer.scene(e, 0).astype(int) for e in (known, unknown)]
    orange = [int(((p[..., 0] > 120) & (p[..., 2] < 0.6 * p[..., 0])).sum()) for p in pictures]
    assert min(orange) > 3 and np.abs(pictures[0] - pictures[1]).max() > 0


def test_points_become_octahedra() -> None:
    mesh = cloud_mesh(np.array([[0.0, 0.0, 0.0], [1.0, 0.0, 0.0]]))
    assert len(mesh.faces) == 16 and mesh.is_watertight and mesh.volume > 0


def test_an_episode_that_is_not_there_is_named(folder: Path) -> None:
    with pytest.raises(UdgError, match="--replay nothing: no such episode"):
        run(["--data", str(folder), "--replay", "nothing"])
