"""Robots from data: the layout of a second one, mirrored hands, and what is said of files that do not fit."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from udg_description.errors import HandModelError, RobotModelError
from udg_description.layout import HOME_Q, JOINT_NAMES
from udg_description.limits import robot_limits
from udg_description.model import RobotModel
from udg_description.robot import Robot, current_robot, load_robot, read_hand, shipped_robots
from udg_description.robot.hand_tree import hand_tree
from udg_description.sides import SIDES, other_side
from udg_description.spheres import CollisionSpheres
from udg_description.transforms import mirror_T
from udg_description.urdf import load_urdf

DATA = Path(__file__).parents[2] / "udg_description" / "data"
QUAD = DATA / "hands" / "quad_hand.yaml"


@pytest.fixture(scope="module")
def quad() -> Robot:
    return load_robot("ur5e_quad")


def model(robot: Robot) -> RobotModel:
    return RobotModel(robot.urdf, joint_names=robot.joint_names, dtype=torch.float64)


def mirrored(robot: Robot, q: np.ndarray) -> np.ndarray:
    """The configuration of the mirrored scene, by the robot's own data."""
    out = q.copy()
    for side in SIDES:
        other = other_side(side)
        out[robot.parts[f"{side}_arm"]] = robot.mirror_offset - q[robot.parts[f"{other}_arm"]]
        out[robot.parts[f"{side}_hand"]] = q[robot.parts[f"{other}_hand"]]
    return out


def changed(folder: Path, robot: str = "ur5e_quad", **changes: object) -> Path:
    """A robot's file with some fields changed, None: left out; its paths still lead to the data."""
    data = yaml.safe_load((DATA / "robots" / f"{robot}.yaml").read_text())
    for name in ("urdf", "spheres"):
        if name in data:
            data[name] = str((DATA / "robots" / data[name]).resolve())
    data.update(changes)
    path = folder / "robot.yaml"
    path.write_text(yaml.safe_dump({key: value for key, value in data.items() if value is not None}))
    return path


def test_the_layout_of_this_process_is_that_of_its_robot() -> None:
    robot = current_robot()
    assert robot.name == "ur5e_xhand" and robot.joint_names == JOINT_NAMES
    np.testing.assert_array_equal(robot.home_q, HOME_Q)


def test_a_second_robot_has_its_own_layout(quad: Robot) -> None:
    assert (quad.n_arm_joints, quad.n_hand_joints, len(quad.joint_names)) == (6, 15, 42)
    assert quad.joint_names[0] == "left_shoulder_pan_joint" and quad.joint_names[21] == "right_shoulder_pan_joint"
    hand = quad.joint_names[quad.parts["right_hand"]]
    assert len(hand) == 15 and hand[0] == "right_hand_thumb_spread"
    covered = np.concatenate([np.arange(42)[quad.parts[f"{s}_{p}"]] for s in SIDES for p in ("arm", "hand")])
    np.testing.assert_array_equal(covered, np.arange(42))
    assert quad.fingers == ("thumb", "index", "mid", "ring")
    limits = robot_limits(quad)
    assert limits.contains(quad.home_q)
    k = quad.joint_names.index("left_hand_mid_distal_joint")
    assert (limits.lower[k], limits.upper[k], limits.effort[k], limits.velocity[k]) == (-0.1, 1.4, 0.5, 4.0)
    assert limits.acceleration[k] == 100.0 and limits.acceleration[0] == 10.0


@pytest.mark.parametrize("name", shipped_robots())
def test_a_mirrored_configuration_mirrors_the_hands(name: str) -> None:
    robot = load_robot(name)
    whole, limits = model(robot), robot_limits(robot)
    q = np.random.default_rng(0).uniform(limits.lower, limits.upper)
    here, there = whole.link_poses_np(q), whole.link_poses_np(mirrored(robot, q))
    hands = [link for link in here if link.startswith("right_hand_")]
    assert len(hands) > robot.n_hand_joints
    for link in hands:
        other = link.replace("right_", "left_", 1)
        np.testing.assert_allclose(there[other], mirror_T(here[link]), atol=1e-9, err_msg=link)
    np.testing.assert_allclose(mirrored(robot, robot.home_q), robot.home_q, atol=1e-12)


