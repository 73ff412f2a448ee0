"""Configuration of the policy and its presets: `paper`, `edge`, `debug`."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from udg_description.settings import load_overrides, override
from udg_policy.action_spaces import ACTION_SPACES, ActionSpace
from udg_policy.errors import ConfigError
from udg_policy.heads import HEADS


def _require(ok: bool, message: str) -> None:
    if not ok:
        raise ConfigError(message)


@dataclass(frozen=True, kw_only=True)
class ObservationConfig:
    """Which points of the scene cloud reach the network and with which features."""

    n_seen: int = 512  # points seen by the cameras; 0 with n_robot 0 = the whole cloud as it is
    n_robot: int = 128  # imaged robot points a side, the nearest to the grasp centre first
    n_whole: int = 0  # points of the whole cloud, without classes (paper: 2048); excludes n_seen and n_robot
    frames: tuple[str, ...] = ("world", "left", "right")  # frames of the coordinates of each point
    label_feature: bool = True  # one-hot label of a point: seen, left robot, right robot
    proprioception: bool = True  # token with hand poses and hand joints
    following_error: bool = False  # of the fingers, in that token: command less measured, what stops them shows
    hand_surface: bool = False  # 54 tokens: from points of the hands to the nearest seen point

    def __post_init__(self) -> None:
        split = self.n_seen > 0 and self.n_robot > 0 and self.n_whole == 0
        whole = self.n_seen == 0 and self.n_robot == 0 and self.n_whole > 0
        _require(split or whole, "observation: give n_seen and n_robot, or n_whole alone")
        _require(
            set(self.frames) <= {"world", "left", "right"} and len(self.frames) > 0,
            f"observation.frames: {self.frames}; valid are world, left, right",
        )
        _require("world" in self.frames, "observation.frames must contain world")
        _require(self.proprioception or not self.following_error, "observation: following_error needs proprioception")

    @property
    def n_points(self) -> int:
        """Points of one observation."""
        return self.n_whole if self.n_whole > 0 else self.n_seen + 2 * self.n_robot


@dataclass(frozen=True, kw_only=True)
class EncoderConfig:
    """Two set-abstraction layers (paper V-B)."""

    centres_1: tuple[int, int] = (192, 32)  # centres of layer 1: seen, robot a side; (n_whole, 0) without classes
    neighbours_1: int = 8  # the point itself included
    widths_1: tuple[int, ...] = (32, 64)
    centres_2: tuple[int, int] = (64, 16)
    neighbours_2: int = 16
    widths_2: tuple[int, ...] = (128,)
    batch_norm: bool = False
    layer_norm: bool = False  # of each row of the shared MLPs, instead

    def __post_init__(self) -> None:
        _require(
            not (self.batch_norm and self.layer_norm),
            "encoder.batch_norm, encoder.layer_norm: at most one of them can be true",
        )
        _require(self.neighbours_1 > 0 and self.neighbours_2 > 0, "encoder: neighbours must be positive")
        _require(len(self.widths_1) > 0 and len(self.widths_2) > 0, "encoder: widths must not be empty")
        _require(
            self.centres_2[0] <= self.centres_1[0] and self.centres_2[1] <= self.centres_1[1],
            "encoder: centres_2 must not exceed centres_1",
        )


@dataclass(frozen=True, kw_only=True)
class DecoderConfig:
    """Decoder-only transformer with learnable action queries (paper V-C)."""

    width: int = 128
    heads: int = 4
    layers: int = 2
    mlp_ratio: int = 4
    chunk: int = 8  # action steps of 0.1 s
    attention: str = "unidirectional"  # or "full": point tokens attend to queries too (ablation)
    head: str = "truncated_normal"  # one of udg_policy.heads
    head_settings: dict[str, Any] = field(default_factory=dict)  # of that head; defaults where omitted
    sigma_least: float = 0.01  # of the truncated normal, in the normalised range [-1, 1]
    sigma_initial: float = 0.25
    stage_head: bool = False  # the stage of each step of the chunk is predicted, too: it tells when the hands close
    grasp_query: bool = False  # a query a hand predicts the grasp of the episode; the action queries attend to both

    def __post_init__(self) -> None:
        _require(self.width % self.heads == 0, "decoder: width must be divisible by heads")
        _require(self.attention in ("unidirectional", "full"), f"decoder.attention: {self.attention!r}")
        _require(self.head in HEADS, f"decoder.head: {self.head!r}; valid are {', '.join(HEADS)}")
        _ = self.settings
        _require(0.0 < self.sigma_least < self.sigma_initial, "decoder: 0 < sigma_least < sigma_initial")
        _require(self.chunk >= 1 and self.layers >= 1, "decoder: chunk and layers must be at least 1")

    @property
    def settings(self) -> Any:  # noqa: ANN401 (each head has its own)
        """The head's own settings; ConfigError for one that it does not have."""
        settings = HEADS[self.head].Settings
        return override(settings(), self.head_settings, f"decoder.head_settings of {self.head}", ConfigError)


