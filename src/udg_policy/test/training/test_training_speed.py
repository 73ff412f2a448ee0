"""The quick training computes what the plain network computes: loss, gradients, running statistics; its maxima."""

import dataclasses

import pytest
import torch
from torch import nn

from udg_policy.bench.bench_train import samples_per_s
from udg_policy.config import preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_store import frames_of
from udg_policy.network.gather_max import gather_maximum, gather_rows
from udg_policy.network.network import PolicyNetwork
from udg_policy.network.reference import PlainPolicyNetwork, plain_weights
from udg_policy.network.rows_mlp import RowLayer, grouped_mlp
from udg_policy.training.loss import l1_weights, policy_loss


def random_norms(network: nn.Module) -> None:
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm1d):
                module.weight.uniform_(-1.0, 1.5)
                module.bias.normal_()


@pytest.mark.parametrize(("batch_norm", "widths_2"), [(False, (32,)), (False, (24, 32)), (True, (24, 32))])
def test_loss_and_gradients_equal_the_plain_networks(batch_norm: bool, widths_2: tuple[int, ...]) -> None:
    config = preset("debug")
    config = dataclasses.replace(
        config, encoder=dataclasses.replace(config.encoder, batch_norm=batch_norm, widths_2=widths_2)
    )
    store = frames_of([make_episode(0, steps=6)], config)
    views = store.views(torch.arange(1), mirrored=True)
    bounds = store.bounds(views)
    batch = store.batch(views, bounds)
    torch.manual_seed(0)
    ours = PolicyNetwork(config).train()
    random_norms(ours)
    plain = PlainPolicyNetwork(config)
    plain.load_state_dict(plain_weights(ours.state_dict()))
    plain.train()
    losses = []
    for network in (ours, plain):
        loss = policy_loss(network, network(*batch[:4]), batch, l1_weights(config, bounds), 0.5).total
        loss.backward()
        losses.append(loss.item())
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
    own = plain_weights({name: p.grad for name, p in ours.named_parameters()})
    for name, parameter in plain.named_parameters():
        scale = float(parameter.grad.abs().max())
        torch.testing.assert_close(own[name], parameter.grad, rtol=0, atol=1e-4 * scale + 1e-9, msg=name)
    state = plain_weights(ours.state_dict())
    for name, value in plain.state_dict().items():
        if "running" in name:
            torch.testing.assert_close(state[name], value, rtol=1e-4, atol=1e-5, msg=name)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_many_rows_in_bfloat16_are_near_single_precision(batch_norm: bool) -> None:
    """More rows than one partial product holds, and a rest."""
    torch.manual_seed(0)
    layers = [
        RowLayer(nn.Linear(a, b, bias=not batch_norm), nn.BatchNorm1d(b) if batch_norm else None)
        for a, b in ((6, 16), (16, 32))
    ]
    rows = torch.randn(1250 * 4, 6)
    weight = torch.randn(1250, 32)
    results = {}
    for dtype in (torch.float32, torch.bfloat16):
        x = rows.detach().clone().to(dtype).requires_grad_(True)
        out = grouped_mlp(x, 4, layers, training=True)
        (out * weight).sum().backward()
        results[dtype] = [out.float(), x.grad.float(), layers[0].linear.weight.grad.clone()]
        layers[0].linear.weight.grad = None
    for exact, rounded in zip(*results.values(), strict=True):
        assert float((exact - rounded).detach().norm() / exact.detach().norm()) < 0.15  # a few maxima change places
    fixed = results[torch.float32][0] if batch_norm else grouped_mlp(rows, 4, layers, training=False)
    torch.testing.assert_close(fixed, results[torch.float32][0])


def test_equal_maxima_share_the_gradient() -> None:
    layers = [RowLayer(nn.Linear(2, 1, bias=False), None)]
    rows = torch.tensor([[1.0, 2.0], [1.0, 2.0], [0.0, 0.0]], requires_grad=True)
    with torch.no_grad():
        layers[0].linear.weight.fill_(1.0)
    grouped_mlp(rows, 3, layers, training=True).sum().backward()
    assert layers[0].linear.weight.grad.tolist() == [[1.0, 2.0]]
    assert rows.grad.tolist() == [[0.5, 0.5], [0.5, 0.5], [0.0, 0.0]]


def test_gather_maximum_is_the_maximum_of_the_gathered_rows() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(6, 50, 8, generator=generator)
    index = torch.randint(50, (6, 9, 5), generator=generator)
    own, reference = x.clone().requires_grad_(True), x.clone().requires_grad_(True)
    weight = torch.randn(6, 9, 8, generator=generator)
    got, expected = gather_maximum(own, index), gather_rows(reference, index).max(dim=2).values
    torch.testing.assert_close(got, expected)
    (got * weight).sum().backward()
    (expected * weight).sum().backward()
    torch.testing.assert_close(own.grad, reference.grad)


def test_the_bench_measures_both() -> None:
    rates = samples_per_s("debug", rounds=1)
    assert set(rates) == {"ours", "plain"} and min(rates.values()) > 0
