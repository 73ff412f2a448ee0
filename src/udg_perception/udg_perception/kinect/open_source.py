"""The camera that a configuration means."""

from __future__ import annotations

from pathlib import Path

from udg_perception.kinect.device import KinectDevice
from udg_perception.kinect.femto_bolt import FemtoBolt
from udg_perception.kinect.playback import KinectPlayback
from udg_perception.kinect.source import DepthSource, KinectConfig


def open_source(config: KinectConfig, name: str) -> DepthSource:
    """Open a recording or the camera. Raises KinectError."""
    if config.playback:
        return KinectPlayback(Path(config.playback), name, loop=config.loop, infrared=config.infrared)
    return FemtoBolt(config, name) if config.model == "femto_bolt" else KinectDevice(config, name)
