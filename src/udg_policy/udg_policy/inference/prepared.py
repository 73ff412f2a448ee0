"""The network prepared for inference: what PolicyNetwork computes in evaluation, in a fraction of the time.

What makes it quick (figures: docs/measured/policy.md): BatchNorm folded into the linear layers; the first linear layer
of a set abstraction computed once a point instead of once a neighbour; the others on blocks of centres that fit the
cache, in bfloat16 where the processor multiplies it and the network is large enough to gain; maxima of bfloat16 taken
as integers; keys and values of the point tokens never formed; affine parts of the layer norms folded away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from udg_description.layout import SIDES
from udg_description.settings import setting
from udg_policy.config import PolicyConfig
from udg_policy.errors import ConfigError
from udg_policy.hands.hand_surface import N_SURFACE_TOKENS, SURFACE_FEATURES
from udg_policy.heads import make_head
from udg_policy.network.network import OFFSET_SCALE, PolicyOutput, blocked_attention, grasp_output
from udg_policy.network.observation import coordinate_width, state_width
from udg_policy.network.point_set import PointSampler
from udg_policy.threads import Team, one_thread

Weights = Mapping[str, Tensor]
PRECISIONS = ("auto", "float32", "bfloat16")
_NORM_EPS = 1e-5  # torch's default, of BatchNorm and LayerNorm
_BFLOAT16_FROM = 1e8  # multiply-adds of the encoder from which bfloat16 is faster


@dataclass(frozen=True, kw_only=True)
class InferenceConfig:
    """How an engine computes; the results differ by rounding alone."""

    device: str = setting("cpu", "of the network: cpu, cuda, cuda:1, ...")
    threads: int = setting(1, "on a CPU; more are faster where cores are idle", 1, 64)
    precision: str = setting("auto", "of the encoder: float32, bfloat16, or auto: what is faster here")
    seed: int = setting(0, "of heads that draw their actions", 0, 2**31 - 1)
    block_rows: int = setting(4096, "neighbours computed at a time on a CPU", 1, 1_000_000)  # fits into 1 MB of cache

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            raise ConfigError(f"inference.precision: {self.precision!r}; valid are {', '.join(PRECISIONS)}")
        if self.threads < 1 or self.block_rows < 1:
            raise ConfigError("inference: threads and block_rows must be at least 1")
        kind = self.device.split(":")[0]
        if kind not in ("cpu", "cuda"):
            raise ConfigError(f"inference.device: {self.device!r}; valid are cpu, cuda, cuda:0, ...")
        if kind == "cuda" and not torch.cuda.is_available():
            raise ConfigError(f"inference.device: {self.device!r}: there is no CUDA device here; valid is cpu")


def has_bfloat16_products() -> bool:
    """Whether this processor multiplies bfloat16 itself."""
    capabilities: dict[str, object] = getattr(torch.cpu, "get_capabilities", dict)()
    return bool(capabilities.get("avx512_bf16") or capabilities.get("amx_bf16"))


def encoder_products(config: PolicyConfig) -> float:
    """Multiply-adds of the set abstractions' layers after the first ones, for one observation."""
    encoder = config.encoder
    total = 0
    for centres, k, widths in (
        (encoder.centres_1, encoder.neighbours_1, encoder.widths_1),
        (encoder.centres_2, encoder.neighbours_2, encoder.widths_2),
    ):
        rows = k * (centres[0] + 2 * centres[1])
        total += rows * sum(a * b for a, b in zip(widths[:-1], widths[1:], strict=True))
    return float(total)


def encoder_dtype(config: PolicyConfig, inference: InferenceConfig) -> torch.dtype:
    """Type of the encoder's products."""
    if inference.precision != "auto":
        return torch.bfloat16 if inference.precision == "bfloat16" else torch.float32
    pays = inference.device == "cpu" and has_bfloat16_products() and encoder_products(config) >= _BFLOAT16_FROM
    return torch.bfloat16 if pays else torch.float32


class Linear(NamedTuple):
    """Weight (out, in) and bias (out,)."""

    weight: Tensor
    bias: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.linear(x, self.weight, self.bias)


class RowNorm(NamedTuple):
    """LayerNorm's gain and shift (width,)."""

    gain: Tensor
    shift: Tensor

    def __call__(self, x: Tensor) -> Tensor:
        return F.layer_norm(x, x.shape[-1:], self.gain, self.shift, _NORM_EPS)


