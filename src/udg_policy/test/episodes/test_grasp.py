"""The predicted grasp: its labels, their symmetries, who attends to whom, its loss, and that it is learned."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from udg_description.frames import HAND_LINK
from udg_description.layout import HOME_Q, mirror_q
from udg_description.transforms import transform_points
from udg_policy.config import PolicyConfig, TrainConfig, from_dict, preset, to_dict
from udg_policy.episodes.episode import Episode, Stage
from udg_policy.episodes.grasp import (
    KEY_POINTS,
    STRATEGIES,
    UNKNOWN,
    PredictedGrasp,
    grasp_label,
    grasp_lines,
    key_points,
)
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_store import Batch, FrameStore, frames_of
from udg_policy.hands import rotations
from udg_policy.hands.fingertips import fingertip_paths
from udg_policy.hands.poses import grasp_frames_np, robot_model
from udg_policy.inference.engine import PolicyEngine
from udg_policy.network.checkpoint import Checkpoint, load_checkpoint
from udg_policy.network.network import GraspOutput, PolicyNetwork
from udg_policy.training.loss import grasp_errors, grasp_loss, l1_weights, policy_loss
from udg_policy.training.train import Run, train

SHIPPED = Path(__file__).parents[2] / "udg_policy" / "data" / "edge"
QUIET = TrainConfig(hand_noise_m=0.0, hand_noise_rad=0.0, point_noise_m=0.0, cloud_noise_m=0.0, joint_noise_rad=0.0)


def with_grasp(config: PolicyConfig, **train: float | bool) -> PolicyConfig:
    return replace(config, decoder=replace(config.decoder, grasp_query=True), train=replace(config.train, **train))


def mirrored(episode: Episode) -> Episode:
    xyz = episode.cloud_xyz * np.array([1.0, -1.0, 1.0], dtype=np.float32)
    label = np.where(episode.cloud_label > 0, 3 - episode.cloud_label, 0)
    sides = ["right" if side == "left" else "left" for side in episode.meta["sides"]]
    return replace(
        episode,
        cloud_xyz=xyz,
        cloud_label=label,
        q=mirror_q(episode.q),
        target=mirror_q(episode.target),
        meta={**episode.meta, "sides": sides},
    )


@pytest.fixture(scope="module")
def episode() -> Episode:
    return make_episode(0, steps=12)


@pytest.fixture(scope="module")
def store(episode: Episode) -> FrameStore:
    return frames_of([episode], with_grasp(preset("debug")))


@pytest.fixture(scope="module")
def batch(store: FrameStore) -> Batch:
    views = store.views(torch.arange(1), mirrored=True)
    return store.batch(views, store.bounds(views))


# --- labels ---------------------------------------------------------------------------------------------------------


def test_key_points_are_wrist_palm_and_fingertips() -> None:
    rng = np.random.default_rng(0)
    q = HOME_Q + rng.uniform(-0.1, 0.1, size=(4, 36))
    points = key_points(q)
    assert points.shape == (4, 2, len(KEY_POINTS), 3)
    np.testing.assert_allclose(points[:, :, 2:].transpose(1, 2, 0, 3), fingertip_paths(q), atol=1e-9)
    for number, side in enumerate(("left", "right")):
        T = robot_model().link_poses_np(q[1])[HAND_LINK[side]]
        np.testing.assert_allclose(points[1, number, 0], T[:3, 3], atol=1e-9)
        y = 0.0228 if side == "right" else -0.0228  # the palm's surface
        np.testing.assert_allclose(points[1, number, 1], T[:3, :3] @ [0.0, y, -0.075] + T[:3, 3], atol=1e-9)
    assert len(grasp_lines()) == 6 and all(a != b for a, b in grasp_lines())


def test_the_grasp_is_the_last_target_before_the_squeeze(episode: Episode) -> None:
    label = grasp_label(episode)
    assert episode.stage[label.closed] == Stage.GRASP and (episode.stage[label.closed + 1 :] > Stage.GRASP).all()
    in_world = transform_points(label.T_grasp[0], label.points[0])
    np.testing.assert_allclose(in_world, key_points(episode.target[label.closed]), atol=1e-6)
    side = ["left", "right"].index(episode.meta["sides"][0])
    assert label.acting[0].tolist() == [int(side == 0), int(side == 1)] == label.acting[1][::-1].tolist()
    assert STRATEGIES[label.strategy] == episode.meta["strategy"]


def test_what_an_episode_does_not_tell_is_unknown(episode: Episode) -> None:
    silent = replace(episode, stage=np.zeros(len(episode)), meta={"strategy": "by the teeth"})
    label = grasp_label(silent)
    assert label.closed == label.strategy == UNKNOWN and (label.acting == UNKNOWN).all()
    store = frames_of([silent], with_grasp(preset("debug")))
    views = torch.arange(3)
    batch = store.batch(views, store.bounds(views))
    assert not batch.grasp_known.any()
    out = GraspOutput(torch.randn(3, 2, 7, 3), torch.randn(3, 2), torch.randn(3, 4))
    assert float(grasp_loss(out, batch, 0.05)) == 0.0


def test_until_it_is_made_the_grasp_stands_in_the_world_and_then_moves_with_the_hand(
    episode: Episode, store: FrameStore
) -> None:
    views = torch.arange(store.n_frames)
    points = store.batch(views, store.bounds(views)).grasp_points.double().numpy()
    closed = grasp_label(episode).closed
    grasp = key_points(episode.target[closed])
    for t, q in enumerate(episode.q):
        if t <= closed:
            np.testing.assert_allclose(transform_points(grasp_frames_np(q), points[t]), grasp, atol=2e-5)
        else:
            np.testing.assert_allclose(points[t], points[closed + 1], atol=1e-6)
    at_grasp = transform_points(np.linalg.inv(grasp_frames_np(episode.target[closed])), grasp)
    np.testing.assert_allclose(points[closed + 1], at_grasp, atol=1e-6)


def test_labels_of_a_mirrored_view_are_those_of_the_mirrored_episode(episode: Episode) -> None:
    config = with_grasp(preset("debug"))
    store, other = frames_of([episode], config), frames_of([mirrored(episode)], config)
    frames = torch.arange(store.n_frames)
    image = store.grasp(frames + store.n_frames)
    for ours, theirs in zip(image, other.grasp(frames), strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=0)
    # The mirrored points are the points mirrored, but for the 0.24 mm by which the thumbs differ.
    flipped = store.grasp(frames)[0].flip(1) * torch.tensor([1.0, -1.0, 1.0])
    torch.testing.assert_close(image[0], flipped, atol=5e-4, rtol=0)
    assert torch.equal(image[2], store.grasp(frames)[2].flip(1))


def test_labels_move_with_the_scene(episode: Episode) -> None:
    """Relative to the hands they stay as they are when everything is shifted and turned."""
    config = with_grasp(preset("debug"))
    store = frames_of([episode], replace(config, train=replace(QUIET, scene_shift_m=0.05, scene_turn_rad=0.3)))
    views = torch.arange(store.n_frames)
    bounds = store.bounds(views)
    plain, moved = store.batch(views, bounds), store.batch(views, bounds, torch.Generator().manual_seed(0))
    assert not torch.allclose(plain.features[..., :3], moved.features[..., :3], atol=0.1)
    assert torch.equal(plain.grasp_points, moved.grasp_points)


def test_a_moved_hand_is_led_to_the_same_grasp(episode: Episode) -> None:
    """Noise on the measured hand leaves the grasp where it is in the world."""
    config = with_grasp(preset("debug"))
    store = frames_of([episode], config)
    views = torch.arange(store.n_frames)
    T_now = torch.from_numpy(np.stack([grasp_frames_np(q) for q in episode.q])).float()
    noise = rotations.rigid(
        rotations.rotvec_to_matrix(0.1 * torch.randn(len(views), 2, 3)), 0.02 * torch.randn(len(views), 2, 3)
    )
    moved = rotations.transform_points(T_now @ noise, store.grasp(views, T_now @ noise)[0])
    torch.testing.assert_close(moved, rotations.transform_points(T_now, store.grasp(views)[0]), atol=1e-5, rtol=0)


# --- attention ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("training", [False, True])
def test_actions_attend_to_the_grasp_and_the_grasp_not_to_actions(batch: Batch, training: bool) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(with_grasp(preset("debug"))).train(training)
    assert network.grasp_queries is not None
    before = network(*batch[:4])
    with torch.no_grad():
        network.queries.add_(torch.randn_like(network.queries))
    other_actions = network(*batch[:4])
    assert not torch.allclose(other_actions.actions, before.actions)
    for ours, theirs in zip(other_actions.grasp, before.grasp, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-6)
    with torch.no_grad():
        network.grasp_queries.add_(torch.randn_like(network.grasp_queries))
    other_grasp = network(*batch[:4])
    assert not torch.allclose(other_grasp.actions, other_actions.actions)
    assert not torch.allclose(other_grasp.grasp.points, before.grasp.points)


def test_the_points_attend_to_no_query(batch: Batch) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(with_grasp(preset("debug")))
    memory = network.encode(*batch[:4])
    grads = torch.autograd.grad(memory.sum(), [network.grasp_queries, network.queries], allow_unused=True)
    assert grads == (None, None)


def test_the_actions_teach_the_grasp_queries_too(batch: Batch) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(with_grasp(preset("debug")))
    (grad,) = torch.autograd.grad(network(*batch[:4]).actions.square().sum(), network.grasp_queries)
    assert float(grad.abs().sum()) > 0.0


# --- the switch -----------------------------------------------------------------------------------------------------


def test_without_the_switch_there_is_nothing_of_it(batch: Batch, episode: Episode) -> None:
    config = preset("debug")
    torch.manual_seed(0)
    network = PolicyNetwork(config).eval()
    assert not any("grasp" in name for name in network.state_dict())
    assert network(*batch[:4]).grasp is None
    other = frames_of([episode], config)
    assert other.batch(torch.arange(2), other.bounds(torch.arange(2))).grasp_points.numel() == 0
    assert not preset("paper").decoder.grasp_query


def test_checkpoints_of_before_are_loaded(episode: Episode) -> None:
    """Their configuration does not know the switch."""
    values = to_dict(preset("debug"))
    del values["decoder"]["grasp_query"], values["train"]["grasp_weight"], values["train"]["unit_grasp_m"]
    assert from_dict(values) == preset("debug")
    engine = PolicyEngine(load_checkpoint(SHIPPED))
    cloud = np.column_stack([episode.cloud_xyz[0], episode.cloud_label[0]])
    assert engine.predict(cloud, episode.q[0]).grasp is None


# --- loss and prediction --------------------------------------------------------------------------------------------


def test_the_loss_by_hand(batch: Batch) -> None:
    known = torch.zeros(2, 2)
    known[0, 1] = 1.0  # the right hand of the first sample alone
    batch = Batch(*(tensor[:2] for tensor in batch))._replace(
        grasp_known=known, acting=torch.tensor([[0.0, 1.0], [-1.0, -1.0]]), strategy=torch.tensor([2, UNKNOWN])
    )
    points = batch.grasp_points + torch.tensor([0.03, -0.06, 0.0])  # mean 0.03 m
    points[0, 0] += 9.0
    out = GraspOutput(points, torch.zeros(2, 2), torch.zeros(2, 4))
    expected = 0.03 / 0.05 + np.log(2.0) + np.log(4.0)
    assert float(grasp_loss(out, batch, 0.05)) == pytest.approx(expected, rel=1e-5)
    errors = grasp_errors(out, batch)
    assert errors["grasp_points"] == pytest.approx(float(np.hypot(0.03, 0.06)), rel=1e-5)


def test_the_weight_scales_its_part_of_the_total(batch: Batch, store: FrameStore) -> None:
    bounds = store.bounds(torch.arange(store.n_frames))
    totals = []
    for weight in (0.0, 1.0):
        torch.manual_seed(0)
        config = with_grasp(preset("debug"), grasp_weight=weight)
        network = PolicyNetwork(config)
        losses = policy_loss(network, network(*batch[:4]), batch, l1_weights(config, bounds), 1.0)
        totals.append(losses.total.detach())
    assert float(totals[1] - totals[0]) == pytest.approx(float(losses.grasp.detach()), rel=1e-4)


def test_the_engine_tells_the_grasp_in_the_world(episode: Episode, store: FrameStore) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(store.config)
    bounds = store.bounds(store.views(torch.arange(1), True))
    engine = PolicyEngine(Checkpoint(config=store.config, bounds=bounds, weights=network.state_dict()))
    cloud = np.column_stack([episode.cloud_xyz[3], episode.cloud_label[3]])
    chunk, grasp = engine.predict(cloud, episode.q[3])
    np.testing.assert_array_equal(chunk, engine.act(cloud, episode.q[3]))
    assert grasp is not None
    batch = store.batch(torch.tensor([3]), bounds)
    with torch.no_grad():
        out = network.eval()(*batch[:4]).grasp
    expected = transform_points(grasp_frames_np(episode.q[3]), out.points[0].numpy())
    np.testing.assert_allclose(grasp.points_world, expected, atol=2e-3)
    np.testing.assert_allclose(grasp.acting, out.acting[0].sigmoid().numpy(), atol=1e-2)
    assert grasp.strategies.sum() == pytest.approx(1.0, abs=1e-5)
    cloud[:, 3] = np.where(cloud[:, 3] == 0, 1, cloud[:, 3])
    assert engine.predict(cloud, episode.q[3]).grasp is None  # no object


@pytest.mark.parametrize(
    ("acting", "acts"), [((0.9, 0.1), [True, False]), ((0.3, 0.2), [True, False]), ((0.7, 0.6), [True, True])]
)
def test_some_hand_always_acts(acting: tuple[float, float], acts: list[bool]) -> None:
    assert PredictedGrasp(np.zeros((2, 7, 3)), np.array(acting), np.ones(4) / 4).acts.tolist() == acts


def test_the_grasp_is_learned(tmp_path: Path) -> None:
    config = with_grasp(
        preset("debug"),
        steps=300,
        batch=16,
        mirror=True,
        validation_share=0.0,
        ema_decay=0.9,
        warmup_steps=10,
        learning_rate=4e-3,
        weight_decay=0.0,
    )
    config = replace(config, decoder=replace(config.decoder, width=64, layers=2, heads=4))
    episodes = [make_episode(i, steps=8) for i in range(4)]
    store = frames_of(episodes, config)
    torch.set_num_threads(1)
    train(config, store, Run(out=tmp_path, quiet=True))
    network = load_checkpoint(tmp_path).network()
    views = store.views(torch.arange(4), mirrored=True)
    batch = store.batch(views, store.bounds(views))
    with torch.no_grad():
        errors = grasp_errors(network(*batch[:4]).grasp, batch)
    assert errors["grasp_points"] < 0.015 and errors["grasp_hands"] > 0.98 and errors["grasp_strategy"] == 1.0
