"""Object points survive with the simulated cameras' noise (udg_sim is needed by this test alone)."""

from collections.abc import Iterator

import numpy as np
import pytest

from udg_description.camera import default_cameras
from udg_description.cloud_labels import LABEL_SEEN
from udg_description.frames import OBJECT_AREA
from udg_description.layout import HOME_Q
from udg_description.model import RobotModel
from udg_description.transforms import rotvec_to_matrix
from udg_perception.scene_cloud import SceneCloudBuilder, SceneCloudConfig

depth_module = pytest.importorskip("udg_sim.cameras.depth", reason="needs udg_sim for its depth cameras")
trimesh = pytest.importorskip("trimesh")

CUBE_EDGE_M = 0.03
AREA = OBJECT_AREA["small_medium"]
PLACEMENTS = [
    (x, y, yaw) for x in (AREA.x_min, AREA.x_max) for y in (AREA.y_min, 0.0, AREA.y_max) for yaw in (0.0, 0.8)
]


@pytest.fixture(scope="module")
def rig() -> Iterator[object]:
    rig = depth_module.DepthRig(default_cameras(), depth_module.KinectNoise(), seed=3)
    rig.add_mesh("cube", trimesh.creation.box((CUBE_EDGE_M,) * 3))
    yield rig


@pytest.fixture(scope="module")
def builder() -> SceneCloudBuilder:
    return SceneCloudBuilder(SceneCloudConfig(), default_cameras(), RobotModel())


def T_world_cube(x_m: float, y_m: float, yaw: float) -> np.ndarray:
    T = np.eye(4)
    T[:3, :3] = rotvec_to_matrix(np.array([0.0, 0.0, yaw]))
    T[:3, 3] = [x_m, y_m, CUBE_EDGE_M / 2]
    return T


@pytest.mark.parametrize(("x_m", "y_m", "yaw"), PLACEMENTS)
def test_a_3_cm_cube_keeps_at_least_60_points(
    rig: object, builder: SceneCloudBuilder, x_m: float, y_m: float, yaw: float
) -> None:
    T = T_world_cube(x_m, y_m, yaw)
    points = builder.build(rig.render(HOME_Q, [("cube", T)]), HOME_Q).points
    seen = points[points[:, 3] == LABEL_SEEN, :3]
    in_cube_frame = (seen - T[:3, 3]) @ T[:3, :3]
    on_cube = (np.abs(in_cube_frame) < CUBE_EDGE_M / 2 + 0.01).all(axis=1)
    assert on_cube.sum() >= 60
    assert (~on_cube).sum() <= 10, "neither the table nor the robot's edges flood the cloud"


def test_an_empty_table_gives_hardly_any_seen_points(rig: object, builder: SceneCloudBuilder) -> None:
    assert builder.build(rig.render(HOME_Q), HOME_Q).stats.counts["seen"] <= 20
