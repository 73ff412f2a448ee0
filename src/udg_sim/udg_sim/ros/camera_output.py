"""The simulated cameras' topics."""

from __future__ import annotations

import time
from collections.abc import Sequence

import numpy as np
from rclpy.node import Node

from udg_description.camera import CameraModel
from udg_description.frame_tree import camera_frame
from udg_description.ros import convert, topics


class CameraOutput:
    """Publishes depth images and camera_info of all cameras."""

    def __init__(self, node: Node, cameras: Sequence[CameraModel], *, lockstep: bool) -> None:
        self._cameras = tuple(cameras)
        self._images = [topics.publish(node, topics.depth_image(c.name), lockstep=lockstep) for c in self._cameras]
        self._infos = [topics.publish(node, topics.camera_info(c.name), lockstep=lockstep) for c in self._cameras]

    @property
    def listeners(self) -> int:
        """Subscriptions that the publishers know of."""
        return sum(out.get_subscription_count() for out in (*self._images, *self._infos))

    def publish(self, depths_mm: Sequence[np.ndarray], stamp_ns: int) -> float:
        """Send the images (H, W) uint16 [mm] of one moment; return when (monotonic clock [s]) the first one left."""
        messages = []
        for camera, depth_mm in zip(self._cameras, depths_mm, strict=True):
            frame_id = camera_frame(camera)
            image = convert.depth_to_image(depth_mm, stamp_ns, frame_id)
            messages.append((image, convert.camera_to_info(camera, stamp_ns, frame_id)))
        sent_s = time.monotonic()
        for (image, info), image_out, info_out in zip(messages, self._images, self._infos, strict=True):
            info_out.publish(info)
            image_out.publish(image)
        return sent_s
