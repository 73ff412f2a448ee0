"""The camera's node: topics, stamps, what it says when the camera goes."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")
pytest.importorskip("pyk4a", reason="needs pyk4a-bundle")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.context import Context  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.lifecycle import TransitionCallbackReturn  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import CameraInfo, Image  # noqa: E402

from udg_description.camera import default_cameras  # noqa: E402
from udg_description.ros import convert, topics  # noqa: E402
from udg_perception.errors import KinectError  # noqa: E402
from udg_perception.kinect.recording import DepthRecording  # noqa: E402
from udg_perception.kinect.source import DepthFrame, KinectConfig  # noqa: E402
from udg_perception.ros.kinect_node import KinectNode  # noqa: E402

pytestmark = pytest.mark.ros
RIGHT = default_cameras()[1]
DEADLINE_S = 20.0


class Graph:
    """A camera's node and a listener in a ROS domain of their own."""

    def __init__(self, node: Callable[[Context, list[Parameter]], KinectNode], **parameters: object) -> None:
        self.context = Context()
        rclpy.init(context=self.context, domain_id=20 + (os.getpid() + 7) % 80)
        self.listener = Node("listener", context=self.context)
        self.images: list[Image] = []
        self.infos: list[CameraInfo] = []
        self.status = DiagnosticStatus()
        topics.subscribe(self.listener, topics.depth_image("right_camera"), self.images.append)
        topics.subscribe(self.listener, topics.camera_info("right_camera"), self.infos.append)
        topics.subscribe(self.listener, topics.DIAGNOSTICS, self._on_diagnostics)
        given = {"camera": "right_camera", **parameters}
        self.node = node(self.context, [Parameter(name, value=value) for name, value in given.items()])
        self._executor = SingleThreadedExecutor(context=self.context)
        self._executor.add_node(self.listener)
        self._executor.add_node(self.node)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.status = message.status[0]

    def spin_until(self, done: Callable[[], bool]) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not done():
            assert time.monotonic() < deadline_s, self.status
            self._executor.spin_once(timeout_sec=0.05)

    def destroy(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.listener.destroy_node()
        self.context.try_shutdown()


def real_node(context: Context, parameters: list[Parameter]) -> KinectNode:
    return KinectNode(context=context, parameter_overrides=parameters)


def test_a_recording_is_published_as_a_camera(tmp_path: Path) -> None:
    path = tmp_path / "right.mkv"
    taken = np.random.default_rng(0).integers(0, 4000, (2, RIGHT.height, RIGHT.width)).astype(np.uint16)
    with DepthRecording(path, RIGHT, 5) as file:
        for frame, depth_mm in enumerate(taken):
            file.write(depth_mm, 200_000 * frame)
    graph = Graph(real_node, playback=str(path), rate_hz=5)
    try:
        graph.spin_until(lambda: len(graph.images) >= 3 and bool(graph.infos) and "serial_number" in str(graph.status))
        image, info = graph.images[0], graph.infos[0]
        assert any(np.array_equal(convert.image_to_depth(image), depth_mm) for depth_mm in taken)
        assert image.header.frame_id == info.header.frame_id == "right_depth_camera_link"
        camera = convert.info_to_camera(info, default_cameras()[0])
        assert np.allclose(
            [camera.fx, camera.cy, *camera.distortion], [RIGHT.fx, RIGHT.cy, *RIGHT.distortion], 1e-6, 1e-9
        )
        stamps = [convert.stamp_to_ns(image.header.stamp) for image in graph.images[:3]]
        assert np.allclose(np.diff(stamps), 2e8, atol=2e6)  # real time, over the end of the recording
        age_s = (time.time_ns() - stamps[-1]) * 1e-9
        assert -0.1 < age_s < 10.0
    finally:
        graph.destroy()


class GoneAfterTwo:
    """A camera that is unplugged after two images, each time."""

    serial_number = "000111"
    camera = RIGHT
    opened = 0
    error: Exception = KinectError("right_camera: camera 000111 has gone; is it plugged in?")

    def __init__(self) -> None:
        type(self).opened += 1
        self._left = 2

    def read(self, timeout_s: float) -> DepthFrame | None:
        del timeout_s
        self._left -= 1
        if self._left < 0:
            raise self.error
        return DepthFrame(np.zeros((RIGHT.height, RIGHT.width), np.uint16), time.monotonic_ns())

    def close(self) -> None:
        pass


class LibraryFails(GoneAfterTwo):
    """Errors of the vendor's library, also on the way out."""

    opened = 0
    error = ValueError("not a capture")

    def close(self) -> None:
        raise OSError("device busy")


def test_a_camera_whose_library_fails_is_named_and_looked_for() -> None:
    def opener(config: KinectConfig, name: str) -> LibraryFails:
        del config, name
        if LibraryFails.opened == 1:
            LibraryFails.opened += 1
            raise TypeError("no such device")
        return LibraryFails()

    def node(context: Context, parameters: list[Parameter]) -> KinectNode:
        return KinectNode(context=context, parameter_overrides=parameters, opener=opener)

    graph = Graph(node)
    try:
        graph.spin_until(lambda: "the camera's library: TypeError('no such device')" in graph.status.message)
        graph.spin_until(lambda: LibraryFails.opened >= 4)
    finally:
        graph.destroy()


class Stuck(GoneAfterTwo):
    """Waits in the vendor's library until it is let go."""

    def __init__(self, free: threading.Event) -> None:
        super().__init__()
        self.free = free

    def read(self, timeout_s: float) -> DepthFrame | None:
        del timeout_s
        self.free.wait(DEADLINE_S)
        return None


def test_a_camera_that_still_waits_is_not_activated_a_second_time(monkeypatch: pytest.MonkeyPatch) -> None:
    free = threading.Event()
    context = Context()
    rclpy.init(context=context, domain_id=20 + (os.getpid() + 7) % 80)
    settings = [Parameter("camera", value="right_camera"), Parameter("autostart", value=False)]
    node = KinectNode(context=context, parameter_overrides=settings, opener=lambda *_: Stuck(free))
    end = node._end_thread
    monkeypatch.setattr(node, "_end_thread", lambda: end(0.05))
    success, failure = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
    try:
        assert node.trigger_configure() is success and node.trigger_activate() is success
        assert node.trigger_deactivate() is success
        assert node.trigger_activate() is failure
        left = node._left_over
        assert left is not None
        free.set()
        left.join(DEADLINE_S)
        assert node.trigger_activate() is success
    finally:
        free.set()
        node.destroy_node()
        context.try_shutdown()


def test_a_camera_that_goes_is_named_and_looked_for() -> None:
    calls: list[str] = []

    def opener(config: KinectConfig, name: str) -> GoneAfterTwo:
        del config
        calls.append(name)
        if len(calls) in (1, 3):
            raise KinectError("right_camera: no Azure Kinect 000111; connected: none")
        return GoneAfterTwo()

    def node(context: Context, parameters: list[Parameter]) -> KinectNode:
        return KinectNode(context=context, parameter_overrides=parameters, opener=opener)

    graph = Graph(node, serial_number="000111")
    try:
        graph.spin_until(lambda: "no Azure Kinect 000111" in graph.status.message)
        assert graph.status.level == DiagnosticStatus.ERROR and graph.status.hardware_id == "000111"
        graph.spin_until(lambda: GoneAfterTwo.opened >= 2)
        assert set(calls) == {"right_camera"}
    finally:
        graph.destroy()
