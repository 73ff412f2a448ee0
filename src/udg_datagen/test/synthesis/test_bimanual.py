"""Both hands of one grasp together: gradients, symmetry, and what comes out."""

import dataclasses

import numpy as np
import pytest
import torch
import trimesh

from udg_datagen.grasp_set import GraspSet
from udg_datagen.synthesis import (
    GraspObject,
    HandModel,
    HandModelError,
    StrategyError,
    SynthesisConfig,
    objective,
    robot_hand,
    synthesize,
)
from udg_datagen.synthesis.batch_descent import BatchDescent, rotate
from udg_datagen.synthesis.energies import hand_hand_penetration
from udg_datagen.synthesis.initial import HandPose, TablePlane, sample_starts
from udg_datagen.synthesis.objective import Objective, Weights, blend
from udg_datagen.synthesis.optimise import optimise
from udg_datagen.synthesis.problem import Problem

CONFIG = SynthesisConfig(
    strategy="bimanual", n_candidates=16, qp_steps=100, refine_steps=50, batch=16, pregrasp_steps=25
)
HANDS = (robot_hand("left"), robot_hand("right"))
ALL = ((0, 1, 2, 3, 4), (0, 1, 2, 3, 4))
RADIUS = 0.11
TABLE = TablePlane(np.array([0.0, 0.0, 1.0]), RADIUS)
MIRROR = torch.tensor([1.0, -1.0, 1.0])


