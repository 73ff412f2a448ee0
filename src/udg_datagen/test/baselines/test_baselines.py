import numpy as np
import pytest
import torch
import trimesh

from udg_datagen.baselines import DexGraspNetConfig, MalaResult, optimise, to_grasps
from udg_datagen.baselines.dexgraspnet import _candidates, _Mala, _turn
from udg_datagen.bench.cell import open_gates
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, HandModel, SynthesisConfig

CONFIG = DexGraspNetConfig(n_candidates=8, iterations=150)


@pytest.fixture(scope="module")
def ball() -> GraspObject:
    torch.set_num_threads(1)
    return GraspObject(trimesh.creation.icosphere(subdivisions=3, radius=0.035), name="ball", grid_nodes=32)


@pytest.fixture(scope="module")
def hand() -> HandModel:
    return robot_hand("right")


@pytest.fixture(scope="module")
def result(ball: GraspObject, hand: HandModel) -> MalaResult:
    return optimise(ball, hand, CONFIG, seed=1)


def test_contact_candidates_lie_on_the_pads(hand: HandModel) -> None:
    W, pads = _candidates(hand, 28)
    assert W.shape[1] == 28 * len(hand.spec.contact_names)
    q = torch.tensor(hand.spec.preshape[None], dtype=torch.float32)
    state = hand.forward(torch.zeros(1, 3), torch.eye(3)[None], q)
    points, centers = (state.X @ W)[0], (state.X @ hand.W_contacts)[0]
    torch.testing.assert_close((points - centers[:, pads]).norm(dim=0), hand.contact_radius[pads], atol=1e-5, rtol=0)


def test_the_gradient_is_that_of_the_energy(hand: HandModel) -> None:
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=0.035)
    wide = GraspObject(sphere, name="ball", grid_nodes=48, padding=0.3)  # the starts are within the grid
    mala = _Mala(wide, hand, CONFIG, seed=0)
    origin, R, q = mala._starts()
    contacts = mala._draw((len(q), CONFIG.n_contacts))
    _, gradient = mala._evaluate(origin, R, q, contacts)
    step = 1e-3

    def total(motion: torch.Tensor) -> torch.Tensor:
        turned = _turn(motion[3:].expand(len(q), 3)) @ R
        return mala._evaluate(origin + motion[:3], turned, q, contacts)[0].total

    for k in range(6):
        motion = torch.zeros(6)
        motion[k] = step
        numeric = (total(motion) - total(-motion)) / (2 * step)
        torch.testing.assert_close(numeric, gradient[:, k], atol=3.0, rtol=0.02)


def test_small_turns_are_rotations() -> None:
    R = _turn(torch.tensor([[0.0, 0.0, 0.0], [0.0, 0.0, np.pi / 2]], dtype=torch.float32))
    torch.testing.assert_close(R[0], torch.eye(3))
    torch.testing.assert_close(R[1] @ torch.tensor([1.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 0.0]), atol=1e-6, rtol=0)


def test_the_energy_falls_and_limits_hold(ball: GraspObject, hand: HandModel, result: MalaResult) -> None:
    start = _Mala(ball, hand, CONFIG, seed=1)
    origin, R, q = start._starts()
    before = start._evaluate(origin, R, q, start._draw((len(q), CONFIG.n_contacts)))[0].total
    assert result.energy.median() < 0.5 * before.median()
    assert (result.q >= hand.lower).all() and (result.q <= hand.upper).all()
    assert ((result.pads.sum(1) >= 1) & (result.pads.sum(1) <= 4)).all()
    torch.testing.assert_close(result.R @ result.R.transpose(1, 2), torch.eye(3).expand(8, 3, 3), atol=1e-4, rtol=0)


def test_the_same_seed_gives_the_same_grasps(ball: GraspObject, hand: HandModel) -> None:
    short = DexGraspNetConfig(n_candidates=4, iterations=20)
    first, second, other = (optimise(ball, hand, short, seed=s) for s in (3, 3, 4))
    torch.testing.assert_close(first.origin, second.origin, atol=0, rtol=0)
    assert not torch.equal(first.origin, other.origin)


def test_results_become_grasps_that_squeeze_with_the_chosen_pads(
    ball: GraspObject, hand: HandModel, result: MalaResult
) -> None:
    T = np.eye(4)
    T[2, 3] = 0.035
    grasps = to_grasps(
        result, ball, hand, open_gates(SynthesisConfig(strategy="whole_hand")), T_table_object=T, method="dexgraspnet"
    )
    assert len(grasps) == int((result.pads.sum(1) >= 2).sum())
    chosen = ~np.isnan(grasps.tip_distance)
    assert (chosen.sum(axis=1) >= 2).all()
    assert (grasps.contact_forces_object[~chosen] == 0.0).all()
    assert (np.diff(grasps.energy) >= 0.0).all()
