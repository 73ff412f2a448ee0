"""The page of an episode: what is written in it, and that a browser plays it."""

from __future__ import annotations

import base64
import json
import re
import shutil
import subprocess
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from scipy.stats import truncnorm

from udg_description.layout import JOINT_NAMES
from udg_description.transforms import quat_wxyz_to_matrix
from udg_policy.config import PolicyConfig, preset
from udg_policy.episodes.dataset import EpisodeWriter
from udg_policy.episodes.episode import Episode
from udg_policy.episodes.episode_file import METRE
from udg_policy.episodes.grasp import grasp_label, key_points
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import DatasetError
from udg_policy.frames.frame_store import frames_of
from udg_policy.hands.fingertips import fingertip_paths
from udg_policy.hands.ghosts import hand_poses
from udg_policy.heads import HEADS
from udg_policy.inference.engine import PolicyEngine
from udg_policy.network.checkpoint import Checkpoint, save_checkpoint
from udg_policy.network.network import PolicyNetwork
from udg_policy.pages import episode_page
from udg_policy.pages.episode_page import find_episode, run, write_page
from udg_policy.pages.episode_view import QUANTILES, EpisodeView, truncated_normal_quantiles

STEPS = 6


def make_checkpoint(config: PolicyConfig, episode: Episode) -> Checkpoint:
    store = frames_of([episode], config)
    torch.manual_seed(0)
    return Checkpoint(
        config=config,
        bounds=store.bounds(store.views(torch.arange(1), True)),
        weights=PolicyNetwork(config).state_dict(),
    )


@pytest.fixture(scope="module")
def episode() -> Episode:
    return make_episode(0, steps=STEPS)


@pytest.fixture(scope="module")
def checkpoint(episode: Episode) -> Checkpoint:
    return make_checkpoint(preset("debug"), episode)


@pytest.fixture(scope="module")
def page(
    checkpoint: Checkpoint, episode: Episode, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, EpisodeView]:
    path = tmp_path_factory.mktemp("pages") / "deep" / "one.html"
    return path, write_page(checkpoint, episode, "one", path)


def data_of(path: Path) -> dict[str, Any]:
    found = re.search(r"const DATA = (\{.*\});\n", path.read_text(encoding="utf-8"))
    assert found is not None
    return json.loads(found[1])


def unpacked(packed: dict[str, str], *shape: int) -> np.ndarray:
    kinds = {"i2": "<i2", "u1": "u1", "f4": "<f4"}
    return np.frombuffer(base64.b64decode(packed["data"]), dtype=kinds[packed["kind"]]).reshape(shape)


def test_predictions_are_the_engines_and_attention_is_a_share(
    checkpoint: Checkpoint, episode: Episode, page: tuple[Path, EpisodeView]
) -> None:
    data, view = data_of(page[0]), page[1]
    frames, steps = data["frames"], data["steps"]
    assert (frames, steps) == (STEPS, 4)
    engine = PolicyEngine(checkpoint)
    cloud = np.column_stack([episode.cloud_xyz[2], episode.cloud_label[2]])
    chunk = engine.act(cloud, episode.q[2])
    np.testing.assert_allclose(view.chunks[2], chunk, atol=1e-6)
    tips = unpacked(data["tips"], frames, steps, 2, 5, 3)[2] / METRE
    np.testing.assert_allclose(tips.transpose(1, 2, 0, 3), fingertip_paths(chunk), atol=1e-4)
    roots = unpacked(data["attention"], frames, data["layers"], data["heads"], steps, data["all_tokens"]) / 255.0
    np.testing.assert_allclose((roots**2).sum(axis=-1), 1.0, atol=0.05)
    assert data["all_tokens"] == data["point_tokens"] + 1 + steps


def test_hands_and_cloud_stand_where_they_were(episode: Episode, page: tuple[Path, EpisodeView]) -> None:
    data, view = data_of(page[0]), page[1]
    np.testing.assert_allclose(unpacked(data["cloud"], STEPS, -1, 3) / METRE, episode.cloud_xyz, atol=1e-4)
    np.testing.assert_array_equal(unpacked(data["labels"], STEPS, -1), episode.cloud_label)
    poses = unpacked(data["hand_poses"], STEPS, data["steps"], 2, -1, 7)[1, 3, 1].astype(float)
    expected = hand_poses(view.chunks[1, [3]])["right"][0]
    np.testing.assert_allclose(poses[:, :3] / METRE, expected[:, :3, 3], atol=1e-4)
    np.testing.assert_allclose(quat_wxyz_to_matrix(poses[:, 3:]), expected[:, :3, :3], atol=2e-4)


