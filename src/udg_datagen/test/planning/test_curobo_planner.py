import importlib.util

import numpy as np
import pytest
import trimesh

from udg_datagen.planning.curobo_planner import CuroboError, CuroboPlanner, _as_dict, robot_description
from udg_description.layout import JOINT_NAMES


def test_the_robot_for_curobo_has_an_urdf_and_spheres_for_each_collision_link() -> None:
    kinematics = robot_description()["robot_cfg"]["kinematics"]
    text = open(kinematics["urdf_path"]).read()
    assert all(f'name="{name}"' in text for name in JOINT_NAMES)
    assert set(kinematics["collision_link_names"]) == set(kinematics["collision_spheres"])
    assert kinematics["tool_frames"] == ["left_hand_link", "right_hand_link"]


def test_the_scene_for_curobo_has_quaternions_with_w_first() -> None:
    T = np.eye(4)
    T[:3, :3] = np.diag([-1.0, -1.0, 1.0])  # half a turn about z
    T[:3, 3] = 0.6, 0.1, 0.05
    scene = _as_dict(((trimesh.creation.box((0.1, 0.1, 0.1)), T),))
    pose = scene["mesh"]["object_0"]["pose"]
    np.testing.assert_allclose(np.abs(pose), [0.6, 0.1, 0.05, 0.0, 0.0, 0.0, 1.0], atol=1e-9)
    table = scene["cuboid"]["table"]
    assert table["pose"][2] + table["dims"][2] / 2 == pytest.approx(0.0)


@pytest.mark.skipif(importlib.util.find_spec("curobo") is not None, reason="cuRobo is installed")
def test_without_curobo_the_error_says_what_is_needed() -> None:
    with pytest.raises(CuroboError, match="cuRobo 2 or later"):
        CuroboPlanner()