class Ball:
    """An exact distance, smooth enough for finite differences, in the place of a grid."""

    def nearest(self, points: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        norm = points.norm(dim=1, keepdim=True)
        return norm[:, 0] - RADIUS, points / norm

    trilinear = nearest


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def ball() -> GraspObject:
    ball = GraspObject(trimesh.creation.icosphere(subdivisions=3, radius=RADIUS), name="ball", com=np.zeros(3))
    ball.sdf = Ball()  # type: ignore[assignment]
    return ball


@pytest.fixture(scope="module")
def crate() -> GraspObject:
    return GraspObject(trimesh.creation.box((0.25, 0.3, 0.2)), name="crate")


@pytest.fixture(scope="module")
def grasps(crate: GraspObject) -> GraspSet:
    return synthesize(crate, HANDS, CONFIG, seed=2)


def test_the_gradient_of_both_hands_is_that_of_the_solved_lower_level(
    ball: GraspObject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Envelope theorem: forces held fixed give the derivative of the energy in which they are solved for anew."""
    monkeypatch.setattr(objective, "_FINAL_QP_ITERATIONS", 1500)
    config = dataclasses.replace(CONFIG, qp_iterations=1500, force_wrench=2.0, lift_wrench=3.0, friction=0.5)
    energies = Objective(Problem(ball, HANDS, ALL, TABLE, config))
    start = sample_starts(ball, HANDS, ALL, TABLE, config, 3, np.random.default_rng(1))
    pose = HandPose(*(x.detach() for x in start))
    states = pose.forward(HANDS)
    _, forces, reference = energies.lower_level(states, None)
    progress = 0.5
    weights = Weights(
        blend(config.weight_contact, progress),
        blend(config.weight_penetration, progress),
        config.weight_self,
        config.weight_hands,
    )
    gradient = energies.gradient(pose, states, forces, reference, weights)
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        direction = torch.randn(gradient.shape, generator=generator)
        scale = torch.tensor([0.002] * 3 + [0.02] * 3 + [0.02] * 12) * direction
        step = 0.05 * scale
        values = []
        for sign in (1.0, -1.0):
            moved = HandPose(
                pose.center + sign * step[..., :3],
                rotate(pose.R, sign * step[..., 3:6]),
                pose.q + sign * step[..., 6:],
            )
            values.append(energies.energy(moved, progress)[0].double())
        expected = (values[0] - values[1]) / 2.0
        torch.testing.assert_close((gradient * step).sum((1, 2)).double(), expected, rtol=0.05, atol=0.01)


def test_mirrored_starts_give_mirrored_grasps(ball: GraspObject) -> None:
    config = dataclasses.replace(CONFIG, qp_steps=20, refine_steps=10, screen_step=20)
    hands = (_mirror_image(HANDS[1]), HANDS[1])
    problem = Problem(ball, hands, ALL, TABLE, config)
    start = sample_starts(ball, hands, ALL, TABLE, config, 6, np.random.default_rng(3))

    def mirrored(pose: HandPose) -> HandPose:
        swapped = (x.flip(1) for x in pose)
        center, R, q = swapped
        return HandPose(center * MIRROR, MIRROR[:, None] * R * MIRROR, q)

    here, there = (optimise(problem, one, 6, BatchDescent).pose for one in (start, mirrored(start)))
    expected = mirrored(here)
    close = (there.center - expected.center).norm(dim=-1).amax(-1) < 1e-3
    assert close.sum() >= 5  # rounding decides at kinks
    torch.testing.assert_close(there.R[close], expected.R[close], rtol=0.0, atol=0.02)
    torch.testing.assert_close(there.q[close], expected.q[close], rtol=0.0, atol=0.02)


def test_hands_come_from_opposite_sides_above_the_table(grasps: GraspSet, crate: GraspObject) -> None:
    assert grasps.sides == ("left", "right") and len(grasps) >= 8
    assert len(grasps.contact_names) == 10 and grasps.contact_hand.tolist() == [0] * 5 + [1] * 5
    palms = (grasps.T_object_hand[..., :3, :3] @ grasps.palm_normal_hand[:, :, None])[..., 0]
    assert np.median((palms[:, 0] * palms[:, 1]).sum(-1)) < -0.7
    for h, hand in enumerate(HANDS):
        T, q = (torch.tensor(x[:, h], dtype=torch.float32) for x in (grasps.T_object_hand, grasps.q_grasp))
        surface = hand.forward(T[:, :3, 3], T[:, :3, :3], q).X @ hand.W_surface
        assert surface[:, 2].min() > crate.mesh.bounds[0, 2] - 1e-4


def test_pads_of_both_hands_touch_and_nothing_penetrates(grasps: GraspSet) -> None:
    assert np.abs(grasps.tip_distance).max() <= CONFIG.max_tip_distance
    assert grasps.penetration.max() <= CONFIG.max_penetration
    assert grasps.hand_hand_penetration.max() <= CONFIG.max_hands_penetration


def test_the_forces_of_both_hands_balance_together(grasps: GraspSet) -> None:
    balanced = grasps.force_imbalance < 1e-3
    assert balanced.mean() > 0.7
    force = grasps.contact_forces_object[balanced]
    total = np.linalg.norm(force, axis=-1).sum(-1)
    assert (np.linalg.norm(force.sum(axis=1), axis=-1) < 0.01 * total).all()
    of_left = force[:, grasps.contact_hand == 0].sum(axis=1)
    assert np.median(np.linalg.norm(of_left, axis=-1)) > 5.0  # [N]: one hand alone does not hold it


def test_overlapping_hands_are_pushed_apart() -> None:
    near = torch.zeros(1, 3, 2)
    near[0, 0] = torch.tensor([0.0, 0.05])
    radius = torch.full((2,), 0.02)
    result = hand_hand_penetration(near, radius, near + torch.tensor([0.03, 0.0, 0.0])[:, None], radius)
    # Centres 30 and 20 mm apart, radii 20 mm each: overlaps of 10, 20 and 10 mm, squared in cm.
    assert result.energy.item() == pytest.approx(1.0 + 4.0 + 1.0, rel=1e-4)
    assert result.deepest.item() == pytest.approx(0.02, abs=1e-6)
    assert result.gradients[0].sum().item() == pytest.approx(-result.gradients[1].sum().item(), rel=1e-4)
    far = hand_hand_penetration(near, radius, near + 1.0, radius)
    assert far.energy.item() == 0.0 and far.gradients[0].abs().max() == 0.0


def test_hands_and_strategy_have_to_fit(crate: GraspObject) -> None:
    with pytest.raises(StrategyError, match="needs 2"):
        synthesize(crate, HANDS[0], CONFIG)
    with pytest.raises(StrategyError, match="needs 1"):
        synthesize(crate, HANDS, dataclasses.replace(CONFIG, strategy="pinch"))
    with pytest.raises(HandModelError, match="'right', 'left'"):
        synthesize(crate, HANDS[::-1], CONFIG)


def _mirror_image(hand: HandModel) -> HandModel:
    """The left hand that is exactly the right one in a mirror."""
    spec, m = hand.spec, MIRROR.numpy()
    T = spec.T_parent_joint.copy()
    T[:, :3, :3], T[:, :3, 3] = m[:, None] * T[:, :3, :3] * m, m * T[:, :3, 3]
    points = ("sphere_center", "guard_center", "surface_point", "contact_center", "contact_axis", "grasp_center")
    mirrored = {name: m * getattr(spec, name) for name in (*points, "palm_normal")}
    return HandModel(dataclasses.replace(spec, side="left", T_parent_joint=T, axis=-m * spec.axis, **mirrored))
