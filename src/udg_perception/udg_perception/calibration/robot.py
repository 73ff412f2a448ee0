"""A camera's pose by the robot that it sees: its surface is known from the joint angles, the points must lie on it.

Point-to-plane registration against the signed distance of the robot's shapes, over several poses of both arms at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from udg_description.camera import CameraModel
from udg_description.distance import RobotDistance
from udg_description.model import RobotModel
from udg_description.transforms import rotvec_to_matrix, transform_points
from udg_perception.calibration.observations import Observation
from udg_perception.calibration.result import CameraCalibration, difference, refuse_if
from udg_perception.errors import CalibrationError

_GRADIENT_STEP_M = 1e-3
_MIN_COSINE = 0.35  # of incidence: grazing points are edges
_TETRAHEDRON = np.array([[1, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]], dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class RobotRegistrationConfig:
    """How the robot is registered, and what is good enough."""

    box_min: tuple[float, float, float] = (-0.3, -0.9, 0.05)  # only points in this box [m, world] are the robot's:
    box_max: tuple[float, float, float] = (1.1, 0.9, 1.5)  # nothing else may stand in it
    gates_m: tuple[float, ...] = (0.10, 0.06, 0.04, 0.025, 0.015, 0.015)  # points farther from the robot are skipped
    steps: int = 6  # of the optimiser for each gate
    points_per_pose: int = 800
    neighbor_step_m: float = 0.015  # neighbouring pixels of one surface differ less in depth
    min_poses: int = 6  # in which the robot is in view
    min_points_in_view: int = 50  # on the robot: fewer do not show it
    min_points_per_pose: int = 150  # on the robot, on average, of about 3000 that are looked at
    max_rms_mm: float = 8.0  # of the points' distances from the robot
    min_explained: float = 0.6  # share of the points in the box that lie on the robot
    max_halves_mm: float = 4.0  # between the results of every other pose
    max_halves_deg: float = 0.4
    max_move_m: float = 0.5  # from the pose at the start


class _Points(NamedTuple):
    """The points (N, 3) [m, camera] of one pose that one camera sees, and their rays (N, 3) of length 1."""

    q: np.ndarray
    points_camera: np.ndarray
    rays_camera: np.ndarray


class RobotRegistration:
    """Registers one camera."""

    def __init__(self, config: RobotRegistrationConfig | None = None, model: RobotModel | None = None) -> None:
        self.config = config or RobotRegistrationConfig()
        self._distance = RobotDistance(RobotModel() if model is None else model)

    def calibrate(self, observations: Sequence[Observation], camera: CameraModel, side: str) -> CameraCalibration:
        """The camera with its pose in the world; its pose so far is the start (within about 5 cm and 5 degrees).

        Raises CalibrationError with the reasons when the result is not to be trusted.
        """
        config = self.config
        seen = [observation for observation in observations if side in observation.depth_mm]
        if len(seen) < config.min_poses:
            raise CalibrationError(f"{camera.name}: {len(seen)} poses with depth; valid: at least {config.min_poses}")
        clouds = [self._points(observation, camera, side) for observation in seen]
        T = self._register(clouds, camera.T_world_camera, config.gates_m)
        sums, on_robot = self._judge(clouds, T)
        shown = [cloud for cloud, n_on in zip(clouds, on_robot, strict=True) if n_on >= config.min_points_in_view]
        parts = [self._register(half, T, config.gates_m[-2:]) for half in (shown[::2], shown[1::2])]
        apart_mm, apart_deg = difference(*parts)
        moved_mm, moved_deg = difference(T, camera.T_world_camera)
        residuals = {
            "rms_mm": sums["rms_mm"],
            "explained": sums["explained"],
            "points_per_pose": sum(n for n in on_robot if n >= config.min_points_in_view) / max(len(shown), 1),
            "poses": len(shown),
            "halves_differ_mm": apart_mm,
            "halves_differ_deg": apart_deg,
            "moved_mm": moved_mm,
            "moved_deg": moved_deg,
        }
        refuse_if(camera.name, self._reasons(residuals, len(seen)))
        return CameraCalibration(camera=camera.with_pose(T), method="robot", residuals=residuals)

    def _reasons(self, residuals: dict[str, float], n_seen: int) -> list[str]:
        config = self.config
        found = []
        if residuals["poses"] < config.min_poses:
            found.append(
                f"{residuals['poses']} of {n_seen} poses show the robot (at least {config.min_poses}): let the arms be "
                "in the view of this camera"
            )
        if residuals["points_per_pose"] < config.min_points_per_pose:
            found.append(
                f"{residuals['points_per_pose']:.0f} points a pose lie on the robot (at least "
                f"{config.min_points_per_pose}): is it in view, and the start within 5 cm and 5 degrees?"
            )
        if residuals["explained"] < config.min_explained:
            found.append(
                f"only {residuals['explained']:.0%} of what is seen above the table lies on the robot (at least "
                f"{config.min_explained:.0%}): clear the table, check which camera is which"
            )
        if not residuals["rms_mm"] <= config.max_rms_mm:
            found.append(
                f"the points lie {residuals['rms_mm']:.1f} mm (rms) off the robot (at most {config.max_rms_mm})"
            )
        if (
            residuals["halves_differ_mm"] > config.max_halves_mm
            or residuals["halves_differ_deg"] > config.max_halves_deg
        ):
            found.append(
                f"every other pose gives another result ({residuals['halves_differ_mm']:.1f} mm, "
                f"{residuals['halves_differ_deg']:.2f} deg apart): more poses, and more different ones"
            )
        if residuals["moved_mm"] > 1e3 * config.max_move_m:
            found.append(f"the result is {residuals['moved_mm']:.0f} mm away from the start")
        return found

    def _points(self, observation: Observation, camera: CameraModel, side: str) -> _Points:
        """The points that lie on surfaces and, generously, in the box."""
        config = self.config
        depth_m = 1e-3 * observation.depth_mm[side].astype(np.float64)
        if depth_m.shape != (camera.height, camera.width):
            raise CalibrationError(
                f"{camera.name}: a depth image {depth_m.shape}; valid: {(camera.height, camera.width)}"
            )
        smooth = depth_m > 0
        for axis in (0, 1):
            for shift in (-1, 1):
                smooth &= np.abs(np.roll(depth_m, shift, axis) - depth_m) < config.neighbor_step_m
        smooth[[0, -1]] = smooth[:, [0, -1]] = False
        points = (camera.rays() * depth_m[..., None])[smooth]
        world = transform_points(camera.T_world_camera, points)
        margin = config.gates_m[0]
        near = (world > np.array(config.box_min) - margin).all(axis=1)
        near &= (world < np.array(config.box_max) + margin).all(axis=1)
        points = points[near]
        return _Points(observation.q, points, points / np.linalg.norm(points, axis=1, keepdims=True))

    def _register(self, clouds: Sequence[_Points], T_start: np.ndarray, gates_m: Sequence[float]) -> np.ndarray:
        T = np.array(T_start)
        for gate_m in gates_m:
            picked = [self._pick(cloud, T, gate_m) for cloud in clouds]
            for _ in range(self.config.steps):
                T, step = self._step(picked, T, gate_m)
                if step < 1e-5:
                    break
        return T

    def _pick(self, cloud: _Points, T: np.ndarray, gate_m: float) -> _Points:
        """A part of the points, evenly taken of those that may lie on the robot at this gate."""
        world = transform_points(T, cloud.points_camera)
        inside = np.flatnonzero(self._in_box(world))
        tried = inside[:: max(1, len(inside) // (4 * self.config.points_per_pose))]
        near = tried[np.abs(self._distance(world[tried], cloud.q, 1.5 * gate_m)) < 1.4 * gate_m]
        chosen = near[:: max(1, len(near) // self.config.points_per_pose)]
        return _Points(cloud.q, cloud.points_camera[chosen], cloud.rays_camera[chosen])

    def _in_box(self, world: np.ndarray) -> np.ndarray:
        config = self.config
        return (world > np.array(config.box_min)).all(axis=1) & (world < np.array(config.box_max)).all(axis=1)

    def _step(self, clouds: Sequence[_Points], T: np.ndarray, gate_m: float) -> tuple[np.ndarray, float]:
        """One Gauss-Newton step with Tukey's weights; the new pose and the size of the step."""
        A, b = np.zeros((6, 6)), np.zeros(6)
        center = T[:3, 3] + T[:3, 2]  # a metre ahead: rotation and translation are about independent there
        for cloud in clouds:
            world = transform_points(T, cloud.points_camera)
            distance, normal = self._distance_and_normal(world, cloud.q, gate_m)
            cosine = -np.einsum("ij,ij->i", normal, cloud.rays_camera @ T[:3, :3].T)
            used = (np.abs(distance) < gate_m) & (cosine > _MIN_COSINE)
            d, n, p = distance[used], normal[used], world[used]
            weight = np.square(1.0 - np.square(d / gate_m))
            J = np.concatenate([np.cross(p - center, n), n], axis=1)
            A += (J * weight[:, None]).T @ J
            b -= J.T @ (weight * d)
        if np.trace(A) == 0.0:
            return T, 0.0
        x = np.linalg.solve(A + 1e-6 * np.trace(A) * np.eye(6), b)
        R = rotvec_to_matrix(x[:3])
        new = np.eye(4)
        new[:3, :3] = R @ T[:3, :3]
        new[:3, 3] = R @ (T[:3, 3] - center) + center + x[3:]
        return new, float(np.linalg.norm(x))

    def _distance_and_normal(self, world: np.ndarray, q: np.ndarray, gate_m: float) -> tuple[np.ndarray, np.ndarray]:
        """Signed distance (N,) [m] and its gradient (N, 3), by differences over a small tetrahedron."""
        h = _GRADIENT_STEP_M
        around = np.concatenate([world + h * corner for corner in _TETRAHEDRON])
        values = self._distance(around, q, 1.5 * gate_m + 2 * h).astype(np.float64).reshape(4, -1)
        gradient = np.einsum("kn,kd->nd", values, _TETRAHEDRON)
        length = np.linalg.norm(gradient, axis=1, keepdims=True)
        return values.mean(axis=0), gradient / np.maximum(length, 1e-12)

    def _judge(self, clouds: Sequence[_Points], T: np.ndarray) -> tuple[dict[str, float], list[int]]:
        """What is left over, and how many of each pose's points lie on the robot."""
        gate_m = self.config.gates_m[-1]
        n_points, square = 0, 0.0
        on_robot: list[int] = []
        for cloud in clouds:
            world = transform_points(T, cloud.points_camera)
            world = world[self._in_box(world)]
            world = world[:: max(1, len(world) // (4 * self.config.points_per_pose))]
            distance = self._distance(world, cloud.q, 2 * gate_m)
            on = np.abs(distance) < gate_m
            on_robot.append(int(on.sum()))
            n_points, square = n_points + len(world), square + float((distance[on] ** 2).sum())
        n_on = sum(on_robot)
        sums = {
            "rms_mm": 1e3 * float(np.sqrt(square / n_on)) if n_on else np.inf,
            "explained": n_on / n_points if n_points else 0.0,
        }
        return sums, on_robot
