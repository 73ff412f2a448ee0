"""The perception node in a graph of its own: images and joint state in, cloud out; a missing camera is an error."""

import dataclasses
import math
import os
import time
from collections.abc import Callable, Iterator, Sequence
from itertools import count
from pathlib import Path

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus  # noqa: E402
from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import CameraInfo, PointCloud2  # noqa: E402

from udg_description.camera import CameraModel, cameras_yaml, default_cameras, look_at  # noqa: E402
from udg_description.errors import UdgError  # noqa: E402
from udg_description.frame_tree import camera_frame  # noqa: E402
from udg_description.frames import OBJECT_AREA  # noqa: E402
from udg_description.layout import HOME_Q  # noqa: E402
from udg_description.ros import convert, topics  # noqa: E402
from udg_perception.ros.perception_node import PerceptionNode  # noqa: E402

pytestmark = pytest.mark.ros

DOMAIN_ID = 20 + os.getpid() % 80
DEADLINE_S = 20.0
STALE_AFTER_S = 0.8
STAMP_NS = 1_234_500_000_000
CAMERAS = {camera.name: camera for camera in default_cameras()}
LEFT, RIGHT = CAMERAS
TOP = dataclasses.replace(
    CAMERAS[LEFT], name="top", T_world_camera=look_at(np.array([0.2, 0.0, 1.5]), OBJECT_AREA["small_medium"].center)
)


class Neighbours(Node):
    """What is around the perception node: cameras, robot, and listeners."""

    def __init__(self, lockstep: bool, cameras: Sequence[CameraModel] = tuple(CAMERAS.values())) -> None:
        super().__init__("neighbours")
        self.cameras = {camera.name: camera for camera in cameras}
        self.clouds: list[PointCloud2] = []
        self.statuses: dict[str, DiagnosticStatus] = {}
        self.images = {name: topics.publish(self, topics.depth_image(name), lockstep=lockstep) for name in self.cameras}
        self.infos = {name: topics.publish(self, topics.camera_info(name), lockstep=lockstep) for name in self.cameras}
        self.joints = topics.publish(self, topics.JOINT_STATES)
        topics.subscribe(self, topics.SCENE_CLOUD, self.clouds.append)
        topics.subscribe(self, topics.DIAGNOSTICS, self._on_diagnostics)

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self.statuses.update({status.name: status for status in message.status})

    def publish_camera(self, name: str, stamp_ns: int, depth_mm: np.ndarray) -> None:
        camera = self.cameras[name]
        self.infos[name].publish(convert.camera_to_info(camera, stamp_ns, camera_frame(camera)))
        self.images[name].publish(convert.depth_to_image(depth_mm, stamp_ns, camera_frame(camera)))

    def publish_joints(self, stamp_ns: int, q: np.ndarray) -> None:
        self.joints.publish(convert.q_to_joint_state(q, stamp_ns))


class Graph:
    """The perception node and its neighbours, spun by hand."""

    def __init__(self, lockstep: bool, cameras: Sequence[CameraModel] = tuple(CAMERAS.values())) -> None:
        self.node = PerceptionNode()
        self.neighbours = Neighbours(lockstep, cameras)
        self._executor = SingleThreadedExecutor()
        self._executor.add_node(self.node)
        self._executor.add_node(self.neighbours)
        publishers = [*self.neighbours.images.values(), *self.neighbours.infos.values(), self.neighbours.joints]
        self.spin_until(lambda: all(publisher.get_subscription_count() for publisher in publishers), "connections")
        self.spin_until(lambda: self.neighbours.count_publishers(topics.SCENE_CLOUD.name) == 1, "/scene_cloud")

    def spin_until(self, is_done: Callable[[], bool], what: str, publish: Callable[[], None] | None = None) -> None:
        """Spin until it is done; `publish` is called again and again, for a sensor's messages may be lost."""
        deadline = time.monotonic() + DEADLINE_S
        next_s = 0.0
        while not is_done():
            assert time.monotonic() < deadline, f"waited {DEADLINE_S} s for {what}"
            if publish is not None and time.monotonic() >= next_s:
                publish()
                next_s = time.monotonic() + 0.2
            self._executor.spin_once(timeout_sec=0.05)

    def status(self, name: str) -> DiagnosticStatus:
        return self.neighbours.statuses.get(f"perception: {name}", DiagnosticStatus())

    def destroy(self) -> None:
        self._executor.shutdown()
        self.node.destroy_node()
        self.neighbours.destroy_node()


