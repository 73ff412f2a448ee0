"""Against the reference's URDFs: kinematics, inertia and limits. Skipped where the reference folder is absent."""

import os
from pathlib import Path

import numpy as np
import pytest

from udg_description.layout import ARM_JOINTS, HAND_JOINTS, SIDES, Side, part_indices
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.robot import current_robot
from udg_description.transforms import inverse
from udg_description.urdf import load_urdf

REFERENCE = Path(os.environ.get("UDG_REFERENCE_DIR", Path(__file__).resolve().parents[4] / "shared" / "reference"))
ROBOT = REFERENCE / "robot"

pytestmark = pytest.mark.skipif(not ROBOT.is_dir(), reason=f"no reference robot in {REFERENCE}: set UDG_REFERENCE_DIR")


def reference_path(side: Side) -> Path:
    return ROBOT / f"ur5e_with_xhand_{side}_limited_joint_sapien.urdf"


def reference_joint(side: Side, name: str) -> str:
    return f"{side}_{name}" if name in HAND_JOINTS else name


def reference_link(side: Side, name: str) -> str:
    bare = name.removeprefix(f"{side}_")
    return name if bare.startswith("hand_") else bare


@pytest.mark.parametrize("side", SIDES)
def test_every_link_pose_agrees(side: Side) -> None:
    names = [reference_joint(side, name) for name in ARM_JOINTS + HAND_JOINTS]
    reference = RobotModel(reference_path(side), root="base_link", joint_names=names)
    ours, limits, part = RobotModel(), joint_limits(), part_indices(side)
    rng = np.random.default_rng(0)
    for _ in range(20):
        q = rng.uniform(limits.lower, limits.upper)
        poses, expected = ours.link_poses_np(q), reference.link_poses_np(q[part])
        T_base_world = inverse(poses[f"{side}_base_link"])
        for name, T in poses.items():
            if name.startswith(side):
                # The reference's hand mount is rounded to 1e-5 rad.
                np.testing.assert_allclose(T_base_world @ T, expected[reference_link(side, name)], atol=2e-5)


@pytest.mark.parametrize("side", SIDES)
def test_mass_and_inertia_agree(side: Side) -> None:
    reference = load_urdf(reference_path(side)).links
    for name, link in load_urdf(current_robot().urdf).links.items():
        if not name.startswith(side) or link.inertial is None:
            continue
        expected = reference[reference_link(side, name)].inertial
        assert link.inertial.mass == pytest.approx(expected.mass, rel=1e-5), name
        np.testing.assert_allclose(link.inertial.com, expected.com, atol=1e-7, err_msg=name)
        np.testing.assert_allclose(link.inertial.inertia, expected.inertia, rtol=5e-3, atol=1.1e-8, err_msg=name)


@pytest.mark.parametrize("side", SIDES)
def test_hand_limits_and_efforts_agree_but_for_the_known_slip(side: Side) -> None:
    reference, ours = load_urdf(reference_path(side)).joints, load_urdf(current_robot().urdf).joints
    for name in HAND_JOINTS:
        mine, theirs = ours[f"{side}_{name}"], reference[f"{side}_{name}"]
        assert (mine.lower, mine.upper, mine.velocity) == (theirs.lower, theirs.upper, theirs.velocity)
        is_slip = f"{side}_{name}" == "right_hand_pinky_joint2"
        assert mine.effort == (0.4 if is_slip else theirs.effort)


def test_arm_limits_hold_the_references_narrow_ones() -> None:
    for side in SIDES:
        reference, ours = load_urdf(reference_path(side)).joints, load_urdf(current_robot().urdf).joints
        for name in ARM_JOINTS:
            mine, theirs = ours[f"{side}_{name}"], reference[name]
            assert mine.lower <= theirs.lower + 2e-3 and mine.upper >= theirs.upper - 2e-3, name
            assert mine.effort == theirs.effort
