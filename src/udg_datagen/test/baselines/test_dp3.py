"""DP3: its noise, its samples, a training in small, and what the policy does with it."""

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from udg_datagen.baselines.dp3.checkpoint import WEIGHTS_NAME, Scale, load
from udg_datagen.baselines.dp3.config import DP3Config, size_of
from udg_datagen.baselines.dp3.dp3_train import STATE_NAME, Budget, budget_of, rate_share, samples, scales_of, train
from udg_datagen.baselines.dp3.network import Diffusion, DP3Network
from udg_datagen.baselines.dp3.policy import DP3Policy
from udg_datagen.benchmark.policies import NotAvailableError, entrants
from udg_datagen.evaluation.policy import Observation, Start, checked
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q
from udg_policy.config import preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_store import FrameStore, frames_of
from udg_sim.objects.library import ObjectLibrary

DEBUG = size_of("debug")


@pytest.fixture(scope="module")
def store() -> FrameStore:
    base = preset("debug")
    config = dataclasses.replace(base, train=dataclasses.replace(base.train, mirror=False, validation_split="episode"))
    return frames_of([make_episode(seed, steps=6) for seed in range(3)], config)


@pytest.fixture(scope="module")
def folder(store: FrameStore, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("dp3") / "run"
    train(DEBUG, store, out, Budget(steps=3), seed=0, data="hash")
    return out


def test_the_noise_grows_to_nothing_but_noise_and_ddim_takes_it_back() -> None:
    """Squared cosine: cos^2((0.01 + 0.008) / 1.008 * pi / 2) / cos^2(0.008 / 1.008 * pi / 2) after the first step."""
    diffusion = Diffusion(DP3Config())
    first = (np.cos((0.01 + 0.008) / 1.008 * np.pi / 2) / np.cos(0.008 / 1.008 * np.pi / 2)) ** 2
    assert float(diffusion.kept[0]) == pytest.approx(first, abs=1e-6) and float(diffusion.kept[-1]) < 1e-6
    assert diffusion.steps() == [90, 80, 70, 60, 50, 40, 30, 20, 10, 0]
    generator = torch.Generator().manual_seed(0)
    clean, x = torch.rand(2, 4, 36, generator=generator) * 2 - 1, torch.randn(2, 4, 36, generator=generator)
    noisy = diffusion.noisy(clean, x, torch.tensor([90, 90]))
    for step in diffusion.steps():  # with a perfect estimate of the clean actions
        noisy = diffusion.back(noisy, clean, step)
    torch.testing.assert_close(noisy, clean)


def test_scales_map_ranges_to_one_and_what_never_changes_to_zero() -> None:
    scale = Scale(torch.tensor([-1.0, 2.0]), torch.tensor([3.0, 2.0]))
    torch.testing.assert_close(
        scale.normalise(torch.tensor([[3.0, 2.0], [0.0, 2.5]])), torch.tensor([[1.0, 0.0], [-0.5, 0.5]])
    )
    values = torch.tensor([1.7, 2.0])
    torch.testing.assert_close(scale.denormalise(scale.normalise(values)), values)


def test_samples_hold_the_observation_before_and_targets_from_it_on(store: FrameStore) -> None:
    """Views 6 and 8 are the first and the third frame of the second episode; the last target is that of its end."""
    found = samples(store, torch.tensor([6, 8, 11]), DEBUG)
    assert found.points.shape == (3, 2, store.points(torch.tensor([6])).shape[1], 3)
    episode = make_episode(1, steps=6)
    torch.testing.assert_close(found.q[0], torch.from_numpy(episode.q[[0, 0]]).float())
    torch.testing.assert_close(found.q[1], torch.from_numpy(episode.q[[1, 2]]).float())
    torch.testing.assert_close(found.targets[1], torch.from_numpy(episode.target[[1, 2, 3, 4]]).float())
    torch.testing.assert_close(found.targets[2], torch.from_numpy(episode.target[[4, 5, 5, 5]]).float())
    torch.testing.assert_close(found.points[1, 1], store.points(torch.tensor([8]))[0])
    torch.testing.assert_close(found.points[1, 0], store.points(torch.tensor([7]))[0])
    torch.testing.assert_close(found.points[0, 0], found.points[0, 1])  # nothing was before


def test_the_order_of_points_does_not_matter() -> None:
    network, generator = DP3Network(DEBUG), torch.Generator().manual_seed(0)
    points, q = torch.randn(1, 2, 20, 3, generator=generator), torch.randn(1, 2, 36, generator=generator)
    torch.testing.assert_close(network.observed(points, q), network.observed(points.flip(2), q))


def test_scales_are_of_all_training_views(store: FrameStore) -> None:
    """Views 1 and 20, frame 2 mirrored, of 18 frames: the range of both."""
    scales = scales_of(store, torch.tensor([1, 20]))
    q, targets = store.joints(torch.tensor([1, 20]), (0,))
    torch.testing.assert_close(scales["q"].low, torch.minimum(q[0, 0], q[1, 0]))
    torch.testing.assert_close(scales["target"].high, torch.maximum(targets[0, 0], targets[1, 0]))
    points = store.points(torch.tensor([1, 20]))
    torch.testing.assert_close(scales["points"].high, points.flatten(0, 1).amax(dim=0))


def test_the_rate_rises_in_a_line_and_falls_by_a_cosine_to_the_end() -> None:
    """100 steps, of which 20 are warm-up: the middle of the cosine is at step 60."""
    found = [rate_share(step, step / 100, 20) for step in (0, 10, 20, 60, 100)]
    assert found == pytest.approx([0.0, 0.5, 1.0, 0.5, 0.0], abs=1e-12)


def test_gradients_are_those_of_the_maximum_over_all_points() -> None:
    network, generator = DP3Network(DEBUG).double(), torch.Generator().manual_seed(0)
    points = torch.randn(3, 40, 3, generator=generator, dtype=torch.float64)
    q = torch.randn(3, 36, generator=generator, dtype=torch.float64)
    encoder, weights = network.encoder, list(network.encoder.parameters())
    whole = torch.cat([encoder.projection(encoder.points(points).amax(dim=1)), encoder.state(q)], dim=-1)
    expected = torch.autograd.grad(whole.square().mul(torch.arange(whole.shape[1])).sum(), weights)
    found = encoder(points, q)
    torch.testing.assert_close(found, whole)
    gradients = torch.autograd.grad(found.square().mul(torch.arange(found.shape[1])).sum(), weights)
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other)


