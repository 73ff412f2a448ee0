"""The attention weights against what the layers do with them."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from udg_policy.config import preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_store import frames_of
from udg_policy.network.network import DecoderLayer, PolicyNetwork
from udg_policy.network.observation import WORLD_ORIGIN, WORLD_SCALE_M
from udg_policy.pages.attention import attend, token_points


@pytest.mark.parametrize("grasp_query", [False, True])
@pytest.mark.parametrize("attention", ["unidirectional", "full"])
def test_weights_mix_the_values_into_what_each_layer_puts_out(attention: str, grasp_query: bool) -> None:
    config = preset("debug")
    config = replace(config, decoder=replace(config.decoder, attention=attention, layers=2, grasp_query=grasp_query))
    store = frames_of([make_episode(0, steps=3)], config)
    views = torch.arange(3)
    batch = store.batch(views, store.bounds(views))
    torch.manual_seed(0)
    network = PolicyNetwork(config).eval()
    inputs, values = {}, {}
    for layer in network.layers:
        assert isinstance(layer, DecoderLayer)
        layer.out.register_forward_pre_hook(lambda module, args: inputs.__setitem__(module, args[0]))
        layer.key_value.register_forward_hook(lambda module, args, out: values.__setitem__(module, out))
    attended = attend(network, *batch[:4])
    steps, points = config.decoder.chunk, len(token_points(network))
    assert attended.weights.shape == (3, 2, 2, steps, points + 1 + 2 * grasp_query + steps)
    torch.testing.assert_close(attended.weights.sum(-1), torch.ones(3, 2, 2, steps))
    for number, layer in enumerate(network.layers):
        value = values[layer.key_value].chunk(2, dim=-1)[1].unflatten(-1, (2, -1)).transpose(1, 2)
        mixed = (attended.weights[:, number] @ value).transpose(1, 2).flatten(2)
        torch.testing.assert_close(mixed, inputs[layer.out][:, -steps:], rtol=1e-4, atol=1e-5)
    expected = network(*batch[:4])
    torch.testing.assert_close(attended.distribution, network.action_head.distribution(expected.actions))


def test_afterwards_the_network_has_no_hook() -> None:
    config = preset("debug")
    store = frames_of([make_episode(0, steps=1)], config)
    network = PolicyNetwork(config)
    attend(network, *store.batch(torch.arange(1), store.bounds(torch.arange(1)))[:4])
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_tokens_stand_at_the_centres_of_the_second_layer() -> None:
    config = preset("debug")
    store = frames_of([make_episode(0, steps=1)], config)
    network = PolicyNetwork(config).eval()
    batch = store.batch(torch.arange(1), store.bounds(torch.arange(1)))
    seen = {}
    network.token.register_forward_pre_hook(lambda module, args: seen.update(rows=args[0]))
    attend(network, *batch[:4])
    world = slice(0, 3)
    of_rows = seen["rows"][0, :, config.encoder.widths_2[-1] :][:, world]
    of_slots = batch.features[0, token_points(network)][:, world]
    torch.testing.assert_close(of_rows, of_slots)
    assert (of_slots * WORLD_SCALE_M + torch.tensor(WORLD_ORIGIN)).abs().max() < 2.0  # [m]
