import time

import numpy as np
import pytest
import torch

from udg_description.errors import RobotModelError
from udg_description.layout import ARM_JOINTS, HOME_Q, SIDES, Side, mirror_q, part_indices
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.robot import current_robot
from udg_description.transforms import inverse, mirror_T


@pytest.fixture(scope="module")
def model() -> RobotModel:
    return RobotModel()


def random_q(n: int, seed: int = 0) -> np.ndarray:
    limits = joint_limits()
    return np.random.default_rng(seed).uniform(limits.lower, limits.upper, size=(n, 36))


def test_torch_and_numpy_paths_agree_for_every_batch_shape() -> None:
    model = RobotModel(dtype=torch.float64)
    q = random_q(6)
    expected = np.stack([model.link_pose_array(row) for row in q])
    np.testing.assert_allclose(model.link_pose_array(q), expected, atol=1e-12)
    for shape in ((6,), (2, 3), (1, 6)):
        got = model.link_poses(torch.tensor(q.reshape(shape + (36,)))).numpy()
        np.testing.assert_allclose(got.reshape(expected.shape), expected, atol=1e-12)
    one = model.link_poses(torch.tensor(q[0]))
    assert one.shape == (len(model.link_names), 4, 4)


def test_links_can_be_picked_in_any_order(model: RobotModel) -> None:
    names = ["right_hand_link", "left_base_link", "right_hand_link"]
    q = random_q(1)[0]
    picked = model.link_poses(torch.tensor(q, dtype=torch.float32), names).numpy()
    expected = np.stack([model.link_poses_np(q)[name] for name in names])
    np.testing.assert_allclose(picked, expected, atol=1e-5)


def test_bases_stand_on_the_table_unrotated(model: RobotModel) -> None:
    poses = model.link_poses_np(HOME_Q)
    for side, y in (("left", 0.45), ("right", -0.45)):
        np.testing.assert_allclose(poses[f"{side}_base_link"][:3, :3], np.eye(3))
        np.testing.assert_allclose(poses[f"{side}_base_link"][:3, 3], [0, y, 0])
        yaw_quarter_turn = [[0, -1, 0], [1, 0, 0], [0, 0, 1]]
        np.testing.assert_allclose(poses[f"{side}_base_link_inertia"][:3, :3], yaw_quarter_turn, atol=1e-10)


def test_flanges_at_home_are_where_the_published_robot_has_them(model: RobotModel) -> None:
    poses = model.link_poses_np(HOME_Q)
    np.testing.assert_allclose(poses["left_wrist_3_link"][:3, 3], [0.529, 0.317, 1.163 - 0.714], atol=5e-4)
    np.testing.assert_allclose(poses["right_wrist_3_link"][:3, 3], [0.529, -0.317, 1.163 - 0.714], atol=5e-4)


def expected_zero_pose_tip(side: Side, finger: str) -> np.ndarray:
    """Fingertip in hand_link at zero angles, summed by hand from the vendor's joint origins."""
    y = -1.0 if side == "left" else 1.0
    if finger != "thumb":
        x, z = {
            "index": (0.0265, -0.0899 - 0.0178 - 0.0558),
            "mid": (0.004, -0.1082 - 0.0558),
            "ring": (-0.016, -0.1052 - 0.0558),
            "pinky": (-0.036, -0.1022 - 0.0558),
        }[finger]
        return np.array([x, y * 0.0065, z - 0.04224829])
    # bend + base of the first rotation, then straight along that frame's x axis, which a yaw of 0.0407 turns.
    along = 0.0553 + (0.04998815 if side == "left" else 0.05022765)
    start = np.array([0.0228 + 0.028599, 0.0095 + 0.0083177, -0.0305 + 0.00178])
    tip = start + along * np.array([np.cos(0.0407), np.sin(0.0407), 0.0])
    return tip * [1.0, y, 1.0]


@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("finger", ["thumb", "index", "mid", "ring", "pinky"])
def test_fingertips_in_the_zero_pose_match_the_data_sheet(model: RobotModel, side: Side, finger: str) -> None:
    description = current_robot().hands[side]
    T_hand_link = model.hand(side).link_poses_np(np.zeros(12))[description.contacts[finger].link]
    tip = T_hand_link[:3, :3] @ description.tip(finger) + T_hand_link[:3, 3]
    np.testing.assert_allclose(tip, expected_zero_pose_tip(side, finger), atol=1e-5)


