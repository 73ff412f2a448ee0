"""The simulated cell of trials: world, cameras, cloud, safety filter and objects, expensive to build and reused."""

from __future__ import annotations

import numpy as np

from udg_control.offline import OfflineFilter
from udg_control.safety import SafetyConfig
from udg_description.camera import default_cameras
from udg_description.model import RobotModel
from udg_perception.scene_cloud import SceneCloudBuilder, SceneCloudConfig
from udg_sim.cameras.depth import DepthRig, KinectNoise
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.physics.world import World, WorldConfig


class Cell:
    """What trials take place in."""

    def __init__(self, safety: SafetyConfig | None = None) -> None:
        config, cameras = SceneCloudConfig(), default_cameras()
        self._box = (config.crop_min, config.crop_max)
        self._builder = SceneCloudBuilder(config, cameras, RobotModel())
        self.library = ObjectLibrary()
        self.world = World(WorldConfig())
        self.rig = DepthRig(cameras, noise=KinectNoise())
        self.gate = OfflineFilter(safety)
        self.clouds = 0
        """How many clouds were made."""

    def cloud(self, target: ObjectModel, *, whole_images: bool) -> np.ndarray:
        """The scene cloud (N, 4) of this moment, with the camera noise of one more frame."""
        world = self.world
        self.clouds += 1
        objects = [(target, world.T_world_object)]
        depths = self.rig.render(world.q, objects, box=self._box, near_objects=not whole_images)
        return self._builder.build(depths, world.q).points
