import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from udg_description.errors import RobotModelError
from udg_description.layout import JOINT_NAMES, SIDES
from udg_description.robot import current_robot, load_robot
from udg_description.urdf import load_urdf


def test_the_shipped_urdf_is_what_the_tool_writes(tmp_path: Path) -> None:
    tool = Path(__file__).parents[1] / "tools" / "make_urdf.py"
    subprocess.run([sys.executable, str(tool), "--output", str(tmp_path / "robot.urdf")], check=True)
    assert (tmp_path / "robot.urdf").read_text() == load_robot("ur5e_xhand").urdf.read_text()


def test_the_urdf_has_the_layouts_joints_and_no_other_moving_ones() -> None:
    urdf = load_urdf(current_robot().urdf)
    moving = [name for name, joint in urdf.joints.items() if joint.kind != "fixed"]
    assert sorted(moving) == sorted(JOINT_NAMES)
    assert all(urdf.joints[name].kind == "revolute" for name in moving)


def test_hands_and_arms_have_the_data_sheets_mass() -> None:
    links = load_urdf(current_robot().urdf).links
    for side, hand_mass in (("left", 1.1037), ("right", 1.1125)):
        hand = sum(link.inertial.mass for name, link in links.items() if name.startswith(f"{side}_hand_"))
        assert hand == pytest.approx(hand_mass, abs=1.5e-4)
        assert links[f"{side}_upper_arm_link"].inertial.mass == pytest.approx(8.393)
        assert links[f"{side}_wrist_3_link"].inertial.mass == pytest.approx(0.1879)


def test_every_inertia_is_physical() -> None:
    for name, link in load_urdf(current_robot().urdf).links.items():
        if link.inertial is None:
            assert not link.primitives, name
            continue
        a, b, c = np.linalg.eigvalsh(link.inertial.inertia)
        assert link.inertial.mass > 0 and a > 0, name
        assert a + b > 0.95 * c, f"{name}: principal moments {a, b, c} belong to no body"  # the table is rounded


def test_the_rotated_inertia_of_the_upper_arm_is_small_about_its_length() -> None:
    inertia = load_urdf(current_robot().urdf).links["left_upper_arm_link"].inertial.inertia
    np.testing.assert_allclose(np.diag(inertia), [0.01511, 0.1339, 0.1339], atol=1e-9)


def test_damping_and_friction_are_zero_on_both_sides() -> None:
    text = current_robot().urdf.read_text()
    assert text.count('<dynamics damping="0" friction="0"') == len(JOINT_NAMES) == text.count("<dynamics")


def test_geometry_is_primitives_alike_on_both_sides_and_nothing_is_a_mesh() -> None:
    urdf = load_urdf(current_robot().urdf)
    assert "<mesh" not in urdf.path.read_text()
    for name, link in urdf.links.items():
        if name.startswith(SIDES[0]):
            other = urdf.links[name.replace("left_", "right_")]
            assert [p.kind for p in link.primitives] == [p.kind for p in other.primitives]
    assert all(urdf.links[f"{side}_hand_link"].primitives for side in SIDES)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("<robot><link", "not valid XML"),
        ("<sdf/>", "root element is <sdf>"),
        ('<robot name="x"><joint name="j" type="revolute"/></robot>', "joint 'j': .*malformed: <parent> in <joint>"),
        ('<robot name="x"><link/></robot>', "a <link> has no name"),
    ],
)
def test_a_bad_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "bad.urdf"
    path.write_text(text)
    with pytest.raises(RobotModelError, match=message) as caught:
        load_urdf(path)
    assert "bad.urdf" in str(caught.value)


def test_a_missing_file_is_named() -> None:
    with pytest.raises(RobotModelError, match="cannot read URDF /nowhere/robot.urdf"):
        load_urdf(Path("/nowhere/robot.urdf"))
