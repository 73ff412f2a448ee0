"""The same network written plainly, to compare and check the fast training and inference against.

Convolutions over (B, C, M, k), torch's own attention, float32, neighbours by torch.cdist and topk. It computes what
PolicyNetwork computes and takes its weights; nothing here is slower than a straightforward implementation has to be.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from udg_description.layout import SIDES
from udg_policy.config import EncoderConfig, PolicyConfig
from udg_policy.episodes.episode import Stage
from udg_policy.hands.hand_surface import N_SURFACE_TOKENS, SURFACE_FEATURES
from udg_policy.hands.poses import grasp_frames_np
from udg_policy.heads import ActionDistribution, make_head
from udg_policy.network.checkpoint import Checkpoint
from udg_policy.network.network import GRASP_OUTPUTS, OFFSET_SCALE, PolicyOutput, blocked_attention, grasp_output
from udg_policy.network.observation import coordinate_width, feature_width, network_inputs, state_width
from udg_policy.network.point_set import PointSampler


def nearest_points(centres: Tensor, points: Tensor, k: int) -> Tensor:
    """Indices (B, M, k) of the k points (B, N, 3) nearest to each centre (B, M, 3)."""
    return torch.cdist(centres, points).topk(k, dim=-1, largest=False).indices


def group(values: Tensor, neighbours: Tensor) -> Tensor:
    """Values (B, C, N) of neighbours (B, M, k) -> (B, C, M, k)."""
    batch, width, _ = values.shape
    index = neighbours.flatten(1)[:, None].expand(-1, width, -1)
    return values.gather(2, index).view(batch, width, *neighbours.shape[1:])


class ChannelNorm(nn.LayerNorm):
    """LayerNorm over the channels of (B, C, M, k)."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, M, k), the same shape."""
        return super().forward(x.movedim(1, -1)).movedim(-1, 1)


def _norm(width: int, encoder: EncoderConfig) -> nn.Module:
    if encoder.batch_norm:
        return nn.BatchNorm2d(width)
    return ChannelNorm(width) if encoder.layer_norm else nn.Identity()


class PlainSetAbstraction(nn.Module):
    """Groups of neighbours -> 1x1 convolutions, normalisation, ReLU -> maximum."""

    def __init__(self, inputs: int, widths: tuple[int, ...], encoder: EncoderConfig) -> None:
        super().__init__()
        sizes = (inputs, *widths)
        pairs = list(zip(sizes[:-1], sizes[1:], strict=True))
        normed = encoder.batch_norm or encoder.layer_norm
        self.convolutions = nn.ModuleList(nn.Conv2d(a, b, 1, bias=not normed) for a, b in pairs)
        self.norms = nn.ModuleList(_norm(width, encoder) for width in widths)

    def forward(self, coordinates: Tensor, values: Tensor, centres: Tensor, neighbours: Tensor) -> Tensor:
        """(B, widths[-1], M) of coordinates (B, c, N), values (B, v, N), M centres (slots), neighbours (B, M, k)."""
        offsets = OFFSET_SCALE * (group(coordinates, neighbours) - coordinates[:, :, centres, None])
        x = torch.cat([offsets, group(values, neighbours)], dim=1)
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            x = F.relu(norm(convolution(x)))
        return x.amax(dim=-1)


class PlainDecoderLayer(nn.Module):
    """Pre-norm transformer layer: tokens attend to the memory, if any, and to one another."""

    def __init__(self, width: int, heads: int, mlp_ratio: int) -> None:
        super().__init__()
        self.norm_memory = nn.LayerNorm(width)
        self.norm_token = nn.LayerNorm(width)
        self.norm_mlp = nn.LayerNorm(width)
        self.attention = nn.MultiheadAttention(width, heads, batch_first=True)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width))

    def forward(self, tokens: Tensor, memory: Tensor | None, blocked: Tensor | None = None) -> Tensor:
        """Tokens (B, n, width) after one layer; memory (B, m, width); blocked (n, n)."""
        normed = self.norm_token(tokens)
        context = normed if memory is None else torch.cat([self.norm_memory(memory), normed], dim=1)
        if blocked is not None:
            blocked = F.pad(blocked, (context.shape[1] - len(blocked), 0))
        tokens = tokens + self.attention(normed, context, context, need_weights=False, attn_mask=blocked)[0]
        return tokens + self.mlp(self.norm_mlp(tokens))


