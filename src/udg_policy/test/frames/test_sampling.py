"""Which frames a training takes, how often, and that it goes on exactly; the stage and the dropped state."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from udg_description.layout import N_HAND_JOINTS
from udg_policy.config import PolicyConfig, SamplingConfig, TrainConfig, from_dict, preset
from udg_policy.episodes.episode import Episode, Stage
from udg_policy.episodes.grasp import grasp_label
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import ConfigError
from udg_policy.frames.frame_store import FrameStore, frames_of
from udg_policy.frames.sampling import ViewSampler
from udg_policy.hands.poses import grasp_frames_np
from udg_policy.network.checkpoint import load_checkpoint
from udg_policy.network.network import PolicyNetwork
from udg_policy.training.loss import stage_loss, stage_share
from udg_policy.training.train import Run, train

STILL = {"hand_noise_m": 0.0, "hand_noise_rad": 0.0, "point_noise_m": 0.0, "cloud_noise_m": 0.0, "joint_noise_rad": 0.0}


def with_train(config: PolicyConfig, **changes: object) -> PolicyConfig:
    return replace(config, train=replace(config.train, **changes))


def epoch(sampler: ViewSampler, number: int, steps: int) -> torch.Tensor:
    return torch.cat([sampler(step) for step in range(number * steps, (number + 1) * steps)])


# --- frequencies ----------------------------------------------------------------------------------------------------


def test_without_weights_each_view_comes_once_an_epoch_in_another_order() -> None:
    views = torch.arange(100, 140)
    sampler = ViewSampler(views, batch=8, seed=3)
    first, second = epoch(sampler, 0, 5), epoch(sampler, 1, 5)
    assert torch.equal(first.sort().values, views) and torch.equal(second.sort().values, views)
    assert not torch.equal(first, second)


def test_each_view_comes_as_often_as_its_weight_says() -> None:
    weights = torch.tensor([0.0, 0.5, 1.0, 1.0, 2.5, 3.0] * 10)
    views = torch.arange(60)
    sampler = ViewSampler(views, batch=10, seed=0, weights=weights)
    expected = weights * 60 / weights.sum()
    total = torch.zeros(60)
    for number in range(200):
        counts = torch.bincount(epoch(sampler, number, 6), minlength=60)
        assert int(counts.sum()) == 60
        assert (counts >= expected.floor()).all() and (counts <= expected.ceil()).all()
        total += counts
    np.testing.assert_allclose(total / 200, expected, atol=0.12)  # the rest of 0.375 or so: 3.5 standard errors


def test_equal_weights_are_a_permutation_too() -> None:
    views = torch.arange(37)
    sampler = ViewSampler(views, batch=37 - 1, seed=5, weights=torch.full((37,), 0.3))
    assert len(set(sampler(0).tolist())) == 36


def test_the_batch_of_a_step_follows_from_seed_and_step_alone() -> None:
    views, weights = torch.arange(50), torch.rand(50, generator=torch.Generator().manual_seed(0))
    for given in (None, weights):
        whole = [ViewSampler(views, 8, 1, given)(step) for step in range(30)]
        going = ViewSampler(views, 8, 1, given)
        for step in (29, 3, 12, 13, 0):  # as after --resume, and in any order
            assert torch.equal(going(step), whole[step])
        other = ViewSampler(views, 8, 2, given)
        assert not all(torch.equal(other(step), whole[step]) for step in range(5))


def test_fewer_views_than_a_batch_are_drawn_by_weight() -> None:
    sampler = ViewSampler(torch.arange(3), batch=4000, seed=0, weights=torch.tensor([0.0, 1.0, 3.0]))
    counts = torch.bincount(sampler(0), minlength=3)
    assert int(counts[0]) == 0 and float(counts[2] / 4000) == pytest.approx(0.75, abs=0.03)
    assert torch.equal(sampler(7), ViewSampler(torch.arange(3), 4000, 0, torch.tensor([0.0, 1.0, 3.0]))(7))


def test_weights_that_leave_nothing_are_refused() -> None:
    with pytest.raises(ConfigError, match="no frames to train on"):
        ViewSampler(torch.arange(3), 2, 0, torch.zeros(3))
    with pytest.raises(ConfigError, match="must not be negative, and one must be positive"):
        SamplingConfig(cruise=0.0, near=0.0, squeeze=0.0, lift=0.0, hold=0.0)
    with pytest.raises(ConfigError, match=r"policy.train.sampling: unknown key 'near_cm'"):
        from_dict({"train": {"sampling": {"near_cm": 10}}})


# --- what a frame teaches -------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def episode() -> Episode:
    return make_episode(0, steps=24)


def test_frames_weigh_by_their_stage_and_their_distance_from_the_grasp(episode: Episode) -> None:
    sampling = SamplingConfig(cruise=0.5, near=2.0, squeeze=3.0, lift=0.25, hold=0.125, near_m=0.06)
    stages = episode.stage.copy()
    stages[-2:] = Stage.HOLD
    stages[grasp_label(episode).closed + 1] = Stage.SQUEEZE
    episode = replace(episode, stage=stages)
    store = frames_of([episode], with_train(preset("debug"), sampling=sampling))
    views = store.views(torch.arange(1), mirrored=True)
    weights = store.weights(views)
    assert weights is not None
    side = ["left", "right"].index(episode.meta["sides"][0])
    goal = grasp_frames_np(episode.target[grasp_label(episode).closed])[side, :3, 3]
    expected = []
    for t, stage in enumerate(stages):
        apart = np.linalg.norm(grasp_frames_np(episode.q[t])[side, :3, 3] - goal)
        far = 2.0 if apart <= 0.06 else 0.5
        expected.append({Stage.SQUEEZE: 3.0, Stage.LIFT: 0.25, Stage.HOLD: 0.125}.get(Stage(stage), far))
    assert {0.5, 2.0, 3.0, 0.25, 0.125} == set(expected)
    assert weights.tolist() == expected * 2  # mirror images weigh the same


def test_shares_before_and_after_weighting_are_told(episode: Episode) -> None:
    stages = np.full(24, Stage.LIFT)
    stages[:6] = Stage.HOLD
    sampling = SamplingConfig(lift=1.0, hold=3.0)
    store = frames_of([replace(episode, stage=stages)], with_train(preset("debug"), sampling=sampling))
    shares = store.shares(store.views(torch.arange(1), mirrored=True))
    assert list(shares) == ["cruise", "near", "squeeze", "lift", "hold"]
    assert shares["lift"] == pytest.approx((0.75, 0.5)) and shares["hold"] == pytest.approx((0.25, 0.5))
    assert shares["near"] == (0.0, 0.0)


def test_weights_that_are_all_alike_are_none(episode: Episode) -> None:
    store = frames_of([episode], with_train(preset("debug"), sampling=SamplingConfig(near_m=0.5)))
    assert store.weights(torch.arange(3)) is None


def test_an_episode_without_a_grasp_weighs_by_stage_alone(episode: Episode) -> None:
    silent = replace(episode, stage=np.full(len(episode), Stage.LIFT), meta={})
    store = frames_of([silent], with_train(preset("debug"), sampling=SamplingConfig(near=9.0, lift=0.5)))
    assert set(store.weights(torch.arange(4)).tolist()) == {0.5}


# --- the stage ------------------------------------------------------------------------------------------------------


def with_stage(config: PolicyConfig) -> PolicyConfig:
    return replace(config, decoder=replace(config.decoder, stage_head=True))


def test_stages_of_a_chunk_are_those_of_its_steps(episode: Episode) -> None:
    stages = episode.stage.copy()
    stages[5] = 17  # of another kind of demonstration
    store = frames_of([replace(episode, stage=stages)], with_stage(preset("debug")))
    views = torch.tensor([3, store.n_frames + 3, store.n_frames - 2])
    got = store.batch(views, store.bounds(views)).stage
    expected = [int(stage) for stage in stages]
    expected[5] = -1
    last = len(episode) - 1
    assert got[0].tolist() == expected[3:7] == got[1].tolist()
    assert got[2].tolist() == [expected[last - 1], expected[last], expected[last], expected[last]]


def test_stages_that_are_not_known_do_not_count(episode: Episode) -> None:
    store = frames_of([episode], with_stage(preset("debug")))
    views = torch.arange(2)
    batch = store.batch(views, store.bounds(views))
    logits = torch.zeros(2, 4, 5)
    assert float(stage_loss(logits, batch)) == pytest.approx(np.log(5.0))
    hidden = batch._replace(stage=torch.full_like(batch.stage, -1))
    assert float(stage_loss(logits, hidden)) == 0.0
    right = torch.nn.functional.one_hot(batch.stage, 5).float()
    assert stage_share(right, batch) == 1.0


def test_without_its_switch_there_is_no_stage(episode: Episode) -> None:
    store = frames_of([episode], preset("debug"))
    views = torch.arange(2)
    batch = store.batch(views, store.bounds(views))
    network = PolicyNetwork(preset("debug"))
    assert batch.stage.numel() == 0 and network(*batch[:4]).stage is None
    assert not any("stage" in name for name in network.state_dict())
    assert not preset("paper").decoder.stage_head and preset("paper").train.state_dropout == 0.0


def test_the_stage_is_learned(tmp_path: Path) -> None:
    config = with_train(
        with_stage(preset("debug")),
        steps=150,
        batch=16,
        validation_share=0.0,
        warmup_steps=10,
        ema_decay=0.9,
        learning_rate=4e-3,
        weight_decay=0.0,
        **STILL,
    )
    store = frames_of([make_episode(i, steps=8) for i in range(4)], config)
    train(config, store, Run(out=tmp_path, quiet=True))
    views = store.views(torch.arange(4), mirrored=True)
    batch = store.batch(views, store.bounds(views))
    with torch.no_grad():
        assert stage_share(load_checkpoint(tmp_path).network()(*batch[:4]).stage, batch) > 0.9


# --- the state that is dropped at times -----------------------------------------------------------------------------


def test_the_state_is_dropped_in_its_share_of_the_samples_by_the_seed(episode: Episode) -> None:
    plain, dropping = (frames_of([episode], with_train(preset("debug"), state_dropout=p, **STILL)) for p in (0.0, 0.3))
    views = torch.arange(24).repeat(40)
    bounds = plain.bounds(views)
    first, second, other = (dropping.batch(views, bounds, torch.Generator().manual_seed(seed)) for seed in (0, 0, 1))
    full = plain.batch(views, bounds, torch.Generator().manual_seed(0))
    gone = (first.proprioception == 0.0).all(dim=1)
    assert float(gone.float().mean()) == pytest.approx(0.3, abs=0.05)
    assert torch.equal(first.proprioception[~gone], full.proprioception[~gone])
    assert torch.equal(first.proprioception, second.proprioception)
    assert not torch.equal(gone, (other.proprioception == 0.0).all(dim=1))
    assert torch.equal(first.features, full.features) and torch.equal(first.actions, full.actions)


def test_nothing_is_dropped_where_it_is_measured(episode: Episode) -> None:
    store = frames_of([episode], with_train(preset("debug"), state_dropout=0.9))
    views = torch.arange(24)
    assert (store.batch(views, store.bounds(views)).proprioception != 0.0).any(dim=1).all()


def test_dropping_a_state_that_is_not_there_is_refused() -> None:
    config = preset("debug")
    with pytest.raises(ConfigError, match=r"train.state_dropout: there is no state to drop"):
        replace(
            config,
            observation=replace(config.observation, proprioception=False),
            train=replace(config.train, state_dropout=0.1),
        )
    with pytest.raises(ConfigError, match=r"must be in \[0, 1\)"):
        TrainConfig(state_dropout=1.0)


# --- hands that touch before the squeeze -----------------------------------------------------------------------------


def touched(config: PolicyConfig, **train: object) -> PolicyConfig:
    config = with_train(config, following_noise_rad=0.0, **STILL, **train)
    return replace(config, observation=replace(config.observation, following_error=True))


def test_hands_touch_in_their_share_before_the_squeeze_alone_and_by_the_seed(episode: Episode) -> None:
    config = replace(preset("debug"), observation=replace(preset("debug").observation, following_error=True))
    plain = frames_of([episode], touched(config))
    touching = frames_of([episode], touched(config, touch_share=0.3, touch_rad=0.1))
    views = torch.arange(plain.n_frames).repeat(200)
    bounds = plain.bounds(views[: plain.n_frames])
    joints = 18 + 2 * N_HAND_JOINTS  # where the following errors begin
    first, again = (touching.batch(views, bounds, torch.Generator().manual_seed(0)) for _ in range(2))
    without = plain.batch(views, bounds, torch.Generator().manual_seed(0))
    assert torch.equal(first.proprioception, again.proprioception)
    assert torch.equal(first.actions, without.actions)  # what it shall do stays
    is_before = torch.from_numpy(episode.stage).repeat(200)[: len(views)] < Stage.SQUEEZE
    assert is_before.any() and not is_before.all()
    for columns in (slice(joints, joints + N_HAND_JOINTS), slice(joints + N_HAND_JOINTS, joints + 2 * N_HAND_JOINTS)):
        more = first.proprioception[:, columns] - without.proprioception[:, columns]
        is_touched = (more != 0.0).any(dim=1)
        assert not is_touched[~is_before].any()
        assert float(is_touched[is_before].float().mean()) == pytest.approx(0.3, abs=0.05)
        assert float(more.min()) >= -1e-6 and float(more.max()) <= 1.0 + 1e-6  # 0.1 rad is 1 there


def test_touches_without_a_following_error_are_refused() -> None:
    with pytest.raises(ConfigError, match=r"train.touch_share: there is no following error"):
        replace(preset("paper"), train=replace(preset("paper").train, touch_share=0.1))
    with pytest.raises(ConfigError, match=r"train.touch_share: 1.5, must be in \[0, 1\]"):
        TrainConfig(touch_share=1.5)


# --- all together ---------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def everything() -> FrameStore:
    config = preset("debug")
    sampling = SamplingConfig(cruise=0.5, near=2.0, hold=0.25)
    config = replace(
        config,
        observation=replace(config.observation, hand_surface=True),
        decoder=replace(config.decoder, stage_head=True, grasp_query=True),
        train=replace(config.train, steps=6, sampling=sampling, state_dropout=0.3),
    )
    return frames_of([make_episode(i, steps=6) for i in range(4)], config)


def test_three_steps_and_three_resumed_equal_six(everything: FrameStore, tmp_path: Path) -> None:
    config = everything.config
    whole = train(config, everything, Run(out=tmp_path / "whole", quiet=True))
    first = train(config, everything, Run(out=tmp_path / "parts", quiet=True, stop_at_step=3))
    second = train(config, everything, Run(out=tmp_path / "parts", quiet=True, resume=True))
    assert first + second == whole and len(whole) == 6
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("whole", "parts")]
    assert weights[0] == weights[1]
