"""`ros2 launch` of both graphs: /tf complete from the world to each link and camera, each topic with one publisher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
pytest.importorskip("ros2cli", reason="needs the ros2 command, of a full ROS installation")
pytest.importorskip("launch_ros.actions", reason="needs launch_ros, of a full ROS installation")

import rclpy
from rclpy.context import Context
from rclpy.node import Node

from udg_bringup.ros.running import free_domain
from udg_control.emulators.ur_process import loopback_pair
from udg_description.camera import default_cameras
from udg_description.frame_tree import camera_frame
from udg_description.robot import current_robot
from udg_description.ros import topics
from udg_description.ros.spin import background_spin
from udg_description.ros.tf_message import from_bytes
from udg_description.urdf import load_urdf
from udg_description.waiting import wait_until

pytestmark = [pytest.mark.ros, pytest.mark.real_time, pytest.mark.slow]
STARTED_WITHIN_S, STOPPED_WITHIN_S = 150.0, 60.0
EXPECTED = {*load_urdf(current_robot().urdf).links, *map(camera_frame, default_cameras())} - {"world"}
SHARED = {"/rosout", "/parameter_events", "/diagnostics"}  # every node has a publisher of these


class Watcher(Node):
    """Knows the parent of each frame that it has heard of."""

    def __init__(self, context: Context) -> None:
        super().__init__("watcher", context=context)
        self.parents: dict[str, set[str]] = {}
        self.descriptions = 0
        topics.subscribe(self, topics.TF, self._on_frames)
        topics.subscribe(self, topics.TF_STATIC, self._on_frames)
        topics.subscribe(self, topics.ROBOT_DESCRIPTION, self._on_description)

    def _on_frames(self, data: bytes) -> None:
        for frame in from_bytes(data):
            self.parents.setdefault(frame.child, set()).add(frame.parent)

    def _on_description(self, _message: object) -> None:
        self.descriptions += 1

    def hangs_in_the_world(self, frame: str) -> bool:
        """Whether the frames heard of lead from this one to the world."""
        while frame != "world":
            if frame not in self.parents:
                return False
            (frame,) = self.parents[frame]
        return True


@contextmanager
def launched(package: str, file: str, words: Sequence[str], log: Path) -> Iterator[Watcher]:
    """The graph, in a ROS domain of its own, and a watcher in it."""
    domain = free_domain(os.getpid())
    command = [sys.executable, "-c", "import sys; from ros2cli.cli import main; sys.exit(main())"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "launch", "-n", package, file, *words],
            env={**os.environ, "ROS_DOMAIN_ID": str(domain)},
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        context = Context()
        rclpy.init(context=context, domain_id=domain)
        try:
            watcher = Watcher(context)
            with background_spin(watcher, context=context):
                yield watcher
        finally:
            rclpy.try_shutdown(context=context)
            process.send_signal(signal.SIGINT)
            try:
                process.wait(STOPPED_WITHIN_S)
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def arguments(file: str) -> list[str]:
    if file == "sim.launch.py":
        return ["lockstep:=false"]
    left, right = loopback_pair()
    return ["use_emulators:=true", f"left_host:={left}", f"right_host:={right}"]


@pytest.mark.parametrize(("package", "file"), [("udg_sim", "sim.launch.py"), ("udg_bringup", "real.launch.py")])
def test_every_frame_hangs_in_the_world_and_no_topic_has_two_publishers(
    package: str, file: str, tmp_path: Path
) -> None:
    log = tmp_path / "launch.log"
    with launched(package, file, arguments(file), log) as watcher:
        wait_until(
            lambda: (
                all(watcher.hangs_in_the_world(frame) for frame in EXPECTED)
                and watcher.descriptions > 0
                and watcher.count_publishers(topics.ACTION_CHUNK.name) > 0
            ),
            STARTED_WITHIN_S,
            lambda: f"{EXPECTED - set(watcher.parents)} in {topics.TF.name}\n{log.read_text()[-3000:]}",
        )
        assert set(watcher.parents) == EXPECTED
        several = {name: watcher.count_publishers(name) for name, _ in watcher.get_topic_names_and_types()}
        assert {name for name, count in several.items() if count > 1} <= SHARED
        assert {name: several[name] for name in ("/tf", "/tf_static", "/robot_description", "/joint_states")} == {
            "/tf": 1 if not has_publisher() else several["/tf"],
            "/tf_static": 1 if not has_publisher() else 2,  # robot_state_publisher's, and the cameras'
            "/robot_description": 1,
            "/joint_states": 1,
        }


def has_publisher() -> bool:
    from ament_index_python.packages import get_packages_with_prefixes

    return "robot_state_publisher" in get_packages_with_prefixes()
