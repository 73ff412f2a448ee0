"""The policy network: PointNet++ encoder and decoder-only transformer with action queries (paper V-B, V-C)."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from udg_description.layout import SIDES
from udg_policy.config import DecoderConfig, EncoderConfig, PolicyConfig
from udg_policy.episodes.episode import Stage
from udg_policy.episodes.grasp import N_KEY_POINTS, STRATEGIES
from udg_policy.hands.hand_surface import N_SURFACE_TOKENS, SURFACE_FEATURES
from udg_policy.heads import make_head
from udg_policy.network.attend_rows import attend_rows
from udg_policy.network.gather_max import gather_maximum, gather_rows
from udg_policy.network.observation import coordinate_width, feature_width, state_width
from udg_policy.network.point_set import PointSampler
from udg_policy.network.rows_mlp import RowLayer, grouped_mlp

GRASP_SCALE_M = 0.2  # of the key points that a grasp query puts out
OFFSET_SCALE = 4.0  # offsets within a group are small: brought to the size of the coordinates


class GraspOutput(NamedTuple):
    """The grasp of the episode, as the grasp queries see it."""

    points: Tensor  # (B, 2, 7, 3) [m], key points of each hand in its measured grasp frame
    acting: Tensor  # (B, 2) logits: which hands act
    strategy: Tensor  # (B, 4) logits of STRATEGIES


class PolicyOutput(NamedTuple):
    """What a network makes of a batch.

    actions (B, K, outputs): numbers from which its head makes the actions. grasp: None without grasp queries. stage
    (B, K, 5): logits of the Stage of each step; None without a stage head, and in inference, which has no use for it.
    """

    actions: Tensor
    grasp: GraspOutput | None = None
    stage: Tensor | None = None


GRASP_OUTPUTS = 3 * N_KEY_POINTS + 1 + len(STRATEGIES)  # of a grasp query


def grasp_output(out: Tensor) -> GraspOutput:
    """Numbers (B, 2, GRASP_OUTPUTS) of both grasp queries taken apart. The hands speak of the strategy together."""
    points, acting, strategy = out.split([3 * N_KEY_POINTS, 1, len(STRATEGIES)], dim=-1)
    return GraspOutput(GRASP_SCALE_M * points.unflatten(-1, (N_KEY_POINTS, 3)), acting[..., 0], strategy.sum(dim=1))


def blocked_attention(decoder: DecoderConfig) -> Tensor | None:
    """(n, n), -inf where the query of a row must not attend to the one of a column, else 0; None: all attend to all.

    The grasp queries come first. They do not see the action queries: what is wanted does not follow from what is done.
    """
    if not decoder.grasp_query or decoder.attention != "unidirectional":
        return None
    grasps = len(SIDES)
    blocked = torch.zeros(grasps + decoder.chunk, grasps + decoder.chunk)
    blocked[:grasps, grasps:] = -torch.inf
    return blocked


class SharedMlp(nn.Module):
    """1x1 convolutions on rows (channels last); the last ReLU is left to the caller, after the maximum."""

    def __init__(self, inputs: int, widths: tuple[int, ...], config: EncoderConfig) -> None:
        super().__init__()
        sizes = (inputs, *widths)
        normed = config.batch_norm or config.layer_norm
        self.normed = normed
        self.linears = nn.ModuleList(
            nn.Linear(a, b, bias=not normed) for a, b in zip(sizes[:-1], sizes[1:], strict=True)
        )
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for width in widths) if config.batch_norm else None
        self.row_norms = nn.ModuleList(nn.LayerNorm(width) for width in widths) if config.layer_norm else None
        self.is_linear = len(widths) == 1 and not normed

    def forward(self, rows: Tensor, k: int) -> Tensor:
        """(G * k, inputs) -> maximum over each k rows (G, widths[-1]), before the last ReLU."""
        if self.row_norms is not None:
            return self._with_row_norms(rows, k, self.row_norms)
        linears = [linear for linear in self.linears if isinstance(linear, nn.Linear)]
        norms: list[nn.BatchNorm1d | None] = [None] * len(linears)
        if self.norms is not None:
            norms = [norm for norm in self.norms if isinstance(norm, nn.BatchNorm1d)]
        layers = [RowLayer(linear, norm) for linear, norm in zip(linears, norms, strict=True)]
        return grouped_mlp(rows, k, layers, self.training and torch.is_grad_enabled())

    def _with_row_norms(self, rows: Tensor, k: int, norms: nn.ModuleList) -> Tensor:
        for i, (linear, norm) in enumerate(zip(self.linears, norms, strict=True)):
            rows = norm(linear(F.relu(rows) if i > 0 else rows))
        return rows.view(-1, k, rows.shape[-1]).amax(dim=1)


class SetAbstraction(nn.Module):
    """Groups of neighbours -> shared MLP -> maximum -> ReLU (ReLU and maximum commute)."""

    def __init__(self, coordinates: int, features: int, widths: tuple[int, ...], config: EncoderConfig) -> None:
        super().__init__()
        self.coordinates = coordinates
        self.mlp = SharedMlp(coordinates + features, widths, config)

    def forward(self, features: Tensor, learned: Tensor | None, centres: Tensor, neighbours: Tensor) -> Tensor:
        """Features (B, M, widths[-1]) of M centres.

        features (B, N, f): coordinates first, without gradient. learned (B, N, g), with gradient, stands in for
        features as the input beside the offsets. centres (M,) slots; neighbours (B, M, k).
        """
        if self._compiled(features, learned):
            return self._by_kernels(features, learned, centres, neighbours)
        if learned is not None and self.mlp.is_linear:
            return self._by_points(features, learned, centres, neighbours)
        batch, m, k = neighbours.shape
        own = features if learned is None else features[..., : self.coordinates]
        with torch.no_grad():
            grouped = gather_rows(own, neighbours)
            offsets = grouped[..., : self.coordinates] - features[:, centres, None, : self.coordinates]
            offsets.mul_(OFFSET_SCALE)
        if learned is not None:
            grouped = gather_rows(learned, neighbours)
        rows = torch.cat([offsets.to(grouped.dtype), grouped], dim=-1).view(batch * m * k, -1)
        if torch.is_autocast_enabled(rows.device.type):
            rows = rows.to(torch.get_autocast_dtype(rows.device.type))
        return F.relu(self.mlp(rows, k)).view(batch, m, -1)

    def _compiled(self, features: Tensor, learned: Tensor | None) -> bool:
        """Whether compiled loops do the same: training on a CPU in bfloat16, of one (learned) or two linear layers."""
        if not (
            self.training
            and torch.is_grad_enabled()
            and features.device.type == "cpu"
            and torch.is_autocast_enabled("cpu")
            and torch.get_autocast_dtype("cpu") is torch.bfloat16
        ):
            return False
        return not self.mlp.normed and len(self.mlp.linears) == (1 if learned is not None else 2)

    def _by_kernels(self, features: Tensor, learned: Tensor | None, centres: Tensor, neighbours: Tensor) -> Tensor:
        from udg_policy.network.encoder_kernels import grouped_maximum, points_maximum  # noqa: PLC0415 (takes long to import)

        linears = [linear for linear in self.mlp.linears if isinstance(linear, nn.Linear)]
        if learned is None:
            return grouped_maximum(features, centres, neighbours, self.coordinates, OFFSET_SCALE, *linears)
        places = features[..., : self.coordinates]
        return points_maximum(places, learned.float(), centres, neighbours, OFFSET_SCALE, linears[0])

    def _by_points(self, features: Tensor, learned: Tensor, centres: Tensor, neighbours: Tensor) -> Tensor:
        """One linear layer alone: multiply once a point instead of once a neighbour, then take the maximum."""
        linear = self.mlp.linears[0]
        assert isinstance(linear, nn.Linear) and linear.bias is not None
        by_offset, by_feature = linear.weight[:, : self.coordinates], linear.weight[:, self.coordinates :]
        with torch.autocast(features.device.type, enabled=False):  # offsets are small differences
            place = F.linear(features[..., : self.coordinates].float(), OFFSET_SCALE * by_offset)
        points = place + F.linear(learned, by_feature)
        return F.relu(gather_maximum(points, neighbours) - (place[:, centres] - linear.bias)).to(learned.dtype)


class DecoderLayer(nn.Module):
    """Pre-norm layer: tokens attend to the memory and to themselves in one attention, then an MLP."""

    def __init__(self, width: int, heads: int, mlp_ratio: int, dropout: float = 0.0) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.scale = (width // heads) ** -0.5
        self.norm_memory = nn.LayerNorm(width)
        self.norm_token = nn.LayerNorm(width)
        self.norm_mlp = nn.LayerNorm(width)
        self.query = nn.Linear(width, width)
        self.key_value = nn.Linear(width, 2 * width)
        self.out = nn.Linear(width, width)
        self.mlp = nn.Sequential(nn.Linear(width, mlp_ratio * width), nn.GELU(), nn.Linear(mlp_ratio * width, width))

    def _split(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.heads, -1)).transpose(1, 2)

    def forward(self, tokens: Tensor, memory: Tensor | None, blocked: Tensor | None = None) -> Tensor:
        """tokens (B, n, width) attend to memory (B, m, width), if any, and to one another but for `blocked` (n, n)."""
        normed = self.norm_token(tokens)
        context = normed if memory is None else torch.cat([self.norm_memory(memory), normed], dim=1)
        attend = self._attend if memory is None or not self.training else self._attend_few
        if blocked is not None:
            blocked = F.pad(blocked, (context.shape[1] - len(blocked), 0))
        tokens = tokens + self._dropped(self.out(attend(normed, context, blocked)))
        return tokens + self._dropped(self.mlp(self.norm_mlp(tokens)))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout) if self.training and self.dropout > 0.0 else x

    def _attend(self, normed: Tensor, context: Tensor, blocked: Tensor | None) -> Tensor:
        key, value = self.key_value(context).chunk(2, dim=-1)
        # Plain products: for this few queries faster on a CPU than the fused attention and its backward.
        scores = self._split(self.query(normed)) @ self._split(key).transpose(-1, -2)
        scores = scores.float() * self.scale
        if blocked is not None:
            scores = scores + blocked
        weights = scores.softmax(dim=-1).to(value.dtype)
        return (weights @ self._split(value)).transpose(1, 2).flatten(2)

    def _attend_few(self, normed: Tensor, context: Tensor, blocked: Tensor | None) -> Tensor:
        """The same for fewer tokens than the context has: no key and no value of each point is made.

        q . (W_k x) = (W_k^T q) . x, the bias of the keys adds the same to all scores of a query, and the weighted mean
        of W_v x + b is W_v (weighted mean of x) + b.
        """
        batch, n, width = normed.shape
        by_key, by_value = (w.view(self.heads, -1, width) for w in self.key_value.weight.chunk(2))
        query = self.query(normed).view(batch * n, self.heads, -1).transpose(0, 1)  # (h, B n, d)
        wanted = torch.bmm(query, by_key.to(query.dtype)).view(self.heads, batch, n, width).transpose(0, 1)
        context = context.to(query.dtype)
        if blocked is not None:
            blocked = blocked.repeat(self.heads, 1)
        mean = attend_rows(wanted.reshape(batch, self.heads * n, width), context, blocked, self.scale)
        mean = mean.view(batch, self.heads, n, width).transpose(0, 1)  # (h, B, n, width)
        value = torch.bmm(mean.reshape(self.heads, batch * n, width), by_value.transpose(1, 2).to(query.dtype))
        value = value.transpose(0, 1).reshape(batch, n, width)
        return value + self.key_value.bias[width:].to(value.dtype)


def without_some(memory: Tensor, n_points: int, share: float) -> Tensor:
    """Tokens (B, n, width) without a random share of each sample's first `n_points`, those of the points."""
    batch, n, width = memory.shape
    kept = max(1, round((1.0 - share) * n_points))
    points = torch.rand(batch, n_points, device=memory.device).topk(kept, dim=1).indices.sort(dim=1).values
    others = torch.arange(n_points, n, device=memory.device).expand(batch, -1)
    chosen = torch.cat([points, others], dim=1)
    return memory.gather(1, chosen[..., None].expand(-1, -1, width))