def test_tokens_lie_in_the_cloud_with_its_labels(episode: Episode, page: tuple[Path, EpisodeView]) -> None:
    view = page[1]
    for frame in range(STEPS):
        apart = np.linalg.norm(view.tokens_world[frame][:, None] - episode.cloud_xyz[frame][None], axis=-1)
        assert apart.min(axis=1).max() < 2e-4
        assert set(view.token_labels[frame]) == {0, 1, 2}


def test_demonstrated_joints_are_the_targets_ahead(episode: Episode, page: tuple[Path, EpisodeView]) -> None:
    view = page[1]
    for name in ("left_hand_mid_joint1", "right_hand_thumb_bend_joint"):
        joint = JOINT_NAMES.index(name)
        assert view.action_names[joint] == f"{name} [rad]"
        np.testing.assert_allclose(view.demonstrated[1, :, joint], episode.target[1:5, joint], atol=1e-5)
        np.testing.assert_allclose(view.demonstrated[-1, :, joint], episode.target[-1, joint], atol=1e-5)
    np.testing.assert_array_equal(view.demonstrated_chunks[1], episode.target[1:5])


def test_quantiles_are_those_of_the_truncated_normal() -> None:
    mu, sigma = np.array([[0.0, 0.9, -1.5, 3.0]]), np.array([[0.2, 0.3, 0.2, 0.5]])
    quantiles = truncated_normal_quantiles(mu, sigma)
    assert quantiles.shape == (4, 1, 4) and np.isfinite(quantiles).all() and np.abs(quantiles).max() <= 1.0
    assert (np.diff(quantiles, axis=0) > 0.0).all()
    shares = truncnorm.cdf(quantiles, (-1 - mu) / sigma, (1 - mu) / sigma, loc=mu, scale=sigma)
    np.testing.assert_allclose(shares, np.reshape(QUANTILES, (4, 1, 1)) * np.ones((4, 1, 4)), atol=1e-6)
    np.testing.assert_allclose(quantiles[:, 0, 0], 0.2 * np.array([-1.645, -0.6745, 0.6745, 1.645]), atol=1e-3)


@pytest.mark.parametrize("change", ["regression", "flow_matching", "full", "joint_absolute"])
def test_other_networks_have_pages_too(episode: Episode, tmp_path: Path, change: str) -> None:
    config = preset("debug")
    if change == "joint_absolute":
        config = replace(config, action_space=change)
    else:
        key = "head" if change in HEADS else "attention"
        config = replace(config, decoder=replace(config.decoder, **{key: change}))
    path = tmp_path / "page.html"
    view = write_page(make_checkpoint(config, episode), episode, "other", path)
    data = data_of(path)
    assert (data["sigma"] is None) == (change in HEADS) == (view.quantiles is None)
    assert data["action_names"] == list(config.space.names)
    assert all(0 <= chart < 36 for chart in data["default_charts"])


def test_the_predicted_grasp_stands_beside_the_demonstrated_one(episode: Episode, tmp_path: Path) -> None:
    config = preset("debug")
    config = replace(
        config,
        decoder=replace(config.decoder, grasp_query=True),
        observation=replace(config.observation, hand_surface=True),
    )
    checkpoint, path = make_checkpoint(config, episode), tmp_path / "page.html"
    view = write_page(checkpoint, episode, "grasp", path)
    data = data_of(path)
    cloud = np.column_stack([episode.cloud_xyz[2], episode.cloud_label[2]])
    predicted = PolicyEngine(checkpoint).predict(cloud, episode.q[2]).grasp
    assert predicted is not None
    points = unpacked(data["grasp"]["points"], STEPS, 2, 7, 3)[2] / METRE
    np.testing.assert_allclose(points, predicted.points_world, atol=1e-4)
    closed = grasp_label(episode).closed
    np.testing.assert_allclose(
        unpacked(data["grasp"]["true"], 2, 7, 3) / METRE, key_points(episode.target[closed]), atol=1e-4
    )
    assert data["grasp"]["until"] == closed
    assert data["grasp"]["acts"][2] == predicted.acts.tolist()
    assert predicted.strategy.replace("_", " ") in data["grasp"]["texts"][2]
    assert "mm off" in data["grasp"]["texts"][closed] and "mm off" not in data["grasp"]["texts"][closed + 1]
    assert data["all_tokens"] == data["point_tokens"] + 54 + 1 + 2 + data["steps"]
    assert data["grasp_tokens"] == 2 and data["surface_tokens"] == 54
    side = episode.meta["sides"] == ["right"]
    apart = np.linalg.norm(predicted.points_world[int(side)] - key_points(episode.target[closed])[int(side)], axis=-1)
    assert view.grasp_error_m(2) == pytest.approx(float(apart.mean()))


