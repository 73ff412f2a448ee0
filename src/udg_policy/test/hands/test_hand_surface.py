"""Vectors from the hands to what the cameras see: by hand, under mirroring and motion, the same in training and use."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import torch

from udg_description.layout import HOME_Q, SIDES, mirror_q
from udg_description.robot import current_robot
from udg_description.transforms import inverse, transform_points
from udg_policy.config import PolicyConfig, TrainConfig, preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_store import FrameStore, frames_of
from udg_policy.hands.fingertips import fingertip_paths
from udg_policy.hands.hand_surface import (
    N_HAND_POINTS,
    N_SURFACE_TOKENS,
    SURFACE_FEATURES,
    hand_points,
    surface_features,
)
from udg_policy.hands.poses import grasp_frames_np, robot_model
from udg_policy.inference.engine import PolicyEngine
from udg_policy.network.checkpoint import Checkpoint
from udg_policy.network.network import PolicyNetwork
from udg_policy.network.observation import proprioception_width, state_width

FLIP = torch.tensor([1.0, -1.0, 1.0])


def with_surface(config: PolicyConfig, train: TrainConfig | None = None) -> PolicyConfig:
    return replace(config, observation=replace(config.observation, hand_surface=True), train=train or config.train)


@pytest.fixture(scope="module")
def store() -> FrameStore:
    return frames_of([make_episode(0, steps=6)], with_surface(preset("debug")))


def surface_of(store: FrameStore, beside: torch.Tensor) -> torch.Tensor:
    """(B, 2, 27, 8) in metres but for the last."""
    features = beside[:, state_width(store.config.observation) :].unflatten(1, (2, N_HAND_POINTS, SURFACE_FEATURES))
    return torch.cat([0.15 * features[..., :7], features[..., 7:]], dim=-1)


def random_q(n: int) -> np.ndarray:
    return HOME_Q + np.random.default_rng(0).uniform(-0.1, 0.1, size=(n, 36))


def test_hand_points_are_tips_pads_joints_and_a_grid_on_the_palm() -> None:
    q = random_q(3)
    points = hand_points(q)
    assert points.shape == (3, 2, N_HAND_POINTS, 3) and N_HAND_POINTS == 27
    tips = fingertip_paths(q).transpose(2, 0, 1, 3)
    for one, own, expected in zip(q, points, tips, strict=True):
        world = transform_points(grasp_frames_np(one), own)
        np.testing.assert_allclose(world[:, 0:15:3], expected, atol=1e-9)
        poses = robot_model().link_poses_np(one)
        for side, row in zip(SIDES, world, strict=True):
            pad = current_robot().hands[side].contacts["mid"]
            T = poses[pad.link]
            np.testing.assert_allclose(
                np.linalg.norm(row[7] - transform_points(T, np.array(pad.center)[None])[0]), pad.radius
            )
            np.testing.assert_allclose(row[8], T[:3, 3], atol=1e-9)
            in_palm = transform_points(inverse(poses[f"{side}_hand_link"]), row[15:])
            np.testing.assert_allclose(np.abs(in_palm[:, 1]), 0.0228, atol=1e-9)
    arms_elsewhere = q.copy()
    arms_elsewhere[:, :6] += 0.3
    np.testing.assert_allclose(hand_points(arms_elsewhere), points, atol=1e-9)  # only the fingers count


def test_hand_points_of_the_mirrored_robot_are_mirrored() -> None:
    q = random_q(3)
    flipped = hand_points(q)[:, ::-1] * FLIP.numpy()
    np.testing.assert_allclose(hand_points(mirror_q(q)), flipped, atol=5e-4)  # the thumbs differ by 0.24 mm


def test_the_vector_leads_to_the_nearest_seen_point() -> None:
    q, T = HOME_Q[None], grasp_frames_np(HOME_Q)
    seen = torch.tensor(transform_points(T[1], np.array([[0.0, 0.05, 0.0], [0.5, 0.0, 0.0]])), dtype=torch.float32)
    features = surface_features(seen[None], None, torch.tensor(T[None], dtype=torch.float32), torch.tensor(q))
    assert features.shape == (1, N_SURFACE_TOKENS * SURFACE_FEATURES)
    right = features.view(2, N_HAND_POINTS, SURFACE_FEATURES)[1]
    place, vector = 0.15 * right[:, :3], 0.15 * right[:, 3:6]
    np.testing.assert_allclose(place, hand_points(q)[0, 1], atol=1e-5)
    np.testing.assert_allclose(place + vector, np.tile([0.0, 0.05, 0.0], (N_HAND_POINTS, 1)), atol=1e-5)
    np.testing.assert_allclose(0.15 * right[:, 6], vector.norm(dim=-1), atol=1e-6)
    np.testing.assert_allclose(right[:, 7], np.exp(-vector.norm(dim=-1) / 0.02), atol=1e-5)


def test_points_of_the_robot_do_not_count() -> None:
    T = torch.tensor(grasp_frames_np(HOME_Q)[None], dtype=torch.float32)
    q = torch.tensor(HOME_Q[None])
    points = 0.1 * torch.randn(1, 40, 3) + torch.tensor([0.6, 0.0, 0.1])
    seen = torch.arange(40)[None] % 2 == 0
    got = surface_features(points, seen, T, q)
    torch.testing.assert_close(got, surface_features(points[:, ::2], None, T, q), atol=1e-6, rtol=0)
    nothing = surface_features(points, torch.zeros_like(seen), T, q).view(N_SURFACE_TOKENS, SURFACE_FEATURES)
    assert (nothing[:, 3:7] == 0.0).all()


def test_mirrored_views_have_mirrored_vectors(store: FrameStore) -> None:
    views = torch.arange(store.n_frames)
    bounds = store.bounds(views)
    plain, image = (
        surface_of(store, store.batch(some, bounds).proprioception) for some in (views, views + store.n_frames)
    )
    expected = plain.flip(1)
    torch.testing.assert_close(image[..., :3], expected[..., :3] * FLIP, atol=1e-3, rtol=0)
    torch.testing.assert_close(image[..., 3:6], expected[..., 3:6] * FLIP, atol=1e-3, rtol=0)
    torch.testing.assert_close(image[..., 6], expected[..., 6], atol=1e-3, rtol=0)


def test_a_moved_scene_changes_no_vector() -> None:
    train = TrainConfig(
        scene_shift_m=0.05,
        scene_turn_rad=0.3,
        hand_noise_m=0.0,
        hand_noise_rad=0.0,
        point_noise_m=0.0,
        cloud_noise_m=0.0,
        joint_noise_rad=0.0,
    )
    store = frames_of([make_episode(0, steps=6)], with_surface(preset("debug"), train))
    views = torch.arange(store.n_frames)
    bounds = store.bounds(views)
    plain, moved = (
        surface_of(store, store.batch(views, bounds, generator).proprioception)
        for generator in (None, torch.Generator().manual_seed(0))
    )
    torch.testing.assert_close(plain, moved, atol=1e-4, rtol=0)


@pytest.mark.parametrize("whole", [False, True])
def test_training_and_engine_see_the_same(whole: bool) -> None:
    config = with_surface(preset("debug"))
    if whole:
        observation = replace(config.observation, n_seen=0, n_robot=0, n_whole=2048)
        config = replace(
            config, observation=observation, encoder=replace(config.encoder, centres_1=(64, 0), centres_2=(16, 0))
        )
    episode = make_episode(0, steps=3)
    store = frames_of([episode], config)
    views = torch.arange(store.n_frames)
    bounds = store.bounds(views)
    torch.manual_seed(0)
    network = PolicyNetwork(config)
    torch.nn.init.normal_(network.head[-1].weight, std=0.3)
    engine = PolicyEngine(Checkpoint(config=config, bounds=bounds, weights=network.state_dict()))
    with torch.no_grad():
        expected = network.action_head.act(network.eval()(*store.batch(views, bounds)[:4]).actions)
    assert expected.std() > 0.05
    for t in range(3):
        cloud = np.column_stack([episode.cloud_xyz[t], episode.cloud_label[t]])
        got = engine.distribution(cloud, episode.q[t]).mode[0]
        torch.testing.assert_close(got, expected[t], atol=0.02, rtol=0)


def test_the_actions_depend_on_the_vectors(store: FrameStore) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(store.config)
    views = torch.arange(2)
    batch = store.batch(views, store.bounds(views))
    beside = batch.proprioception.clone().requires_grad_(True)
    (grad,) = torch.autograd.grad(network(batch.features, beside, *batch[2:4]).actions.sum(), beside)
    assert float(grad[:, state_width(store.config.observation) :].abs().sum()) > 0.0


def test_the_switch_is_off_by_default() -> None:
    for name in ("paper", "edge"):
        observation = preset(name).observation
        assert not observation.hand_surface and proprioception_width(observation) == state_width(observation)
    assert not any("surface" in name for name in PolicyNetwork(preset("debug")).state_dict())
