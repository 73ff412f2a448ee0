import math

import numpy as np
import pytest

from udg_description.errors import LayoutError, UdgError
from udg_description.layout import HOME_Q, JOINT_NAMES, N_JOINTS, PARTS, mirror_q, part_indices


def test_the_parts_cover_the_layout_in_order() -> None:
    parts = ["left_arm", "left_hand", "right_arm", "right_hand"]
    indices = np.concatenate([np.arange(N_JOINTS)[part_indices(part)] for part in parts])
    np.testing.assert_array_equal(indices, np.arange(36))
    assert JOINT_NAMES[part_indices("left_hand")][0] == "left_hand_thumb_bend_joint"
    assert JOINT_NAMES[part_indices("right_arm")][0] == "right_shoulder_pan_joint"
    assert len(JOINT_NAMES[part_indices("left")]) == 18


def test_hand_joints_stand_in_the_index_order_of_the_hand() -> None:
    hand = [name.removeprefix("right_hand_") for name in JOINT_NAMES[part_indices("right_hand")]]
    assert hand[:6] == [
        "thumb_bend_joint",
        "thumb_rota_joint1",
        "thumb_rota_joint2",
        "index_bend_joint",
        "index_joint1",
        "index_joint2",
    ]
    assert hand[6:] == [f"{finger}_joint{i}" for finger in ("mid", "ring", "pinky") for i in (1, 2)]


def test_home_is_the_published_configuration() -> None:
    pi = math.pi
    left = [-pi / 2, -9 * pi / 16, -7 * pi / 16, 7 * pi / 8, -pi / 2, -pi / 4]
    right = [pi / 2, -7 * pi / 16, 7 * pi / 16, pi / 8, pi / 2, pi / 4]
    np.testing.assert_allclose(HOME_Q[part_indices("left_arm")], left, atol=1e-12)
    np.testing.assert_allclose(HOME_Q[part_indices("right_arm")], right, atol=1e-12)
    hand_deg = np.rad2deg(HOME_Q[part_indices("left_hand")])
    np.testing.assert_allclose(hand_deg, [20, 20, 20, 5, 20, 20, 20, 20, 20, 20, 20, 20])


def test_home_cannot_be_changed_by_accident() -> None:
    with pytest.raises(ValueError):
        HOME_Q[0] = 1.0


def test_mirror_is_its_own_inverse_and_keeps_home() -> None:
    q = np.random.default_rng(0).uniform(-3, 3, size=(4, 5, 36))
    np.testing.assert_allclose(mirror_q(mirror_q(q)), q, atol=1e-12)
    np.testing.assert_allclose(mirror_q(HOME_Q), HOME_Q, atol=1e-12)


def test_mirror_of_a_wrong_length_is_an_error() -> None:
    with pytest.raises(LayoutError, match="12 joints"):
        mirror_q(np.zeros(12))


def test_an_unknown_part_names_the_valid_ones() -> None:
    with pytest.raises(UdgError, match="left_arm") as caught:
        part_indices("third_arm")
    assert all(part in str(caught.value) for part in PARTS)