def _convolution(weights: Weights, mlp: str, i: int) -> Linear:
    """The i-th layer of a shared MLP in double precision, BatchNorm folded in."""
    weight = weights[f"{mlp}.linears.{i}.weight"].double()
    norm = f"{mlp}.norms.{i}"
    if f"{norm}.running_var" not in weights:
        bias = weights.get(f"{mlp}.linears.{i}.bias")
        return Linear(weight, torch.zeros_like(weight[:, 0]) if bias is None else bias.double())
    scale = weights[f"{norm}.weight"].double() / torch.sqrt(weights[f"{norm}.running_var"].double() + _NORM_EPS)
    return Linear(
        weight * scale[:, None], weights[f"{norm}.bias"].double() - scale * weights[f"{norm}.running_mean"].double()
    )


def _after_norm(weights: Weights, norm: str, linears: list[str]) -> Linear:
    """Linear layers, one below the other, with the affine part of the LayerNorm before them, in double precision."""
    weight = torch.cat([weights[f"{name}.weight"].double() for name in linears])
    bias = torch.cat([weights[f"{name}.bias"].double() for name in linears])
    gain, shift = weights[f"{norm}.weight"].double(), weights[f"{norm}.bias"].double()
    return Linear(weight * gain, bias + weight @ shift)


def _linear(weights: Weights, name: str) -> Linear:
    return Linear(weights[f"{name}.weight"], weights[f"{name}.bias"])


def _normed(x: Tensor) -> Tensor:
    return F.layer_norm(x, x.shape[-1:], eps=_NORM_EPS)


