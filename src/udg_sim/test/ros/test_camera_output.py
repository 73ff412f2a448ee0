"""As many cameras as there are publish, each by its own name and in its own frame."""

from __future__ import annotations

import dataclasses
import os

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs rclpy")

from rclpy.node import Node  # noqa: E402
from sensor_msgs.msg import Image  # noqa: E402

from udg_description.camera import default_cameras  # noqa: E402
from udg_description.errors import CameraError  # noqa: E402
from udg_description.ros import topics  # noqa: E402
from udg_description.ros.spin import background_spin  # noqa: E402
from udg_description.waiting import wait_until  # noqa: E402
from udg_sim.ros.camera_output import CameraOutput  # noqa: E402

pytestmark = pytest.mark.ros
LEFT, RIGHT = default_cameras()


@pytest.mark.parametrize("names", [("right_camera",), ("left_camera", "right_camera", "top")], ids=["one", "three"])
def test_images_come_on_the_topics_of_their_cameras(names: tuple[str, ...]) -> None:
    rclpy.init(domain_id=20 + os.getpid() % 80)
    try:
        node = Node("cameras")
        out = CameraOutput(node, [dataclasses.replace(LEFT, name=name) for name in names], lockstep=True)
        images: dict[str, Image] = {}
        for name in names:
            topics.subscribe(
                node, topics.depth_image(name), lambda message, name=name: images.update({name: message}), lockstep=True
            )
        with background_spin(node):
            wait_until(lambda: out.listeners == len(names), 20.0, "subscriptions")
            out.publish([np.full((576, 640), 100 + k, dtype=np.uint16) for k, _ in enumerate(names)], 5)
            wait_until(lambda: len(images) == len(names), 20.0, "images")
        node.destroy_node()
    finally:
        rclpy.shutdown()
    for k, name in enumerate(names):
        assert images[name].header.frame_id == f"{name.removesuffix('_camera')}_depth_camera_link"
        assert np.frombuffer(images[name].data, dtype=np.uint16)[0] == 100 + k


def test_a_name_that_no_topic_can_have_is_refused() -> None:
    with pytest.raises(CameraError, match="camera 'my camera': topics are named by it; valid: letters, digits and _"):
        topics.depth_image("my camera")
