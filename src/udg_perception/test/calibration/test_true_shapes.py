"""Registration of a robot with its true shapes, of which ours are primitives: what the real robot will be like.

One arm of vendor meshes is rendered; skipped where the reference folder is absent (see test_reference_geometry.py).
"""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from udg_description.camera import default_cameras
from udg_description.layout import HOME_Q, SIDES, part_indices
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.transforms import make_transform, rotvec_to_matrix
from udg_perception.calibration.observations import Observation
from udg_perception.calibration.result import difference
from udg_perception.calibration.robot import RobotRegistration

depth_module = pytest.importorskip("udg_sim.cameras.depth", reason="needs udg_sim for its depth cameras")
trimesh = pytest.importorskip("trimesh")
pytestmark = pytest.mark.slow


def reference() -> ModuleType:
    """The table of the reference's meshes, which the geometry's own test has."""
    path = Path(__file__).resolve().parents[3] / "udg_description" / "test" / "test_reference_geometry.py"
    spec = importlib.util.spec_from_file_location("reference_geometry", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not module.MESHES.is_dir():
        pytest.skip(f"no meshes in {module.REFERENCE}")
    return module


def test_the_true_right_arm_tells_where_the_right_camera_is() -> None:
    parts = reference()
    start = default_cameras()[1]
    offset = make_transform(rotvec_to_matrix(np.deg2rad([1.5, -2.0, 1.5])), np.array([0.02, -0.03, 0.02]))
    truth = start.with_pose(start.T_world_camera @ offset)
    rig = depth_module.DepthRig([truth], noise=depth_module.KinectNoise(), seed=1)
    for link, pieces in parts.PARTS.items():
        rig.add_mesh(link, trimesh.util.concatenate([parts.load_part(*piece) for piece in pieces]))
    rng, model, observations = np.random.default_rng(0), RobotModel(), []
    for _ in range(12):
        q = np.array(HOME_Q)
        q[part_indices("right_arm")] += rng.uniform(-0.5, 0.5, 6)
        q = joint_limits().clip(q)
        poses = model.link_poses_np(q)
        depth_mm = rig.render(None, [(link, poses[f"right_{link}"]) for link in parts.PARTS])[0]
        observations.append(Observation(q=q, depth_mm={SIDES[1]: depth_mm}))
    result = RobotRegistration().calibrate(observations, start, SIDES[1])
    error_mm, error_deg = difference(result.camera.T_world_camera, truth.T_world_camera)
    print(f"true shapes: {error_mm:.2f} mm, {error_deg:.3f} deg off the truth; {dict(result.residuals)}")
    assert error_mm < 2.5 and error_deg < 0.2
