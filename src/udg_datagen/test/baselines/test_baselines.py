import numpy as np
import pytest
import torch
import trimesh

from udg_datagen.baselines import DexGraspNetConfig, MalaResult, optimise, to_grasps
from udg_datagen.baselines.dexgraspnet import _candidates, _Hands, _Mala, _turn
from udg_datagen.baselines.mala_loops import _is_apart, coarse_of
from udg_datagen.bench.cell import open_gates
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, HandModel, SynthesisConfig
from udg_datagen.synthesis.hand_loops import nearest

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
    (links, points), pads = _candidates(hand, 28)
    spec = hand.spec
    assert len(points) == 28 * len(spec.contact_names)
    assert (links == np.asarray(spec.contact_link)[pads]).all()
    distance = np.linalg.norm(points - np.asarray(spec.contact_center)[pads], axis=1)
    np.testing.assert_allclose(distance, np.asarray(spec.contact_radius)[pads], atol=1e-6)


def wide_ball() -> GraspObject:
    """Whose grid holds the starts, too."""
    sphere = trimesh.creation.icosphere(subdivisions=3, radius=0.035)
    return GraspObject(sphere, name="ball", grid_nodes=48, padding=0.3)


def test_the_energy_is_that_of_its_terms(hand: HandModel) -> None:
    """Against the tensors of the hand and the object, for hands at the start and closed in the ball."""
    obj = wide_ball()
    mala = _Mala(obj, hand, CONFIG, seed=0)
    origin, R, q = mala._starts()
    q[4:] = hand.spec.upper + 0.05  # beyond the limits, fingers through each other
    origin[4:] = -(R[4:] @ hand.spec.grasp_center)
    at = _Hands(origin, R, q, mala._draw(len(q)))
    terms, _ = mala.evaluate(at)
    floats = [torch.as_tensor(x, dtype=torch.float32) for x in (origin, R, q)]
    X = hand.forward(*floats).X
    spheres = X @ hand.W_spheres
    inside = (hand.sphere_radius - obj.sdf.nearest(spheres)[0]).clamp(min=0.0).sum(1).numpy()
    first, second = hand.spec.self_pairs
    a, b = spheres[:, :, first], spheres[:, :, second]
    reach = hand.sphere_radius[first][:, None] + hand.sphere_radius[second]
    gaps = (a[..., :, None] - b[..., None, :]).norm(dim=1)
    overlap = (reach - gaps).clamp(min=0.0).sum((1, 2)).numpy()
    links = (
        X.unflatten(2, (-1, 4))
        .permute(0, 2, 1, 3)
        .numpy()[np.arange(len(q))[:, None], mala._candidates.link[at.contacts]]
    )
    points = (links[..., :3] @ mala._candidates.point[at.contacts][..., None])[..., 0] + links[..., 3]
    distance, normal = (x.numpy() for x in obj.sdf.trilinear(torch.as_tensor(points).float().transpose(1, 2)))
    moment = np.cross(points - obj.com, normal.transpose(0, 2, 1)).sum(1)
    closure = (normal.sum(2) ** 2).sum(1) + (moment**2).sum(1)
    beyond = np.clip(q - hand.spec.upper, 0.0, None).sum(1) + np.clip(hand.spec.lower - q, 0.0, None).sum(1)
    away = np.abs(distance).sum(1)
    assert inside[4:].min() > 0.0 and overlap[4:].max() > 0.0 and beyond[4:].min() > 0.1
    np.testing.assert_allclose(terms[:, 1], closure, rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(terms[:, 2], away, rtol=1e-4)
    np.testing.assert_allclose(terms[:, 0], closure + 100 * away + 100 * inside + 10 * overlap + beyond, rtol=1e-3)


def test_what_is_told_apart_at_once_does_not_touch(ball: GraspObject) -> None:
    """The coarse look tells no sphere apart that the look at the grid would find to touch, and most of the others."""
    grid = ball.sdf.nodes
    coarse = coarse_of(grid, ball.mesh.bounds)
    rng = np.random.default_rng(0)
    points, radii = rng.uniform(-0.08, 0.08, (5000, 3)), rng.uniform(0.002, 0.02, 5000)
    apart = np.array([_is_apart(p, r, grid, coarse) for p, r in zip(points, radii, strict=True)])
    distance = np.array([nearest(grid, p, np.empty(3)) for p in points])
    assert not (apart & (distance < radii)).any()
    assert apart.sum() > 0.8 * (distance > radii).sum()
    assert not _is_apart(np.array([np.nan, 0.0, 0.0]), 0.01, grid, coarse)


def test_the_gradient_is_that_of_the_energy(hand: HandModel) -> None:
    mala = _Mala(wide_ball(), hand, CONFIG, seed=0)
    origin, R, q = mala._starts()
    at = _Hands(origin, R, q, mala._draw(len(q)))
    _, gradient = mala.evaluate(at)
    step = 1e-4

    def total(motion: np.ndarray) -> np.ndarray:
        turned = _turn(np.tile(motion[3:6], (len(q), 1))) @ R
        return mala.evaluate(_Hands(origin + motion[:3], turned, q + motion[6:], at.contacts))[0][:, 0]

    for k in range(6 + hand.n_joints):
        motion = np.zeros(6 + hand.n_joints)
        motion[k] = step
        numeric = (total(motion) - total(-motion)) / (2 * step)
        np.testing.assert_allclose(numeric, gradient[:, k], atol=0.5, rtol=0.02)


def test_small_turns_are_rotations() -> None:
    R = _turn(np.array([[0.0, 0.0, 0.0], [0.0, 0.0, np.pi / 2]]))
    np.testing.assert_allclose(R[0], np.eye(3))
    np.testing.assert_allclose(R[1] @ [1.0, 0.0, 0.0], [0.0, 1.0, 0.0], atol=1e-12)


def test_the_energy_falls_and_limits_hold(ball: GraspObject, hand: HandModel, result: MalaResult) -> None:
    start = _Mala(ball, hand, CONFIG, seed=1)
    origin, R, q = start._starts()
    before = start.evaluate(_Hands(origin, R, q, start._draw(len(q))))[0][:, 0]
    assert result.energy.median() < 0.5 * np.median(before)
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
