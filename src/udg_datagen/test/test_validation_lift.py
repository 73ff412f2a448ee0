import dataclasses

import numpy as np
import pytest
import torch

from udg_datagen.grasps import GraspSet
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize, xhand
from udg_datagen.validation import ValidationConfig, ValidationError, validate
from udg_sim.objects import ObjectLibrary, ObjectModel

CONFIG = SynthesisConfig(n_candidates=32, qp_steps=150, refine_steps=50, n_keep=2)


@pytest.fixture(scope="module")
def ball() -> ObjectModel:
    return ObjectLibrary().get("ball_70")


@pytest.fixture(scope="module")
def grasps(ball: ObjectModel) -> GraspSet:
    torch.set_num_threads(1)
    return synthesize(GraspObject.from_model(ball), xhand("right"), CONFIG, T_table_object=ball.stable_poses[0])


def test_the_best_grasps_of_a_ball_lift_it_without_moving_it_first(grasps: GraspSet, ball: ObjectModel) -> None:
    report = validate(grasps, ball)
    assert report.held.all() and report.share == 1.0
    assert (report.rise > 0.17).all() and (report.rise < 0.25).all()
    assert (report.moved < 0.01).all()


def test_an_open_hand_lifts_nothing(grasps: GraspSet, ball: ObjectModel) -> None:
    opened = dataclasses.replace(grasps, q_grasp=grasps.q_pregrasp, q_squeeze=grasps.q_pregrasp)
    assert not validate(opened.take([0]), ball).held.any()


def test_the_same_grasp_gives_the_same_outcome(grasps: GraspSet, ball: ObjectModel) -> None:
    first, second = validate(grasps.take([0]), ball), validate(grasps.take([0]), ball)
    np.testing.assert_array_equal(first.rise, second.rise)


@pytest.mark.slow
def test_processes_do_not_change_the_outcome(grasps: GraspSet, ball: ObjectModel) -> None:
    np.testing.assert_array_equal(validate(grasps, ball).rise, validate(grasps, ball, workers=2).rise)


def test_the_six_axis_rule_holds_a_ball_but_not_ten_times_the_force(grasps: GraspSet, ball: ObjectModel) -> None:
    config = ValidationConfig(rule="six_axis", axis_s=0.5, mass_kg=0.1, friction=0.8)
    assert validate(grasps.take([0]), ball, config).held.all()
    heavy = dataclasses.replace(config, pull_per_kg=1000.0)
    assert not validate(grasps.take([0]), ball, heavy).held.any()


def test_an_unknown_rule_and_a_foreign_object_are_refused(grasps: GraspSet) -> None:
    with pytest.raises(ValidationError, match="lift, six_axis"):
        ValidationConfig(rule="throw")  # type: ignore[arg-type]
    with pytest.raises(ValidationError, match="ball_70"):
        validate(grasps, ObjectLibrary().get("cube_60"))
