"""MuJoCo as a second opinion: laws of motion, the hand's drives, and that a pinch turns where contacts are points."""

import dataclasses
import importlib.util

import numpy as np
import pytest
import torch

from udg_datagen.grasp_set import GraspSet
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize
from udg_datagen.validation import mujoco_world
from udg_datagen.validation.hand_world import robot_body
from udg_datagen.validation.mujoco_world import SUBSTEPS, MujocoError, MujocoWorld
from udg_datagen.validation.validation import ValidationConfig, ValidationError, validate
from udg_description.robot import current_robot
from udg_description.urdf import load_urdf
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.physics.world import WorldConfig

needs_mujoco = pytest.mark.skipif(importlib.util.find_spec("mujoco") is None, reason="MuJoCo is not installed")
CONFIG = WorldConfig()
FAR = np.eye(4)
FAR[:3, 3] = [0.0, 0.0, 5.0]


@pytest.fixture(scope="module")
def cube() -> ObjectModel:
    return ObjectLibrary().get("cube_40")


def _world(model: ObjectModel, mass_kg: float = 0.2) -> MujocoWorld:
    bodies = (robot_body("right", CONFIG),)
    return MujocoWorld(bodies, model, mass_kg=mass_kg, friction=0.6, torsion_m=0.0, config=CONFIG)


@needs_mujoco
def test_a_free_object_moves_and_turns_by_newtons_laws(cube: ObjectModel) -> None:
    world = _world(cube)
    q = np.zeros((1, 12))
    world.reset(FAR[None], q, np.eye(4))
    state = world.snapshot()
    world.restore(state._replace(velocity=np.array([0.0, 0.0, 0.0, 0.0, 0.0, 2.0])))
    force, n = np.array([0.3, 0.0, 0.0]), 60
    world.step(n, force)
    t, dt = n / CONFIG.physics_hz, 1.0 / (SUBSTEPS * CONFIG.physics_hz)
    np.testing.assert_allclose(world.T_world_object[:3, 3], [0.5 * 1.5 * t * (t + dt), 0, 0], atol=1e-6)
    np.testing.assert_allclose(world.T_world_object[0, :2], [np.cos(2 * t), -np.sin(2 * t)], atol=1e-4)
    np.testing.assert_allclose(world.snapshot().velocity, [1.5 * t, 0, 0, 0, 0, 2.0], atol=1e-4)


@needs_mujoco
def test_fingers_go_where_they_are_told_and_states_come_back(cube: ObjectModel) -> None:
    world = _world(cube)
    world.reset(FAR[None], np.zeros((1, 12)), np.eye(4))
    joints = load_urdf(current_robot().urdf).joints
    bend = np.array([0.3 * joints[name].upper for name in robot_body("right", CONFIG).joint_names])
    world.set_target(bend[None])
    world.step(30)
    state = world.snapshot()
    world.step(210)
    there = world.snapshot().q[0]
    np.testing.assert_allclose(there, bend, atol=0.01)
    world.restore(state)
    world.step(210)
    np.testing.assert_array_equal(world.snapshot().q[0], there)


@pytest.fixture(scope="module")
def pinches(cube: ObjectModel) -> GraspSet:
    torch.set_num_threads(1)
    config = SynthesisConfig(strategy="pinch", n_candidates=24, qp_steps=150, refine_steps=50, n_keep=3)
    return synthesize(GraspObject.from_model(cube), robot_hand("right"), config, T_table_object=cube.stable_poses[0])


@needs_mujoco
def test_pinches_hold_with_a_patch_and_a_limp_hand_does_not(cube: ObjectModel, pinches: GraspSet) -> None:
    points = ValidationConfig(rule="six_axis", mass_kg=0.1, friction=0.6, engine="mujoco")
    patch = dataclasses.replace(points, torsion_m=0.002)
    held = validate(pinches, cube, patch)
    assert held.share == 1.0 and held.moved.max() < 0.005
    free = validate(pinches, cube, points)
    assert free.turned_deg.mean() > held.turned_deg.mean()
    limp = dataclasses.replace(pinches, q_squeeze=pinches.q_pregrasp)
    assert validate(limp, cube, patch).share == 0.0
    heavy = dataclasses.replace(patch, mass_kg=10.0)  # 100 N: more than the fingers' torque limits hold
    assert validate(pinches, cube, heavy).share == 0.0


@needs_mujoco
def test_test_names_tell_the_engine(cube: ObjectModel) -> None:
    config = ValidationConfig(rule="six_axis", mass_kg=0.1, friction=0.6, engine="mujoco")
    assert config.test_name(cube) == "six_axis 0.1 kg mu 0.6 mujoco"
    assert dataclasses.replace(config, torsion_m=0.002).test_name(cube) == "six_axis 0.1 kg mu 0.6 mujoco torsion 2 mm"
    with pytest.raises(ValidationError, match="six_axis alone"):
        ValidationConfig(rule="lift", engine="mujoco")


def test_what_does_not_fit_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError, match="sapien, mujoco"):
        ValidationConfig(engine="bullet")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="only MuJoCo"):
        ValidationConfig(rule="six_axis", torsion_m=0.001)
    monkeypatch.setattr(mujoco_world.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MujocoError, match="pip install"):
        ValidationConfig(rule="six_axis", engine="mujoco")
