"""What the action queries look at: the attention weights of a policy network."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from udg_policy.heads import ActionDistribution
from udg_policy.network.network import DecoderLayer, PolicyNetwork


class Attended(NamedTuple):
    """The actions that the network predicts and what its queries attended to.

    weights (B, L, H, K, n): layer, head, query (= step of the chunk), token; they sum to 1 over the tokens. Tokens:
    the points' in the order of `token_points`, then, where present, those of the hand points, the state's,
    those of both grasp queries; last the K queries themselves.
    """

    distribution: ActionDistribution
    weights: Tensor


def token_points(network: PolicyNetwork) -> Tensor:
    """For each point token (C2,) the slot of its centre among the points of an observation."""
    return network.centres_1[network.centres_2]


@torch.no_grad()
def attend(
    network: PolicyNetwork, features: Tensor, proprioception: Tensor, neighbours_1: Tensor, neighbours_2: Tensor
) -> Attended:
    """Run the network on a batch (as its `forward`) and keep what its queries attended to."""
    inputs: dict[nn.Module, tuple[Any, ...]] = {}
    layers = [layer for layer in network.layers if isinstance(layer, DecoderLayer)]
    handles = [layer.register_forward_pre_hook(inputs.__setitem__) for layer in layers]
    try:
        output = network(features, proprioception, neighbours_1, neighbours_2)
    finally:
        for handle in handles:
            handle.remove()
    steps = network.config.decoder.chunk
    weights = [_weights(layer, *inputs[layer])[:, :, -steps:] for layer in layers]
    return Attended(network.action_head.distribution(output.actions), torch.stack(weights, dim=1))


def _weights(layer: DecoderLayer, tokens: Tensor, memory: Tensor | None, blocked: Tensor | None = None) -> Tensor:
    """(B, H, t, n) of a layer's inputs: tokens (B, t, width) attend to the memory, if any, and to one another but
    for `blocked`."""
    normed = layer.norm_token(tokens)
    context = normed if memory is None else torch.cat([layer.norm_memory(memory), normed], dim=1)
    key, _ = layer.key_value(context).chunk(2, dim=-1)
    by_head = (part.float().unflatten(-1, (layer.heads, -1)).transpose(1, 2) for part in (layer.query(normed), key))
    q, k = by_head
    scores = q @ k.transpose(-1, -2) * layer.scale
    if blocked is not None:
        scores[..., -len(blocked) :] += blocked
    return scores.softmax(dim=-1)