def test_masses_and_inertias_of_the_mirrored_hand_are_mirrored(quad: Robot) -> None:
    links = load_urdf(quad.urdf).links
    M = np.diag([1.0, -1.0, 1.0])
    for name, link in links.items():
        if name.startswith("right_hand_") and link.inertial is not None:
            other = links[name.replace("right_", "left_", 1)].inertial
            assert other is not None and other.mass == link.inertial.mass
            np.testing.assert_allclose(other.com, M @ link.inertial.com, atol=1e-9)
            np.testing.assert_allclose(other.inertia, M @ link.inertial.inertia @ M, atol=1e-12)


def test_the_hand_on_the_arm_moves_as_the_hand_alone(quad: Robot) -> None:
    """Poses between links of the hand are those of its own URDF, whatever frame the robot gives to its root."""
    alone = hand_tree(DATA / "hands" / "quad_hand.urdf", "palm")
    limits = robot_limits(quad)
    q = np.random.default_rng(1).uniform(limits.lower, limits.upper)
    own = dict(zip(alone.links, alone.poses(q[quad.parts["right_hand"]]), strict=True))
    poses = model(quad).link_poses_np(q)
    thumb = np.linalg.inv(poses["right_hand_thumb_base"])
    for link in alone.links[1:]:
        expected = np.linalg.inv(own["thumb_base"]) @ own[link]
        np.testing.assert_allclose(thumb @ poses[f"right_hand_{link}"], expected, atol=1e-9, err_msg=link)


def test_the_hand_frame_has_the_palm_along_y_and_the_fingers_against_z(quad: Robot) -> None:
    for side, sign in (("left", -1.0), ("right", 1.0)):
        hand = quad.hands[side]
        np.testing.assert_allclose(hand.palm_normal, [0.0, sign, 0.0], atol=1e-12)
        np.testing.assert_allclose(hand.finger_direction, [0.0, 0.0, -1.0], atol=1e-12)
        np.testing.assert_allclose(hand.grasp_center, [0.0, 0.125 * sign, 0.0], atol=1e-12)
    # Four centimetres behind the palm is the flange, whose z axis the palm looks along.
    np.testing.assert_allclose(quad.T_flange_hand["right"][:3, 3], [0.0, 0.0, 0.04])
    np.testing.assert_allclose(quad.T_flange_hand["right"][:3, :3] @ [0.0, 1.0, 0.0], [0.0, 0.0, 1.0])


def test_mirroring_a_hand_twice_gives_it_back() -> None:
    hand = read_hand(QUAD)
    twice = hand.mirrored().mirrored()
    assert hand.mirrored().side == "left" and twice.side == "right"
    np.testing.assert_array_equal(twice.grasp_center, hand.grasp_center)
    for name, pad in hand.contacts.items():
        np.testing.assert_array_equal(twice.contacts[name].axis, pad.axis)


def test_the_two_given_xhands_mirror_each_other_but_for_the_thumbs_ends() -> None:
    hands = current_robot().hands
    mirror = hands["right"].mirrored()
    for finger, pad in hands["left"].contacts.items():
        np.testing.assert_array_equal(pad.center, mirror.contacts[finger].center)
        np.testing.assert_allclose(hands["left"].tip(finger), mirror.tip(finger), atol=3e-4 if finger == "thumb" else 0)
    np.testing.assert_array_equal(hands["left"].palm_points, mirror.palm_points)


@pytest.mark.parametrize("name", shipped_robots())
def test_links_belong_to_the_finger_that_they_carry(name: str) -> None:
    robot = load_robot(name)
    for side in SIDES:
        hand = robot.hands[side]
        assert f"{side}_hand_link" not in robot.finger_of_link
        for finger, pad in hand.contacts.items():
            assert robot.finger_of_link[pad.link] == finger