@dataclass(frozen=True, kw_only=True)
class SamplingConfig:
    """How often a frame is trained on, relative to others. Where all are alike, each comes once an epoch."""

    cruise: float = 1.0  # farther than near_m from the grasp
    near: float = 1.0  # an acting hand is within near_m of its grasp, until the hands are closed
    squeeze: float = 1.0
    lift: float = 1.0
    hold: float = 1.0
    near_m: float = 0.1

    def __post_init__(self) -> None:
        _require(
            min(self.weights) >= 0.0 and max(self.weights) > 0.0,
            "train.sampling: cruise, near, squeeze, lift, hold must not be negative, and one must be positive",
        )
        _require(self.near_m >= 0.0, f"train.sampling.near_m: {self.near_m}, must not be negative")

    @property
    def weights(self) -> tuple[float, ...]:
        """Of cruise, near, squeeze, lift, hold."""
        return self.cruise, self.near, self.squeeze, self.lift, self.hold


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """Optimisation, augmentation and loss."""

    batch: int = 64
    steps: int = 20_000
    learning_rate: float = 1.5e-3
    learning_rate_final: float = 1.0e-5
    warmup_steps: int = 100
    weight_decay: float = 0.02
    gradient_clip: float = 1.0
    ema_decay: float = 0.999
    bf16: bool = True
    validation_share: float = 0.05
    validation_split: str = "episode"  # or "object"
    nll_weight: float = 0.1  # of the truncated normal's NLL a dimension
    nll_start: float = 0.1  # share of the training before which the NLL is off (L1 warm start)
    l1_weight: float = 1.0  # of the weighted L1 of the mean
    stage_weight: float = 0.1  # of the stages' cross entropy, if there is a stage head
    dropout: float = 0.0  # in the decoder, of what attention and MLP add to each token
    token_dropout: float = 0.0  # share of the points' tokens that a sample does without
    following_noise_rad: float = 0.01  # on the following errors, if the network has them
    touch_share: float = 0.0  # of the hands before the squeeze: their following errors are as of fingers that touch
    touch_rad: float = 0.15  # most that such a touch adds to a finger
    state_dropout: float = 0.0  # share of the samples without the robot's state: the cloud must do
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    grasp_weight: float = 0.3  # of the grasp's loss, if there is a grasp query: key points, acting hands, strategy
    unit_grasp_m: float = 0.05  # error of a key point that counts as one
    # physical errors that count as one in the L1
    unit_position_m: float = 0.02
    unit_rotation_rad: float = 0.15
    unit_joint_rad: float = 0.2
    step_decay: float = 0.85  # weight of a chunk step relative to the step before
    mirror: bool = True
    point_noise_m: float = 0.001  # a seen point
    cloud_noise_m: float = 0.002  # all seen points together
    hand_noise_m: float = 0.005  # measured hand position
    hand_noise_rad: float = 0.03  # measured hand rotation
    joint_noise_rad: float = 0.01  # measured hand joints
    scene_shift_m: float = 0.0  # everything together, along the table: needs targets relative to the wrist
    scene_turn_rad: float = 0.0  # everything together, about the vertical
    bounds_margin: float = 0.1  # of the range of the data

    def __post_init__(self) -> None:
        _require(self.batch >= 1 and self.steps >= 1, "train: batch and steps must be at least 1")
        _require(min(self.nll_weight, self.l1_weight) >= 0.0, "train: nll_weight and l1_weight must not be negative")
        for name in ("grasp_weight", "stage_weight"):
            _require(getattr(self, name) >= 0.0, f"train.{name}: {getattr(self, name)}, must not be negative")
        for name in ("dropout", "token_dropout", "state_dropout"):
            _require(0.0 <= getattr(self, name) < 1.0, f"train.{name}: {getattr(self, name)}, must be in [0, 1)")
        _require(0.0 <= self.touch_share <= 1.0, f"train.touch_share: {self.touch_share}, must be in [0, 1]")
        _require(self.unit_grasp_m > 0.0, f"train.unit_grasp_m: {self.unit_grasp_m}, must be positive")
        _require(0.0 <= self.validation_share < 1.0, "train.validation_share must be in [0, 1)")
        _require(self.validation_split in ("episode", "object"), f"train.validation_split: {self.validation_split!r}")
        _require(0.0 <= self.ema_decay < 1.0, "train.ema_decay must be in [0, 1)")
        for name in (
            "touch_rad",
            "following_noise_rad",
            "point_noise_m",
            "cloud_noise_m",
            "hand_noise_m",
            "hand_noise_rad",
            "joint_noise_rad",
            "scene_shift_m",
            "scene_turn_rad",
        ):
            _require(getattr(self, name) >= 0.0, f"train.{name}: {getattr(self, name)}, must not be negative")


