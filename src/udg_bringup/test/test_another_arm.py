"""An arm of seven joints is a class and its files: kinematics, filter, shared memory, planner."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
LAWS = """
import os, sys
from pathlib import Path
import numpy as np
import seven_joints
os.environ["UDG_ROBOT"] = str(seven_joints.write_files(Path(sys.argv[1])))
from udg_control.safety import SafetyConfig, SafetyFilter
from udg_control.ros2_control.shared import ControllerMemory
from udg_description.arm_kinematics import arm_jacobian, hand_ik, hand_pose
from udg_description.layout import ARM_PLACES, HOME_Q, N_ARM_JOINTS, N_JOINTS, mirror_q, part_indices
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
assert (N_ARM_JOINTS, N_JOINTS, len(ARM_PLACES)) == (7, 44, 14)
model, limits = RobotModel(), joint_limits()
rng = np.random.default_rng(0)
for side in ("left", "right"):
    part, link = part_indices(f"{side}_arm"), model.link_names.index(f"{side}_hand_link")
    for _ in range(20):
        q = HOME_Q.copy()
        q[part] = rng.uniform(limits.lower[part], limits.upper[part])
        T = hand_pose(side, q[part])
        np.testing.assert_allclose(T, model.link_pose_array(q)[link], atol=1e-8)  # the class and the URDF agree
        for solution in hand_ik(side, T):
            np.testing.assert_allclose(hand_pose(side, solution), T, atol=1e-8)
        J, step = arm_jacobian(side, q[part]), 1e-6
        for joint in range(7):
            there = q[part] + step * np.eye(7)[joint]
            np.testing.assert_allclose((hand_pose(side, there) - T)[:3, 3] / step, J[:3, joint], atol=1e-5)
np.testing.assert_allclose(mirror_q(mirror_q(HOME_Q)), HOME_Q)
assert len(hand_ik("right", hand_pose("right", HOME_Q[part_indices("right_arm")]))) > 0
safety = SafetyFilter(SafetyConfig(), limits, 0.01)
safety.sync(HOME_Q)
"""


def python(*words: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(HERE), *sys.path])},
        timeout=600.0,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.strip()


def test_its_kinematics_keep_the_laws_and_all_counts_follow(tmp_path: Path) -> None:
    python("-c", LAWS, tmp_path)


def test_the_driver_of_the_ur5e_refuses_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, HERE / "seven_joints.py", tmp_path, "robot", "--config", HERE.parents[2] / "config"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    assert done.stderr.startswith("error: hardware.arms is ur, robot seven_quad has arms of kinematics seven; valid: ")


@pytest.mark.slow
def test_the_planner_lifts_an_object_with_it(tmp_path: Path) -> None:
    command = ("trials", "--policy", "planner", "--objects", "cube_60", "--trials", 1, "--workers", 1)
    said = json.loads(python(HERE / "seven_joints.py", tmp_path, *command).splitlines()[-1])
    assert said["successes"] == 1