def test_spheres_of_a_second_robot_hold_its_pads_and_leave_its_home_free(quad: Robot) -> None:
    spheres = CollisionSpheres(model(quad), quad)
    assert {link for link in spheres.links if "_hand_" not in link} == {
        link for link in CollisionSpheres(RobotModel()).links if "_hand_" not in link
    }
    for side in SIDES:
        for pad in quad.hands[side].contacts.values():
            mine = [k for k, link in enumerate(spheres.link_of_sphere) if link == pad.link]
            contact = np.array(pad.center) + pad.radius * pad.normal
            gap = np.linalg.norm(spheres.centers_link[mine].numpy() - contact, axis=1) - spheres.radii[mine].numpy()
            assert gap.min() < 0.0
    centers, (a, b) = spheres.centers_world(torch.tensor(quad.home_q)), spheres.checked_pairs.T
    gap = (centers[a] - centers[b]).norm(dim=-1) - spheres.radii[a] - spheres.radii[b]
    assert float(gap.min()) > 0.02


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"hands": {"middle": "a.yaml"}}, "valid: left, right, or both"),
        ({"arm": "nowhere.yaml"}, "cannot read the arm description"),
        ({"armm": 1}, "did you mean 'arm'"),
        ({"right_arm_home": [0.0] * 7}, "right_arm_home is .* 6 finite numbers"),
        ({"bases": {"left": [0, 0, 0]}}, "valid: left and right"),
        ({"flange_hand_rotation": [[1, 0, 0], [0, 1, 0], [0, 0, 2]]}, "valid: a rotation"),
        ({"arm": "ur7e"}, "arms: unknown 'ur7e'; valid: ur5e, or a file"),
        ({"hands": {"right": "claw"}}, "hands: unknown 'claw'; valid: quad_hand, xhand_left, xhand_right, or a file"),
        ({"urdf": "some.urdf"}, "the files of both hands"),
    ],
)
def test_a_robot_that_does_not_fit_names_what_is_wrong(
    tmp_path: Path, changes: dict[str, object], message: str
) -> None:
    with pytest.raises(RobotModelError, match=message):
        load_robot(str(changed(tmp_path, **changes)))


def test_a_hand_for_the_other_side_is_refused(tmp_path: Path) -> None:
    with pytest.raises(HandModelError, match="side is right, the robot has it as its left hand"):
        load_robot(str(changed(tmp_path, hands={"left": str(QUAD)})))


def test_a_hand_with_meshes_is_sent_to_the_command_that_makes_primitives(tmp_path: Path) -> None:
    text = (DATA / "hands" / "quad_hand.urdf").read_text()
    (tmp_path / "hand.urdf").write_text(text.replace('<sphere radius="0.013"/>', '<mesh filename="a.stl"/>', 1))
    hand = yaml.safe_load(QUAD.read_text()) | {"urdf": "hand.urdf"}
    (tmp_path / "hand.yaml").write_text(yaml.safe_dump(hand))
    robot = load_robot(str(changed(tmp_path, hands={"right": str(tmp_path / "hand.yaml")})))
    with pytest.raises(HandModelError, match="has a collision mesh.*udg hand"):
        _ = robot.urdf


def test_an_unknown_robot_names_the_valid_ones() -> None:
    with pytest.raises(RobotModelError, match="unknown robot 'r2d2'; valid: ur5e_quad, ur5e_xhand, or a file .yaml"):
        load_robot("r2d2")


def test_the_environment_chooses_the_robot_of_a_process() -> None:
    code = "from udg_description.layout import N_JOINTS; from udg_description.frames import HAND_LINK; print(N_JOINTS)"
    answer = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "UDG_ROBOT": "ur5e_quad"},
        check=True,
        capture_output=True,
        text=True,
    )
    assert answer.stdout.strip() == "42"
