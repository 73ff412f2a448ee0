"""The network prepared for inference computes what PolicyNetwork computes, whatever the precision and the threads."""

import dataclasses

import pytest
import torch
from torch import Tensor

from udg_policy.bench.bench_policy import random_checkpoint
from udg_policy.config import PolicyConfig, preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import ConfigError
from udg_policy.frames.frame_store import Batch, frames_of
from udg_policy.inference.prepared import InferenceConfig, InferenceNetwork, encoder_dtype, encoder_products

EXACT, ROUNDED = 2e-5, 1e-2  # [normalised action]


def chosen(
    name: str,
    batch_norm: bool,
    attention: str = "unidirectional",
    head: str = "truncated_normal",
    widths_2: tuple[int, ...] | None = None,
    grasp_query: bool = False,
) -> PolicyConfig:
    config = preset(name)
    encoder = dataclasses.replace(config.encoder, batch_norm=batch_norm, widths_2=widths_2 or config.encoder.widths_2)
    observation = dataclasses.replace(config.observation, hand_surface=grasp_query)
    return dataclasses.replace(
        config,
        observation=observation,
        encoder=encoder,
        decoder=dataclasses.replace(config.decoder, attention=attention, head=head, grasp_query=grasp_query),
    )


def batch_of(config: PolicyConfig) -> Batch:
    store = frames_of([make_episode(5, steps=2)], config)
    views = store.views(torch.arange(1), False)
    return store.batch(views, store.bounds(views))


def errors(config: PolicyConfig, **options: object) -> tuple[float, Tensor]:
    """Greatest difference of the normalised action, and the action."""
    checkpoint = random_checkpoint(config)
    batch = batch_of(config)
    quick = InferenceNetwork(config, checkpoint.weights, InferenceConfig(**options))
    ours = quick(*batch[:4])
    with torch.no_grad():
        expected = checkpoint.network()(*batch[:4])
    torch.testing.assert_close(ours.actions, expected.actions, atol=ROUNDED, rtol=ROUNDED)
    assert (ours.grasp is None) == (expected.grasp is None) == (not config.decoder.grasp_query)
    for a, b in zip(ours.grasp or (), expected.grasp or (), strict=True):
        torch.testing.assert_close(a, b, atol=ROUNDED, rtol=ROUNDED)
    executed = quick.action_head.act(expected.actions)
    return float((quick.action_head.act(ours.actions) - executed).abs().max()), executed


@pytest.mark.parametrize(
    ("name", "batch_norm", "attention", "head", "widths_2", "grasp_query"),
    [
        ("paper", True, "unidirectional", "truncated_normal", None, False),
        ("edge", False, "unidirectional", "truncated_normal", None, False),
        ("edge", True, "unidirectional", "truncated_normal", None, True),
        ("debug", True, "full", "regression", None, True),
        ("debug", False, "full", "truncated_normal", (16, 32), False),
        ("debug", False, "unidirectional", "regression", None, True),
    ],
)
def test_single_precision_is_exact(
    name: str, batch_norm: bool, attention: str, head: str, widths_2: tuple[int, ...] | None, grasp_query: bool
) -> None:
    error, mode = errors(chosen(name, batch_norm, attention, head, widths_2, grasp_query), precision="float32")
    assert mode.std() > 0.05, "the actions must vary for the comparison to mean anything"
    assert error < EXACT


@pytest.mark.parametrize(("precision", "tolerance"), [("float32", EXACT), ("bfloat16", ROUNDED)])
def test_row_norms_are_applied(precision: str, tolerance: float) -> None:
    config = chosen("debug", False, widths_2=(16, 32))
    config = dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, layer_norm=True))
    error, mode = errors(config, precision=precision)
    assert mode.std() > 0.05 and error < tolerance


@pytest.mark.parametrize("name", ["paper", "edge", "debug"])
def test_bfloat16_is_within_a_hundredth(name: str) -> None:
    error, _ = errors(chosen(name, True), precision="bfloat16")
    assert 0.0 < error < ROUNDED


def test_threads_and_blocks_change_nothing() -> None:
    config = chosen("debug", True)
    checkpoint = random_checkpoint(config)
    inputs = batch_of(config)[:4]
    one = InferenceNetwork(config, checkpoint.weights, InferenceConfig())(*inputs).actions
    for options in (InferenceConfig(threads=2, block_rows=20), InferenceConfig(block_rows=1)):
        torch.testing.assert_close(
            InferenceNetwork(config, checkpoint.weights, options)(*inputs).actions, one, atol=1e-6, rtol=1e-5
        )


def test_torchs_threads_are_left_as_they_were() -> None:
    config = preset("debug")
    network = InferenceNetwork(config, random_checkpoint(config).weights, InferenceConfig(threads=2))
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    try:
        network(*batch_of(config)[:4])
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_products_by_hand() -> None:
    # 48 and 24 centres of 4 neighbours: 16 x 16 after the first layer; the second set abstraction has one layer only.
    config = preset("debug")
    assert config.encoder.centres_1 == (32, 8) and config.encoder.widths_1 == (16, 16)
    assert encoder_products(config) == 48 * 4 * 16 * 16
    assert encoder_dtype(config, InferenceConfig()) == torch.float32, "too small to gain from bfloat16"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"precision": "int8"}, "valid are auto, float32, bfloat16"),
        ({"threads": 0}, "at least 1"),
        ({"device": "tpu"}, "valid are cpu, cuda"),
    ],
)
def test_bad_options_are_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        InferenceConfig(**options)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_an_absent_cuda_device_is_named() -> None:
    with pytest.raises(ConfigError, match="no CUDA device"):
        InferenceConfig(device="cuda")


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("name", ["paper", "edge"])
def test_cuda_gives_the_same(name: str) -> None:
    error, _ = errors(preset(name), device="cuda")
    assert error < 1e-3
