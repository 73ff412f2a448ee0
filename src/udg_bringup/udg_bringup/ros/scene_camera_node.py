"""Stand-in for the cameras: depth images of the simulated scene around the measured joints.

No camera and no physics are behind it: an object that rests, the table, and the robot as it is measured.
"""

from __future__ import annotations

import sys
import time
from dataclasses import dataclass

import numpy as np
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # its place in Humble and Jazzy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState

from udg_description.camera import cameras_of
from udg_description.errors import UdgError
from udg_description.ros import convert, topics
from udg_description.ros.diagnostics import Diagnostics, Status
from udg_description.ros.one_publisher import subscribe_one
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_description.settings import setting
from udg_sim.cameras.depth import DepthRig
from udg_sim.cameras.noise import KinectNoise
from udg_sim.objects.library import ObjectLibrary
from udg_sim.ros.camera_output import CameraOutput
from udg_sim.trials.trial import sample_placement


@dataclass(frozen=True, kw_only=True)
class SceneCameraConfig:
    """What the stand-in shows."""

    object: str = setting("soda_can", "library id or path.obj@0.1; empty: none")
    seed: int = setting(0, "seed of the placement and the noise", 0, 2**31)
    noise: bool = setting(True, "Kinect-like noise on the depth")
    rate_hz: float = setting(10.0, "images a second", 1.0, 30.0)
    camera_config: str = setting("", "file of the cameras; empty: the default cameras")


class SceneCameraNode(Node):
    """Publishes the images of all cameras, stamped with the joint state that they show."""

    def __init__(self, *, context: Context | None = None, parameter_overrides: list[Parameter] | None = None) -> None:
        super().__init__("scene_cameras", context=context, parameter_overrides=parameter_overrides)
        self.config = config = declare(self, SceneCameraConfig)
        refuse_unknown(self)
        cameras = cameras_of(config.camera_config)
        self._rig = DepthRig(cameras, noise=KinectNoise() if config.noise else None, seed=config.seed)
        self._objects = []
        if config.object:
            model = ObjectLibrary().get(config.object)
            self._objects.append((model, sample_placement(model, np.random.default_rng(config.seed))))
        self._out = CameraOutput(self, cameras, lockstep=False)
        self._q: tuple[int, np.ndarray] | None = None  # stamp [ns] and angles that no image was made of yet
        self._render_ms = 0.0
        self._sent = 0
        subscribe_one(self, topics.JOINT_STATES, self._on_state)
        self.create_timer(1.0 / config.rate_hz, self._render, clock=Clock(clock_type=ClockType.STEADY_TIME))
        diagnostics = Diagnostics(self)
        self._monitor = diagnostics.watch(topics.JOINT_STATES, max_age_s=1.0)
        diagnostics.add("images", self._status)

    def _on_state(self, message: JointState) -> None:
        self._monitor.tick()
        try:
            self._q = convert.stamp_to_ns(message.header.stamp), convert.joint_state_to_finite_q(message)
        except UdgError as error:
            self._monitor.reject(error)
            self.get_logger().error(f"{topics.JOINT_STATES.name}: {error}", throttle_duration_sec=5.0)

    def _render(self) -> None:
        if self._q is None:
            return
        (stamp_ns, q), self._q = self._q, None
        began_s = time.monotonic()
        depths_mm = self._rig.render(q, self._objects)
        self._render_ms = 1e3 * (time.monotonic() - began_s)
        self._out.publish(depths_mm, stamp_ns)
        self._sent += 1

    def _status(self) -> Status:
        return Status(
            message="simulated scene, no camera", values={"render_ms": f"{self._render_ms:.0f}", "images": self._sent}
        )


def main() -> None:
    """Run the stand-in for the cameras."""
    sys.exit(run_node(SceneCameraNode))


if __name__ == "__main__":
    main()
