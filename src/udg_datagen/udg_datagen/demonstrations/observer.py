"""Depth cameras and the clouds of an episode made from them."""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy

import numpy as np

from udg_datagen.demonstrations.stopwatch import Stopwatch
from udg_description.camera import CameraModel
from udg_description.model import RobotModel
from udg_perception.scene_cloud import SceneCloudBuilder, SceneCloudConfig
from udg_sim.cameras.depth import DepthRig, KinectNoise
from udg_sim.objects.library import ObjectModel


class Observer:
    """Depth cameras at fixed places and the scene cloud made from them."""

    def __init__(self, cameras: Sequence[CameraModel], config: SceneCloudConfig, model: RobotModel) -> None:
        self.cameras = tuple(cameras)
        self._rig = DepthRig(cameras, noise=KinectNoise())
        self._builder = SceneCloudBuilder(config, cameras, model)
        self._box = (config.crop_min, config.crop_max)

    def with_cameras(self, cameras: Sequence[CameraModel]) -> Observer:
        """The same for other poses of the cameras, quickly."""
        other = copy(self)
        other.cameras = tuple(cameras)
        other._rig, other._builder = self._rig.with_cameras(cameras), self._builder.with_cameras(cameras)
        return other

    def observe(
        self,
        q: np.ndarray,
        Ts_world_object: np.ndarray,
        target: ObjectModel,
        seed: int,
        watch: Stopwatch,
        whole_images: bool = True,
    ) -> np.ndarray:
        """Scene clouds (T, N, 4) of an episode: x, y, z [m, world], label. The seed is that of the depth noise.

        q (T, 36) [rad] and the object's poses (T, 4, 4) are float64 of what a float32 holds, as an episode stores it.

        Without whole images only what is near the object is rendered: the same clouds, several times faster, but
        for the about one stray point a cloud that the noise on the robot's surface leaves.
        """
        self._rig.reset(seed)
        return np.stack(
            [
                self.look(posture, T_world_object, target, watch, whole_images)
                for posture, T_world_object in zip(q, Ts_world_object, strict=True)
            ]
        )

    def reset(self, seed: int) -> None:
        """Restart the noise of the depth images."""
        self._rig.reset(seed)

    def look(
        self, q: np.ndarray, T_world_object: np.ndarray, target: ObjectModel, watch: Stopwatch, whole_images: bool
    ) -> np.ndarray:
        """The scene cloud (N, 4) of one moment."""
        with watch.time("depth"):
            depths = self._rig.render(q, [(target, T_world_object)], box=self._box, near_objects=not whole_images)
        with watch.time("cloud"):
            return self._builder.build(depths, q).points
