"""Depth images become points of the world, cropped to the box."""

import numpy as np
import pytest

from udg_description.camera import CameraModel, default_cameras
from udg_description.transforms import transform_points
from udg_perception.errors import DepthImageError
from udg_perception.projection import CropProjector

BOX_MIN, BOX_MAX = np.array([0.3, -0.65, 0.0]), np.array([0.95, 0.65, 0.6])
CAMERAS = pytest.mark.parametrize("camera", default_cameras(), ids=lambda camera: camera.name)


# Camera at (1, 2, 3) m looking down: camera x = world x, camera y = -world y, camera z = -world z.
T_WORLD_DOWN = np.array([[1.0, 0, 0, 1], [0, -1, 0, 2], [0, 0, -1, 3], [0, 0, 0, 1]])


def pinhole() -> CameraModel:
    return CameraModel(
        name="pinhole",
        width=7,
        height=5,
        fx=10.0,
        fy=10.0,
        cx=3.0,
        cy=2.0,
        distortion=(0.0,) * 8,
        T_world_camera=T_WORLD_DOWN,
    )


def projector(
    camera: CameraModel, box_min: np.ndarray = BOX_MIN, box_max: np.ndarray = BOX_MAX, min_neighbors: int = 0
) -> CropProjector:
    return CropProjector(camera, box_min, box_max, neighbor_step_m=0.02, min_neighbors=min_neighbors)


def plane_depth_mm(camera: CameraModel, height_m: float) -> np.ndarray:
    """Depth image of the plane z = height_m of the world, 0 where it is not in front of the camera."""
    slope = camera.rays() @ camera.T_world_camera[2, :3]
    with np.errstate(divide="ignore"):
        depth_mm = np.rint((height_m - camera.T_world_camera[2, 3]) / slope * 1000.0)
    return np.where((depth_mm > 0) & (depth_mm < 65535), depth_mm, 0).astype(np.uint16)


def test_hand_computed_points() -> None:
    depth_mm = np.zeros((5, 7), dtype=np.uint16)
    depth_mm[2, 3] = 2000  # the centre: straight down by 2 m
    depth_mm[1, 5] = 1000  # 2 px right, 1 px up: (0.2, 0.1) m per metre
    points = projector(pinhole(), np.full(3, -10.0), np.full(3, 10.0))(depth_mm)
    np.testing.assert_allclose(points[np.argsort(points[:, 0])], [[1.0, 2.0, 1.0], [1.2, 2.1, 2.0]], atol=1e-6)
    assert points.dtype == np.float32


def test_only_points_inside_the_box_come_out() -> None:
    project = projector(pinhole(), np.array([0.0, 0.0, 1.0]), np.array([2.0, 4.0, 2.0]))
    inner_pixels = 5 * 3
    for depth, expected in ((999, 0), (1000, inner_pixels), (2000, inner_pixels), (2001, 0), (0, 0), (65535, 0)):
        assert len(project(np.full((5, 7), depth, dtype=np.uint16))) == expected


def test_a_pixel_in_the_air_between_two_surfaces_is_dropped() -> None:
    depth_mm = np.full((5, 7), 2000, dtype=np.uint16)
    depth_mm[:, :3] = 1500
    depth_mm[2, 3] = 1750  # between the near surface on its left and the far one on its right
    everywhere = np.full(3, -10.0), np.full(3, 10.0)
    assert len(projector(pinhole(), *everywhere)(depth_mm)) == 15
    points = projector(pinhole(), *everywhere, min_neighbors=2)(depth_mm)
    assert len(points) == 14
    np.testing.assert_allclose(np.unique(points[:, 2].round(3)), [1.0, 1.5])


def test_a_surface_one_pixel_wide_is_kept() -> None:
    depth_mm = np.full((5, 7), 2000, dtype=np.uint16)
    depth_mm[2] = [1500, 1510, 1520, 1530, 1540, 1550, 1560]
    points = projector(pinhole(), np.full(3, -10.0), np.full(3, 10.0), min_neighbors=2)(depth_mm)
    assert np.sum(points[:, 2] > 1.3) == 5


