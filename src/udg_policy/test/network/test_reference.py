"""The plain network computes what the quick one computes, from the same weights."""

import dataclasses

import pytest
import torch
from torch import Tensor

from udg_policy.config import PolicyConfig, preset
from udg_policy.network.network import PolicyNetwork
from udg_policy.network.observation import feature_width, proprioception_width
from udg_policy.network.reference import nearest_points, plain_network


def with_choices(
    config: PolicyConfig,
    batch_norm: bool,
    attention: str,
    head: str,
    grasp_query: bool = False,
    hand_surface: bool = False,
) -> PolicyConfig:
    return dataclasses.replace(
        config,
        observation=dataclasses.replace(config.observation, hand_surface=hand_surface),
        encoder=dataclasses.replace(config.encoder, batch_norm=batch_norm),
        decoder=dataclasses.replace(config.decoder, attention=attention, head=head, grasp_query=grasp_query),
    )


def randomised(network: PolicyNetwork) -> PolicyNetwork:
    """The network with other statistics and affine parameters in each norm, and a head that says something."""
    for module in network.modules():
        if isinstance(module, torch.nn.BatchNorm1d):
            torch.nn.init.normal_(module.running_mean, std=0.2)
            torch.nn.init.uniform_(module.running_var, 0.5, 2.0)
        if isinstance(module, torch.nn.BatchNorm1d | torch.nn.LayerNorm):
            torch.nn.init.uniform_(module.weight, 0.5, 1.5)
            torch.nn.init.normal_(module.bias, std=0.2)
    last = network.head[-1]
    assert isinstance(last, torch.nn.Linear)
    torch.nn.init.normal_(last.weight, std=0.1)
    return network.eval()


def inputs(config: PolicyConfig, batch: int = 2) -> tuple[Tensor, Tensor]:
    return (
        torch.randn(batch, config.observation.n_points, feature_width(config.observation)),
        torch.randn(batch, proprioception_width(config.observation)),
    )


@torch.no_grad()
@pytest.mark.parametrize("name", ["debug", "edge", "paper"])
@pytest.mark.parametrize(
    ("batch_norm", "attention", "head", "grasp_query"),
    [
        (True, "unidirectional", "truncated_normal", False),
        (False, "unidirectional", "truncated_normal", True),
        (True, "full", "regression", True),
    ],
)
def test_both_networks_agree(name: str, batch_norm: bool, attention: str, head: str, grasp_query: bool) -> None:
    torch.manual_seed(3)
    config = with_choices(preset(name), batch_norm, attention, head, grasp_query, hand_surface=grasp_query)
    network = randomised(PolicyNetwork(config))
    plain = plain_network(config, network.state_dict())
    features, state = inputs(config)
    ours, theirs = network(features, state, *plain.neighbours(features)), plain(features, state)
    assert ours.actions.std() > 0.05, "the outputs must differ for the comparison to mean anything"
    torch.testing.assert_close(ours.actions, theirs.actions, atol=2e-5, rtol=1e-4)
    assert (ours.grasp is None) == (theirs.grasp is None) == (not grasp_query)
    for a, b in zip(ours.grasp or (), theirs.grasp or (), strict=True):
        torch.testing.assert_close(a, b, atol=2e-5, rtol=1e-4)


@torch.no_grad()
def test_both_networks_agree_with_layer_norm() -> None:
    torch.manual_seed(3)
    config = preset("debug")
    config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, layer_norm=True))
    network = randomised(PolicyNetwork(config))
    plain = plain_network(config, network.state_dict())
    features, state = inputs(config)
    ours = network(features, state, *plain.neighbours(features)).actions
    torch.testing.assert_close(ours, plain(features, state).actions, atol=2e-5, rtol=1e-4)


def test_both_networks_have_as_many_parameters() -> None:
    for name in ("debug", "edge", "paper"):
        network = PolicyNetwork(preset(name))
        plain = plain_network(preset(name), network.state_dict())
        assert sum(p.numel() for p in network.parameters()) == sum(p.numel() for p in plain.parameters())


def test_nearest_points_by_hand() -> None:
    points = torch.tensor([[[0.0, 0.0, 0.0], [1.0, 0.0, 0.0], [0.0, 3.0, 0.0]]])
    assert nearest_points(points[:, 1:], points, 2).tolist() == [[[1, 0], [2, 0]]]


def test_gradients_agree() -> None:
    torch.manual_seed(4)
    config = with_choices(preset("debug"), True, "unidirectional", "truncated_normal")
    network = randomised(PolicyNetwork(config)).train()
    plain = plain_network(config, network.state_dict()).train()
    features, state = inputs(config, batch=4)
    neighbours = plain.neighbours(features)
    network(features, state, *neighbours).actions.square().sum().backward()
    plain(features, state, *neighbours).actions.square().sum().backward()
    ours, theirs = network.layer_1.mlp.linears[0].weight.grad, plain.layer_1.convolutions[0].weight.grad
    assert ours is not None and theirs is not None and ours.abs().max() > 1e-3
    torch.testing.assert_close(ours, theirs[..., 0, 0], atol=1e-3, rtol=1e-3)