def test_a_page_without_a_grasp_says_nothing_of_one(page: tuple[Path, EpisodeView]) -> None:
    data = data_of(page[0])
    assert data["grasp"] is None and data["grasp_tokens"] == 0 and page[1].grasp_error_m(0) is None


def test_the_page_needs_nothing_from_elsewhere(page: tuple[Path, EpisodeView]) -> None:
    text = page[0].read_text(encoding="utf-8")
    assert not re.search(r"https?://|<link|<script src|@import|import\(|fetch\(", text)
    assert "/*PAGE3D*/" not in text and "__TITLE__" not in text


def test_a_long_episode_is_thinned_to_a_sensible_size(
    checkpoint: Checkpoint, episode: Episode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(episode_page, "MAX_BYTES", 450_000)
    write_page(checkpoint, episode, "long", tmp_path / "page.html")
    data = data_of(tmp_path / "page.html")
    assert data["every"] >= 2
    assert data["frames"] == len(range(0, STEPS, data["every"])) == len(data["times"])
    assert (tmp_path / "page.html").stat().st_size < 450_000


def test_the_command_writes_the_page_of_the_episode_asked_for(
    checkpoint: Checkpoint, episode: Episode, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = save_checkpoint(tmp_path / "policy", checkpoint)
    writer = EpisodeWriter(tmp_path / "demos")
    writer.write("a_000000", make_episode(1, steps=2))
    path = writer.write("b_000001", episode)
    run(
        [
            "--checkpoint",
            str(folder),
            "--data",
            str(tmp_path / "demos"),
            "--episode",
            "b_000001",
            "--out",
            str(tmp_path / "out"),
        ]
    )
    (made,) = (tmp_path / "out").iterdir()
    assert re.fullmatch(r"b_000001_debug_[0-9a-f]{8}\.html", made.name)  # of these weights and no others
    assert str(made) in capsys.readouterr().out
    assert data_of(made)["frames"] == STEPS
    assert find_episode(path, "")[1] == "b_000001"
    assert find_episode(tmp_path / "demos", "")[1] == "a_000000"
    with pytest.raises(DatasetError, match="has no episode 'c'; it has 2, among them a_000000, b_000001"):
        find_episode(tmp_path / "demos", "c")


def test_episodes_from_outside_cannot_put_code_into_the_page(
    checkpoint: Checkpoint, episode: Episode, tmp_path: Path
) -> None:
    evil = "</script><script>alert(1)</script>"
    write_page(checkpoint, replace(episode, meta={"object": evil, "sides": ["left"]}), evil, tmp_path / "page.html")
    assert evil not in (tmp_path / "page.html").read_text(encoding="utf-8")
    assert data_of(tmp_path / "page.html")["subtitle"].startswith(evil)


_PROBE = """<script>
const press = (key, shiftKey = false) => dispatchEvent(new KeyboardEvent("keydown", {key, shiftKey}));
const told = [];
press("Home"); press("ArrowRight"); press("ArrowRight"); told.push(state.frame);
press("ArrowLeft"); told.push(state.frame);
press("End"); told.push(state.frame);
press("ArrowDown"); told.push(state.step);
for (const [id, choice] of [["layer", 0], ["head_of", 1], ["query", -2]]) { $(id).value = choice; $(id).onchange(); }
told.push(state.layer, state.head, state.query);
told.push(Math.round(1000 * now.share.reduce((a, b) => a + b, 0)) > 950);
press(" "); told.push(playing !== null); press(" "); told.push(playing !== null);
told.push(scene.gl.getError());
document.title = "told " + JSON.stringify(told);
</script>"""


@pytest.mark.slow
def test_a_browser_plays_it(page: tuple[Path, EpisodeView], tmp_path: Path) -> None:
    names = ("chromium", "chromium-browser", "google-chrome")
    browser = next((found for name in names if (found := shutil.which(name))), None)
    if browser is None:
        pytest.skip("needs Chromium")
    probe = tmp_path / "probe.html"
    probe.write_text(page[0].read_text(encoding="utf-8").replace("</body>", _PROBE + "</body>"), encoding="utf-8")
    shown = subprocess.run(
        [
            browser,
            "--headless=new",
            "--no-sandbox",
            "--use-gl=angle",
            "--use-angle=swiftshader",
            "--enable-unsafe-swiftshader",
            f"--user-data-dir={tmp_path / 'profile'}",
            "--virtual-time-budget=5000",
            "--dump-dom",
            probe.as_uri(),
        ],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    title = re.search(r"<title>(.*?)</title>", shown.stdout)
    assert title is not None, shown.stderr
    if '<p id="error">This page needs WebGL' in shown.stdout:
        pytest.skip("this browser has no WebGL 2")
    assert title[1] == f"told [2,1,{STEPS - 1},2,0,1,-2,true,true,false,0]"
