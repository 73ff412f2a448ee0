"""The training frames: mirror images, augmentation that keeps the target, agreement with the engine's inputs."""

import dataclasses

import numpy as np
import pytest
import torch

from udg_description.layout import mirror_q, part_indices
from udg_policy.config import PolicyConfig, TrainConfig, preset
from udg_policy.episodes.episode import Episode
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_cache import Preparer
from udg_policy.frames.frame_store import FrameStore, frames_of
from udg_policy.network.observation import proprioception_width


def mirrored(episode: Episode) -> Episode:
    xyz = episode.cloud_xyz.copy()
    xyz[..., 1] *= -1
    label = np.where(episode.cloud_label > 0, 3 - episode.cloud_label, 0)
    return dataclasses.replace(
        episode, cloud_xyz=xyz, cloud_label=label, q=mirror_q(episode.q), target=mirror_q(episode.target)
    )


def without_selection(config: PolicyConfig) -> PolicyConfig:
    observation = dataclasses.replace(config.observation, n_seen=0, n_robot=0, n_whole=2048)
    encoder = dataclasses.replace(config.encoder, centres_1=(64, 0), centres_2=(16, 0))
    return dataclasses.replace(config, observation=observation, encoder=encoder)


@pytest.fixture(scope="module")
def store() -> FrameStore:
    return frames_of([make_episode(0, steps=6)], preset("debug"))


def test_a_mirrored_view_equals_the_view_of_the_mirrored_episode() -> None:
    config = without_selection(preset("debug"))
    episode = make_episode(0, steps=6)
    store, other = frames_of([episode], config), frames_of([mirrored(episode)], config)
    frames = torch.arange(store.n_frames)
    bounds = store.bounds(frames)
    image, direct = store.batch(frames + store.n_frames, bounds), other.batch(frames, bounds)
    torch.testing.assert_close(image.actions, direct.actions, atol=1e-4, rtol=0)
    torch.testing.assert_close(image.proprioception, direct.proprioception, atol=3e-3, rtol=0)
    # The sampler may break ties otherwise: compare the sets of points.
    for a, b in zip(image.features, direct.features, strict=True):
        torch.testing.assert_close(a.sort(dim=0).values, b.sort(dim=0).values, atol=2e-3, rtol=0)


def test_the_following_error_is_the_last_target_less_the_measured_joints() -> None:
    episodes = [make_episode(seed, steps=4) for seed in range(2)]
    observation = dataclasses.replace(preset("debug").observation, following_error=True)
    store = frames_of(episodes, dataclasses.replace(preset("debug"), observation=observation))
    expected = [np.concatenate([np.zeros((1, 36)), one.target[:-1] - one.q[1:]]) for one in episodes]
    frames = torch.arange(store.n_frames)
    torch.testing.assert_close(store.following(frames), torch.from_numpy(np.concatenate(expected)).float())
    image = store.following(frames + store.n_frames).numpy()
    moved = np.concatenate([mirror_q(one.target[:-1]) - mirror_q(one.q[1:]) for one in episodes])
    np.testing.assert_allclose(np.delete(image, [0, 4], axis=0), moved, atol=1e-6)
    batch = store.batch(frames, store.bounds(frames))
    assert batch.proprioception.shape[1] == proprioception_width(observation)
    left = part_indices("left_hand")
    of_left_hand = batch.proprioception[1, 18 + 24 : 18 + 36]
    torch.testing.assert_close(of_left_hand, (store.following(frames)[1, left] / 0.1).clamp(-3, 3))


def test_chunks_repeat_the_last_target_at_the_end(store: FrameStore) -> None:
    last = torch.tensor([store.n_frames - 1])
    rows = store.chunk_rows(last)[0]
    assert rows.tolist() == [store.n_frames - 1] * store.config.decoder.chunk


def test_a_moved_hand_is_led_back_to_the_demonstrated_target() -> None:
    train = TrainConfig(
        hand_noise_m=0.01,
        hand_noise_rad=0.05,
        point_noise_m=0.0,
        cloud_noise_m=0.0,
        joint_noise_rad=0.0,
        bounds_margin=3.0,
    )
    episode = make_episode(0, steps=6)
    store = frames_of([episode], dataclasses.replace(preset("debug"), train=train))
    views = torch.arange(store.n_frames)
    bounds = store.bounds(views)
    plain = store.batch(views, bounds)
    moved = store.batch(views, bounds, torch.Generator().manual_seed(0))
    assert not torch.allclose(plain.actions, moved.actions, atol=1e-3)
    # Robot points move with their hand: in the hand's own frame they stay where they are.
    labels = torch.from_numpy(np.stack([frame["labels"] for frame in Preparer(store.config)(episode).frames]))
    left = labels == 1
    torch.testing.assert_close(plain.features[..., 3:6][left], moved.features[..., 3:6][left], atol=1e-3, rtol=0)
    seen = labels == 0
    torch.testing.assert_close(plain.features[..., :3][seen], moved.features[..., :3][seen], atol=0, rtol=0)


def test_a_moved_scene_keeps_targets_and_what_the_hands_see() -> None:
    train = TrainConfig(
        scene_shift_m=0.05,
        scene_turn_rad=0.3,
        hand_noise_m=0.0,
        hand_noise_rad=0.0,
        point_noise_m=0.0,
        cloud_noise_m=0.0,
        joint_noise_rad=0.0,
    )
    store = frames_of([make_episode(0, steps=6)], dataclasses.replace(preset("debug"), train=train))
    views = torch.arange(store.n_frames)
    bounds = store.bounds(views)
    plain, moved = store.batch(views, bounds), store.batch(views, bounds, torch.Generator().manual_seed(0))
    assert torch.equal(plain.actions, moved.actions)
    torch.testing.assert_close(plain.features[..., 3:9], moved.features[..., 3:9], atol=1e-4, rtol=0)  # hands' frames
    world, other = plain.features[..., :3], moved.features[..., :3]
    assert float((world[..., :2] - other[..., :2]).abs().mean()) > 0.05
    torch.testing.assert_close(world[..., 2], other[..., 2], atol=1e-5, rtol=0)  # heights above the table
    torch.testing.assert_close(torch.cdist(world, world), torch.cdist(other, other), atol=2e-3, rtol=0)


def test_normalised_actions_decode_to_the_targets(store: FrameStore) -> None:
    episode = make_episode(0, steps=6)
    views = torch.arange(store.n_frames)
    bounds = store.bounds(views)
    actions = bounds.denormalise(store.batch(views, bounds).actions.numpy())
    for t in range(2):
        got = store.config.space.decode(actions[t], episode.q[t])
        np.testing.assert_allclose(got, episode.target[t : t + 4], atol=2e-3)


def test_the_same_generator_seed_gives_the_same_batch(store: FrameStore) -> None:
    views = torch.arange(store.n_frames)
    bounds = store.bounds(views)
    first, second = (store.batch(views, bounds, torch.Generator().manual_seed(5)) for _ in range(2))
    for a, b in zip(first, second, strict=True):
        assert torch.equal(a, b)
