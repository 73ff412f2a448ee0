import dataclasses
from pathlib import Path

import numpy as np
import pytest

from udg_description.camera import CameraModel, cameras_yaml, default_cameras, look_at, read_cameras
from udg_description.errors import CameraError
from udg_description.frames import OBJECT_AREA
from udg_description.transforms import transform_points

REPOSITORY = Path(__file__).resolve().parents[3]


def simple_camera(**changes: object) -> CameraModel:
    values = dict(
        name="test",
        width=64,
        height=48,
        fx=50.0,
        fy=60.0,
        cx=31.5,
        cy=23.5,
        distortion=(0.0,) * 8,
        T_world_camera=np.eye(4),
    )
    return CameraModel(**(values | changes))


def test_without_distortion_the_camera_is_a_pinhole() -> None:
    camera = simple_camera()
    np.testing.assert_allclose(camera.project(np.array([[0.2, -0.1, 2.0]])), [[31.5 + 5.0, 23.5 - 3.0]])
    np.testing.assert_allclose(camera.rays()[3, 7], [(7 - 31.5) / 50, (3 - 23.5) / 60, 1.0])


def test_distortion_follows_opencvs_rational_model() -> None:
    k1, k2, p1, p2, k3, k4, k5, k6 = coefficients = (0.3, 0.05, 0.01, -0.02, 0.004, 0.5, 0.1, 0.02)
    camera = simple_camera(distortion=coefficients)
    x, y = 0.3, -0.2
    r2 = x * x + y * y
    radial = (1 + k1 * r2 + k2 * r2**2 + k3 * r2**3) / (1 + k4 * r2 + k5 * r2**2 + k6 * r2**3)
    x_distorted = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
    y_distorted = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
    expected = [50 * x_distorted + 31.5, 60 * y_distorted + 23.5]
    np.testing.assert_allclose(camera.project(np.array([x, y, 1.0]) * 0.7), expected, atol=1e-12)


@pytest.mark.parametrize("index", [0, 1])
def test_rays_project_back_to_their_pixels_also_in_the_corners(index: int) -> None:
    camera = default_cameras()[index]
    rays = camera.rays()
    assert rays.shape == (576, 640, 3) and np.all(rays[..., 2] == 1.0)
    pixels = camera.project(rays * 1.7)
    u, v = np.meshgrid(np.arange(640), np.arange(576))
    assert np.abs(pixels - np.stack([u, v], axis=-1)).max() < 1e-3


def test_rays_are_cached_and_read_only() -> None:
    camera = simple_camera()
    assert camera.rays() is camera.rays()
    with pytest.raises(ValueError):
        camera.rays()[0, 0, 0] = 1.0


def test_points_behind_the_camera_have_no_pixel() -> None:
    assert np.all(np.isnan(simple_camera().project(np.array([[0.1, 0.1, -1.0], [0.0, 0.0, 0.0]]))))


def test_default_cameras_mirror_each_other_and_see_the_whole_object_area() -> None:
    left, right = default_cameras()
    np.testing.assert_allclose(left.T_world_camera[:3, 3], [1.2, 1.2, 0.6])
    np.testing.assert_allclose(right.T_world_camera[:3, 3], [1.2, -1.2, 0.6])
    area = OBJECT_AREA["small_medium"]
    x, y, z = np.meshgrid([area.x_min, area.x_max], [area.y_min, area.y_max], [0.0, 0.3])
    corners = np.stack([x, y, z], axis=-1).reshape(-1, 3)
    for camera in (left, right):
        pixels = camera.project(transform_points(camera.T_camera_world, corners))
        assert np.all((pixels > 10) & (pixels < [630, 566]))
        target = camera.project(transform_points(camera.T_camera_world, area.center[None]))[0]
        np.testing.assert_allclose(target, [camera.cx, camera.cy], atol=1e-6)


def test_look_at_keeps_the_horizon_level_and_y_down() -> None:
    T = look_at(np.array([1.0, 2.0, 3.0]), np.zeros(3))
    assert T[2, 0] == pytest.approx(0.0) and T[2, 1] < 0
    with pytest.raises(CameraError, match="vertical"):
        look_at(np.array([0.0, 0.0, 1.0]), np.zeros(3))


def test_cameras_come_back_from_yaml(tmp_path: Path) -> None:
    cameras = default_cameras()
    (tmp_path / "cameras.yaml").write_text(cameras_yaml(cameras))
    for camera, read in zip(cameras, read_cameras(tmp_path / "cameras.yaml"), strict=True):
        for field in dataclasses.fields(CameraModel):
            np.testing.assert_array_equal(getattr(read, field.name), getattr(camera, field.name))
    assert [path.name for path in tmp_path.iterdir()] == ["cameras.yaml"]


def test_the_shipped_camera_file_holds_the_default_cameras() -> None:
    path = REPOSITORY / "config" / "cameras.yaml"
    if not path.exists():
        pytest.skip("config/cameras.yaml is not beside this checkout of the package")
    for camera, read in zip(default_cameras(), read_cameras(path), strict=True):
        assert (read.name, read.distortion, read.fx) == (camera.name, camera.distortion, camera.fx)
        np.testing.assert_allclose(read.T_world_camera, camera.T_world_camera, atol=1e-12)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"distortion": (0.0,) * 5}, "5 distortion coefficients"),
        ({"fx": -1.0}, "focal lengths"),
        ({"fy": float("nan")}, "focal lengths"),
        ({"width": 0}, "size 0x48"),
        ({"T_world_camera": np.diag([1.0, 1.0, -1.0, 1.0])}, "not a rigid transform"),
        ({"T_world_camera": np.eye(3)}, "not a rigid transform"),
    ],
)
def test_a_bad_parameter_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(CameraError, match=message):
        simple_camera(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "not valid YAML"),
        ("left: 3", "no table 'cameras'"),
        ("cameras: {left_camera: {width: 3}}", "left_camera"),
    ],
)
def test_a_bad_camera_file_is_one_clear_error(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "cameras.yaml"
    path.write_text(text)
    with pytest.raises(CameraError, match=message):
        read_cameras(path)
    with pytest.raises(CameraError, match="cannot read"):
        read_cameras(tmp_path / "absent.yaml")


def test_a_fisheye_sees_by_the_angle_and_sees_back_what_it_projects(tmp_path: Path) -> None:
    camera = dataclasses.replace(
        default_cameras()[0], fx=250.0, fy=250.0, cx=319.5, cy=287.5, lens="equidistant", distortion=(0.0,) * 8
    )
    angle = np.linspace(0.0, 1.1, 12)
    points = np.stack([np.sin(angle), np.zeros(12), np.cos(angle)], axis=-1)
    np.testing.assert_allclose(camera.project(points)[:, 0], 319.5 + 250.0 * angle, atol=1e-9)  # r = f theta
    bent = dataclasses.replace(camera, distortion=(-0.03, 0.004, -0.001, 0.0002, 0.0, 0.0, 0.0, 0.0))
    rays = bent.unproject(bent.project(points))
    np.testing.assert_allclose(rays, points / points[:, 2:], atol=1e-7)
    assert np.isnan(camera.unproject(np.array([319.5 + 250.0 * 1.6, 287.5]))[:2]).all()  # behind it
    (tmp_path / "cameras.yaml").write_text(cameras_yaml([bent]))
    (read,) = read_cameras(tmp_path / "cameras.yaml")
    assert read.lens == "equidistant" and read.distortion == bent.distortion
    with pytest.raises(CameraError, match="lens 'wide', expected rational or equidistant"):
        dataclasses.replace(camera, lens="wide")  # type: ignore[arg-type]