@pytest.fixture
def graph(request: pytest.FixtureRequest) -> Iterator[Graph]:
    """In real time, or what an indirect parameter `lockstep` says."""
    lockstep = getattr(request, "param", False)
    arguments = ["--ros-args", "-p", f"lockstep:={str(lockstep).lower()}", "-p", f"stale_after_s:={STALE_AFTER_S}"]
    rclpy.init(args=arguments, domain_id=DOMAIN_ID)
    graph = Graph(lockstep)
    yield graph
    graph.destroy()
    rclpy.shutdown()


@pytest.fixture
def ros() -> Iterator[Callable[..., None]]:
    """Start ROS with parameters."""

    def start(**parameters: object) -> None:
        words = [word for name, value in parameters.items() for word in ("-p", f"{name}:={value}")]
        rclpy.init(args=["--ros-args", *words], domain_id=DOMAIN_ID)

    yield start
    rclpy.try_shutdown()


def depth_of_a_wall_mm(camera: CameraModel) -> np.ndarray:
    """A wall across the optical axis at the object area's distance, in the middle of the image."""
    depth_mm = np.zeros((camera.height, camera.width), dtype=np.uint16)
    depth_mm[280:320, 300:340] = 1400
    return depth_mm


def publish_all(graph: Graph, stamp_ns: int, depth_mm: np.ndarray | None = None) -> None:
    """Images (of a wall where none is given), camera infos and joint states of one moment."""
    for name, camera in graph.neighbours.cameras.items():
        wall_mm = depth_of_a_wall_mm(camera)
        graph.neighbours.publish_camera(name, stamp_ns, wall_mm if depth_mm is None else depth_mm)
    graph.neighbours.publish_joints(stamp_ns, HOME_Q)


@pytest.mark.parametrize("graph", [True, False], ids=["lockstep", "real_time"], indirect=True)
def test_a_cloud_has_the_stamp_of_its_images(graph: Graph) -> None:
    graph.spin_until(lambda: bool(graph.neighbours.clouds), "a cloud", lambda: publish_all(graph, STAMP_NS))
    cloud = graph.neighbours.clouds[0]
    assert convert.stamp_to_ns(cloud.header.stamp) == STAMP_NS
    assert cloud.header.frame_id == "world"
    points = convert.cloud_to_points(cloud)
    assert points.shape == (2048, 4)
    assert set(np.unique(points[:, 3])) == {0.0, 1.0, 2.0}
    seen = points[points[:, 3] == 0, :3]
    depths = [(seen - c.T_world_camera[:3, 3]) @ c.T_world_camera[:3, 2] for c in CAMERAS.values()]
    assert np.minimum(*(np.abs(depth - 1.4) for depth in depths)).max() < 1e-4