def test_a_training_in_small_learns_and_is_repeatable(store: FrameStore, tmp_path: Path) -> None:
    losses = train(DEBUG, store, tmp_path / "a", Budget(steps=60), seed=1)
    assert np.mean(losses[-10:]) < 0.75 * np.mean(losses[:3])
    assert train(DEBUG, store, tmp_path / "b", Budget(steps=60), seed=1) == losses
    figures = load(tmp_path / "a").figures
    assert (figures["steps"], figures["samples"]) == (60, 480)


def test_an_interrupted_training_goes_on_to_the_same_end(store: FrameStore, tmp_path: Path) -> None:
    whole = train(DEBUG, store, tmp_path / "whole", Budget(steps=12), seed=1)
    halves = [train(DEBUG, store, tmp_path / "halves", Interrupted(steps=12, at=5), seed=1)]
    halves.append(train(DEBUG, store, tmp_path / "halves", Budget(steps=12), seed=1, resume=True))
    assert sum(halves, []) == whole
    one, two = (load(tmp_path / name).weights for name in ("whole", "halves"))
    assert all(torch.equal(one[name], two[name]) for name in one)
    with pytest.raises(UdgError, match=f"{STATE_NAME}: of another size, seed or data"):
        train(DEBUG, store, tmp_path / "halves", Budget(steps=12), seed=2, resume=True)
    assert budget_of(tmp_path / "halves" / STATE_NAME) == Budget(steps=12)  # what --resume alone continues to
    (tmp_path / "halves" / STATE_NAME).write_bytes(b"\0")
    with pytest.raises(UdgError, match="nothing to resume there"):
        budget_of(tmp_path / "halves" / STATE_NAME)
    with pytest.raises(UdgError, match="nothing to resume there"):
        train(DEBUG, store, tmp_path / "halves", Budget(steps=12), seed=1, resume=True)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Interrupted(Budget):
    """A budget that ends after `at` steps, as an interruption would."""

    at: int

    def progress(self, step: int, elapsed_s: float) -> float:
        return 1.0 if step == self.at else super().progress(step, elapsed_s)


