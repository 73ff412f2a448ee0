from __future__ import annotations

import numpy as np

from udg_datagen.planning.vias import BACK_M, RAISED_M, vias
from udg_description.arm_kinematics import hand_pose
from udg_description.frames import PALM_NORMAL_HAND
from udg_description.layout import HOME_Q, part_indices
from udg_description.limits import joint_limits


def goal() -> np.ndarray:
    q = HOME_Q.copy()
    q[part_indices("right_arm")] += np.array([0.3, 0.25, 0.1, -0.2, 0.1, 0.0])
    return q


def test_points_stand_over_and_behind_the_goal_in_its_branch_and_only_the_acting_arm_moves() -> None:
    q = goal()
    arm = part_indices("right_arm")
    T_goal = hand_pose("right", q[arm])
    found = vias(HOME_Q, q, ("right",))
    assert [len(points) for points in found] == [1, 1, 1, 2]
    shifts = [hand_pose("right", points[-1][arm])[:3, 3] - T_goal[:3, 3] for points in found]
    np.testing.assert_allclose(shifts[0], [0.0, 0.0, RAISED_M[0]], atol=1e-6)
    np.testing.assert_allclose(shifts[1], [0.0, 0.0, RAISED_M[1]], atol=1e-6)
    np.testing.assert_allclose(shifts[2], -BACK_M * T_goal[:3, :3] @ PALM_NORMAL_HAND["right"], atol=1e-6)
    first = hand_pose("right", found[3][0][arm])[:3, 3] - hand_pose("right", HOME_Q[arm])[:3, 3]
    np.testing.assert_allclose(first, [0.0, 0.0, RAISED_M[1]], atol=1e-6)
    for points in found:
        np.testing.assert_allclose(points[:, part_indices("left")], np.tile(q[part_indices("left")], (len(points), 1)))
        assert joint_limits().contains(points)


def test_points_out_of_reach_are_left_out() -> None:
    q = HOME_Q.copy()
    q[part_indices("left_arm")] = [0.0, -np.pi / 2, 0.0, -np.pi / 2, 0.0, 0.0]  # straight up: nothing above
    assert len(vias(q, q, ("left",))) < 4
