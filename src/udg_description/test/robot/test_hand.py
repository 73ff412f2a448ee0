"""Pads and palm of the shipped hands lie on their collision shapes; so what the optimiser calls a contact is one."""

import numpy as np
import pytest

from udg_description.robot import load_robot, shipped_robots
from udg_description.shapes import merge_capsules, union_distance
from udg_description.sides import SIDES, Side
from udg_description.urdf import load_urdf


def pad_directions(axis: np.ndarray, n: int = 3000) -> np.ndarray:
    directions = np.random.default_rng(0).normal(size=(n, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions[directions @ axis > np.cos(np.deg2rad(35))]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", shipped_robots())
def test_pads_are_the_surface_of_the_primitives(name: str, side: Side) -> None:
    robot = load_robot(name)
    links = load_urdf(robot.urdf).links
    for finger, pad in robot.hands[side].contacts.items():
        points = np.asarray(pad.center) + pad.radius * pad_directions(pad.normal)
        distance = union_distance(merge_capsules(links[pad.link].primitives), points)
        assert np.percentile(np.abs(distance), 90) < 0.0006 and np.abs(distance).max() < 0.0012, finger


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("name", shipped_robots())
def test_the_palms_centre_lies_on_the_palm_and_faces_the_grasp_centre(name: str, side: Side) -> None:
    robot = load_robot(name)
    hand = robot.hands[side]
    palm = merge_capsules(load_urdf(robot.urdf).links[f"{side}_hand_link"].primitives)
    assert np.abs(union_distance(palm, hand.palm_points[:1])).max() < 0.001
    assert np.all((np.asarray(hand.grasp_center) - hand.palm_points) @ hand.palm_normal > 0.05)


def test_the_tip_of_a_finger_is_that_of_its_pad_where_none_is_given() -> None:
    hand = load_robot("ur5e_quad").hands["right"]
    pad = hand.contacts["index"]
    np.testing.assert_allclose(np.linalg.norm(hand.tip("index") - pad.center), pad.radius)
