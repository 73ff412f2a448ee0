import math

import numpy as np
import pytest

from udg_description import arm_kinematics as arm
from udg_description.frames import GRASP_CENTER_HAND, OBJECT_AREA
from udg_description.layout import HOME_Q, SIDES, Side, mirror_arm, other_side, part_indices
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.transforms import inverse, make_transform, mirror_T


def random_arm_q(side: Side, n: int, seed: int = 0) -> np.ndarray:
    limits, part = joint_limits(), part_indices(f"{side}_arm")
    return np.random.default_rng(seed).uniform(limits.lower[part], limits.upper[part], size=(n, 6))


@pytest.mark.parametrize("side", SIDES)
def test_the_urdfs_arm_equals_the_controllers_kinematics(side: Side) -> None:
    library = pytest.importorskip("ur_analytic_ik", reason="ur-analytic-ik has no wheel for this Python").ur5e
    model, part = RobotModel(), part_indices(f"{side}_arm")
    for q_arm in random_arm_q(side, 100):
        q = HOME_Q.copy()
        q[part] = q_arm
        poses = model.link_poses_np(q)
        T_controller_flange = inverse(poses[f"{side}_base_link_inertia"]) @ poses[f"{side}_wrist_3_link"]
        np.testing.assert_allclose(T_controller_flange, library.forward_kinematics(*q_arm), atol=1e-6)
        np.testing.assert_allclose(arm.flange_pose(side, q_arm), poses[f"{side}_wrist_3_link"], atol=1e-6)
        np.testing.assert_allclose(arm.hand_pose(side, q_arm), poses[f"{side}_hand_link"], atol=1e-6)


@pytest.mark.parametrize("side", SIDES)
def test_every_branch_reaches_the_pose_within_limits_and_one_is_the_way_back(side: Side) -> None:
    limits, part = joint_limits(), part_indices(f"{side}_arm")
    for q in random_arm_q(side, 50, seed=1):
        T_world_hand = arm.hand_pose(side, q)
        branches = arm.hand_ik(side, T_world_hand)
        for branch in branches:
            np.testing.assert_allclose(arm.hand_pose(side, branch), T_world_hand, atol=1e-6)
        assert np.all(branches >= limits.lower[part]) and np.all(branches <= limits.upper[part])
        assert np.abs(branches - q).max(axis=1).min() < 1e-5


@pytest.mark.parametrize("side", SIDES)
def test_the_nearest_branch_to_the_seed_is_the_seed(side: Side) -> None:
    for q in random_arm_q(side, 50, seed=2):
        found = arm.nearest_hand_ik(side, arm.hand_pose(side, q), q)
        assert found is not None
        np.testing.assert_allclose(found, q, atol=1e-5)


def test_angles_are_unwrapped_towards_the_seed() -> None:
    limits, part = joint_limits(), part_indices("left_arm")
    q = HOME_Q[part].copy()
    q[3] = 1.5 * math.pi  # left wrist 1 ranges over 0 .. 2 pi: the solver itself answers -pi / 2
    found = arm.nearest_arm_ik("left", arm.flange_pose("left", q), q)
    assert found is not None and np.all(found <= limits.upper[part])
    np.testing.assert_allclose(found, q, atol=1e-5)


def test_out_of_reach_gives_no_branch() -> None:
    T = make_transform(translation=np.array([3.0, 0.0, 0.0]))
    assert arm.arm_ik("left", T).shape == (0, 6)
    assert arm.nearest_arm_ik("left", T, HOME_Q[:6]) is None


def test_arms_obey_the_mirror_law() -> None:
    for side in SIDES:
        for q in random_arm_q(side, 20, seed=4):
            mirrored = arm.hand_pose(other_side(side), mirror_arm(q))
            np.testing.assert_allclose(mirrored, mirror_T(arm.hand_pose(side, q)), atol=1e-9)


@pytest.mark.parametrize("side", SIDES)
def test_the_jacobian_agrees_with_finite_differences(side: Side) -> None:
    step = 1e-6
    for q in random_arm_q(side, 10, seed=5):
        jacobian = arm.arm_jacobian(side, q)
        rotation = arm.hand_pose(side, q)[:3, :3]
        for joint in range(6):
            dq = step * np.eye(6)[joint]
            rate = (arm.hand_pose(side, q + dq) - arm.hand_pose(side, q - dq)) / (2 * step)
            spin = rate[:3, :3] @ rotation.T
            expected = np.concatenate([rate[:3, 3], [spin[2, 1], spin[0, 2], spin[1, 0]]])
            np.testing.assert_allclose(jacobian[:, joint], expected, atol=1e-7)


def test_limits_leave_the_object_area_within_reach_from_the_top() -> None:
    """Hands pointing down with any palm direction over each arm's own half of the area."""
    rng = np.random.default_rng(6)
    area = OBJECT_AREA["small_medium"]
    reached = []
    for _ in range(150):
        yaw = rng.uniform(-math.pi, math.pi)
        y_axis = np.array([math.cos(yaw), math.sin(yaw), 0.0])
        z_axis = np.array([0.0, 0.0, 1.0])  # fingers along -z
        rotation = np.stack([np.cross(y_axis, z_axis), y_axis, z_axis], axis=1)
        center = np.array([rng.uniform(area.x_min, area.x_max), rng.uniform(area.y_min, 0.0), rng.uniform(0.03, 0.25)])
        T_world_hand = make_transform(rotation, center - rotation @ GRASP_CENTER_HAND["right"])
        reached.append(len(arm.hand_ik("right", T_world_hand)) > 0)
    assert np.mean(reached) > 0.97
