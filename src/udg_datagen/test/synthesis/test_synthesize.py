"""Laws of synthesised grasps, on a short run that is shared by the tests."""

import dataclasses
import json

import numpy as np
import pytest
import torch
import trimesh

from udg_datagen.grasp_set import GraspSet
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, StrategyError, SynthesisConfig, synthesize
from udg_datagen.synthesis.initial import HandPose, TablePlane, sample_starts
from udg_datagen.synthesis.optimise import optimise
from udg_datagen.synthesis.problem import Problem
from udg_description.layout import SIDES

CONFIG = SynthesisConfig(
    strategy="whole_hand", n_candidates=24, qp_steps=100, refine_steps=50, batch=12, pregrasp_steps=25
)
T_TABLE = np.array([[0.0, -1.0, 0.0, 0.02], [1.0, 0.0, 0.0, -0.03], [0.0, 0.0, 1.0, 0.06], [0.0, 0.0, 0.0, 1.0]])


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def can() -> GraspObject:
    return GraspObject(trimesh.creation.cylinder(radius=0.033, height=0.12, sections=32), name="can")


@pytest.fixture(scope="module", params=SIDES)
def grasps(request: pytest.FixtureRequest, can: GraspObject) -> GraspSet:
    return synthesize(can, robot_hand(request.param), CONFIG, T_table_object=T_TABLE, seed=1)


def test_most_candidates_become_grasps_and_the_best_comes_first(grasps: GraspSet) -> None:
    assert len(grasps) >= 12
    assert (np.diff(grasps.energy) >= 0).all()


def test_pads_touch_and_nothing_penetrates(grasps: GraspSet) -> None:
    assert np.abs(grasps.tip_distance).max() <= CONFIG.max_tip_distance
    assert np.median(np.abs(grasps.tip_distance)) < 0.0005
    assert grasps.penetration.max() <= CONFIG.max_penetration


def test_contact_points_lie_on_the_surface(grasps: GraspSet, can: GraspObject) -> None:
    assert np.abs(can.distance(grasps.contact_points_object)).max() < 0.0025


def test_the_hand_stays_above_the_table_at_grasp_and_pregrasp(grasps: GraspSet) -> None:
    hand = robot_hand(grasps.sides[0])
    q = torch.tensor(grasps.q_grasp[:, 0], dtype=torch.float32)
    for T in (grasps.T_object_hand[:, 0], grasps.Ts_object_pregrasp[:, 0]):
        poses = torch.tensor(T_TABLE @ T, dtype=torch.float32)
        state = hand.forward(poses[:, :3, 3], poses[:, :3, :3], q)
        assert (state.X @ hand.W_surface)[:, 2].min() > -1e-4


def test_forces_press_within_the_friction_cone_and_cancel(grasps: GraspSet) -> None:
    force, inward = grasps.contact_forces_object, _inward(grasps)
    normal = (force * inward).sum(-1)
    tangential = np.linalg.norm(force - normal[..., None] * inward, axis=-1)
    assert (tangential <= CONFIG.friction * normal * 1.01 + 0.01).all()
    balanced = grasps.force_imbalance < 1e-3
    assert balanced.mean() > 0.5
    scale = np.linalg.norm(force, axis=-1).sum(-1)
    assert (np.linalg.norm(force.sum(axis=1), axis=-1)[balanced] < 0.01 * scale[balanced]).all()
    assert np.linalg.norm(force, axis=-1).max() <= CONFIG.squeeze_max_force + 1e-3


