from __future__ import annotations

import numpy as np
import pytest
import trimesh

from udg_datagen.expert import reference
from udg_datagen.expert.reference import DEPTH_BIMANUAL_M, HIGH_M, LOW_M
from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, StrategyError
from udg_description.arm_kinematics import hand_pose
from udg_description.frames import GRASP_CENTER_HAND, PALM_NORMAL_HAND
from udg_description.layout import HOME_Q, SIDES, Side, part_indices
from udg_description.transforms import mirror_T
from udg_sim.objects.library import ObjectLibrary

MIRROR = np.diag([1.0, -1.0, 1.0])


def reference_poses(obj: GraspObject, T_world_object: np.ndarray, sides: tuple[Side, ...]) -> np.ndarray:
    strategy = "bimanual" if len(sides) == 2 else "whole_hand"
    return reference.reference_poses(obj, T_world_object, [robot_hand(side) for side in sides], strategy)


@pytest.fixture(scope="module")
def ball() -> GraspObject:
    return GraspObject.from_model(ObjectLibrary().get("ball_70"))


@pytest.fixture(scope="module")
def cube() -> GraspObject:
    return GraspObject.from_model(ObjectLibrary().get("cube_60"))


def at(x: float, y: float, z: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, 3] = x, y, z
    return T


def test_a_mirrored_scene_has_mirrored_references(cube: GraspObject) -> None:
    (right,) = reference_poses(cube, at(0.5, -0.2, 0.03), ("right",))
    (left,) = reference_poses(cube, at(0.5, 0.2, 0.03), ("left",))
    np.testing.assert_allclose(left[:3, 3], MIRROR @ right[:3, 3], atol=1e-9)
    np.testing.assert_allclose(left[:3, :3], MIRROR @ right[:3, :3] @ MIRROR, atol=1e-9)


def test_high_objects_are_met_as_at_home_and_low_ones_from_above(ball: GraspObject, cube: GraspObject) -> None:
    home = hand_pose("right", HOME_Q[part_indices("right_arm")])
    (high,) = reference_poses(ball, at(0.5, -0.2, HIGH_M), ("right",))
    np.testing.assert_allclose(high[:3, :3], home[:3, :3], atol=0.03)  # a ball of triangles is all but round
    (low,) = reference_poses(cube, at(0.5, -0.2, LOW_M - 0.03), ("right",))
    np.testing.assert_allclose(low[:3, :3] @ PALM_NORMAL_HAND["right"], [0.0, 0.0, -1.0], atol=1e-9)


def test_the_grasp_centre_lies_below_the_surface_towards_the_palm(cube: GraspObject) -> None:
    (low,) = reference_poses(cube, at(0.5, -0.2, LOW_M - 0.03), ("right",))
    centre = low[:3, :3] @ GRASP_CENTER_HAND["right"] + low[:3, 3]
    np.testing.assert_allclose(centre, [0.5, -0.2, LOW_M - 0.03 + 0.03 - 0.02], atol=2e-3)  # 20 mm below the top


def turned(degrees: float, x: float, y: float, z: float) -> np.ndarray:
    T = at(x, y, z)
    T[:3, :3] = reference._about_z(np.radians(degrees))
    return T


@pytest.mark.parametrize("degrees", [0.0, 20.0, -30.0])
def test_two_palms_face_each_other_across_the_faces_of_a_box(cube: GraspObject, degrees: float) -> None:
    poses = reference_poses(cube, turned(degrees, 0.5, 0.0, 0.03), SIDES)
    across = reference._about_z(np.radians(degrees)) @ np.array([0.0, 1.0, 0.0])
    palms = [T[:3, :3] @ PALM_NORMAL_HAND[side] for T, side in zip(poses, SIDES, strict=True)]
    np.testing.assert_allclose(palms, [-across, across], atol=1e-6)
    centres = [T[:3, :3] @ GRASP_CENTER_HAND[side] + T[:3, 3] for T, side in zip(poses, SIDES, strict=True)]
    middle, out_m = np.array([0.5, 0.0, 0.03]), 0.03 - DEPTH_BIMANUAL_M
    np.testing.assert_allclose(centres, [middle + out_m * across, middle - out_m * across], atol=2e-3)


def test_thumb_and_fingers_close_across_a_rod_and_turn_with_it() -> None:
    rod = GraspObject(trimesh.creation.box((0.12, 0.02, 0.02)), name="rod", com=np.zeros(3))
    hand = robot_hand("right")
    closing_hand = hand.opposition((0, 1, 2))
    for degrees in (-20.0, 0.0, 20.0):
        (T,) = reference.reference_poses(rod, turned(degrees, 0.5, -0.2, 0.01), [hand], "tripod")
        closing = (T[:3, :3] @ closing_hand)[:2]
        along = np.array([np.cos(np.radians(degrees)), np.sin(np.radians(degrees))])
        assert abs(closing @ along) / np.linalg.norm(closing) < 0.02


def test_a_hollow_object_is_met_in_the_wall_towards_the_hand() -> None:
    cup = trimesh.creation.annulus(r_min=0.037, r_max=0.043, height=0.1)
    tube = GraspObject(cup, name="tube", com=np.zeros(3))
    (pose,) = reference_poses(tube, at(0.5, -0.2, 0.05), ("right",))
    centre = pose[:3, :3] @ GRASP_CENTER_HAND["right"] + pose[:3, 3]
    home = hand_pose("right", HOME_Q[part_indices("right_arm")])
    away = (home[:3, :3] @ GRASP_CENTER_HAND["right"] + home[:3, 3] - centre)[:2]
    axis = np.array([0.5, -0.2]) - centre[:2]
    assert abs(np.linalg.norm(axis) - 0.04) < 0.003
    assert axis @ away < 0.0  # on the hand's side of the axis


@pytest.mark.parametrize("strategy", ["pinch", "tripod", "whole_hand"])
def test_preshapes_mirror_each_other_and_keep_the_limits(cube: GraspObject, strategy: str) -> None:
    right = reference.reference(cube, at(0.5, -0.2, 0.03), [robot_hand("right")], strategy)
    left = reference.reference(cube, at(0.5, 0.2, 0.03), [robot_hand("left")], strategy)
    np.testing.assert_allclose(left.T_hand[0], mirror_T(right.T_hand[0]), atol=2e-3)
    np.testing.assert_array_equal(left.q, right.q)
    spec = robot_hand("right").spec
    assert (right.q >= spec.lower).all() and (right.q <= spec.upper).all()


def test_an_unknown_strategy_is_named() -> None:
    with pytest.raises(StrategyError, match="unknown strategy 'scoop'"):
        reference.preshape("scoop", "left")


def test_two_hands_reach_round_the_sides_of_a_long_box_and_the_second_way_is_across_the_other_faces() -> None:
    box = GraspObject(trimesh.creation.box((0.25, 0.4, 0.2)), name="box", com=np.zeros(3))
    hands = [robot_hand(side) for side in SIDES]
    first, second = (
        reference.reference_poses(box, at(0.6, 0.0, 0.1), hands, "bimanual", second=second) for second in (False, True)
    )
    palms = [
        [T[:3, :3] @ PALM_NORMAL_HAND[side] for T, side in zip(poses, SIDES, strict=True)] for poses in (first, second)
    ]
    np.testing.assert_allclose(np.abs(palms[0]), [[0.0, 1.0, 0.0]] * 2, atol=1e-6)  # not in front and behind
    np.testing.assert_allclose(np.abs(palms[1]), [[1.0, 0.0, 0.0]] * 2, atol=1e-6)