def test_the_right_hands_zero_pose_matches_the_published_fingertips(model: RobotModel) -> None:
    published = {
        "thumb": (0.1568, 0.0221, -0.0287),
        "index": (0.0265, 0.0065, -0.2058),
        "mid": (0.0040, 0.0065, -0.2063),
        "ring": (-0.0160, 0.0065, -0.2033),
        "pinky": (-0.0360, 0.0065, -0.2003),
    }  # [m] rounded to 0.1 mm
    for finger, position in published.items():
        np.testing.assert_allclose(expected_zero_pose_tip("right", finger), position, atol=5.5e-5)


def test_the_mirrored_configuration_mirrors_every_link_origin_and_the_hands_whole(model: RobotModel) -> None:
    for q in random_q(20, seed=3):
        poses, mirrored = model.link_poses_np(q), model.link_poses_np(mirror_q(q))
        for name, T in poses.items():
            if name == "world":
                continue
            other = name.replace("left_", "right_") if name.startswith("left_") else name.replace("right_", "left_")
            np.testing.assert_allclose(mirrored[other][:3, 3], T[:3, 3] * [1, -1, 1], atol=1e-9, err_msg=name)
            if "_hand_" in name:
                np.testing.assert_allclose(mirrored[other], mirror_T(T), atol=1e-9, err_msg=name)


def test_positive_finger_angles_close_both_hands(model: RobotModel) -> None:
    for side, palm_sign in (("left", -1.0), ("right", 1.0)):
        hand, description = model.hand(side), current_robot().hands[side]
        for finger in ("index", "mid", "ring", "pinky"):
            q = np.zeros(12)
            q[[name.startswith(f"{side}_hand_{finger}_joint") for name in hand.joint_names]] = 0.5
            T = hand.link_poses_np(q)[description.contacts[finger].link]
            assert palm_sign * (T[:3, :3] @ description.tip(finger) + T[:3, 3])[1] > 0.02


def test_hand_model_gives_poses_in_the_hand_frame(model: RobotModel) -> None:
    q = random_q(1, seed=5)[0]
    poses = model.link_poses_np(q)
    for side in SIDES:
        hand = model.hand(side)
        assert hand.link_names[0] == f"{side}_hand_link" and hand.n_joints == 12 and len(hand.link_names) == 13
        local = hand.link_poses_np(q[part_indices(f"{side}_hand")])
        for name, T_hand_link in local.items():
            np.testing.assert_allclose(inverse(poses[f"{side}_hand_link"]) @ poses[name], T_hand_link, atol=1e-9)


def test_gradient_of_the_poses_agrees_with_finite_differences() -> None:
    model = RobotModel(dtype=torch.float64).hand("right")
    q = torch.tensor(random_q(1, seed=7)[0, 24:], requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: model.link_poses(x)[..., :3, :], (q,), eps=1e-6, atol=1e-6)


def test_an_arm_alone_leaves_the_fingers_out() -> None:
    names = [f"left_{name}" for name in ARM_JOINTS]
    arm = RobotModel(root="left_base_link", joint_names=names)
    assert "left_hand_link" in arm.link_names
    assert not any("finger" in name or "index" in name for name in arm.link_names)
    whole = RobotModel().link_poses_np(HOME_Q)
    expected = inverse(whole["left_base_link"]) @ whole["left_hand_link"]
    np.testing.assert_allclose(arm.link_poses_np(HOME_Q[:6])["left_hand_link"], expected, atol=1e-9)


def test_joints_may_come_in_any_order(model: RobotModel) -> None:
    names = list(model.joint_names)[::-1]
    q = random_q(1, seed=9)[0]
    backwards = RobotModel(joint_names=names)
    np.testing.assert_allclose(backwards.link_pose_array(q[::-1]), model.link_pose_array(q), atol=1e-12)


def test_one_pose_takes_less_than_a_millisecond(model: RobotModel) -> None:
    durations = []
    for _ in range(20):
        start = time.perf_counter()
        model.link_pose_array(HOME_Q)
        durations.append(time.perf_counter() - start)
    assert min(durations) < 1e-3


def test_what_the_urdf_lacks_is_named(model: RobotModel) -> None:
    with pytest.raises(RobotModelError, match="no link 'torso'"):
        RobotModel(root="torso")
    with pytest.raises(RobotModelError, match="no joint 'neck'"):
        RobotModel(joint_names=["neck"])
    with pytest.raises(RobotModelError, match="not below root 'left_hand_link': right_elbow_joint"):
        RobotModel(root="left_hand_link", joint_names=["right_elbow_joint"])
    with pytest.raises(RobotModelError, match="no link 'tail'"):
        model.geometry("tail")
    with pytest.raises(RobotModelError, match="36 joints"):
        model.link_pose_array(np.zeros(12))
    with pytest.raises(RobotModelError, match="36 joints"):
        model.link_poses(torch.zeros(2, 12))
