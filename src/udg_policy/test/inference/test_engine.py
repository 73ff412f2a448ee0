"""The engine and its checkpoints: determinism, defined results, and refusals that say why."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.overrides import TorchFunctionMode

from udg_description.layout import HOME_Q, SIDES, part_indices
from udg_description.limits import joint_limits
from udg_policy.config import preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import CheckpointError, ObservationError
from udg_policy.frames.frame_store import frames_of
from udg_policy.inference.engine import PolicyEngine
from udg_policy.network.checkpoint import (
    AGAIN_NAME,
    DESCRIPTION_NAME,
    WEIGHTS_NAME,
    Checkpoint,
    add_figures,
    load_checkpoint,
    save_checkpoint,
)
from udg_policy.network.network import PolicyNetwork


@pytest.fixture(scope="module")
def checkpoint() -> Checkpoint:
    config = preset("debug")
    store = frames_of([make_episode(0, steps=6)], config)
    torch.manual_seed(0)
    return Checkpoint(
        config=config,
        bounds=store.bounds(store.views(torch.arange(1), True)),
        weights=PolicyNetwork(config).state_dict(),
        train_objects=("ball",),
    )


@pytest.fixture(scope="module")
def engine(checkpoint: Checkpoint) -> PolicyEngine:
    return PolicyEngine(checkpoint)


@pytest.fixture()
def folder(checkpoint: Checkpoint, tmp_path: Path) -> Path:
    return save_checkpoint(tmp_path / "policy", checkpoint)


def observation(seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    episode = make_episode(seed, steps=1)
    cloud = np.concatenate([episode.cloud_xyz[0].astype(np.float32), episode.cloud_label[0][:, None]], axis=1)
    return cloud.astype(np.float32), episode.q[0]


def test_a_chunk_is_finite_within_limits_and_repeatable(engine: PolicyEngine) -> None:
    points, q = observation()
    chunk = engine.act(points, q)
    assert chunk.shape == (4, 36)
    assert joint_limits().contains(chunk)
    np.testing.assert_array_equal(chunk, engine.act(points, q))


def test_fewer_steps_are_the_first_of_the_chunk(engine: PolicyEngine) -> None:
    points, q = observation()
    chunk = engine.act(points, q)
    np.testing.assert_array_equal(engine.predict(points, q, 2).chunk, chunk[:2])
    np.testing.assert_array_equal(engine.predict(points, q, 9).chunk, chunk)
    nothing = points[points[:, 3] != 0]
    assert engine.predict(nothing, q, 2).chunk.shape == (2, 36)


def test_following_errors_count_where_the_network_has_them(checkpoint: Checkpoint, engine: PolicyEngine) -> None:
    points, q = observation()
    pressed = q + 0.1
    np.testing.assert_array_equal(engine.act(points, q, pressed), engine.act(points, q))
    observed = dataclasses.replace(checkpoint.config.observation, following_error=True)
    config = dataclasses.replace(checkpoint.config, observation=observed)
    torch.manual_seed(0)
    feeling = PolicyEngine(dataclasses.replace(checkpoint, config=config, weights=PolicyNetwork(config).state_dict()))
    np.testing.assert_array_equal(feeling.act(points, q), feeling.act(points, q, q))
    assert np.abs(feeling.act(points, q, pressed) - feeling.act(points, q)).max() > 1e-4
    arms = q.copy()
    for side in SIDES:
        arms[part_indices(f"{side}_arm")] += 0.1
    np.testing.assert_array_equal(feeling.act(points, q, arms), feeling.act(points, q))  # of the fingers alone
    for bad in (q[:12], np.full(36, np.nan)):
        with pytest.raises(ObservationError, match="commanded joint angles: valid are 36 finite numbers"):
            feeling.act(points, q, bad)


def test_a_batch_equals_its_members(engine: PolicyEngine) -> None:
    observations = [observation(seed) for seed in range(3)]
    points, q = (np.stack(values) for values in zip(*observations, strict=True))
    batch = engine.act_batch(points, q)
    for i, one in enumerate(observations):
        np.testing.assert_allclose(batch[i], engine.act(*one), atol=1e-4)


def test_every_product_is_of_one_thread(engine: PolicyEngine) -> None:
    threads = set()

    class Watch(TorchFunctionMode):
        def __torch_function__(
            self,
            func: Callable[..., object],
            types: object,
            args: tuple[object, ...] = (),
            kwargs: dict[str, object] | None = None,
        ) -> object:
            threads.add(torch.get_num_threads())
            return func(*args, **(kwargs or {}))

    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        with Watch():
            engine.act(*observation())
            engine.distribution(*observation())
        assert threads == {1}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_without_an_object_the_pose_is_held(engine: PolicyEngine) -> None:
    points, q = observation()
    points[:, 3] = np.where(points[:, 3] == 0, 1, points[:, 3])
    np.testing.assert_allclose(engine.act(points, q), np.tile(q, (4, 1)), atol=1e-6)


def test_fewer_points_than_usual_are_enough(engine: PolicyEngine) -> None:
    points, q = observation()
    assert np.isfinite(engine.act(points[::8], q)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda p, q: (p[:, :3], q), "expected \\(points, 4\\)"),
        (lambda p, q: (p[:0], q), "expected \\(points, 4\\)"),
        (lambda p, q: (np.where(np.arange(4) == 1, np.nan, p), q), "not finite"),
        (lambda p, q: (p + [0, 0, 0, 5], q), "unknown labels"),
        (lambda p, q: (p[p[:, 3] != 1], q), "no point of the left robot"),
        (lambda p, q: (p, q[:12]), "expected \\(36,\\)"),
        (lambda p, q: (p, np.where(np.arange(36) == 7, np.inf, q)), "joint 7 is not finite"),
    ],
)
def test_bad_observations_are_named(engine: PolicyEngine, change: object, message: str) -> None:
    with pytest.raises(ObservationError, match=message):
        engine.act(*change(*observation()))


def test_a_checkpoint_is_loaded_as_saved(folder: Path, checkpoint: Checkpoint) -> None:
    loaded = load_checkpoint(folder)
    assert loaded.config == checkpoint.config and loaded.train_objects == ("ball",)
    np.testing.assert_allclose(loaded.bounds.upper, checkpoint.bounds.upper, rtol=1e-6)
    points, q = observation()
    np.testing.assert_allclose(
        PolicyEngine.load(folder).act(points, q), PolicyEngine(checkpoint).act(points, q), atol=1e-5
    )
    assert sorted(p.name for p in folder.iterdir()) == [DESCRIPTION_NAME, WEIGHTS_NAME]


def test_figures_are_added(folder: Path) -> None:
    add_figures(folder, {"success": 0.9})
    assert load_checkpoint(folder).figures == {"success": 0.9}


def edit(folder: Path, **changes: object) -> None:
    path = folder / DESCRIPTION_NAME
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def test_missing_files_are_named(folder: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint folder"):
        load_checkpoint(folder / "absent")
    (folder / WEIGHTS_NAME).unlink()
    with pytest.raises(CheckpointError, match=WEIGHTS_NAME):
        load_checkpoint(folder)
    (folder / DESCRIPTION_NAME).unlink()
    with pytest.raises(CheckpointError, match=DESCRIPTION_NAME):
        load_checkpoint(folder)


def test_truncated_files_are_refused(folder: Path) -> None:
    for name, message in ((WEIGHTS_NAME, "truncated or replaced"), (DESCRIPTION_NAME, "not valid JSON")):
        data = (folder / name).read_bytes()
        (folder / name).write_bytes(data[: len(data) // 2])
        with pytest.raises(CheckpointError, match=message):
            load_checkpoint(folder)
        (folder / name).write_bytes(data)


@pytest.mark.parametrize(
    ("key", "value"),
    [("train_objects", None), ("figures", [1]), ("joint_names", 36), ("config", "edge"), ("data_hash", None)],
)
def test_a_key_of_another_kind_is_named(folder: Path, key: str, value: object) -> None:
    edit(folder, **{key: value})
    with pytest.raises(CheckpointError, match=f"checkpoint.json: '{key}' is .*; valid: "):
        load_checkpoint(folder)


def test_a_checkpoint_that_can_not_be_replaced_stays_as_it_was(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = load_checkpoint(folder)
    other = dataclasses.replace(before, weights={name: value + 1.0 for name, value in before.weights.items()})

    flushed = []

    def full(number: int) -> None:
        flushed.append(number)
        if len(flushed) == 2:  # of the description; the weights are written by then
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("udg_description.files.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        save_checkpoint(folder, other)
    same = load_checkpoint(folder)
    assert all(bool((same.weights[name] == value).all()) for name, value in before.weights.items())
    assert len(list(folder.iterdir())) == 2


def test_another_schema_or_layout_is_refused(folder: Path) -> None:
    names = list(json.loads((folder / DESCRIPTION_NAME).read_text())["joint_names"])
    edit(folder, joint_names=[names[1], names[0], *names[2:]])
    with pytest.raises(CheckpointError, match="another joint layout: joint 0"):
        load_checkpoint(folder)
    edit(folder, joint_names=names[:12])
    with pytest.raises(CheckpointError, match="12 joints, here 36"):
        load_checkpoint(folder)
    edit(folder, joint_names=names, schema=99)
    with pytest.raises(CheckpointError, match="schema 99"):
        load_checkpoint(folder)


def test_weights_of_another_network_are_refused(checkpoint: Checkpoint) -> None:
    config = dataclasses.replace(checkpoint.config, decoder=dataclasses.replace(checkpoint.config.decoder, mlp_ratio=2))
    with pytest.raises(CheckpointError, match="has shape"):
        PolicyEngine(dataclasses.replace(checkpoint, config=config))
    weights = {name: tensor for name, tensor in checkpoint.weights.items() if name != "queries"}
    with pytest.raises(CheckpointError, match="'queries' is missing"):
        PolicyEngine(dataclasses.replace(checkpoint, weights=weights))


def test_the_home_pose_is_a_valid_observation(engine: PolicyEngine) -> None:
    points, _ = observation()
    assert joint_limits().contains(engine.act(points, HOME_Q))


def test_every_other_attempt_is_made_by_the_second_network(checkpoint: Checkpoint, folder: Path) -> None:
    points, q = observation()
    alone = PolicyEngine.load(folder)
    assert alone.for_attempt(1) is alone and not alone.sees_following_error
    torch.manual_seed(1)
    seeing = dataclasses.replace(
        checkpoint.config, observation=dataclasses.replace(checkpoint.config.observation, following_error=True)
    )
    weights = PolicyNetwork(seeing).state_dict()
    other = dataclasses.replace(checkpoint, config=seeing, weights=weights, train_objects=("ball", "can"))
    save_checkpoint(folder / AGAIN_NAME, other)
    both = PolicyEngine.load(folder)
    first, second, third = (both.for_attempt(retries).act(points, q) for retries in range(3))
    np.testing.assert_array_equal(first, alone.act(points, q))
    np.testing.assert_array_equal(second, PolicyEngine(other).act(points, q))
    np.testing.assert_array_equal(third, first)
    assert np.abs(second - first).max() > 1e-3
    assert both.train_objects == ("ball", "can") and both.sees_following_error
    (folder / AGAIN_NAME / WEIGHTS_NAME).write_bytes(b"")
    with pytest.raises(CheckpointError, match=f"{AGAIN_NAME}/{WEIGHTS_NAME}: differs"):
        PolicyEngine.load(folder)
