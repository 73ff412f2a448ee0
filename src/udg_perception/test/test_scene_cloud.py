"""The scene cloud: exact size, labels, order, determinism and errors. Cameras see a box that hangs in the air."""

import numpy as np
import pytest

from udg_description.camera import CameraModel, default_cameras
from udg_description.cloud_labels import LABEL_LEFT, LABEL_RIGHT, LABEL_SEEN
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q
from udg_description.model import RobotModel
from udg_description.surface import SurfacePoints
from udg_perception.config import SceneCloudConfig
from udg_perception.errors import CameraCountError, DepthImageError, JointStateError, PerceptionConfigError
from udg_perception.scene_cloud import SceneCloudBuilder

CAMERAS = default_cameras()
MODEL = RobotModel()
NOTHING = [np.zeros((camera.height, camera.width), dtype=np.uint16) for camera in CAMERAS]
BOX = (np.array([0.56, -0.04, 0.02]), np.array([0.64, 0.04, 0.10]))  # [m, world]


def box_depth_mm(camera: CameraModel, box_min: np.ndarray, box_max: np.ndarray) -> np.ndarray:
    """Depth image (H, W) of an axis-aligned box and nothing else, by the slab method."""
    origin = camera.T_world_camera[:3, 3]
    direction = camera.rays() @ camera.T_world_camera[:3, :3].T
    with np.errstate(divide="ignore"):
        first, second = (box_min - origin) / direction, (box_max - origin) / direction
    near, far = np.minimum(first, second).max(axis=-1), np.maximum(first, second).min(axis=-1)
    return np.where(near <= far, np.rint(near * 1000), 0).astype(np.uint16)


@pytest.fixture(scope="module")
def builder() -> SceneCloudBuilder:
    return SceneCloudBuilder(SceneCloudConfig(), CAMERAS, MODEL)


@pytest.fixture(scope="module")
def box_depths() -> list[np.ndarray]:
    return [box_depth_mm(camera, *BOX) for camera in CAMERAS]


def test_seen_points_lie_on_the_box(builder: SceneCloudBuilder, box_depths: list[np.ndarray]) -> None:
    points = builder.build(box_depths, HOME_Q).points
    assert points.shape == (2048, 4)
    assert points.dtype == np.float32
    seen = points[points[:, 3] == LABEL_SEEN, :3]
    assert len(seen) == 1024
    outside = np.maximum(np.maximum(BOX[0] - seen, seen - BOX[1]), 0.0).max(axis=1)
    inside = np.minimum(seen - BOX[0], BOX[1] - seen).min(axis=1)
    assert outside.max() < 0.001
    assert inside.max() < 0.001
    for axis, corner in ((0, 1), (1, 0), (1, 1), (2, 1)):  # the faces that the two cameras can see
        assert np.sum(np.abs(seen[:, axis] - BOX[corner][axis]) < 0.001) > 100


def test_the_rest_are_imaged_points_of_both_sides(builder: SceneCloudBuilder, box_depths: list[np.ndarray]) -> None:
    points = builder.build(box_depths, HOME_Q).points
    imaged = points[1024:]
    assert np.sum(imaged[:, 3] == LABEL_LEFT) == np.sum(imaged[:, 3] == LABEL_RIGHT) == 512
    expected = SurfacePoints(MODEL, 1024).points_world(HOME_Q, 1024)
    np.testing.assert_allclose(imaged[:, :3], expected, atol=1e-6)
    assert (imaged[imaged[:, 3] == LABEL_LEFT, 1] > 0).all()
    assert (imaged[imaged[:, 3] == LABEL_RIGHT, 1] < 0).all()


def test_without_an_object_all_points_are_the_robots(builder: SceneCloudBuilder) -> None:
    cloud = builder.build(NOTHING, HOME_Q)
    assert cloud.points.shape == (2048, 4)
    assert np.sum(cloud.points[:, 3] == LABEL_LEFT) == np.sum(cloud.points[:, 3] == LABEL_RIGHT) == 1024
    assert cloud.stats.counts["seen"] == 0


def test_a_small_object_keeps_all_its_points(builder: SceneCloudBuilder) -> None:
    depths = [box_depth_mm(camera, np.array([0.59, -0.01, 0.02]), np.array([0.61, 0.01, 0.04])) for camera in CAMERAS]
    counts = builder.build(depths, HOME_Q).stats.counts
    assert 60 <= counts["seen"] < 1024
    assert counts["seen"] >= 0.9 * counts["in_crop"]
    assert counts["seen"] + counts["imaged"] == 2048


