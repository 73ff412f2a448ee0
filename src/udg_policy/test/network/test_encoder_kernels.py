"""The compiled set abstractions compute what their formulas say, and gradients that match those of autograd."""

import dataclasses

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from udg_policy.config import preset
from udg_policy.episodes.synthetic import make_episode
from udg_policy.frames.frame_store import frames_of
from udg_policy.network.encoder_kernels import grouped_maximum, points_maximum
from udg_policy.network.gather_max import gather_rows
from udg_policy.network.network import PolicyNetwork

SCALE = 4.0


def hand_made(weight: list[list[float]], bias: list[float]) -> nn.Linear:
    linear = nn.Linear(len(weight[0]), len(weight))
    with torch.no_grad():
        linear.weight.copy_(torch.tensor(weight))
        linear.bias.copy_(torch.tensor(bias))
    return linear


def relative_error(a: Tensor, b: Tensor) -> float:
    return float((a - b).norm() / b.norm())


def test_grouped_maximum_of_a_hand_computed_group() -> None:
    """One coordinate x and one feature f: first gives (4 (x_j - x_i), f_j), second their sum and minus their sum."""
    points = torch.tensor([[[1.0, 2.0], [1.5, 3.0], [0.0, 0.5]]])
    first = hand_made([[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]], [0.0, 0.0])
    second = hand_made([[1.0, 1.0], [-1.0, -1.0]], [0.5, 0.0])
    out = grouped_maximum(points, torch.tensor([0]), torch.tensor([[[0, 1, 2]]]), 1, SCALE, first, second)
    # Neighbours: (0, 2), (2, 3), (-4 -> 0, 0.5): sums 2, 5, 0.5; negative ones are cut off.
    assert out.tolist() == [[[5.5, 0.0]]]
    out.sum().backward()
    assert second.weight.grad.tolist() == [[2.0, 3.0], [0.0, 0.0]] and second.bias.grad.tolist() == [1.0, 0.0]
    assert first.weight.grad.tolist() == [[2.0, 1.5, 3.0], [2.0, 1.5, 3.0]] and first.bias.grad.tolist() == [1.0, 1.0]


def test_points_maximum_of_a_hand_computed_group() -> None:
    coordinates = torch.tensor([[[1.0], [1.5], [0.0]]])
    learned = torch.tensor([[[2.0], [3.0], [16.0]]], requires_grad=True)
    linear = hand_made([[1.0, 1.0]], [0.5])
    out = points_maximum(coordinates, learned, torch.tensor([0]), torch.tensor([[[0, 1, 2]]]), SCALE, linear)
    assert out.tolist() == [[[12.5]]]  # of 2 + 0, 3 + 2 and 16 - 4
    out.sum().backward()
    assert learned.grad.tolist() == [[[0.0], [0.0], [1.0]]]
    assert linear.weight.grad.tolist() == [[-4.0, 16.0]] and linear.bias.grad.tolist() == [1.0]


@pytest.mark.parametrize("batch", [3, 9])  # less than is taken at a time, and a rest
def test_gradients_are_those_of_the_formulas(batch: int) -> None:
    """In bfloat16, where a few maxima change places."""
    torch.manual_seed(0)
    points, learned = torch.randn(batch, 40, 7), torch.rand(batch, 40, 12).requires_grad_(True)
    centres, neighbours = torch.arange(10), torch.randint(40, (batch, 10, 5))
    first, second, alone = nn.Linear(4 + 7, 20), nn.Linear(20, 24), nn.Linear(4 + 12, 24)
    offsets = SCALE * (gather_rows(points[..., :4], neighbours) - points[:, centres, None, :4])

    def by_formula() -> tuple[Tensor, Tensor]:
        rows = F.relu(first(torch.cat([offsets, gather_rows(points, neighbours)], dim=-1)))
        others = alone(torch.cat([offsets, gather_rows(learned, neighbours)], dim=-1))
        return F.relu(second(rows).amax(dim=2)), F.relu(others.amax(dim=2))

    def by_kernels() -> tuple[Tensor, Tensor]:
        return (
            grouped_maximum(points, centres, neighbours, 4, SCALE, first, second),
            points_maximum(points[..., :4], learned, centres, neighbours, SCALE, alone),
        )

    parameters = [learned, *first.parameters(), *second.parameters(), *alone.parameters()]
    weight = torch.randn(2, batch, 10, 24)
    results = []
    for outputs in (by_formula(), by_kernels()):
        total = sum((out * w).sum() for out, w in zip(outputs, weight, strict=True))
        results.append([*outputs, *torch.autograd.grad(total, parameters)])
    for exact, ours in zip(*results, strict=True):
        assert relative_error(ours.detach(), exact.detach()) < 0.1


def test_a_training_step_takes_them_only_where_they_do_the_same() -> None:
    config = preset("debug")
    store = frames_of([make_episode(0, steps=4)], config)
    views = store.views(torch.arange(1), mirrored=True)
    batch = store.batch(views, store.bounds(views))
    torch.manual_seed(0)
    network = PolicyNetwork(config).train()
    exact = network.layer_1(batch.features, None, network.centres_1, batch.neighbours_1)
    with torch.autocast("cpu", torch.bfloat16):
        ours = network.layer_1(batch.features, None, network.centres_1, batch.neighbours_1)
    assert "GroupedMaximum" in type(ours.grad_fn).__name__
    assert "GroupedMaximum" not in type(exact.grad_fn).__name__
    assert relative_error(ours.detach(), exact.detach()) < 0.01
    normed = PolicyNetwork(dataclasses.replace(config, encoder=dataclasses.replace(config.encoder, layer_norm=True)))
    with torch.autocast("cpu", torch.bfloat16):
        other = normed.train().layer_1(batch.features, None, normed.centres_1, batch.neighbours_1)
    assert "GroupedMaximum" not in type(other.grad_fn).__name__
