import numpy as np
import pytest

from udg_description import frames
from udg_description.layout import HOME_Q, SIDES, Side
from udg_description.model import RobotModel
from udg_description.robot import current_robot
from udg_description.transforms import inverse


@pytest.mark.parametrize("side", SIDES)
def test_fixed_transforms_equal_the_urdfs(side: Side) -> None:
    poses = RobotModel().link_poses_np(HOME_Q)
    arm = current_robot().arm
    np.testing.assert_allclose(frames.T_world_base(side), poses[frames.BASE_LINK[side]], atol=1e-9)
    T_base_controller = inverse(poses[frames.BASE_LINK[side]]) @ poses[f"{side}_{arm.controller_link}"]
    np.testing.assert_allclose(frames.T_base_controller(side), T_base_controller, atol=1e-9)
    T_flange_hand = inverse(poses[f"{side}_{arm.flange_link}"]) @ poses[frames.HAND_LINK[side]]
    np.testing.assert_allclose(frames.T_flange_hand(side), T_flange_hand, atol=1e-9)


def test_the_grasp_centre_is_in_front_of_the_palm_on_both_sides() -> None:
    np.testing.assert_allclose(frames.GRASP_CENTER_HAND["left"], frames.GRASP_CENTER_HAND["right"] * [1, -1, 1])
    for side in SIDES:
        assert frames.GRASP_CENTER_HAND[side] @ frames.PALM_NORMAL_HAND[side] == pytest.approx(0.08)


def test_object_areas_have_the_papers_size_and_lie_on_the_table() -> None:
    small, large = frames.OBJECT_AREA["small_medium"], frames.OBJECT_AREA["large"]
    assert (small.x_max - small.x_min, small.y_max - small.y_min) == pytest.approx((0.2, 0.8))
    assert (large.x_max - large.x_min, large.y_max - large.y_min) == pytest.approx((0.15, 0.16))
    for area in (small, large):
        corners = np.array([[area.x_min, area.y_min], [area.x_max, area.y_max]])
        assert np.all(frames.TABLE.contains(corners)) and np.all(small.contains(corners))
    assert not small.contains(np.array([0.4, 0.0]))