def test_a_silent_camera_is_an_error_with_its_topic_and_age(graph: Graph) -> None:
    left, right = topics.depth_image(LEFT).name, topics.depth_image(RIGHT).name
    graph.spin_until(lambda: bool(graph.neighbours.clouds), "a cloud", lambda: publish_all(graph, STAMP_NS))
    stamps_ns = count(STAMP_NS, 10**8)

    def publish_all_but_the_right_camera() -> None:
        stamp_ns = next(stamps_ns)
        graph.neighbours.publish_camera(LEFT, stamp_ns, depth_of_a_wall_mm(CAMERAS[LEFT]))
        graph.neighbours.publish_joints(stamp_ns, HOME_Q)

    def is_reported() -> bool:
        return f"{right} is silent for " in graph.status(topics.SCENE_CLOUD.name).message

    graph.spin_until(is_reported, "an error that names the right camera", publish_all_but_the_right_camera)
    status = graph.status(topics.SCENE_CLOUD.name)
    assert status.level == DiagnosticStatus.ERROR
    assert left not in status.message
    values = {item.key: item.value for item in graph.status(right).values}
    assert float(values["age_s"]) > STALE_AFTER_S


def test_a_camera_that_never_spoke_is_an_error(graph: Graph) -> None:
    expected = f"nothing on {topics.depth_image(LEFT).name} yet"
    graph.spin_until(lambda: expected in graph.status(topics.SCENE_CLOUD.name).message, expected)
    assert graph.status(topics.SCENE_CLOUD.name).level == DiagnosticStatus.ERROR


def test_inputs_that_do_not_match_are_an_error_that_says_how_far_they_are_apart(graph: Graph) -> None:
    stamps_ns = count(STAMP_NS, 10**8)

    def publish_late_joints() -> None:
        stamp_ns = next(stamps_ns)
        for name, camera in CAMERAS.items():
            graph.neighbours.publish_camera(name, stamp_ns, depth_of_a_wall_mm(camera))
        graph.neighbours.publish_joints(stamp_ns - 3 * 10**9, HOME_Q)

    expected = "no cloud: stamps of the newest images are 0.000 s apart (valid: 0.012 s), the newest joint state is "
    graph.spin_until(
        lambda: expected + "3.000 s before them" in graph.status(topics.SCENE_CLOUD.name).message,
        expected,
        publish_late_joints,
    )
    assert not graph.neighbours.clouds


def test_a_wrong_image_is_reported_and_does_not_stop_the_node(graph: Graph) -> None:
    small = np.zeros((10, 20), dtype=np.uint16)
    stamps_ns = count(STAMP_NS, 10**8)

    def is_reported() -> bool:
        return "shape (10, 20)" in graph.status(topics.SCENE_CLOUD.name).message

    graph.spin_until(is_reported, "an error with the shape", lambda: publish_all(graph, next(stamps_ns), small))
    graph.spin_until(lambda: bool(graph.neighbours.clouds), "a cloud", lambda: publish_all(graph, next(stamps_ns)))
    graph.spin_until(
        lambda: graph.status(topics.SCENE_CLOUD.name).level == DiagnosticStatus.OK,
        "all is well again",
        lambda: publish_all(graph, next(stamps_ns)),
    )


def spoilt_info(camera: CameraModel, stamp_ns: int, what: str) -> CameraInfo:
    """Intrinsics as some drivers publish them, with numbers that are none."""
    message = convert.camera_to_info(camera, stamp_ns, "camera")
    if what == "d":
        message.d = [math.nan] * 8
    else:
        k = message.k
        k[{"cx": 2, "fy": 4, "skew": 1}[what]] = math.inf if what == "fy" else math.nan
        message.k = k
    return message