class PlainPolicyNetwork(nn.Module):
    """PolicyNetwork, written plainly; the inputs are the same, the neighbours may be left to it.

    Left to it, a point that stands in several slots is as many neighbours; PointSampler counts it once.
    """

    centres_1: Tensor
    centres_2: Tensor
    blocked: Tensor | None

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        observation, encoder, decoder = config.observation, config.encoder, config.decoder
        sampler = PointSampler(observation, encoder)
        self.register_buffer("centres_1", torch.from_numpy(sampler.centres_1), persistent=False)
        self.register_buffer("centres_2", torch.from_numpy(sampler.centres_2), persistent=False)
        self.coordinates = coordinate_width(observation)
        self.world = 3 * observation.frames.index("world")
        self.layer_1 = PlainSetAbstraction(self.coordinates + feature_width(observation), encoder.widths_1, encoder)
        self.layer_2 = PlainSetAbstraction(self.coordinates + encoder.widths_1[-1], encoder.widths_2, encoder)
        self.token = nn.Linear(encoder.widths_2[-1] + self.coordinates, decoder.width)
        inputs = state_width(observation)
        self.state = (
            nn.Sequential(nn.Linear(inputs, decoder.width), nn.GELU(), nn.Linear(decoder.width, decoder.width))
            if inputs > 0
            else None
        )
        if observation.hand_surface:
            self.surface = nn.Sequential(
                nn.Linear(SURFACE_FEATURES, decoder.width), nn.GELU(), nn.Linear(decoder.width, decoder.width)
            )
            self.surface_place = nn.Parameter(torch.zeros(N_SURFACE_TOKENS, decoder.width))
        self.queries = nn.Parameter(torch.randn(decoder.chunk, decoder.width) * 0.5)
        self.layers = nn.ModuleList(
            PlainDecoderLayer(decoder.width, decoder.heads, decoder.mlp_ratio) for _ in range(decoder.layers)
        )
        self.norm = nn.LayerNorm(decoder.width)
        self.action_head = make_head(config)
        self.head = nn.Sequential(
            nn.Linear(decoder.width, decoder.width), nn.GELU(), nn.Linear(decoder.width, self.action_head.outputs)
        )
        self.register_buffer("blocked", blocked_attention(decoder), persistent=False)
        self.stage_head = nn.Linear(decoder.width, len(Stage)) if decoder.stage_head else None
        if decoder.grasp_query:
            self.grasp_queries = nn.Parameter(torch.randn(len(SIDES), decoder.width) * 0.5)
            self.grasp_head = nn.Sequential(
                nn.Linear(decoder.width, decoder.width), nn.GELU(), nn.Linear(decoder.width, GRASP_OUTPUTS)
            )

    def neighbours(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """Neighbours of both layers, (B, C1, k1) and (B, C2, k2), by the world coordinates in features (B, N, f)."""
        points = features[..., self.world : self.world + 3]
        first = points[:, self.centres_1]
        encoder = self.config.encoder
        return (
            nearest_points(first, points, encoder.neighbours_1),
            nearest_points(first[:, self.centres_2], first, encoder.neighbours_2),
        )

    def forward(
        self, features: Tensor, state: Tensor, neighbours_1: Tensor | None = None, neighbours_2: Tensor | None = None
    ) -> PolicyOutput:
        """features (B, N, f), state (B, p): what is beside the points; neighbours are found if not given."""
        if neighbours_1 is None or neighbours_2 is None:
            neighbours_1, neighbours_2 = self.neighbours(features)
        values = features.transpose(1, 2)
        coordinates = values[:, : self.coordinates]
        first = self.layer_1(coordinates, values, self.centres_1, neighbours_1)
        centres = coordinates[:, :, self.centres_1]
        second = self.layer_2(centres, first, self.centres_2, neighbours_2)
        memory = self.token(torch.cat([second, centres[:, :, self.centres_2]], dim=1).transpose(1, 2))
        with_grasp = self.config.decoder.grasp_query
        queries = torch.cat([self.grasp_queries, self.queries]) if with_grasp else self.queries
        tokens = queries.expand(len(features), -1, -1)
        observation = self.config.observation
        state, surface = state[:, : state_width(observation)], state[:, state_width(observation) :]
        if observation.hand_surface:
            tokens_of_hands = self.surface(surface.unflatten(1, (N_SURFACE_TOKENS, SURFACE_FEATURES)))
            memory = torch.cat([memory, tokens_of_hands + self.surface_place], dim=1)
        if self.state is not None:
            memory = torch.cat([memory, self.state(state)[:, None]], dim=1)
        if self.config.decoder.attention == "unidirectional":
            if self.state is not None:
                tokens = tokens + memory[:, -1:]
            for layer in self.layers:
                tokens = layer(tokens, memory, self.blocked)
        else:
            tokens = torch.cat([memory, tokens], dim=1)
            for layer in self.layers:
                tokens = layer(tokens, None)
            tokens = tokens[:, -len(queries) :]
        tokens = self.norm(tokens)
        grasp = grasp_output(self.grasp_head(tokens[:, : len(SIDES)])) if with_grasp else None
        actions = tokens[:, -self.config.decoder.chunk :]
        stage = None if self.stage_head is None else self.stage_head(actions)
        return PolicyOutput(self.head(actions), grasp, stage)


def plain_weights(weights: Mapping[str, Tensor]) -> OrderedDict[str, Tensor]:
    """The weights of a PolicyNetwork under the names and in the shapes of PlainPolicyNetwork."""
    plain: OrderedDict[str, Tensor] = OrderedDict()
    for name, value in weights.items():
        if ".mlp.linears." in name:
            new = name.replace(".mlp.linears.", ".convolutions.")
            plain[new] = value[..., None, None] if name.endswith("weight") else value
        elif ".mlp.norms." in name or ".mlp.row_norms." in name:
            plain[name.replace(".mlp.norms.", ".norms.").replace(".mlp.row_norms.", ".norms.")] = value
        elif ".query." in name:
            key_value = weights[name.replace(".query.", ".key_value.")]
            plain[name.replace(".query.", ".attention.in_proj_")] = torch.cat([value, key_value])
        elif ".out." in name:
            plain[name.replace(".out.", ".attention.out_proj.")] = value
        elif ".key_value." not in name:
            plain[name] = value
    return plain


def plain_network(config: PolicyConfig, weights: Mapping[str, Tensor]) -> PlainPolicyNetwork:
    """The plain network with the weights (state_dict) of a PolicyNetwork, ready for inference."""
    network = PlainPolicyNetwork(config)
    network.load_state_dict(plain_weights(weights))
    return network.eval()


class PlainEngine:
    """From cloud to action with the plain network: the counterpart of PolicyEngine in measurements."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.config = checkpoint.config
        self._bounds = checkpoint.bounds
        self._network = plain_network(self.config, checkpoint.network().state_dict()).requires_grad_(False)
        self._sampler = PointSampler(self.config.observation, self.config.encoder)

    @torch.inference_mode()
    def distribution(self, points: np.ndarray, q: np.ndarray) -> ActionDistribution:
        """Predicted distribution (1, K, A) of the normalised actions; points (M, 4), q (36,) as for PolicyEngine."""
        return self._network.action_head.distribution(self._numbers(points, q))

    def _numbers(self, points: np.ndarray, q: np.ndarray) -> Tensor:
        T_grasp = grasp_frames_np(q)
        chosen = points[self._sampler.select(points, T_grasp[:, :3, 3])]
        xyz, labels = torch.from_numpy(chosen[None, :, :3]), torch.from_numpy(chosen[None, :, 3])
        frames = torch.from_numpy(T_grasp[None].astype(np.float32))
        q_now = torch.from_numpy(q[None].astype(np.float32))
        inputs = network_inputs(self.config.observation, xyz, labels, frames, q_now)  # nothing stops the fingers
        return self._network(*inputs).actions

    @torch.inference_mode()
    def act(self, points: np.ndarray, q: np.ndarray) -> np.ndarray:
        """Chunk (K, 36) of absolute joint targets [rad]."""
        actions = self._network.action_head.act(self._numbers(points, q))[0]
        return self.config.space.decode(self._bounds.denormalise(actions.numpy()), q)
