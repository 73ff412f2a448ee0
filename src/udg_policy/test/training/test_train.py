"""Training: overfits a small set, resumes to the same curve, splits, and refuses another run's state."""

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from udg_policy.config import PolicyConfig, preset
from udg_policy.episodes.dataset import EpisodeDataset, EpisodeWriter
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import CheckpointError, ConfigError, DatasetError
from udg_policy.frames.frame_store import FrameStore, frames_of
from udg_policy.inference.engine import PolicyEngine
from udg_policy.network.checkpoint import load_checkpoint
from udg_policy.network.network import without_some
from udg_policy.parallel import Parallel
from udg_policy.training.train import Run, check_start, run_command, split_views, train


def config_of(**changes: object) -> PolicyConfig:
    config = preset("debug")
    return dataclasses.replace(config, train=dataclasses.replace(config.train, **changes))


@pytest.fixture(scope="module")
def store() -> FrameStore:
    return frames_of([make_episode(i, steps=5) for i in range(4)], config_of(steps=4))


def run_of(out: Path, **changes: object) -> Run:
    return Run(out=out, quiet=True, **changes)


def test_two_steps_and_two_resumed_equal_four(store: FrameStore, tmp_path: Path) -> None:
    config = store.config
    whole = train(config, store, run_of(tmp_path / "whole"))
    first = train(config, store, run_of(tmp_path / "parts", stop_at_step=2))
    second = train(config, store, run_of(tmp_path / "parts", resume=True))
    assert first + second == whole and len(whole) == 4
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]


def test_the_seed_decides_the_curve(store: FrameStore, tmp_path: Path) -> None:
    first, second, other = (
        train(store.config, store, run_of(tmp_path / str(i), seed=seed)) for i, seed in enumerate((0, 0, 1))
    )
    assert first == second != other


def test_state_of_another_run_is_refused(store: FrameStore, tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="nothing to resume"):
        train(store.config, store, run_of(tmp_path, resume=True))
    train(store.config, store, run_of(tmp_path))
    with pytest.raises(CheckpointError, match="another seed"):
        train(store.config, store, run_of(tmp_path, resume=True, seed=3))
    path = tmp_path / "train_state.safetensors"
    path.write_bytes(path.read_bytes()[:500])
    with pytest.raises(CheckpointError, match="not a readable training state"):
        train(store.config, store, run_of(tmp_path, resume=True))


def test_a_state_of_before_an_option_is_resumed(store: FrameStore, tmp_path: Path) -> None:
    train(store.config, store, run_of(tmp_path, stop_at_step=2))
    path = tmp_path / "train_state.safetensors"
    with safe_open(path, framework="pt") as file:
        header = json.loads(file.metadata()["train"])
    del header["config"]["decoder"]["head_settings"]
    save_file(load_file(path), path, {"train": json.dumps(header)})
    assert len(train(store.config, store, run_of(tmp_path, resume=True))) == 2


def test_a_checkpoint_is_trained_further(store: FrameStore, tmp_path: Path) -> None:
    train(store.config, store, run_of(tmp_path / "first", data_hash="a"))
    start = load_checkpoint(tmp_path / "first")
    still = dataclasses.replace(
        store.config, train=dataclasses.replace(store.config.train, learning_rate=0.0, learning_rate_final=0.0)
    )
    other = frames_of([make_episode(i, steps=5) for i in range(4, 8)], still)
    train(still, other, run_of(tmp_path / "still", start=start))
    same = load_checkpoint(tmp_path / "still")
    assert all(torch.allclose(same.weights[name], start.weights[name], atol=1e-6) for name in start.weights)
    assert np.array_equal(same.bounds.lower, start.bounds.lower)
    assert set(same.train_objects) >= set(start.train_objects)
    assert [one["data_hash"] for one in same.figures["from"]] == ["a"]
    config = dataclasses.replace(store.config, train=dataclasses.replace(still.train, learning_rate=0.01))
    other = frames_of([make_episode(i, steps=5) for i in range(4, 8)], config)
    whole = train(config, other, run_of(tmp_path / "whole", start=start))
    first = train(config, other, run_of(tmp_path / "parts", start=start, stop_at_step=2))
    assert first + train(config, other, run_of(tmp_path / "parts", start=start, resume=True)) == whole
    with pytest.raises(CheckpointError, match="another start"):
        train(config, other, run_of(tmp_path / "parts", resume=True))


def test_objects_of_an_earlier_training_are_not_validated_on() -> None:
    config = config_of(validation_split="object", validation_share=0.5)
    names = [f"object_{i}" for i in range(4)]
    episodes = [make_episode(i, steps=3) for i in range(4)]
    named = [
        dataclasses.replace(one, meta={**one.meta, "object": name}) for one, name in zip(episodes, names, strict=True)
    ]
    store = frames_of(named, config)
    known = names[:3]
    for seed in range(5):
        assert split_views(store, seed, known).train_objects == tuple(known)
        assert split_views(store, seed, names).train_objects == tuple(names)


def test_a_checkpoint_with_another_network_is_refused(store: FrameStore, tmp_path: Path) -> None:
    train(store.config, store, run_of(tmp_path))
    other = dataclasses.replace(store.config, decoder=dataclasses.replace(store.config.decoder, width=64))
    with pytest.raises(ConfigError, match=r"another network: decoder.width was 32, is 64"):
        check_start(load_checkpoint(tmp_path), other)