class PolicyNetwork(nn.Module):
    """Points and proprioception -> what its head makes a chunk of normalised actions of."""

    centres_1: Tensor
    centres_2: Tensor
    blocked: Tensor | None

    def __init__(self, config: PolicyConfig) -> None:
        super().__init__()
        self.config = config
        encoder, decoder = config.encoder, config.decoder
        sampler = PointSampler(config.observation, encoder)
        self.register_buffer("centres_1", torch.from_numpy(sampler.centres_1), persistent=False)
        self.register_buffer("centres_2", torch.from_numpy(sampler.centres_2), persistent=False)
        coordinates = coordinate_width(config.observation)
        self.coordinates = coordinates
        self.layer_1 = SetAbstraction(coordinates, feature_width(config.observation), encoder.widths_1, encoder)
        self.layer_2 = SetAbstraction(coordinates, encoder.widths_1[-1], encoder.widths_2, encoder)
        self.token = nn.Linear(encoder.widths_2[-1] + coordinates, decoder.width)
        inputs = state_width(config.observation)
        self.state = (
            nn.Sequential(nn.Linear(inputs, decoder.width), nn.GELU(), nn.Linear(decoder.width, decoder.width))
            if inputs > 0
            else None
        )
        self.queries = nn.Parameter(torch.randn(decoder.chunk, decoder.width) * 0.5)
        self.layers = nn.ModuleList(
            DecoderLayer(decoder.width, decoder.heads, decoder.mlp_ratio, config.train.dropout)
            for _ in range(decoder.layers)
        )
        self.norm = nn.LayerNorm(decoder.width)
        self.action_head = make_head(config)
        last = nn.Linear(decoder.width, self.action_head.outputs)
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(nn.Linear(decoder.width, decoder.width), nn.GELU(), last)
        self.surface: nn.Module | None = None
        self.surface_place: nn.Parameter | None = None
        if config.observation.hand_surface:
            self.surface = nn.Sequential(
                nn.Linear(SURFACE_FEATURES, decoder.width), nn.GELU(), nn.Linear(decoder.width, decoder.width)
            )
            self.surface_place = nn.Parameter(torch.randn(N_SURFACE_TOKENS, decoder.width) * 0.1)
        self.stage_head = nn.Linear(decoder.width, len(Stage)) if decoder.stage_head else None
        self.grasp_queries: nn.Parameter | None = None
        self.grasp_head: nn.Module | None = None
        self.register_buffer("blocked", blocked_attention(decoder), persistent=False)
        if decoder.grasp_query:
            self.grasp_queries = nn.Parameter(torch.randn(len(SIDES), decoder.width) * 0.5)
            self.grasp_head = nn.Sequential(
                nn.Linear(decoder.width, decoder.width), nn.GELU(), nn.Linear(decoder.width, GRASP_OUTPUTS)
            )

    @torch.no_grad()
    def start_from(self, mean: Tensor) -> None:
        """Let an untrained head predict `mean` (A,), the mean normalised action of the data."""
        last = self.head[-1]
        assert isinstance(last, nn.Linear)
        self.action_head.start_from(last, mean)

    def encode(self, features: Tensor, proprioception: Tensor, neighbours_1: Tensor, neighbours_2: Tensor) -> Tensor:
        """Tokens (B, n, width): of the points, then of hand points and state if there are any; no query enters here."""
        coordinates = features[..., : self.coordinates]
        first = self.layer_1(features, None, self.centres_1, neighbours_1)
        centres = coordinates[:, self.centres_1]
        second = self.layer_2(centres, first, self.centres_2, neighbours_2)
        memory = self.token(torch.cat([second, centres[:, self.centres_2].to(second.dtype)], dim=-1))
        width = state_width(self.config.observation)
        if self.surface is not None and self.surface_place is not None:
            surface = proprioception[:, width:].unflatten(1, (N_SURFACE_TOKENS, SURFACE_FEATURES))
            memory = torch.cat([memory, self.surface(surface) + self.surface_place.to(memory.dtype)], dim=1)
        if self.state is not None:
            memory = torch.cat([memory, self.state(proprioception[:, :width])[:, None]], dim=1)
        return memory

    def forward(
        self, features: Tensor, proprioception: Tensor, neighbours_1: Tensor, neighbours_2: Tensor
    ) -> PolicyOutput:
        """features (B, N, f), proprioception (B, p), neighbours (B, C1, k1) and (B, C2, k2) int64."""
        memory = self.encode(features, proprioception, neighbours_1, neighbours_2)
        if self.training and self.config.train.token_dropout > 0.0:
            memory = without_some(memory, len(self.centres_2), self.config.train.token_dropout)
        queries = self.queries if self.grasp_queries is None else torch.cat([self.grasp_queries, self.queries])
        tokens = queries.to(memory.dtype).expand(len(features), -1, -1)
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
        grasp = None if self.grasp_head is None else grasp_output(self.grasp_head(tokens[:, : len(SIDES)]).float())
        actions = tokens[:, -self.config.decoder.chunk :]
        stage = None if self.stage_head is None else self.stage_head(actions).float()
        return PolicyOutput(self.head(actions).float(), grasp, stage)
