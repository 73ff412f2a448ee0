"""Heads: each does what the protocol says, alone and in all networks; what flow matching is for."""

import ast
import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from udg_description.layout import SIDES, part_indices
from udg_description.limits import joint_limits
from udg_policy.action_spaces import ACTION_SPACES, ActionSpace, Kind
from udg_policy.action_spaces.space import joint_slot, lay_out
from udg_policy.bench.bench_policy import observations, random_checkpoint
from udg_policy.config import PolicyConfig, from_dict, preset, to_dict
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import ConfigError
from udg_policy.frames.frame_store import frames_of
from udg_policy.heads import HEADS, ActionDistribution, make_head
from udg_policy.heads.regression import RegressionHead
from udg_policy.inference.engine import PolicyEngine
from udg_policy.inference.prepared import InferenceConfig, InferenceNetwork
from udg_policy.network.checkpoint import CheckpointError, load_checkpoint, save_checkpoint
from udg_policy.network.network import PolicyNetwork
from udg_policy.network.reference import PlainEngine, plain_network
from udg_policy.pages.episode_page import page_data
from udg_policy.pages.episode_view import view_episode
from udg_policy.training.train import Run, train

NAMES = tuple(HEADS)
K, A = 4, 36  # of preset debug


def config_of(head: str, **settings: int) -> PolicyConfig:
    return from_dict({"decoder": {"head": head, "head_settings": settings}}, preset("debug"))


