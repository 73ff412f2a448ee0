"""Starts where few approach directions are free of the table, and none."""

import dataclasses

import numpy as np
import pytest
import trimesh

from udg_datagen.grasps.mirror import mirrored, symmetry_plane
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, SynthesisConfig, synthesize

QUICK = SynthesisConfig(n_candidates=4, qp_steps=4, refine_steps=2, screen_step=4, pregrasp_steps=2)


def _plate() -> GraspObject:
    return GraspObject(trimesh.creation.cylinder(radius=0.17, height=0.02, sections=32), name="plate", grid_nodes=24)


def test_two_hands_start_at_the_sides_of_a_plate() -> None:
    """A plate's hull is top and bottom but for 10 %: starts drawn all over it hardly ever oppose each other."""
    hands = (robot_hand("left"), robot_hand("right"))
    assert synthesize(_plate(), hands, dataclasses.replace(QUICK, strategy="bimanual")).reason == ""


@pytest.mark.parametrize("strategy", ["pinch", "bimanual"])
def test_without_a_free_direction_the_set_is_empty_and_says_why(strategy: str) -> None:
    hands = (robot_hand("left"), robot_hand("right")) if strategy == "bimanual" else (robot_hand("right"),)
    none = dataclasses.replace(QUICK, strategy=strategy, approach_max_up=-1.5)
    obj = _plate()
    grasps = synthesize(obj, hands, none)
    assert len(grasps) == 0 and "no approach direction is free" in grasps.reason
    assert len(grasps.take(slice(0, 4)).spread(3).with_test("lift", np.zeros(0, dtype=bool))) == 0
    plane = symmetry_plane(obj, grasps.T_table_object)
    if strategy == "pinch" and plane is not None:
        assert len(mirrored(grasps, plane, obj.com)) == 0


def test_a_kettle_too_wide_for_one_hand_is_taken_by_its_handle() -> None:
    body = trimesh.creation.box((0.26, 0.26, 0.24))
    bar = trimesh.creation.box((0.02, 0.14, 0.02)).apply_translation((0.0, 0.0, 0.19))
    posts = [trimesh.creation.box((0.02, 0.02, 0.08)).apply_translation((0.0, y, 0.15)) for y in (-0.06, 0.06)]
    mesh = trimesh.boolean.union([body, bar, *posts], engine="manifold")
    kettle = GraspObject(mesh, name="kettle", grid_nodes=24)
    assert kettle.least_width > robot_hand("right").span and kettle.solidity > 0.5
    synthesize(kettle, robot_hand("right"), dataclasses.replace(QUICK, strategy="whole_hand"))  # is not refused
