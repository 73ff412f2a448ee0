"""The pull towards a reference pose: its gradient, and starts about it."""

from __future__ import annotations

import numpy as np
import torch

from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import SynthesisConfig
from udg_datagen.synthesis.near import Near, Nearness, starts_near
from udg_description.transforms import make_transform, rotvec_to_matrix

T_REFERENCE = make_transform(rotvec_to_matrix(np.array([0.3, -0.2, 0.5])), np.array([0.1, -0.05, 0.2]))
NEAR = Near(T_REFERENCE[None], np.linspace(0.2, 0.9, 12)[None])


def pose(rng: np.random.Generator, count: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    center = torch.tensor(rng.normal(0.0, 0.2, (count, 1, 3)))
    R = torch.tensor(rotvec_to_matrix(rng.normal(0.0, 0.7, (count, 1, 3))))
    q = torch.tensor(rng.uniform(0.1, 1.2, (count, 1, 12)))
    return center, R, q


def in_double(config: SynthesisConfig) -> Nearness:
    nearness = Nearness(NEAR, (robot_hand("right"),), config)
    for name in ("_R", "_origin", "_centre", "_q"):
        setattr(nearness, name, getattr(nearness, name).double())
    return nearness


def test_at_the_reference_the_distance_is_zero_and_apart_from_it_as_in_eq_10() -> None:
    hand, config = robot_hand("right"), SynthesisConfig()
    nearness = in_double(config)
    q = torch.tensor(NEAR.q)[None]
    R = torch.tensor(T_REFERENCE[None, None, :3, :3])
    center = torch.tensor(T_REFERENCE[:3, :3] @ hand.spec.grasp_center + T_REFERENCE[:3, 3])[None, None]
    assert float(nearness.distance(center, R, q)) < 1e-4  # arccos near one
    moved = center + torch.tensor([0.03, 0.0, 0.04])
    np.testing.assert_allclose(float(nearness.distance(moved, R, q)), 0.05, atol=1e-4)
    bent = q + 0.2
    np.testing.assert_allclose(float(nearness.distance(center, R, bent)), 0.2 * config.near_posture_m, atol=1e-4)


def test_the_gradient_is_that_of_the_distance() -> None:
    rng, step = np.random.default_rng(0), 1e-6
    nearness = in_double(SynthesisConfig())
    center, R, q = pose(rng, 5)
    gradient = nearness.gradient(center, R, q)
    for k in range(3):
        shift = torch.zeros(3, dtype=torch.double)
        shift[k] = step
        slope = (nearness.distance(center + shift, R, q) - nearness.distance(center - shift, R, q)) / (2 * step)
        torch.testing.assert_close(gradient[:, 0, k], slope, atol=1e-5, rtol=1e-5)
        turn = [torch.tensor(rotvec_to_matrix(sign * shift.numpy())) for sign in (1.0, -1.0)]
        slope = (nearness.distance(center, turn[0] @ R, q) - nearness.distance(center, turn[1] @ R, q)) / (2 * step)
        torch.testing.assert_close(gradient[:, 0, 3 + k], slope, atol=1e-5, rtol=1e-5)
    for k in range(12):
        bend = torch.zeros(12, dtype=torch.double)
        bend[k] = step
        slope = (nearness.distance(center, R, q + bend) - nearness.distance(center, R, q - bend)) / (2 * step)
        torch.testing.assert_close(gradient[:, 0, 6 + k], slope, atol=1e-5, rtol=1e-5)


def test_starts_lie_about_the_reference_the_later_ones_further_away() -> None:
    hand = robot_hand("right")
    starts = starts_near(NEAR, (hand,), SynthesisConfig(), 400, np.random.default_rng(0))
    centre = T_REFERENCE[:3, :3] @ hand.spec.grasp_center + T_REFERENCE[:3, 3]
    away = np.linalg.norm(starts.center[:, 0].numpy() - centre, axis=1)
    assert away[:100].mean() < 0.6 * away[-100:].mean()
    assert away[:20].mean() < 0.015
    again = starts_near(NEAR, (hand,), SynthesisConfig(), 400, np.random.default_rng(0))
    torch.testing.assert_close(starts.R, again.R, atol=0.0, rtol=0.0)