class InferenceSetAbstraction:
    """A set abstraction: per-point products, then blocks of groups."""

    def __init__(
        self,
        weights: Weights,
        name: str,
        n_layers: int,
        coordinates: int,
        raw: bool,
        dtype: torch.dtype,
        block_rows: int,
    ) -> None:
        first = _convolution(weights, f"{name}.mlp", 0)
        by_offset = OFFSET_SCALE * first.weight[:, :coordinates]
        by_feature = first.weight[:, coordinates:].clone()
        if raw:  # the features begin with the coordinates
            by_feature[:, :coordinates] += by_offset
        else:
            by_feature = torch.cat([by_offset, by_feature], dim=1)
        self._by_point = Linear(by_feature.float(), first.bias.float())
        self._by_centre = by_offset.float().T.contiguous()
        rest = [_convolution(weights, f"{name}.mlp", i) for i in range(1, n_layers)]
        self._rest = [Linear(linear.weight.to(dtype), linear.bias.to(dtype)) for linear in rest]
        norms = [f"{name}.mlp.row_norms.{i}" for i in range(n_layers) if f"{name}.mlp.row_norms.{i}.weight" in weights]
        types = [torch.float32] + [dtype] * len(rest)
        self._norms = [
            RowNorm(weights[f"{norm}.weight"].to(type_), weights[f"{norm}.bias"].to(type_))
            for norm, type_ in zip(norms, types, strict=False)
        ]
        self.width = (rest[-1] if rest else first).weight.shape[0]
        self._dtype = dtype
        self._block_rows = block_rows

    def tasks(self, points: Tensor, centres: Tensor, neighbours: Tensor, features: Tensor) -> list[Callable[[], None]]:
        """What fills features (R, widths[-1]), a block each; the blocks may run at the same time.

        points (P, f): per-point inputs; centres (R, c): coordinates; neighbours (R, k): rows of points.
        """
        by_point = self._by_point(points)
        by_centre = centres @ self._by_centre
        step = max(self._block_rows // neighbours.shape[1], 1)

        def task(start: int) -> Callable[[], None]:
            block = slice(start, start + step)
            return lambda: self._block(by_point, by_centre[block], neighbours[block], features[block])

        return [task(start) for start in range(0, len(centres), step)]

    def _block(self, by_point: Tensor, by_centre: Tensor, neighbours: Tensor, out: Tensor) -> None:
        """out (m, widths[-1]) of m centres."""
        m, k = neighbours.shape
        x = by_point.index_select(0, neighbours.reshape(-1))
        if not self._rest and not self._norms:
            out.copy_(x.view(m, k, -1).amax(dim=1).sub_(by_centre).relu_())
            return
        x.view(m, k, -1).sub_(by_centre[:, None])
        x = self._normed(0, x).to(self._dtype)
        for i, linear in enumerate(self._rest, 1):
            x = self._normed(i, linear(_relu_(x)))
        out.copy_(_relu_(_group_max(x.view(m, k, -1))))

    def _normed(self, i: int, x: Tensor) -> Tensor:
        return self._norms[i](x) if self._norms else x


def _relu_(x: Tensor) -> Tensor:
    """In place. As integers, negative values of a bfloat16 are negative: much faster on a CPU."""
    if x.dtype == torch.bfloat16:
        x.view(torch.int16).clamp_min_(0)
        return x
    return x.relu_()


def _group_max(x: Tensor) -> Tensor:
    """Maximum over dim 1, right wherever it is positive (elsewhere some value that is not): a ReLU follows."""
    if x.dtype == torch.bfloat16:
        return x.view(torch.int16).amax(dim=1).view(torch.bfloat16)
    return x.amax(dim=1)


class InferenceDecoderLayer:
    """A decoder layer. Scores (q W_k) m and values W_v (a m): m, with a one appended, is the same for all layers."""

    def __init__(self, weights: Weights, name: str, width: int, heads: int) -> None:
        self._heads = heads
        scale = (width // heads) ** -0.5
        projections = [f"{name}.query", f"{name}.key_value"]
        token = _after_norm(weights, f"{name}.norm_token", projections)
        token.weight[:width] *= scale
        token.bias[:width] *= scale
        self._token = _single(token)
        memory = _after_norm(weights, f"{name}.norm_memory", projections[1:])
        augmented = torch.cat([memory.weight, memory.bias[:, None]], dim=1).float()
        by_head = augmented.view(2, heads, width // heads, width + 1)
        self._key = by_head[0].contiguous()  # (H, d, W + 1)
        self._value = by_head[1].transpose(1, 2).contiguous()  # (H, W + 1, d)
        self._out = _linear(weights, f"{name}.out")
        self._up = _single(_after_norm(weights, f"{name}.norm_mlp", [f"{name}.mlp.0"]))
        self._down = _linear(weights, f"{name}.mlp.2")

    def __call__(self, tokens: Tensor, memory: Tensor | None, blocked: Tensor | None = None) -> Tensor:
        """tokens (B, n, W) attend to memory (B, m, W + 1), normed and a one, if any, and to one another but for
        `blocked` (n, n)."""
        batch, n, width = tokens.shape
        heads = self._heads
        parts = self._token(_normed(tokens)).view(batch, n, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
        query, key, value = parts  # (B, H, n, d)
        scores = query @ key.transpose(-1, -2)
        if blocked is not None:
            scores += blocked
        if memory is None:
            attended = scores.softmax(dim=-1) @ value
        else:
            absorbed = (query @ self._key).view(batch, heads * n, width + 1)
            to_memory = (absorbed @ memory.transpose(1, 2)).view(batch, heads, n, -1)
            shares = torch.cat([to_memory, scores], dim=-1).softmax(dim=-1)
            m = memory.shape[1]
            mixed = shares[..., :m].reshape(batch, heads * n, m) @ memory
            attended = mixed.view(batch, heads, n, width + 1) @ self._value + shares[..., m:] @ value
        tokens = tokens + self._out(attended.transpose(1, 2).reshape(batch, n, width))
        return tokens + self._down(F.gelu(self._up(_normed(tokens))))


def _single(linear: Linear) -> Linear:
    return Linear(linear.weight.float(), linear.bias.float())


class InferenceNetwork:
    """Called like PolicyNetwork, without gradients. Inputs may be anywhere; the outputs are on the CPU."""

    def __init__(
        self, config: PolicyConfig, weights: Weights, inference: InferenceConfig | None = None, team: Team | None = None
    ) -> None:
        """`weights`: the state of a PolicyNetwork of this configuration; `team` of threads: its own by default."""
        inference = inference or InferenceConfig()
        encoder, decoder = config.encoder, config.decoder
        self.config = config
        self.dtype = encoder_dtype(config, inference)
        self._device = torch.device(inference.device)
        weights = {name: tensor.detach().to(self._device) for name, tensor in weights.items()}
        sampler = PointSampler(config.observation, encoder)
        self._centres_1 = torch.from_numpy(sampler.centres_1).to(self._device)
        self._centres_2 = torch.from_numpy(sampler.centres_2).to(self._device)
        self._coordinates = coordinate_width(config.observation)
        on_cpu = self._device.type == "cpu"
        block_rows = inference.block_rows if on_cpu else 2**62
        self._layer_1 = InferenceSetAbstraction(
            weights, "layer_1", len(encoder.widths_1), self._coordinates, True, self.dtype, block_rows
        )
        self._layer_2 = InferenceSetAbstraction(
            weights, "layer_2", len(encoder.widths_2), self._coordinates, False, self.dtype, block_rows
        )
        self._token = _linear(weights, "token")
        self._state_width = state_width(config.observation)
        has_state = self._state_width > 0
        self._state = (_linear(weights, "state.0"), _linear(weights, "state.2")) if has_state else None
        self._surface: tuple[Linear, Linear, Tensor] | None = None
        if config.observation.hand_surface:
            self._surface = (_linear(weights, "surface.0"), _linear(weights, "surface.2"), weights["surface_place"])
        self._queries = weights["queries"]
        self._grasp_head: tuple[Linear, Linear] | None = None
        if decoder.grasp_query:
            self._queries = torch.cat([weights["grasp_queries"], self._queries])
            first = _single(_after_norm(weights, "norm", ["grasp_head.0"]))
            self._grasp_head = (first, _linear(weights, "grasp_head.2"))
        blocked = blocked_attention(decoder)
        self._blocked = None if blocked is None else blocked.to(self._device)
        self._layers = [
            InferenceDecoderLayer(weights, f"layers.{i}", decoder.width, decoder.heads) for i in range(decoder.layers)
        ]
        self._head = (_single(_after_norm(weights, "norm", ["head.0"])), _linear(weights, "head.2"))
        self.action_head = make_head(config).eval().requires_grad_(False)  # works on the outputs, on the CPU
        self.action_head.load_state_dict(
            {
                name.removeprefix("action_head."): tensor
                for name, tensor in weights.items()
                if name.startswith("action_head.")
            }
        )
        self._team = team if team is not None else Team(inference.threads if on_cpu else 1)

    @torch.inference_mode()
    def __call__(
        self, features: Tensor, proprioception: Tensor, neighbours_1: Tensor, neighbours_2: Tensor
    ) -> PolicyOutput:
        """features (B, N, f), proprioception (B, p), neighbours (B, C1, k1) and (B, C2, k2), any integers."""
        with one_thread():
            return self._predict(features, proprioception, neighbours_1, neighbours_2)

    def _predict(
        self, features: Tensor, proprioception: Tensor, neighbours_1: Tensor, neighbours_2: Tensor
    ) -> PolicyOutput:
        features, proprioception, neighbours_1, neighbours_2 = (
            tensor.to(self._device) for tensor in (features, proprioception, neighbours_1, neighbours_2)
        )
        memory, state = self._encode(features, proprioception, neighbours_1, neighbours_2)
        tokens = self._queries.expand(len(features), -1, -1)
        if self.config.decoder.attention == "unidirectional":
            if state is not None:
                tokens = tokens + state
            context = F.pad(_normed(memory), (0, 1), value=1.0)
            for layer in self._layers:
                tokens = layer(tokens, context, self._blocked)
        else:
            tokens = torch.cat([memory, tokens], dim=1)
            for layer in self._layers:
                tokens = layer(tokens, None)
            tokens = tokens[:, -len(self._queries) :]
        tokens = _normed(tokens)
        grasp = None
        if self._grasp_head is not None:
            first, last = self._grasp_head
            grasp = grasp_output(last(F.gelu(first(tokens[:, : len(SIDES)]))).cpu())
        first, last = self._head
        return PolicyOutput(last(F.gelu(first(tokens[:, -self.config.decoder.chunk :]))).cpu(), grasp)

    def _encode(
        self, features: Tensor, proprioception: Tensor, neighbours_1: Tensor, neighbours_2: Tensor
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens (B, n, W) of the points, the hand points and the state; the state's token (B, 1, W) by itself."""
        coordinates = features[..., : self._coordinates]
        centres_1 = coordinates.index_select(1, self._centres_1)
        first = self._set_abstraction(self._layer_1, features, centres_1, neighbours_1)
        centres_2 = centres_1.index_select(1, self._centres_2)
        second = self._set_abstraction(self._layer_2, torch.cat([centres_1, first], dim=-1), centres_2, neighbours_2)
        memory = self._token(torch.cat([second, centres_2], dim=-1))
        if self._surface is not None:
            first_of_hands, last_of_hands, place = self._surface
            surface = proprioception[:, self._state_width :].unflatten(1, (N_SURFACE_TOKENS, SURFACE_FEATURES))
            memory = torch.cat([memory, last_of_hands(F.gelu(first_of_hands(surface))) + place], dim=1)
        if self._state is None:
            return memory, None
        state = self._state[1](F.gelu(self._state[0](proprioception[:, : self._state_width])))[:, None]
        return torch.cat([memory, state], dim=1), state

    def _set_abstraction(
        self, layer: InferenceSetAbstraction, points: Tensor, centres: Tensor, neighbours: Tensor
    ) -> Tensor:
        """(B, M, widths[-1]) of points (B, N, f), centres (B, M, c), neighbours (B, M, k)."""
        batch, n, _ = points.shape
        if batch > 1:
            neighbours = neighbours + n * torch.arange(batch, device=self._device)[:, None, None]
        features = points.new_empty(batch, centres.shape[1], layer.width)
        tasks = layer.tasks(
            points.flatten(0, 1), centres.flatten(0, 1), neighbours.flatten(0, 1).long(), features.flatten(0, 1)
        )
        self._team.do(tasks)
        return features