def test_points_on_the_robot_are_not_seen_points(builder: SceneCloudBuilder) -> None:
    surface = SurfacePoints(MODEL, 1024).points_world(HOME_Q)
    depths = []
    for camera in CAMERAS:
        camera_points = surface @ camera.T_camera_world[:3, :3].T + camera.T_camera_world[:3, 3]
        pixels = np.rint(camera.project(camera_points)).astype(int)
        depth_mm = np.zeros((camera.height, camera.width), dtype=np.uint16)
        inside = ((pixels >= 0) & (pixels < [camera.width, camera.height])).all(axis=1)
        depth_mm[pixels[inside, 1], pixels[inside, 0]] = np.rint(camera_points[inside, 2] * 1000)
        depths.append(depth_mm)
    lenient = SceneCloudBuilder(SceneCloudConfig(min_neighbors=0), CAMERAS, MODEL)
    counts = lenient.build(depths, HOME_Q).stats.counts
    assert counts["in_crop"] > 500
    assert counts["not_robot"] == 0


def test_same_input_gives_the_same_bits(box_depths: list[np.ndarray]) -> None:
    clouds = [
        SceneCloudBuilder(SceneCloudConfig(), CAMERAS, RobotModel()).build(box_depths, HOME_Q).points.tobytes()
        for _ in range(2)
    ]
    assert clouds[0] == clouds[1]


def test_inputs_are_not_modified(builder: SceneCloudBuilder, box_depths: list[np.ndarray]) -> None:
    q, depths = HOME_Q.copy(), [depth.copy() for depth in box_depths]
    builder.build(depths, q)
    np.testing.assert_array_equal(q, HOME_Q)
    np.testing.assert_array_equal(depths, box_depths)


def test_other_cameras_see_the_same_box(builder: SceneCloudBuilder) -> None:
    shifted = []
    for camera in CAMERAS:
        T_world_camera = camera.T_world_camera.copy()
        T_world_camera[:3, 3] += [0.02, -0.01, 0.03]
        shifted.append(camera.with_pose(T_world_camera))
    depths = [box_depth_mm(camera, *BOX) for camera in shifted]
    points = builder.with_cameras(shifted).build(depths, HOME_Q).points
    seen = points[points[:, 3] == LABEL_SEEN, :3]
    assert np.maximum(np.maximum(BOX[0] - seen, seen - BOX[1]), 0.0).max() < 0.001
    wrong = builder.build(depths, HOME_Q).points
    wrong_seen = wrong[wrong[:, 3] == LABEL_SEEN, :3]
    assert np.maximum(np.maximum(BOX[0] - wrong_seen, wrong_seen - BOX[1]), 0.0).max() > 0.01


def test_stats_name_each_stage(builder: SceneCloudBuilder, box_depths: list[np.ndarray]) -> None:
    stats = builder.build(box_depths, HOME_Q).stats
    assert list(stats.ms) == ["project", "self_filter", "outliers", "sample", "imaged", "total"]
    assert stats.ms["total"] == pytest.approx(sum(stats.ms.values()) / 2)
    assert list(stats.counts) == ["in_crop", "not_robot", "thinned", "not_outlier", "seen", "imaged"]


@pytest.mark.parametrize("index", [0, 35])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_joint_positions_that_are_not_finite_are_refused(builder: SceneCloudBuilder, index: int, value: float) -> None:
    q = HOME_Q.copy()
    q[index] = value
    with pytest.raises(
        JointStateError, match=rf"joint position {index} \('.*_joint2?'\) is {value}; valid: finite"
    ) as e:
        builder.build(NOTHING, q)
    assert isinstance(e.value, UdgError)


def test_a_wrong_number_of_joints_is_refused(builder: SceneCloudBuilder) -> None:
    with pytest.raises(JointStateError, match=r"shape \(12,\); valid: \(36,\)"):
        builder.build(NOTHING, np.zeros(12))


@pytest.mark.parametrize("n", [0, 1, 3])
def test_a_wrong_number_of_images_is_refused(builder: SceneCloudBuilder, n: int) -> None:
    with pytest.raises(CameraCountError, match=rf"{n} depth images for 2 cameras.*left_camera"):
        builder.build((NOTHING * 2)[:n], HOME_Q)


def test_no_camera_is_refused() -> None:
    with pytest.raises(CameraCountError, match="at least one"):
        SceneCloudBuilder(SceneCloudConfig(), [], MODEL)


def test_a_wrong_image_is_refused(builder: SceneCloudBuilder) -> None:
    with pytest.raises(DepthImageError, match="'right_camera'"):
        builder.build([NOTHING[0], NOTHING[1].astype(np.float32)], HOME_Q)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"crop_min": (1.0, 0.0, 0.0)}, "crop_max = .* above crop_min"),
        ({"crop_max": (0.9, float("nan"), 0.5)}, "crop_max = .*three finite numbers"),
        ({"self_filter_margin_m": -0.01}, "self_filter_margin_m = -0.01; valid: 0 to 0.1 m"),
        ({"n_seen_max": 2048}, "n_points = 2048; valid: at least n_seen_max"),
        ({"outlier_neighbors": 1}, "outlier_neighbors = 1; valid: at least 2"),
        ({"min_neighbors": 5}, "min_neighbors = 5; valid: 0 to 4"),
    ],
)
def test_bad_settings_are_refused_with_what_would_be_valid(settings: dict, message: str) -> None:
    with pytest.raises(PerceptionConfigError, match=message):
        SceneCloudConfig(**settings)
