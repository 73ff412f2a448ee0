"""A second robot all the way through: grasps, demonstrations, a short training, closed-loop trials.

Each in a process of its own, because a process has one robot.
"""

import json
import os
import subprocess
from pathlib import Path

import pytest

from udg_bringup.commands import run
from udg_description.errors import UdgError

ROOT = Path(__file__).parents[3]
ROBOT = "ur5e_quad"
SHIPPED = ROOT / "src" / "udg_policy" / "udg_policy" / "data" / "edge"


def udg(*words: object, code: int = 0) -> str:
    """What a command prints at the end, of its output or, where it fails, of its errors."""
    done = subprocess.run(
        [ROOT / "tools" / "bin" / "udg", "--robot", ROBOT, *map(str, words)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        timeout=600.0,
        check=False,
    )
    assert done.returncode == code, done.stderr[-2000:]
    return (done.stderr if code else done.stdout).strip().splitlines()[-1]


def test_the_shipped_checkpoint_is_refused_in_one_line() -> None:
    said = udg("trials", "--checkpoint", SHIPPED, "--objects", "cube_60", code=2)
    assert said.startswith("error: ") and "made for another robot than ur5e_quad" in said
    assert "joint 6 is 'left_hand_thumb_bend_joint', here 'left_hand_thumb_spread'" in said


def test_devices_of_other_hands_are_refused_in_one_line() -> None:
    said = udg("robot", "--use-emulators", code=2)
    assert "hardware.hands is xhand, robot ur5e_quad has quad_hand; valid: simulated" in said


def test_an_unknown_robot_is_told_before_anything_is_built(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("UDG_ROBOT", "")
    with pytest.raises(UdgError, match="a name or file is needed"):
        run(["--robot"])
    done = subprocess.run(
        [ROOT / "tools" / "bin" / "udg", "--robot", "r2d2", "sim"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert done.stderr.strip() == "error: unknown robot 'r2d2'; valid: ur5e_quad, ur5e_xhand, or a file .yaml"


@pytest.mark.slow
def test_the_planner_lifts_an_object_with_the_second_robot() -> None:
    said = udg("trials", "--policy", "planner", "--objects", "cube_60", "--trials", 1, "--workers", 1)
    assert json.loads(said)["successes"] == 1


@pytest.mark.slow
def test_demonstrations_of_the_second_robot_train_a_policy_that_runs(tmp_path: Path) -> None:
    data, checkpoint = tmp_path / "demos", tmp_path / "train"
    said = udg("demos", "--out", data, "--episodes", 2, "--seed", 3, "--objects", "cylinder_60", "--workers", 1)
    assert json.loads(said)["successes"] == 2
    udg("train", "--data", data, "--out", checkpoint, "--preset", "debug")
    names = json.loads((checkpoint / "checkpoint.json").read_text())["joint_names"]
    assert len(names) == 42 and "right_hand_mid_distal_joint" in names
    said = udg("trials", "--checkpoint", checkpoint, "--objects", "cylinder_60", "--trials", 1, "--workers", 1)
    assert json.loads(said)["trials"] == 1 and json.loads(said)["not_run"] == 0
