"""Structure of the network: attention, maximum, presets' shapes, the paper's sizes."""

import dataclasses

import numpy as np
import pytest
import torch

from udg_policy.config import preset, preset_names
from udg_policy.frame_store import Batch, FrameStore, frames_of
from udg_policy.network import PolicyNetwork
from udg_policy.synthetic import make_episode


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
    memory, chunk = network.encode(*batch[:4]), network(*batch[:4]).mu
    with torch.no_grad():
        network.queries.add_(torch.randn_like(network.queries))
    torch.testing.assert_close(network.encode(*batch[:4]), memory, rtol=0, atol=0)
    assert not torch.allclose(network(*batch[:4]).mu, chunk)


def test_each_query_depends_on_the_points(batch: Batch) -> None:
    torch.manual_seed(0)
    network = PolicyNetwork(preset("debug"))
    features = batch.features.clone().requires_grad_(True)
    for step in range(preset("debug").decoder.chunk):
        (grad,) = torch.autograd.grad(network(features, *batch[1:4]).mu[:, step].sum(), features)
        assert grad.abs().sum() > 0


@pytest.mark.parametrize("change", [{"head": "regression"}, {"attention": "full"}])
def test_ablations_have_the_same_output_shape(batch: Batch, change: dict[str, str]) -> None:
    config = preset("debug")
    config = dataclasses.replace(config, decoder=dataclasses.replace(config.decoder, **change))
    out = PolicyNetwork(config)(*batch[:4])
    assert out.mu.shape == batch.actions.shape
    assert (out.sigma is None) == (change.get("head") == "regression")


def test_sigma_starts_at_its_initial_value(batch: Batch) -> None:
    config = preset("debug")
    sigma = PolicyNetwork(config)(*batch[:4]).sigma
    assert sigma.min() > config.decoder.sigma_least
    assert float(sigma.detach().mean()) == pytest.approx(config.decoder.sigma_initial, abs=0.05)


@pytest.mark.parametrize("name", preset_names())
def test_presets_make_a_chunk(name: str) -> None:
    config = preset(name)
    store = frames_of([make_episode(1, steps=2)], config)
    views = store.views(torch.arange(1), mirrored=False)
    batch = store.batch(views, store.bounds(views))
    out = PolicyNetwork(config).eval()(*batch[:4])
    assert out.mu.shape == (2, config.decoder.chunk, 36)
    assert torch.isfinite(out.mu).all()


def test_paper_preset_is_the_papers() -> None:
    config = preset("paper")
    assert config.observation.n_points == 2048
    assert config.encoder.centres_1 == (2048, 0) and config.encoder.neighbours_1 == 32
    assert config.encoder.centres_2 == (256, 0) and config.encoder.batch_norm
    assert config.decoder.head == "truncated_normal" and config.decoder.attention == "unidirectional"
    store = frames_of([make_episode(1, steps=1)], config)
    views = torch.tensor([0])
    batch = store.batch(views, store.bounds(views))
    np.testing.assert_array_equal(batch.neighbours_1[0, :, 0].numpy(), np.arange(2048))  # the point itself included
