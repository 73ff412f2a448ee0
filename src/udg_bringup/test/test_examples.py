"""The scripts of examples/, run as they stand on small inputs."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import trimesh

from udg_datagen.grasp_set import GraspSet
from udg_description.camera import default_cameras
from udg_description.layout import HOME_Q
from udg_description.transforms import make_transform
from udg_sim.cameras.depth import DepthRig
from udg_sim.objects.library import ObjectLibrary

EXAMPLES = Path(__file__).parents[3] / "examples"
README = (Path(__file__).parents[3] / "README.md").read_text(encoding="utf-8")
LONGEST_LINES = 50
pytestmark = pytest.mark.slow


def run(name: str, *arguments: str, folder: Path) -> str:
    """What the script prints."""
    command = [sys.executable, str(EXAMPLES / name), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_grasps_of_a_mesh(tmp_path: Path) -> None:
    trimesh.creation.cylinder(radius=0.3, height=1.0).export(tmp_path / "part.obj")
    said = run("grasps_of_my_mesh.py", "part.obj", "0.12", folder=tmp_path)
    assert "hold 0.1 kg along six axes" in said
    assert len(GraspSet.load(tmp_path / "grasps.npz")) == 5


def test_the_policy_in_a_loop(tmp_path: Path) -> None:
    said = run("policy_in_my_loop.py", "cube_60", folder=tmp_path)
    assert float(said.split("raised ")[1].split(" m")[0]) > 0.15


def test_the_cloud_of_cameras(tmp_path: Path) -> None:
    box = ObjectLibrary().get("cube_60")
    depths = DepthRig(default_cameras()).render(HOME_Q, [(box, make_transform(np.eye(3), np.array([0.6, 0.0, 0.03])))])
    names = ["left.png", "right.png"]
    for name, depth in zip(names, depths, strict=True):
        cv2.imwrite(str(tmp_path / name), depth)
    run("cloud_of_my_camera.py", *names, folder=tmp_path)
    points = trimesh.load(tmp_path / "cloud.ply").vertices
    assert points.shape == (2048, 3)
    near = np.abs(points - [0.6, 0.0, 0.03]).max(axis=1) < 0.04
    assert near.sum() > 200


def test_each_is_short_and_told_in_the_readme() -> None:
    for path in EXAMPLES.glob("*.py"):
        code = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        assert len(code) <= LONGEST_LINES, path.name
        assert f"examples/{path.name}" in README