def test_ten_episodes_are_overfitted(tmp_path: Path) -> None:
    config = config_of(
        steps=500,
        batch=16,
        mirror=False,
        validation_share=0.0,
        ema_decay=0.9,
        warmup_steps=10,
        learning_rate=4e-3,
        weight_decay=0.0,
        point_noise_m=0.0,
        cloud_noise_m=0.0,
        hand_noise_m=0.0,
        hand_noise_rad=0.0,
        joint_noise_rad=0.0,
    )
    config = dataclasses.replace(
        config,
        decoder=dataclasses.replace(config.decoder, width=64, layers=2, heads=4),
        encoder=dataclasses.replace(config.encoder, widths_1=(32, 32), widths_2=(64,)),
    )
    episodes = [make_episode(i, steps=8) for i in range(10)]
    torch.set_num_threads(1)
    train(config, frames_of(episodes, config), run_of(tmp_path))
    engine = PolicyEngine.load(tmp_path)
    errors = []
    for episode in episodes:
        cloud = np.concatenate([episode.cloud_xyz.astype(np.float32), episode.cloud_label[..., None]], axis=-1)
        errors.append(np.abs(engine.act_batch(cloud, episode.q)[:, 0] - episode.target).mean())
    assert np.mean(errors) < 0.01


def test_splits_keep_episodes_and_objects_apart() -> None:
    episodes = []
    for i in range(6):
        episode = make_episode(i, steps=2)
        episodes.append(dataclasses.replace(episode, meta={**episode.meta, "object": f"object_{i // 2}"}))
    for kind in ("episode", "object"):
        config = config_of(validation_share=0.34, validation_split=kind)
        store = frames_of(episodes, config)
        split = split_views(store, seed=0)

        def episodes_of(views: torch.Tensor, store: FrameStore = store) -> set[int]:
            return set(store.episode[views % store.n_frames].tolist())

        assert not episodes_of(split.train) & episodes_of(split.validation)
        assert len(episodes_of(split.validation)) == 2
        if kind == "object":
            held = {store.object_of_episode[e] for e in episodes_of(split.validation)}
            assert not held & set(split.train_objects)


def test_episodes_without_an_object_are_each_of_one_of_their_own() -> None:
    """As one object they would all be trained on, or all held out; and an unnamed object is no name."""
    episodes = [make_episode(i, steps=2) for i in range(6)]
    episodes = [dataclasses.replace(e, meta={**e.meta, "object": "" if i else "ball"}) for i, e in enumerate(episodes)]
    store = frames_of(episodes, config_of(validation_share=0.34, validation_split="object"))
    for seed in range(4):
        split = split_views(store, seed)
        held = set(store.episode[split.validation % store.n_frames].tolist())
        assert len(held) == 2
        assert split.train_objects == (() if 0 in held else ("ball",))
        further = split_views(store, seed, ("",))  # any of them may have been trained on
        assert set(store.episode[further.validation % store.n_frames].tolist()) == {0}


def test_a_split_seed_fixes_the_split_and_is_part_of_the_run(store: FrameStore, tmp_path: Path) -> None:
    train(store.config, store, run_of(tmp_path, split_seed=3, validations=1))
    with pytest.raises(CheckpointError, match="another split_seed"):
        train(store.config, store, run_of(tmp_path, resume=True))


def test_a_batch_that_cannot_be_shared_is_named(store: FrameStore, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="must be a multiple of the 3 processes"):
        train(store.config, store, run_of(tmp_path), Parallel(rank=0, size=3))


def test_bad_arguments_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="valid are paper, edge, debug"):
        run_command(["--data", str(tmp_path), "--out", str(tmp_path), "--preset", "huge"])
    with pytest.raises(ConfigError, match="must be positive"):
        Run(out=tmp_path, minutes=0.0)


def test_a_corrupt_episode_stops_or_is_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    writer = EpisodeWriter(tmp_path / "data")
    paths = [writer.write(str(i), make_episode(i, steps=3)) for i in range(3)]
    paths[1].write_bytes(paths[1].read_bytes()[:-5])
    arguments = [
        "--data",
        str(tmp_path / "data"),
        "--out",
        str(tmp_path / "out"),
        "--preset",
        "debug",
        "--steps",
        "2",
        "--processes",
        "1",
        "--cache",
        str(tmp_path / "cache"),
    ]
    with pytest.raises(DatasetError, match="episode_1.h5: corrupt"):
        run_command(arguments)
    assert not (tmp_path / "out").exists()
    assert run_command([*arguments, "--skip-corrupt"]) == 0
    assert "skipped" in capsys.readouterr().out
    checkpoint = load_checkpoint(tmp_path / "out")
    assert checkpoint.figures["episodes"] == 2
    assert checkpoint.data_hash == EpisodeDataset(tmp_path / "data", skip_corrupt=True).hash()


def test_dropout_follows_from_the_seed_and_resumes(store: FrameStore, tmp_path: Path) -> None:
    config = dataclasses.replace(
        store.config, train=dataclasses.replace(store.config.train, dropout=0.2, token_dropout=0.5)
    )
    other = frames_of([make_episode(i, steps=5) for i in range(4)], config)
    whole = train(config, other, run_of(tmp_path / "whole"))
    torch.rand(3)  # what others draw in between changes nothing
    first = train(config, other, run_of(tmp_path / "parts", stop_at_step=2))
    torch.manual_seed(5)
    assert first + train(config, other, run_of(tmp_path / "parts", resume=True)) == whole
    assert whole != train(store.config, store, run_of(tmp_path / "none"))


def test_a_sample_does_without_some_tokens_of_points_alone() -> None:
    memory = torch.arange(12.0)[None, :, None].expand(50, 12, 3).contiguous()
    torch.manual_seed(0)
    kept = without_some(memory, n_points=10, share=0.3)
    assert kept.shape == (50, 9, 3) and (kept[:, -2:, 0] == torch.tensor([10.0, 11.0])).all()
    points = kept[:, :7, 0]
    assert (points.diff(dim=1) > 0).all()  # each at most once
    assert len(points.unique()) == 10 and len({tuple(row.tolist()) for row in points}) > 30
