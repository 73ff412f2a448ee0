"""The scene cloud: what the policy sees, from two depth images and the joint positions.

The same builder makes the policy's input in data generation, in the benchmark and in the perception node.
"""

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from udg_description.camera import CameraModel
from udg_description.cloud_labels import LABEL_LEFT, LABEL_RIGHT, LABEL_SEEN
from udg_description.layout import JOINT_NAMES, N_JOINTS
from udg_description.model import RobotModel
from udg_perception.config import SceneCloudConfig
from udg_perception.errors import CameraCountError, JointStateError
from udg_perception.imaged_robot import ImagedRobot
from udg_perception.outliers import remove_statistical_outliers, thin_evenly
from udg_perception.projection import CropProjector
from udg_perception.sampling import farthest_points
from udg_perception.self_filter import SelfFilter
from udg_perception.stopwatch import Stopwatch

__all__ = [
    "LABEL_LEFT",
    "LABEL_RIGHT",
    "LABEL_SEEN",
    "SceneCloud",
    "SceneCloudBuilder",
    "SceneCloudConfig",
    "SceneCloudStats",
]


@dataclass(frozen=True, kw_only=True)
class SceneCloudStats:
    """What happened on the way to one cloud.

    Attributes:
        counts: points after each stage: in_crop, not_robot, thinned, not_outlier, seen, imaged.
        ms: time of each stage: project, self_filter, outliers, sample, imaged, and their sum, total [ms].
    """

    counts: dict[str, int]
    ms: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class SceneCloud:
    """A cloud of fixed size.

    Attributes:
        points: (n_points, 4) float32: x, y, z [m, world] and the label: 0 = seen by the cameras (the object), 1 = left
            robot, 2 = right robot (imaged, from the joint positions). Seen points come first.
        stats: counts and times by stage.
    """

    points: NDArray[np.float32]
    stats: SceneCloudStats


class SceneCloudBuilder:
    """Makes the scene cloud.

    Args:
        config: settings.
        cameras: one model for each depth image, in the order in which `build` gets the images.
        robot_model: the whole robot (root `world`, 36 joints).
    """

    def __init__(self, config: SceneCloudConfig, cameras: Sequence[CameraModel], robot_model: RobotModel) -> None:
        self._config = config
        self._self_filter = SelfFilter(robot_model, config.self_filter_margin_m)
        self._imaged_robot = ImagedRobot(robot_model, config.n_points)
        self._set_cameras(cameras)

    def with_cameras(self, cameras: Sequence[CameraModel]) -> "SceneCloudBuilder":
        """A builder with the same settings and robot for other cameras (or other poses of them)."""
        other = copy(self)
        other._set_cameras(cameras)
        return other

    def _set_cameras(self, cameras: Sequence[CameraModel]) -> None:
        if not cameras:
            raise CameraCountError("scene cloud: no camera was given; valid: at least one")
        config = self._config
        self._camera_names = [camera.name for camera in cameras]
        self._projectors = [
            CropProjector(
                camera,
                np.array(config.crop_min),
                np.array(config.crop_max),
                neighbor_step_m=config.neighbor_step_m,
                min_neighbors=config.min_neighbors,
            )
            for camera in cameras
        ]

    def build(self, depths: Sequence[NDArray[np.uint16]], q: ArrayLike) -> SceneCloud:
        """Make the cloud of one moment.

        The same input gives the same bits. When the cameras see no object, all points are the robot's.

        Args:
            depths: one (H, W) uint16 image for each camera: distance along the optical axis [mm], 0 = not measured.
            q: (36,) joint positions of the same moment [rad].

        Returns:
            Exactly `config.n_points` points.

        Raises:
            CameraCountError: another number of images than of cameras.
            DepthImageError: an image with another shape or type than its camera's.
            JointStateError: q has another shape or is not finite.
        """
        config, watch = self._config, Stopwatch()
        q = _checked_q(q)
        if len(depths) != len(self._projectors):
            raise CameraCountError(
                f"scene cloud: {len(depths)} depth images for {len(self._projectors)} cameras; "
                f"valid: one image for each of {self._camera_names}, in this order"
            )
        in_crop = np.concatenate([project(depth) for project, depth in zip(self._projectors, depths, strict=True)])
        watch.lap("project")
        not_robot = self._self_filter(in_crop, q)
        watch.lap("self_filter")
        thinned = thin_evenly(not_robot, config.outlier_max_points)
        not_outlier = remove_statistical_outliers(thinned, config.outlier_neighbors, config.outlier_std_ratio)
        watch.lap("outliers")
        seen = farthest_points(not_outlier, config.n_seen_max)
        watch.lap("sample")
        points = np.empty((config.n_points, 4), dtype=np.float32)
        points[: len(seen), :3] = seen
        points[: len(seen), 3] = LABEL_SEEN
        points[len(seen) :] = self._imaged_robot.labelled_points(q, config.n_points - len(seen))
        watch.lap("imaged")
        counts = {
            "in_crop": len(in_crop),
            "not_robot": len(not_robot),
            "thinned": len(thinned),
            "not_outlier": len(not_outlier),
            "seen": len(seen),
            "imaged": config.n_points - len(seen),
        }
        ms = watch.ms | {"total": sum(watch.ms.values())}
        return SceneCloud(points=points, stats=SceneCloudStats(counts=counts, ms=ms))


def _checked_q(q: ArrayLike) -> NDArray[np.float64]:
    q = np.asarray(q, dtype=np.float64)
    if q.shape != (N_JOINTS,):
        raise JointStateError(f"scene cloud: joint positions have shape {q.shape}; valid: ({N_JOINTS},)")
    if not np.isfinite(q).all():
        first = int(np.flatnonzero(~np.isfinite(q))[0])
        raise JointStateError(
            f"scene cloud: joint position {first} ('{JOINT_NAMES[first]}') is {q[first]}; valid: finite radians"
        )
    return q
