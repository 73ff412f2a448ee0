"""Depth cameras: OpenCV's rational and fisheye lens models, rays of pixels, the two default cameras, YAML."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Literal, get_args

import numpy as np
import yaml

from udg_description.errors import CameraError
from udg_description.frames import OBJECT_AREA
from udg_description.transforms import inverse, make_transform

# k1 k2 p1 p2 k3 k4 k5 k6, of the size that Azure Kinect depth cameras are calibrated to in their narrow mode.
DEFAULT_DISTORTION = (0.45, 0.08, 2.0e-5, -4.0e-5, 0.004, 0.78, 0.18, 0.022)
Lens = Literal["rational", "equidistant"]
_NEWTON_STEPS = 20
_WIDEST_RAD = 1.5  # from the optical axis, of rays with z = 1
_NEWTON_TOLERANCE = 1e-12


@dataclasses.dataclass(frozen=True, kw_only=True, eq=False)
class CameraModel:
    """A depth camera with one of OpenCV's lens models. Its frame is optical: z forward, x right, y down.

    fx, fy, cx, cy [px] (pixel centres at integers), T_world_camera (4, 4). Distortion of the `lens` "rational":
    (k1, k2, p1, p2, k3, k4, k5, k6); "equidistant" (fisheye): (k1, k2, k3, k4, 0, 0, 0, 0).
    """

    name: str
    width: int
    height: int
    fx: float
    fy: float
    cx: float
    cy: float
    distortion: tuple[float, ...]
    T_world_camera: np.ndarray
    lens: Lens = "rational"

    def __post_init__(self) -> None:
        object.__setattr__(self, "distortion", tuple(float(value) for value in self.distortion))
        pose = np.array(self.T_world_camera, dtype=float)
        pose.flags.writeable = False
        object.__setattr__(self, "T_world_camera", pose)
        if self.width < 1 or self.height < 1:
            raise CameraError(f"camera {self.name!r}: size {self.width}x{self.height}, expected at least 1x1")
        if not (self.fx > 0 and self.fy > 0):
            raise CameraError(f"camera {self.name!r}: focal lengths ({self.fx}, {self.fy}), expected both > 0")
        for name in ("fx", "fy", "cx", "cy", "distortion"):
            if not np.isfinite(getattr(self, name)).all():
                raise CameraError(f"camera {self.name!r}: {name} is {getattr(self, name)}, expected finite numbers")
        if len(self.distortion) != 8:
            raise CameraError(
                f"camera {self.name!r}: {len(self.distortion)} distortion coefficients, "
                "expected 8 (k1 k2 p1 p2 k3 k4 k5 k6)"
            )
        if self.lens not in get_args(Lens):
            raise CameraError(f"camera {self.name!r}: lens {self.lens!r}, expected {' or '.join(get_args(Lens))}")
        if pose.shape != (4, 4) or not _is_rigid(pose):
            raise CameraError(f"camera {self.name!r}: T_world_camera is not a rigid transform (4, 4)")

    @property
    def short_name(self) -> str:
        """`short_name` of its name."""
        return short_name(self.name)

    @property
    def K(self) -> np.ndarray:
        """Camera matrix (3, 3) [px]."""
        return np.array([[self.fx, 0.0, self.cx], [0.0, self.fy, self.cy], [0.0, 0.0, 1.0]])

    @cached_property
    def T_camera_world(self) -> np.ndarray:
        """Inverse of T_world_camera (4, 4)."""
        return inverse(self.T_world_camera)

    @cached_property
    def _rays(self) -> np.ndarray:
        u, v = np.meshgrid(np.arange(self.width, dtype=float), np.arange(self.height, dtype=float))
        rays = self.unproject(np.stack([u, v], axis=-1))
        rays.flags.writeable = False
        return rays

    def rays(self) -> np.ndarray:
        """Ray (H, W, 3) of each pixel's centre in the camera frame, z = 1, distortion removed; cached, read-only."""
        return self._rays

    def unproject(self, pixels: np.ndarray) -> np.ndarray:
        """Rays (..., 3) with z = 1 of pixels (..., 2) [px], by Newton's method on the lens model.

        NaN where a fisheye's pixel sees nothing in front of it.
        """
        pixels = np.asarray(pixels, dtype=float)
        target = np.stack([(pixels[..., 0] - self.cx) / self.fx, (pixels[..., 1] - self.cy) / self.fy], axis=-1)
        if self.lens == "equidistant":
            return np.concatenate([_unbent(target, self.distortion), np.ones((*target.shape[:-1], 1))], axis=-1)
        xy = target.copy()
        for _ in range(_NEWTON_STEPS):
            distorted, jacobian = self._distort(xy)
            error = distorted - target
            (a, b), (c, d) = np.moveaxis(jacobian, (-2, -1), (0, 1))
            determinant = a * d - b * c
            step_x = (d * error[..., 0] - b * error[..., 1]) / determinant
            step_y = (a * error[..., 1] - c * error[..., 0]) / determinant
            xy = xy - np.stack([step_x, step_y], axis=-1)
            if np.max(np.abs(error), initial=0.0) < _NEWTON_TOLERANCE:
                break
        return np.concatenate([xy, np.ones(xy.shape[:-1] + (1,))], axis=-1)

    def project(self, points_camera: np.ndarray) -> np.ndarray:
        """Pixels (..., 2) [px] of points (..., 3) [m] in the camera frame; NaN for points not in front (z <= 0)."""
        points = np.asarray(points_camera, dtype=float)
        z = np.where(points[..., 2:] > 0, points[..., 2:], np.nan)
        distorted, _ = self._distort(points[..., :2] / z)
        return distorted * np.array([self.fx, self.fy]) + np.array([self.cx, self.cy])

    @property
    def intrinsics(self) -> np.ndarray:
        """(15,): width, height, fx, fy, cx, cy [px], eight coefficients of the distortion, number of the lens model."""
        size = self.width, self.height, self.fx, self.fy, self.cx, self.cy
        return np.array([*size, *self.distortion, get_args(Lens).index(self.lens)], dtype=np.float64)

    def with_intrinsics(self, values: np.ndarray) -> CameraModel:
        """The same camera at the same place with `intrinsics` (15,) of another."""
        width, height, fx, fy, cx, cy, *distortion, lens = values.tolist()
        size = {"width": int(width), "height": int(height), "fx": fx, "fy": fy, "cx": cx, "cy": cy}
        return dataclasses.replace(self, **size, distortion=tuple(distortion), lens=get_args(Lens)[int(lens)])

    def with_pose(self, T_world_camera: np.ndarray) -> CameraModel:
        """The same camera elsewhere; it shares the rays of its pixels."""
        moved = dataclasses.replace(self, T_world_camera=T_world_camera)
        if "_rays" in self.__dict__:
            moved.__dict__["_rays"] = self._rays
        return moved

    def _distort(self, xy: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Distorted normalised coordinates (..., 2) and their Jacobian (..., 2, 2)."""
        if self.lens == "equidistant":
            return _fisheye(xy, self.distortion)
        k1, k2, p1, p2, k3, k4, k5, k6 = self.distortion
        x, y = xy[..., 0], xy[..., 1]
        r2 = x * x + y * y
        numerator = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
        denominator = 1 + r2 * (k4 + r2 * (k5 + r2 * k6))
        radial = numerator / denominator
        d_numerator = k1 + r2 * (2 * k2 + 3 * k3 * r2)
        d_denominator = k4 + r2 * (2 * k5 + 3 * k6 * r2)
        d_radial = (d_numerator - radial * d_denominator) / denominator  # d radial / d r2
        out_x = x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x)
        out_y = y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y
        cross = 2 * x * y * d_radial + 2 * p1 * x + 2 * p2 * y
        dxx = radial + 2 * x * x * d_radial + 2 * p1 * y + 6 * p2 * x
        dyy = radial + 2 * y * y * d_radial + 6 * p1 * y + 2 * p2 * x
        jacobian = np.stack([np.stack([dxx, cross], axis=-1), np.stack([cross, dyy], axis=-1)], axis=-2)
        return np.stack([out_x, out_y], axis=-1), jacobian


def _fisheye(xy: np.ndarray, distortion: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """The same of OpenCV's fisheye: the radius r becomes `_bent` of atan(r)."""
    r = np.maximum(np.linalg.norm(xy, axis=-1), 1e-9)
    bent, slope = _bent(np.arctan(r), distortion)
    scale, d_bent = bent / r, slope / (1.0 + np.square(r))
    outer = xy[..., :, None] * xy[..., None, :] / np.square(r)[..., None, None]
    jacobian = scale[..., None, None] * np.eye(2) + (d_bent - scale)[..., None, None] * outer
    return xy * scale[..., None], jacobian


def _bent(theta: np.ndarray, distortion: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """theta (1 + k1 theta^2 + ... + k4 theta^8) of angles [rad] from the optical axis, and its derivative."""
    k1, k2, k3, k4 = distortion[:4]
    t2 = np.square(theta)
    bent = theta * (1.0 + t2 * (k1 + t2 * (k2 + t2 * (k3 + t2 * k4))))
    return bent, 1.0 + t2 * (3.0 * k1 + t2 * (5.0 * k2 + t2 * (7.0 * k3 + t2 * 9.0 * k4)))


def _unbent(target: np.ndarray, distortion: Sequence[float]) -> np.ndarray:
    """Undistorted normalised coordinates (..., 2) of a fisheye's; NaN where there are none in front of it."""
    radius = np.maximum(np.linalg.norm(target, axis=-1), 1e-9)
    theta = np.minimum(radius, _WIDEST_RAD)
    for _ in range(_NEWTON_STEPS):
        bent, slope = _bent(theta, distortion)
        theta = np.clip(theta - (bent - radius) / np.where(slope > 0.0, slope, np.inf), 0.0, _WIDEST_RAD)
    bent, slope = _bent(theta, distortion)
    seen = (np.abs(bent - radius) < 1e-9) & (slope > 0.0)
    return np.where(seen[..., None], target * (np.tan(theta) / radius)[..., None], np.nan)


def _is_rigid(T: np.ndarray) -> bool:
    rotation = T[:3, :3]
    orthonormal = np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-6) and np.linalg.det(rotation) > 0
    return bool(np.all(np.isfinite(T)) and orthonormal and np.allclose(T[3], [0.0, 0.0, 0.0, 1.0], atol=1e-9))


def look_at(position: np.ndarray, target: np.ndarray) -> np.ndarray:
    """T_world_camera (4, 4) at position (3,) [m], optical axis towards target (3,) [m], image x axis level."""
    position = np.asarray(position, dtype=float)
    z = np.asarray(target, dtype=float) - position
    z /= np.linalg.norm(z)
    x = np.cross(z, [0.0, 0.0, 1.0])
    if np.linalg.norm(x) < 1e-9:
        raise CameraError("look_at: the view is vertical, the image's x axis cannot be level")
    x /= np.linalg.norm(x)
    return make_transform(np.stack([x, np.cross(z, x), z], axis=1), position)


def short_name(camera: str) -> str:
    """`left` of a camera named `left_camera`: in names of frames, recordings and observations."""
    return camera.removesuffix("_camera")


def cameras_of(path: Path | str | None) -> tuple[CameraModel, ...]:
    """The cameras of a file, in its order; of none ("" or None) the default ones. Raises CameraError."""
    cameras = read_cameras(Path(path)) if path else default_cameras()
    if not cameras:
        raise CameraError(f"camera file {path} has no camera; valid: one or more")
    return cameras


def default_cameras() -> tuple[CameraModel, CameraModel]:
    """(left, right): two Azure Kinect depth cameras, NFOV_UNBINNED 640x576, that look at the object area's centre."""
    target = OBJECT_AREA["small_medium"].center
    left, right = (
        CameraModel(
            name=f"{side}_camera",
            width=640,
            height=576,
            fx=504.5,
            fy=504.5,
            cx=319.5,
            cy=331.5,
            distortion=DEFAULT_DISTORTION,
            T_world_camera=look_at(np.array([1.2, y, 0.6]), target),
        )
        for side, y in (("left", 1.2), ("right", -1.2))
    )
    return left, right


DEFAULT_CAMERAS = tuple(camera.name for camera in default_cameras())
"""Names of the default cameras."""


def cameras_yaml(cameras: Sequence[CameraModel]) -> str:
    """The text of a camera file."""
    entries = {}
    for camera in cameras:
        names = [field.name for field in dataclasses.fields(camera) if field.name not in ("name", "lens")]
        entry = {name: getattr(camera, name) for name in names}
        entry["distortion"] = list(camera.distortion)
        entry["T_world_camera"] = (camera.T_world_camera + 0.0).tolist()  # + 0.0: no "-0.0"
        if camera.lens != "rational":
            entry["lens"] = camera.lens
        entries[camera.name] = entry
    return (
        "# Depth cameras. fx fy cx cy [px]; distortion k1 k2 p1 p2 k3 k4 k5 k6 (OpenCV rational);\n"
        "# T_world_camera: optical frame (z forward, x right, y down) in the world [m].\n"
        + yaml.safe_dump({"cameras": entries}, sort_keys=False, default_flow_style=None, width=120)
    )


def read_cameras(path: Path) -> tuple[CameraModel, ...]:
    """Read cameras from YAML, in the file's order. Raises CameraError naming the file and what is wrong in it."""
    try:
        document = yaml.safe_load(Path(path).read_text())
    except OSError as error:
        raise CameraError(f"cannot read camera file {path}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise CameraError(f"camera file {path} is not valid YAML: {error}") from None
    if not isinstance(document, dict) or not isinstance(document.get("cameras"), dict):
        raise CameraError(f"camera file {path} has no table 'cameras' of name -> camera")
    return tuple(_camera_from_yaml(path, name, entry) for name, entry in document["cameras"].items())


def _camera_from_yaml(path: Path, name: str, entry: object) -> CameraModel:
    expected = {field.name for field in dataclasses.fields(CameraModel)} - {"name", "lens"}
    if not isinstance(entry, dict) or set(entry) - {"lens"} != expected:
        got = sorted(entry) if isinstance(entry, dict) else entry
        raise CameraError(f"{path}: camera {name!r} has {got}, expected {sorted(expected)}")
    try:
        fx, fy, cx, cy = (float(entry[key]) for key in ("fx", "fy", "cx", "cy"))
        return CameraModel(
            name=name,
            width=int(entry["width"]),
            height=int(entry["height"]),
            distortion=tuple(float(value) for value in entry["distortion"]),
            T_world_camera=np.asarray(entry["T_world_camera"], dtype=float),
            lens=entry.get("lens", "rational"),
            fx=fx,
            fy=fy,
            cx=cx,
            cy=cy,
        )
    except (TypeError, ValueError) as error:
        raise CameraError(f"{path}: camera {name!r}: {error}") from None
