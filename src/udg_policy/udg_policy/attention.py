"""What the action queries look at: the attention weights of a policy network."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from udg_policy.network import ActionDistribution, DecoderLayer, PolicyNetwork


class Attended(NamedTuple):
    """The network's output and what its queries attended to.

    weights (B, L, H, K, n): layer, head, query (= step of the chunk), token; they sum to 1 over the tokens. Tokens:
    the points' in the order of `token_points`, then the state's if there is one, then the K queries themselves.
    """

    distribution: ActionDistribution
    weights: Tensor


def token_points(network: PolicyNetwork) -> Tensor:
    """For each point token (C2,) the slot of its centre among the points of an observation."""
    return network.centres_1[network.centres_2]


@torch.no_grad()
def attend(network: PolicyNetwork, features: Tensor, proprioception: Tensor, neighbours_1: Tensor,
           neighbours_2: Tensor) -> Attended:
    """Run the network on a batch (as its `forward`) and keep what its queries attended to."""
    seen: dict[nn.Module, Tensor] = {}

    def keep(module: nn.Module) -> Callable[[nn.Module, tuple[Tensor, ...], Tensor], None]:
        def hook(_module: nn.Module, _inputs: tuple[Tensor, ...], output: Tensor) -> None:
            seen[module] = output

        return hook

    layers = [layer for layer in network.layers if isinstance(layer, DecoderLayer)]
    handles = [part.register_forward_hook(keep(part)) for layer in layers for part in (layer.query, layer.key_value)]
    try:
        distribution = network(features, proprioception, neighbours_1, neighbours_2)
    finally:
        for handle in handles:
            handle.remove()
    steps = network.config.decoder.chunk
    weights = [_weights(layer, seen[layer.query][:, -steps:], seen[layer.key_value]) for layer in layers]
    return Attended(distribution, torch.stack(weights, dim=1))


def _weights(layer: DecoderLayer, query: Tensor, key_value: Tensor) -> Tensor:
    """(B, H, K, n) of queries (B, K, width) and key_value (B, n, 2 width)."""
    key, _ = key_value.float().chunk(2, dim=-1)
    heads = (part.unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (query.float(), key))
    q, k = heads
    return (q @ k.transpose(-1, -2) * layer.scale).softmax(dim=-1)