def observation(step: int) -> Observation:
    episode = make_episode(0, steps=6)
    cloud = np.concatenate([episode.cloud_xyz[step], episode.cloud_label[step][:, None]], axis=1).astype(np.float32)
    return Observation(lambda: cloud, episode.q[step], 0.1 * step)


def start(seed: int = 0) -> Start:
    target = ObjectLibrary().get("cube_60")
    return Start(target=target, T_world_object=np.eye(4), q=HOME_Q.copy(), seed=seed)


def played(policy: DP3Policy, seed: int = 0) -> np.ndarray:
    policy.reset(start(seed))
    return np.concatenate([checked(policy.act(observation(step))) for step in range(6)])


def test_the_policy_draws_a_chunk_every_third_step_from_the_trials_seed(folder: Path) -> None:
    policy = DP3Policy.load(folder)
    targets = played(policy)
    assert targets.shape == (6, 36)
    np.testing.assert_array_equal(played(policy), targets)
    assert not np.array_equal(played(policy, seed=1), targets)
    policy.reset(start())
    seen = [observation(step) for step in range(3)]
    for one in seen:
        policy.act(one)
    assert ["points" in vars(one) for one in seen] == [True, False, True]  # looked at: now, and before the next chunk


def test_without_an_object_the_policy_holds_its_command(folder: Path) -> None:
    """The measured joints lag behind a squeeze: to command them would let go."""
    policy = DP3Policy.load(folder)
    policy.reset(start())

    def unseen(q: np.ndarray) -> Observation:
        return Observation(lambda: np.ones((9, 4)), q, 0.0)

    np.testing.assert_array_equal(policy.act(unseen(HOME_Q)), HOME_Q)
    targets = [policy.act(observation(step)) for step in range(3)]
    for _ in range(2):
        np.testing.assert_array_equal(policy.act(unseen(HOME_Q - 0.1)), targets[-1])


def test_it_takes_part_by_its_folder_and_a_damaged_one_is_named(folder: Path, tmp_path: Path) -> None:
    (entrant,) = entrants(f"dp3:{folder}")
    assert entrant.data_hash == "hash" and entrant.trained_on == ("ball",)
    with pytest.raises(UdgError, match="none is shipped"):
        entrants("dp3")
    with pytest.raises(UdgError, match="no checkpoint of DP3"):
        entrants(f"dp3:{tmp_path}")
    weights = (folder / WEIGHTS_NAME).read_bytes()
    (folder / WEIGHTS_NAME).write_bytes(weights[:-1])
    with pytest.raises(NotAvailableError, match="truncated"):  # since: its trials are not run, and not lost
        entrant.make(None)  # type: ignore[arg-type]
    with pytest.raises(UdgError, match="truncated"):
        load(folder)
    (folder / WEIGHTS_NAME).write_bytes(weights)


def test_bad_settings_are_named() -> None:
    with pytest.raises(UdgError, match="valid: simple, small, debug"):
        size_of("large")
    with pytest.raises(UdgError, match="horizon 4 must hold"):
        DP3Config(n_actions=4)
    with pytest.raises(UdgError, match="learning rate 0.0, valid: above 0"):
        DP3Config(learning_rate=0.0)
    with pytest.raises(UdgError, match="minutes"):
        Budget(minutes=0.0)
