import dataclasses

import numpy as np
import pytest
import torch

from udg_datagen.grasp_set import GraspSet
from udg_datagen.grasps.handmade import made_grasps, pressing
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize
from udg_datagen.validation.validation import ValidationConfig, ValidationError, validate
from udg_description.layout import SIDES
from udg_sim.objects.library import ObjectLibrary, ObjectModel

CONFIG = SynthesisConfig(n_candidates=32, qp_steps=150, refine_steps=50, n_keep=2)


@pytest.fixture(scope="module")
def ball() -> ObjectModel:
    return ObjectLibrary().get("ball_70")


@pytest.fixture(scope="module")
def grasps(ball: ObjectModel) -> GraspSet:
    torch.set_num_threads(1)
    return synthesize(GraspObject.from_model(ball), robot_hand("right"), CONFIG, T_table_object=ball.stable_poses[0])


def test_the_best_grasps_of_a_ball_lift_it_without_moving_it_first(grasps: GraspSet, ball: ObjectModel) -> None:
    report = validate(grasps, ball)
    assert report.held.all() and report.share == 1.0
    assert (report.rise > 0.17).all() and (report.rise < 0.25).all()
    assert (report.moved < 0.01).all()


def test_an_open_hand_lifts_nothing(grasps: GraspSet, ball: ObjectModel) -> None:
    opened = dataclasses.replace(grasps, q_grasp=grasps.q_pregrasp, q_squeeze=grasps.q_pregrasp)
    assert not validate(opened.take([0]), ball).held.any()


def test_a_grasp_that_does_not_squeeze_drops_what_a_squeeze_holds(grasps: GraspSet, ball: ObjectModel) -> None:
    config = ValidationConfig(rule="six_axis", mass_kg=0.3, friction=0.6)
    limp = dataclasses.replace(grasps, q_squeeze=grasps.q_grasp)
    assert validate(grasps.take([0]), ball, config).held.all()
    assert not validate(limp.take([0]), ball, config).held.any()


def test_a_weight_above_the_friction_limit_drops(grasps: GraspSet, ball: ObjectModel) -> None:
    # The normal forces sum to the contacts' own; friction can carry mu times that and no more.
    normal_n = np.linalg.norm(grasps.contact_forces_object[0], axis=-1).sum()
    too_heavy = 1.2 * 0.6 * normal_n / 9.81
    config = ValidationConfig(friction=0.6, mass_kg=float(too_heavy))
    assert not validate(grasps.take([0]), ball, config).held.any()
    assert validate(grasps.take([0]), ball, dataclasses.replace(config, mass_kg=0.1)).held.all()


def test_the_pull_that_ends_at_rest_judges_as_the_whole_pull(grasps: GraspSet, ball: ObjectModel) -> None:
    for mass_kg in (0.1, 1.0):
        config = ValidationConfig(rule="six_axis", mass_kg=mass_kg, friction=0.6)
        whole = dataclasses.replace(config, rest_window_s=None)
        np.testing.assert_array_equal(validate(grasps, ball, config).held, validate(grasps, ball, whole).held)


def test_an_outcome_does_not_depend_on_the_trials_before(grasps: GraspSet, ball: ObjectModel) -> None:
    both = validate(grasps, ball)
    np.testing.assert_array_equal(validate(grasps.take([1, 0]), ball).rise, both.rise[::-1])


def test_the_name_of_a_test_tells_rule_mass_and_friction(ball: ObjectModel) -> None:
    config = ValidationConfig(rule="six_axis", mass_kg=0.1, friction=0.6)
    assert config.test_name(ball) == "six_axis 0.1 kg mu 0.6"


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
    with pytest.raises(ValidationError, match="mass_kg"):
        ValidationConfig(mass_kg=-1.0)
    with pytest.raises(ValidationError, match="ball_70"):
        validate(grasps, ObjectLibrary().get("cube_60"))


def test_two_hands_hold_what_one_cannot() -> None:
    # A box wider than a hand opens, pressed between two flat hands; either hand alone pushes it away.
    box = ObjectLibrary().get("box_300")
    x, y = np.eye(3)[:2]
    pair = np.stack([pressing(box, "left", -x, y), pressing(box, "right", x, y)])
    config = ValidationConfig(rule="six_axis", mass_kg=0.1, friction=0.8, axis_s=1.0)
    assert validate(made_grasps(box, ("left", "right"), pair[None]), box, config).held.all()
    for hand, side in enumerate(SIDES):
        assert not validate(made_grasps(box, (side,), pair[None, [hand]]), box, config).held.any()
