"""Structure of the network: attention, maximum, presets' shapes, the paper's sizes."""

import dataclasses

import numpy as np
import pytest
import torch

from udg_policy.config import PolicyConfig, preset, preset_names
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_store import Batch, FrameStore, frames_of
from udg_policy.network.network import PolicyNetwork


@pytest.fixture(scope="module")
def store() -> FrameStore:
    return frames_of([make_episode(0, steps=6)], preset("debug"))


@pytest.fixture(scope="module")
def batch(store: FrameStore) -> Batch:
    views = store.views(torch.arange(1), mirrored=True)
    return store.batch(views, store.bounds(views))


def test_changing_the_queries_does_not_change_the_point_tokens(batch: Batch) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(preset("debug")).eval()
    memory, chunk = network.encode(*batch[:4]), network(*batch[:4]).actions
    with torch.no_grad():
        network.queries.add_(torch.randn_like(network.queries))
    torch.testing.assert_close(network.encode(*batch[:4]), memory, rtol=0, atol=0)
    assert not torch.allclose(network(*batch[:4]).actions, chunk)


def test_each_query_depends_on_the_points(batch: Batch) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(preset("debug"))
    features = batch.features.clone().requires_grad_(True)
    for step in range(preset("debug").decoder.chunk):
        (grad,) = torch.autograd.grad(network(features, *batch[1:4]).actions[:, step].sum(), features)
        assert grad.abs().sum() > 0


def test_row_norms_are_trained_and_used(batch: Batch) -> None:
    config = preset("debug")
    config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, layer_norm=True))
    torch.manual_seed(0)
    network = PolicyNetwork(config)
    network(*batch[:4]).actions.sum().backward()
    gains = [p for name, p in network.named_parameters() if "row_norms" in name and name.endswith("weight")]
    assert len(gains) == 3 and all(float(gain.grad.abs().sum()) > 0 for gain in gains)


@pytest.mark.parametrize("change", [{"head": "regression"}, {"attention": "full"}])
def test_ablations_have_the_same_output_shape(batch: Batch, change: dict[str, str]) -> None:
    config = preset("debug")
    config = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, **change))
    network = PolicyNetwork(config)
    out = network.action_head.distribution(network(*batch[:4]).actions)
    assert out.mu.shape == batch.actions.shape
    assert (out.sigma is None) == (change.get("head") == "regression")


def test_sigma_starts_at_its_initial_value(batch: Batch) -> None:
    config = preset("debug")
    network = PolicyNetwork(config)
    sigma = network.action_head.distribution(network(*batch[:4]).actions).sigma
    assert sigma.min() > config.decoder.sigma_least
    assert float(sigma.detach().mean()) == pytest.approx(config.decoder.sigma_initial, abs=0.05)


@pytest.mark.parametrize("name", preset_names())
def test_presets_make_a_chunk(name: str) -> None:
    config = preset(name)
    store = frames_of([make_episode(1, steps=2)], config)
    views = store.views(torch.arange(1), mirrored=False)
    batch = store.batch(views, store.bounds(views))
    network = PolicyNetwork(config).eval()
    out = network.action_head.distribution(network(*batch[:4]).actions)
    assert out.mu.shape == (2, config.decoder.chunk, 36)
    assert torch.isfinite(out.mu).all()


def value_of(config: PolicyConfig, place: str) -> object:
    value: object = config
    for name in place.split("."):
        value = getattr(value, name)
    return value


@pytest.mark.parametrize(
    ("section", "said", "place", "value"),
    [
        ("V-B", "FPS ... 2,048 points", "observation.n_points", 2048),
        ("V-B", "FPS of the scene cloud, no classes", "observation.n_whole", 2048),
        ("V-A", "the policy receives scene point clouds as input", "observation.proprioception", False),
        ("V-A", "point clouds alone: no labels", "observation.label_feature", False),
        ("VI-B", "a consistent coordinate system for both domains", "observation.frames", ("world",)),
        ("V-B", "the first layer does not perform downsampling", "encoder.centres_1", (2048, 0)),
        ("V-B", "its 32 nearest neighbors (including the point itself)", "encoder.neighbours_1", 32),
        ("V-B", "downsamples the 2,048 points to 256", "encoder.centres_2", (256, 0)),
        ("V-B", "a similar structure", "encoder.neighbours_2", 32),
        ("V-B", "batch normalization", "encoder.batch_norm", True),
        ("V-B", "batch normalization", "encoder.layer_norm", False),
        ("V-C", "unidirectional attention to the point features", "decoder.attention", "unidirectional"),
        ("V-C", "bounded Gaussian ... truncated normal", "decoder.head", "truncated_normal"),
        ("V-C", "optimizes the negative log-likelihood", "train.nll_weight", 1.0),
        ("V-C", "the likelihood and nothing else", "train.l1_weight", 0.0),
        ("V-C", "from the start", "train.nll_start", 0.0),
        ("V-C", "action vectors to be executed by the robot", "action_space", "joint_absolute"),
    ],
)
def test_paper_preset_is_the_papers(section: str, said: str, place: str, value: object) -> None:
    assert value_of(preset("paper"), place) == value, f"paper {section}: {said}"


def test_paper_preset_has_the_papers_structure() -> None:
    config = preset("paper")
    network = PolicyNetwork(config)
    for layer in (network.layer_1, network.layer_2):  # 1x1 convolution, batch normalization, ReLU, max pooling
        assert len(layer.mlp.norms) == len(layer.mlp.linears) > 0
        assert all(linear.bias is None for linear in layer.mlp.linears)
    assert network.state is None  # no token beside the points'
    assert network.queries.shape[0] == config.decoder.chunk > 1  # a chunk of learnable action query tokens
    assert isinstance(network.head, torch.nn.Sequential) and len(network.head) == 3  # a multi-layer perceptron
    store = frames_of([make_episode(1, steps=1)], config)
    views = torch.tensor([0])
    batch = store.batch(views, store.bounds(views))
    np.testing.assert_array_equal(batch.neighbours_1[0, :, 0].numpy(), np.arange(2048))  # the point itself included