@pytest.mark.parametrize("what", ["d", "cx", "fy", "skew"])
def test_intrinsics_that_are_not_finite_are_reported_and_make_no_work(graph: Graph, what: str) -> None:
    stamps_ns = count(STAMP_NS, 10**8)
    builders: list[object] = []
    name = topics.camera_info(RIGHT).name

    def publish() -> None:
        stamp_ns = next(stamps_ns)
        publish_all(graph, stamp_ns)
        graph.neighbours.infos[RIGHT].publish(spoilt_info(CAMERAS[RIGHT], stamp_ns, what))
        if graph.node._builder not in builders:
            builders.append(graph.node._builder)

    graph.spin_until(lambda: "not finite" in graph.status(name).message, "an error of the input", publish)
    assert graph.status(name).level == DiagnosticStatus.ERROR
    told = graph.status(topics.SCENE_CLOUD.name)
    graph.spin_until(lambda: name in graph.status(topics.SCENE_CLOUD.name).message, "an error of the cloud", publish)
    told = graph.status(topics.SCENE_CLOUD.name)
    assert told.level == DiagnosticStatus.ERROR and "a camera_info with" in told.message
    assert len(builders) == 1  # the good ones are what it knows already
    graph.spin_until(
        lambda: graph.status(topics.SCENE_CLOUD.name).level == DiagnosticStatus.OK,
        "all is well again",
        lambda: publish_all(graph, next(stamps_ns)),
    )


def test_joint_states_that_are_not_finite_are_reported(graph: Graph) -> None:
    stamps_ns = count(STAMP_NS, 10**8)
    q = np.array(HOME_Q)
    q[7] = np.nan

    def publish() -> None:
        graph.neighbours.publish_joints(next(stamps_ns), q)

    name = topics.JOINT_STATES.name
    graph.spin_until(lambda: "valid: finite angles" in graph.status(name).message, "an error", publish)
    assert "is nan" in graph.status(name).message and graph.status(name).level == DiagnosticStatus.ERROR


def test_a_missing_camera_file_is_an_error_that_names_it(ros: Callable[..., None]) -> None:
    ros(camera_config="/nowhere/cameras.yaml")
    with pytest.raises(UdgError, match="/nowhere/cameras.yaml"):
        PerceptionNode()


@pytest.mark.parametrize("cameras", [(CAMERAS[RIGHT],), (*CAMERAS.values(), TOP)], ids=["one", "three"])
def test_the_camera_file_says_which_cameras_there_are(
    ros: Callable[..., None], tmp_path: Path, cameras: tuple[CameraModel, ...]
) -> None:
    """A cloud comes once all cameras of the file have spoken, and has points of each."""
    (tmp_path / "cameras.yaml").write_text(cameras_yaml(cameras))
    ros(camera_config=tmp_path / "cameras.yaml", lockstep="true")
    graph = Graph(True, cameras)
    try:
        graph.spin_until(lambda: bool(graph.neighbours.clouds), "a cloud", lambda: publish_all(graph, STAMP_NS))
        points = convert.cloud_to_points(graph.neighbours.clouds[0])
    finally:
        graph.destroy()
    seen = points[points[:, 3] == 0, :3]
    for camera in cameras:
        depth = (seen - camera.T_world_camera[:3, 3]) @ camera.T_world_camera[:3, 2]
        assert (np.abs(depth - 1.4) < 1e-4).sum() > 10, camera.name


def test_a_camera_file_without_cameras_is_refused(ros: Callable[..., None], tmp_path: Path) -> None:
    (tmp_path / "cameras.yaml").write_text("cameras: {}\n")
    ros(camera_config=tmp_path / "cameras.yaml")
    with pytest.raises(UdgError, match="has no camera; valid: one or more"):
        PerceptionNode()


def test_a_bad_parameter_is_an_error_that_names_it(ros: Callable[..., None]) -> None:
    ros(**{"scene_cloud.outlier_neighbors": 1})
    with pytest.raises(UdgError, match="outlier_neighbors = 1; valid: at least 2"):
        PerceptionNode()


def test_all_settings_are_parameters(ros: Callable[..., None]) -> None:
    ros(**{"scene_cloud.crop_min": "[0.4, -0.5, 0.01]", "matcher.period_s": 0.2})
    node = PerceptionNode()
    try:
        assert node.config.scene_cloud.crop_min == (0.4, -0.5, 0.01)
        assert node.get_parameter("matcher.period_s").value == 0.2
        assert node.get_parameter("lockstep").type_ == Parameter.Type.BOOL
    finally:
        node.destroy_node()