def numbers_of(head: nn.Module, batch: int = 3) -> Tensor:
    return torch.randn(batch, K, head.outputs, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", NAMES)
def test_actions_are_within_the_bounds_and_follow_from_the_seed(name: str) -> None:
    torch.manual_seed(0)
    head = make_head(config_of(name)).eval()
    numbers = 3.0 * numbers_of(head)
    with torch.no_grad():
        actions, again, alone = head.act(numbers, 7), head.act(numbers, 7), head.act(numbers[1:2], 7)
        mode = head.distribution(numbers).mode
    assert actions.shape == (3, K, A) == mode.shape
    assert actions.abs().max() <= 1.0
    assert torch.equal(actions, again)
    torch.testing.assert_close(alone[0], actions[1])
    torch.testing.assert_close(mode, head.act(numbers, 0))


@pytest.mark.parametrize("name", NAMES)
def test_the_loss_has_gradients_and_tells_the_l1_in_evaluation(name: str) -> None:
    torch.manual_seed(0)
    head = make_head(config_of(name))
    numbers, actions = numbers_of(head).requires_grad_(), torch.rand(3, K, A) * 2.0 - 1.0
    weights = torch.rand(K, A) + 0.5
    first, again = (head.loss(numbers, actions, weights, 1.0, torch.Generator().manual_seed(1)) for _ in range(2))
    assert torch.equal(first.total, again.total)
    first.total.backward()
    assert float(numbers.grad.abs().sum()) > 0.0
    assert all(float(p.grad.abs().sum()) > 0.0 for p in head.parameters())
    with torch.no_grad():
        parts = head.eval().loss(numbers, actions, weights, 1.0).parts
        mu = head.distribution(numbers).mu
    torch.testing.assert_close(parts["l1"], ((mu - actions).abs() * weights).mean())


@pytest.mark.parametrize("name", NAMES)
def test_all_networks_and_a_saved_checkpoint_agree(name: str, tmp_path: Path) -> None:
    config = config_of(name)
    checkpoint = random_checkpoint(config)
    store = frames_of([make_episode(5, steps=2)], config)
    inputs = store.batch(torch.arange(2), store.bounds(torch.arange(2)))[:4]
    network = checkpoint.network()
    with torch.no_grad():
        expected = network.action_head.act(network(*inputs).actions, 3)
        quick = InferenceNetwork(config, checkpoint.weights)
        plain = plain_network(config, network.state_dict())
        assert expected.std() > 0.05
        for other in (quick, plain):
            torch.testing.assert_close(other.action_head.act(other(*inputs).actions, 3), expected, atol=1e-4, rtol=0.0)
    scene = observations(seed=0)[0]
    chunk = PolicyEngine(checkpoint).act(*scene)
    save_checkpoint(tmp_path, checkpoint)
    np.testing.assert_array_equal(PolicyEngine.load(tmp_path).act(*scene), chunk)
    np.testing.assert_allclose(PlainEngine(load_checkpoint(tmp_path)).act(*scene), chunk, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_a_training_resumes_to_the_same_weights(name: str, tmp_path: Path) -> None:
    config = config_of(name)
    config = dataclasses.replace(config, train=dataclasses.replace(config.train, steps=4))
    store = frames_of([make_episode(i, steps=4) for i in range(4)], config)
    whole = train(config, store, Run(out=tmp_path / "whole", quiet=True))
    first = train(config, store, Run(out=tmp_path / "parts", quiet=True, stop_at_step=2))
    assert first + train(config, store, Run(out=tmp_path / "parts", quiet=True, resume=True)) == whole
    ours, theirs = (load_checkpoint(tmp_path / part) for part in ("whole", "parts"))
    assert all(torch.equal(tensor, theirs.weights[key]) for key, tensor in ours.weights.items())
    assert ours.config == config and "l1" in ours.figures["validation"]


def fitted(name: str, targets: Tensor, iterations: int, **settings: int) -> tuple[nn.Module, Tensor]:
    """A head, and numbers by which it has learned targets (n, S, K, A): S for each of n samples."""
    torch.manual_seed(0)
    head = make_head(config_of(name, **settings)).train()
    numbers = nn.Parameter(torch.zeros(len(targets), K, head.outputs))
    with torch.no_grad():
        numbers.normal_(std=0.1)
    optimiser = torch.optim.Adam([numbers, *head.parameters()], lr=1e-2)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, iterations)
    generator, weights = torch.Generator().manual_seed(2), torch.ones(K, A)
    actions = targets.flatten(0, 1)
    for _ in range(iterations):
        optimiser.zero_grad()
        head.loss(numbers.repeat_interleave(targets.shape[1], dim=0), actions, weights, 1.0, generator).total.backward()
        optimiser.step()
        schedule.step()
    return head.eval(), numbers.detach()


@torch.no_grad()
def errors(head: nn.Module, numbers: Tensor, targets: Tensor) -> Tensor:
    return torch.stack([(head.act(numbers, seed) - targets).abs().mean() for seed in range(4)])


def test_a_flow_recovers_targets() -> None:
    targets = torch.rand(6, 1, K, A, generator=torch.Generator().manual_seed(3)) * 1.8 - 0.9
    head, numbers = fitted("flow_matching", targets, 200, draws=16)
    assert errors(head, numbers, targets[:, 0]).max() < 0.03


def test_a_flow_takes_one_of_two_ways() -> None:
    way = torch.sign(torch.randn(K, A, generator=torch.Generator().manual_seed(3)))
    both = torch.stack([0.5 * way, -0.5 * way])[None]  # a chunk and its opposite, as often
    head, numbers = fitted("flow_matching", both, 200, draws=32)
    with torch.no_grad():
        drawn = torch.cat([head.act(numbers, seed) for seed in range(24)])
    along = (drawn * way).mean(dim=(1, 2))
    assert ((along.abs() - 0.5).abs() < 0.05).sum() >= 22, "whole chunks are of one way"
    assert 4 <= int((along > 0).sum()) <= 20, "either way comes"


def test_a_short_training_of_a_flow_recovers_the_targets(tmp_path: Path) -> None:
    quiet = {
        f"{what}_noise_{unit}": 0.0
        for what, unit in (("point", "m"), ("cloud", "m"), ("hand", "m"), ("hand", "rad"), ("joint", "rad"))
    }
    config = from_dict(
        {
            "train": {
                "steps": 250,
                "batch": 16,
                "mirror": False,
                "validation_share": 0.0,
                "ema_decay": 0.9,
                "learning_rate": 6e-3,
                "weight_decay": 0.0,
                **quiet,
            },
            "decoder": {"width": 64},
        },
        config_of("flow_matching"),
    )
    episodes = [make_episode(i, steps=8) for i in range(2)]
    train(config, frames_of(episodes, config), Run(out=tmp_path, quiet=True))
    engine = PolicyEngine.load(tmp_path)
    off = []
    for episode in episodes:
        clouds = np.concatenate([episode.cloud_xyz.astype(np.float32), episode.cloud_label[..., None]], axis=-1)
        off.append(np.abs(engine.act_batch(clouds, episode.q)[:, 0] - episode.target).mean())
    still = np.mean([np.abs(episode.q - episode.target).mean() for episode in episodes])
    assert np.mean(off) < 0.01 < still


def test_two_steps_of_euler_by_hand() -> None:
    head = make_head(config_of("flow_matching", steps=2)).eval()
    numbers = numbers_of(head)
    noise = torch.randn(K, A, generator=torch.Generator().manual_seed(9)).expand(3, -1, -1)
    with torch.no_grad():
        velocity = head.estimate(noise, torch.zeros(1, 1, 1), numbers) - noise
        half = noise + 0.5 * velocity
        velocity = (head.estimate(half, torch.full((1, 1, 1), 0.5), numbers) - half) / 0.5
        torch.testing.assert_close(head.act(numbers, 9), (half + 0.5 * velocity).clamp(-1.0, 1.0))


def test_the_engine_draws_by_the_seed_of_its_settings() -> None:
    checkpoint, scene = random_checkpoint(config_of("flow_matching")), observations(seed=0)[0]
    chunks = [PolicyEngine(checkpoint, InferenceConfig(seed=seed)).act(*scene) for seed in (0, 0, 1)]
    np.testing.assert_array_equal(chunks[0], chunks[1])
    assert np.abs(chunks[0] - chunks[2]).max() > 1e-3


def test_an_untrained_flow_starts_from_the_mean() -> None:
    network = PolicyNetwork(config_of("flow_matching"))
    network.start_from(torch.linspace(-0.5, 0.5, A))
    assert torch.equal(network.action_head.leave.bias.detach(), torch.linspace(-0.5, 0.5, A))


def test_weights_of_another_head_are_refused() -> None:
    checkpoint = random_checkpoint(config_of("flow_matching"))
    with pytest.raises(CheckpointError, match="action_head"):
        PolicyEngine(dataclasses.replace(checkpoint, config=config_of("regression")))


def test_settings_survive_json_and_override_one_by_one() -> None:
    config = config_of("flow_matching", steps=3)
    assert from_dict(to_dict(config)) == config
    other = from_dict({"decoder": {"head_settings": {"blocks": 1}}}, config)
    assert (other.decoder.settings.steps, other.decoder.settings.blocks) == (3, 1)
    assert from_dict({"decoder": {"head": "regression", "head_settings": {}}}, config).decoder.head == "regression"


@pytest.mark.parametrize(
    ("head", "settings", "message"),
    [
        ("flow_matching", {"stpes": 3}, "unknown key 'stpes'; valid are blocks, draws, steps"),
        ("flow_matching", {"steps": 0}, "head_settings.steps: 0, must be at least 1"),
        ("flow_matching", {"steps": 1.5}, "expected int"),
        ("regression", {"steps": 3}, "head_settings of regression: unknown key 'steps'; valid are none"),
        ("flow", {}, "valid are truncated_normal, regression, flow_matching"),
    ],
)
def test_bad_settings_are_named(head: str, settings: dict[str, int], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        config_of(head, **settings)


# --- a new one needs its class and its line alone -------------------------------------------------------------------


class HalfHead(RegressionHead):
    """Actions are half of the numbers."""

    def distribution(self, numbers: Tensor) -> ActionDistribution:
        return ActionDistribution(0.5 * numbers, None)


class FingersSpace(ActionSpace):
    """The joints of both hands; the arms stay."""

    def __init__(self) -> None:
        self.slots = lay_out(joint_slot(side, Kind.HAND_JOINTS) for side in SIDES)

    def encode(self, T_now: Tensor, T_targets: Tensor, q_targets: Tensor) -> Tensor:
        return torch.cat([q_targets[..., slot.joints] for slot in self.slots], dim=-1)

    def decode(self, actions: np.ndarray, q: np.ndarray) -> np.ndarray:
        targets = np.repeat(q[None], len(actions), axis=0)
        for slot in self.slots:
            targets[:, slot.joints] = actions[:, slot.columns]
        return joint_limits().clip(targets)

    def mirror(self, actions: Tensor) -> Tensor:
        return actions.roll(self.size // 2, dims=-1)


def test_a_new_head_and_a_new_action_space_go_all_the_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(HEADS, "half", HalfHead)
    monkeypatch.setitem(ACTION_SPACES, "fingers", FingersSpace())
    config = from_dict({"action_space": "fingers", "decoder": {"head": "half"}, "train": {"steps": 3}}, preset("debug"))
    assert config.space.size == 24 == make_head(config).outputs
    episodes = [make_episode(i, steps=4) for i in range(4)]
    train(config, frames_of(episodes, config), Run(out=tmp_path, quiet=True))
    checkpoint, (points, q) = load_checkpoint(tmp_path), observations(seed=0)[0]
    assert set(checkpoint.figures["validation"]) == {"l1", "joints_first", "joints_last"}
    chunk = PolicyEngine(checkpoint).act(points, q)
    assert chunk.shape == (K, 36)
    for arm in (part_indices(f"{side}_arm") for side in SIDES):
        np.testing.assert_allclose(chunk[:, arm], np.tile(q[arm], (K, 1)))
    np.testing.assert_allclose(PlainEngine(checkpoint).act(points, q), chunk, atol=1e-3)
    data = page_data(view_episode(checkpoint, episodes[0]), checkpoint, "new", 1)
    assert len(data["action_names"]) == 24 and all(chart < 24 for chart in data["default_charts"])


def test_nothing_asks_for_a_head_or_an_action_space_by_its_name() -> None:
    """The tables alone know the names, and those who choose one: presets and studies."""
    asked = []
    for path in Path(__file__).parents[3].glob("udg_*/udg_*/**/*.py"):
        source = path.read_text(encoding="utf-8")
        if not any(name in source for name in (*HEADS, *ACTION_SPACES)):
            continue
        for compared in (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Compare | ast.Match)):
            named = {node.value for node in ast.walk(compared) if isinstance(node, ast.Constant)}
            asked += [f"{path.name}:{compared.lineno}: {name}" for name in named & {*HEADS, *ACTION_SPACES}]
    assert asked == []