def test_squeeze_torque_does_the_virtual_work_of_the_forces(grasps: GraspSet) -> None:
    hand = robot_hand(grasps.sides[0])
    pose = torch.tensor(grasps.T_object_hand[:1, 0], dtype=torch.float32)
    links = hand.contact_link.numpy()
    rng = np.random.default_rng(0)

    def points(q: np.ndarray, local: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
        state = hand.forward(pose[:, :3, 3], pose[:, :3, :3], torch.tensor(q[None], dtype=torch.float32))
        R, o = state.R[0, links].double().numpy(), state.o[0, links].double().numpy()
        if local is None:
            local = np.einsum("cji,cj->ci", R, grasps.contact_points_object[0] - o)
        return np.einsum("cij,cj->ci", R, local) + o, local

    q, step = grasps.q_grasp[0, 0], 0.01 * rng.standard_normal(12)
    _, local = points(q, None)
    moved = points(q + step, local)[0] - points(q - step, local)[0]
    work = (grasps.contact_forces_object[0] * moved).sum()
    assert work == pytest.approx(2.0 * grasps.tau_squeeze[0, 0] @ step, rel=0.02, abs=1e-5)


def test_torques_respect_the_efforts_and_make_the_targets(grasps: GraspSet) -> None:
    spec = robot_hand(grasps.sides[0]).spec
    assert (np.abs(grasps.tau_squeeze) <= CONFIG.squeeze_effort_share * spec.effort + 1e-6).all()
    expected = np.clip(grasps.q_grasp + grasps.tau_squeeze / CONFIG.squeeze_stiffness, spec.lower, spec.upper)
    np.testing.assert_allclose(grasps.q_squeeze, expected, atol=1e-6)


def test_joints_stay_within_limits(grasps: GraspSet) -> None:
    spec = robot_hand(grasps.sides[0]).spec
    for q in (grasps.q_pregrasp, grasps.q_grasp, grasps.q_squeeze):
        assert (q >= spec.lower - 1e-6).all() and (q <= spec.upper + 1e-6).all()


def test_the_open_hand_passes_clear_of_the_object(grasps: GraspSet, can: GraspObject) -> None:
    hand = robot_hand(grasps.sides[0])
    for share in (0.0, 0.2, 0.5, 1.0):
        poses = (grasps.T_object_hand + share * (grasps.Ts_object_pregrasp - grasps.T_object_hand))[:, 0]
        poses = torch.tensor(poses, dtype=torch.float32)
        q = torch.tensor(grasps.q_pregrasp[:, 0], dtype=torch.float32)
        surface = hand.forward(poses[:, :3, 3], poses[:, :3, :3], q).X @ hand.W_surface
        assert np.median(can.distance(surface.transpose(1, 2).numpy()).min(axis=1)) > 0.003


def test_the_same_seed_gives_the_same_grasps_and_another_seed_others(can: GraspObject) -> None:
    config = dataclasses.replace(CONFIG, qp_steps=12, refine_steps=5, screen_step=8)
    config = dataclasses.replace(config, max_tip_distance=1.0, max_penetration=1.0)
    first, again, other = (synthesize(can, robot_hand("left"), config, seed=s) for s in (5, 5, 6))
    np.testing.assert_array_equal(first.T_object_hand, again.T_object_hand)
    np.testing.assert_array_equal(first.q_squeeze, again.q_squeeze)
    assert len(first) != len(other) or not np.array_equal(first.q_grasp, other.q_grasp)


def test_a_diverged_candidate_is_lost_alone(can: GraspObject) -> None:
    hand, table = robot_hand("right"), TablePlane(np.array([0.0, 0.0, 1.0]), 0.06)
    config = dataclasses.replace(CONFIG, n_candidates=4, qp_steps=20, refine_steps=0, screen_factor=1, screen_step=20)
    start = sample_starts(can, (hand,), ((0, 1, 2, 3, 4),), table, config, 4, np.random.default_rng(0))
    broken = HandPose(start.center.clone(), start.R, start.q)
    broken.center[1] = torch.nan
    problem = Problem(can, (hand,), ((0, 1, 2, 3, 4),), table, config)
    whole, damaged = optimise(problem, start, keep=4), optimise(problem, broken, keep=4)
    assert damaged.alive.tolist() == [True, False, True, True]
    torch.testing.assert_close(damaged.pose.q[[0, 2, 3]], whole.pose.q[[0, 2, 3]], atol=1e-5, rtol=0)


def test_no_start_has_its_palm_facing_up(can: GraspObject) -> None:
    table = TablePlane.from_pose(T_TABLE)
    start = sample_starts(can, (robot_hand("left"),), ((0, 1),), table, CONFIG, 48, np.random.default_rng(0))
    palm = start.R @ robot_hand("left").palm_normal
    assert (palm.numpy() @ table.up).max() <= CONFIG.approach_max_up + 1e-5


def test_the_wrench_error_is_lower_after_optimisation(grasps: GraspSet, can: GraspObject) -> None:
    short = dataclasses.replace(CONFIG, weight_wrench=0.0)
    blind = synthesize(can, robot_hand(grasps.sides[0]), short, T_table_object=T_TABLE, seed=1)
    assert np.median(grasps.wrench_residual) < np.median(blind.wrench_residual)


def test_fewer_contacts_for_a_pinch_and_a_limit_on_what_is_kept(can: GraspObject) -> None:
    config = dataclasses.replace(CONFIG, strategy="pinch", n_candidates=12, n_keep=3)
    pinch = synthesize(can, robot_hand("right"), config, seed=0)
    assert pinch.contact_names == ("right_thumb", "right_index")
    assert 1 <= len(pinch) <= 3
    assert json.loads(pinch.meta_json)["config"]["strategy"] == "pinch"


def test_screening_goes_on_with_the_better_half(can: GraspObject) -> None:
    hand, table = robot_hand("right"), TablePlane(np.array([0.0, 0.0, 1.0]), 0.06)
    config = dataclasses.replace(CONFIG, n_candidates=16, qp_steps=60, refine_steps=20)
    start = sample_starts(can, (hand,), ((0, 1, 2, 3, 4),), table, config, 32, np.random.default_rng(0))
    problem = Problem(can, (hand,), ((0, 1, 2, 3, 4),), table, config)
    assert len(start.q) == 32
    everything, screened = optimise(problem, start, keep=32), optimise(problem, start, keep=16)
    assert len(screened.energy) == 16
    assert screened.energy.median() < everything.energy.median()


def test_an_unknown_strategy_names_the_valid_ones() -> None:
    with pytest.raises(StrategyError, match="pinch, tripod, whole_hand, bimanual, auto"):
        SynthesisConfig(strategy="scoop")


def _inward(grasps: GraspSet) -> np.ndarray:
    """From each pad's centre to its contact point: the pads roll, so this is the surface's inward normal."""
    hand = robot_hand(grasps.sides[0])
    chosen = [hand.spec.contact_names.index(name) for name in (c.split("_", 1)[1] for c in grasps.contact_names)]
    T, q = (torch.tensor(x, dtype=torch.float32) for x in (grasps.T_object_hand[:, 0], grasps.q_grasp[:, 0]))
    centers = (hand.forward(T[:, :3, 3], T[:, :3, :3], q).X @ hand.W_contacts[:, chosen]).transpose(1, 2).numpy()
    direction = grasps.contact_points_object - centers
    return direction / np.linalg.norm(direction, axis=-1, keepdims=True)