@dataclass(frozen=True, kw_only=True)
class PolicyConfig:
    """Everything that defines a policy and its training."""

    name: str = "edge"
    action_space: str = "wrist_relative"  # one of udg_policy.action_spaces
    observation: ObservationConfig = field(default_factory=ObservationConfig)
    encoder: EncoderConfig = field(default_factory=EncoderConfig)
    decoder: DecoderConfig = field(default_factory=DecoderConfig)
    train: TrainConfig = field(default_factory=TrainConfig)

    def __post_init__(self) -> None:
        _require(
            self.action_space in ACTION_SPACES,
            f"action_space: {self.action_space!r}; valid are {', '.join(ACTION_SPACES)}",
        )
        HEADS[self.decoder.head].check(self)
        train = self.train
        moving = [name for name, space in ACTION_SPACES.items() if space.moves_with_scene]
        moves = self.train.scene_shift_m > 0.0 or self.train.scene_turn_rad > 0.0
        _require(
            not moves or self.space.moves_with_scene,
            f"train.scene_shift_m, train.scene_turn_rad: {self.action_space} targets do not move with the scene; "
            f"set both to 0 or action_space to {' or '.join(moving)}",
        )
        _require(
            train.state_dropout == 0.0 or self.observation.proprioception,
            "train.state_dropout: there is no state to drop; set it to 0 or observation.proprioception to true",
        )
        _require(
            train.touch_share == 0.0 or self.observation.following_error,
            "train.touch_share: there is no following error to change; set it to 0 or following_error to true",
        )
        sizes, encoder = self.observation, self.encoder
        if sizes.n_whole > 0:
            _require(
                encoder.centres_1[1] == 0 and encoder.centres_2[1] == 0,
                "encoder: centres of robot points need observation.n_robot",
            )
            _require(encoder.centres_1[0] <= sizes.n_whole, "encoder: more centres than points")
        else:
            _require(
                encoder.centres_1[0] <= sizes.n_seen and encoder.centres_1[1] <= sizes.n_robot,
                "encoder: more centres than points",
            )

    @property
    def space(self) -> ActionSpace:
        """The action space that `action_space` names."""
        return ACTION_SPACES[self.action_space]


def _edge() -> PolicyConfig:
    return PolicyConfig(observation=ObservationConfig(following_error=True))


def _paper() -> PolicyConfig:
    # Paper section V. Not given there, and chosen: widths (64-64-128, 128-128-256), decoder width 256, 4 layers,
    # chunk 8.
    return PolicyConfig(
        name="paper",
        action_space="joint_absolute",
        observation=ObservationConfig(
            n_seen=0, n_robot=0, n_whole=2048, frames=("world",), label_feature=False, proprioception=False
        ),
        encoder=EncoderConfig(
            centres_1=(2048, 0),
            neighbours_1=32,
            widths_1=(64, 64, 128),
            centres_2=(256, 0),
            neighbours_2=32,
            widths_2=(128, 128, 256),
            batch_norm=True,
        ),
        decoder=DecoderConfig(width=256, heads=8, layers=4),
        train=TrainConfig(
            batch=32,
            learning_rate=3e-4,
            nll_weight=1.0,
            nll_start=0.0,
            l1_weight=0.0,
            mirror=False,
            point_noise_m=0.0,
            cloud_noise_m=0.0,
            hand_noise_m=0.0,
            hand_noise_rad=0.0,
            joint_noise_rad=0.0,
        ),
    )


def _debug() -> PolicyConfig:
    return PolicyConfig(
        name="debug",
        observation=ObservationConfig(n_seen=64, n_robot=16),
        encoder=EncoderConfig(
            centres_1=(32, 8), neighbours_1=4, widths_1=(16, 16), centres_2=(16, 4), neighbours_2=4, widths_2=(32,)
        ),
        decoder=DecoderConfig(width=32, heads=2, layers=1, chunk=4),
        train=TrainConfig(batch=8, steps=20, warmup_steps=2, ema_decay=0.5, bf16=False, validation_share=0.25),
    )


_PRESETS = {"paper": _paper, "edge": _edge, "debug": _debug}


def preset_names() -> tuple[str, ...]:
    """Names that `preset` accepts."""
    return tuple(_PRESETS)


def preset(name: str) -> PolicyConfig:
    """The configuration called `name`; ConfigError names the valid ones."""
    if name not in _PRESETS:
        raise ConfigError(f"preset {name!r} does not exist; valid are {', '.join(_PRESETS)}")
    return _PRESETS[name]()


def to_dict(config: PolicyConfig) -> dict[str, Any]:
    """Plain values, for JSON."""
    return dataclasses.asdict(config)


def from_dict(values: dict[str, Any], base: PolicyConfig | None = None) -> PolicyConfig:
    """`base` (default: the defaults) with the values of a nested mapping; unknown keys are refused."""
    return override(PolicyConfig() if base is None else base, values, "policy", ConfigError)


def load_yaml(path: str | Path, base: PolicyConfig) -> PolicyConfig:
    """`base` overridden by a YAML file (config/policy.yaml: only what differs)."""
    return load_overrides(path, base, "policy", ConfigError)