@CAMERAS
def test_a_plane_comes_back_flat_in_spite_of_the_distortion(camera: CameraModel) -> None:
    points = projector(camera)(plane_depth_mm(camera, 0.1))
    assert len(points) > 20_000
    np.testing.assert_allclose(points[:, 2], 0.1, atol=0.0006)  # half a millimetre of rounding along a slanted ray


@CAMERAS
def test_points_fall_back_into_their_pixels_and_keep_their_depth(camera: CameraModel) -> None:
    depth_mm = np.random.default_rng(0).integers(600, 2500, size=(camera.height, camera.width)).astype(np.uint16)
    points = projector(camera)(depth_mm)
    pixels = camera.project(transform_points(camera.T_camera_world, points.astype(np.float64)))
    nearest = np.rint(pixels).astype(int)
    np.testing.assert_allclose(pixels, nearest, atol=0.01)
    T_camera_world = np.linalg.inv(camera.T_world_camera)
    z_mm = 1000.0 * (points @ T_camera_world[2, :3] + T_camera_world[2, 3])
    np.testing.assert_allclose(z_mm, depth_mm[nearest[:, 1], nearest[:, 0]], atol=0.01)


@CAMERAS
def test_the_crop_keeps_exactly_the_pixels_whose_point_is_inside(camera: CameraModel) -> None:
    depth_mm = np.random.default_rng(1).integers(600, 2500, size=(camera.height, camera.width)).astype(np.uint16)
    points = projector(camera)(depth_mm)
    rays = camera.rays().reshape(-1, 3)
    everything = (rays * (depth_mm.reshape(-1, 1) / 1000.0)) @ camera.T_world_camera[:3, :3].T
    everything += camera.T_world_camera[:3, 3]
    is_border = np.ones(depth_mm.shape, dtype=bool)
    is_border[1:-1, 1:-1] = False
    inside = ~is_border.reshape(-1) & ((everything >= BOX_MIN) & (everything <= BOX_MAX)).all(axis=1)
    assert len(points) == inside.sum()
    np.testing.assert_allclose(np.sort(points[:, 1]), np.sort(everything[inside, 1]), atol=1e-6)


@CAMERAS
def test_an_image_without_measurements_gives_no_points(camera: CameraModel) -> None:
    points = projector(camera)(np.zeros((camera.height, camera.width), dtype=np.uint16))
    assert points.shape == (0, 3)


@pytest.mark.parametrize(
    "depth_mm", [np.zeros((640, 576), np.uint16), np.zeros((576, 640), np.float32), np.zeros(10, np.uint16), None]
)
def test_a_wrong_image_is_refused_with_what_would_be_valid(depth_mm: np.ndarray) -> None:
    project = projector(default_cameras()[0])
    with pytest.raises(DepthImageError, match=r"'left_camera'.*valid: shape \(576, 640\).*uint16"):
        project(depth_mm)


@CAMERAS
def test_a_small_part_that_is_measured_gives_the_points_that_the_whole_image_has_there(camera: CameraModel) -> None:
    project = projector(camera)
    whole = plane_depth_mm(camera, 0.1)
    inside = np.argwhere(whole > 0)
    row, column = inside[len(inside) // 2]
    part = np.zeros_like(whole)
    window = slice(row - 40, row + 23), slice(column - 5, column + 90)
    part[window] = whole[window]
    rest = np.where(part > 0, 0, whole).astype(np.uint16)
    points = project(part)
    assert 100 < len(points) < 0.2 * len(project(whole))
    all_points, other_points = ({tuple(point) for point in project(image).tolist()} for image in (whole, rest))
    assert {tuple(point) for point in points.tolist()} == all_points - other_points
    assert len(project(np.zeros_like(whole))) == 0
