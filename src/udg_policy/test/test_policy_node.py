"""The policy node with a scripted perception and control, each test in its own ROS context and domain."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

import rclpy
import torch
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import MarkerArray

from udg_description.layout import JOINT_NAMES
from udg_description.ros import convert, topics
from udg_description.ros.spin import BackgroundSpin
from udg_policy.checkpoint import Checkpoint, save_checkpoint
from udg_policy.config import preset
from udg_policy.engine import PolicyEngine
from udg_policy.errors import CheckpointError
from udg_policy.fingertips import fingertip_paths
from udg_policy.frame_store import frames_of
from udg_policy.network import PolicyNetwork
from udg_policy.ros.policy_node import PolicyNode, path_markers
from udg_policy.synthetic import make_episode

pytestmark = pytest.mark.ros

TICK_NS = 100_000_000
DEADLINE_S = 10.0
_counter = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    config = preset("debug")
    store = frames_of([make_episode(0, steps=4)], config)
    torch.manual_seed(0)
    checkpoint = Checkpoint(config=config, bounds=store.bounds(store.views(torch.arange(1), True)),
                            weights=PolicyNetwork(config).state_dict())
    return save_checkpoint(tmp_path_factory.mktemp("policy"), checkpoint)


def observation() -> tuple[np.ndarray, np.ndarray]:
    episode = make_episode(0, steps=1)
    cloud = np.concatenate([episode.cloud_xyz[0].astype(np.float32), episode.cloud_label[0][:, None]], axis=1)
    return cloud.astype(np.float32), episode.q[0].astype(np.float64)


class Partner(Node):
    """Plays perception, control and operator; keeps what the policy says."""

    def __init__(self, context: Context) -> None:
        super().__init__("partner", context=context)
        self.news = threading.Condition()
        self.chunks: list[JointTrajectory] = []
        self.markers: list[MarkerArray] = []
        self.clouds = topics.publish(self, topics.SCENE_CLOUD)
        self.states = topics.publish(self, topics.JOINT_STATES)
        topics.subscribe(self, topics.ACTION_CHUNK, self._keeper(self.chunks), depth=20)
        topics.subscribe(self, topics.GRASP_MARKERS, self._keeper(self.markers), depth=20)
        self.starter = self.create_client(Trigger, topics.POLICY_START.name)
        self.stopper = self.create_client(Trigger, topics.POLICY_STOP.name)

    def _keeper(self, kept: list) -> Callable[[object], None]:
        def keep(message: object) -> None:
            with self.news:
                kept.append(message)
                self.news.notify_all()

        return keep

    def wait(self, ready: Callable[[], bool]) -> None:
        with self.news:
            assert self.news.wait_for(ready, timeout=DEADLINE_S), "nothing came in time"

    def call(self, client: rclpy.client.Client) -> None:
        done = threading.Event()
        client.call_async(Trigger.Request()).add_done_callback(lambda _: done.set())
        assert done.wait(DEADLINE_S)

    def answer_to(self, points: np.ndarray, q: np.ndarray, tick: int, cloud_first: bool = False) -> JointTrajectory:
        messages = [(self.states, convert.q_to_joint_state(q, tick * TICK_NS)),
                    (self.clouds, convert.points_to_cloud(points, tick * TICK_NS))]
        for publisher, message in reversed(messages) if cloud_first else messages:
            publisher.publish(message)
        self.wait(lambda: any(convert.stamp_to_ns(c.header.stamp) == tick * TICK_NS for c in self.chunks))
        return self.chunks[-1]


@contextmanager
def running(folder: Path, **parameters: object) -> Iterator[Partner]:
    context = Context()
    rclpy.init(context=context, domain_id=60 + (os.getpid() * 7 + next(_counter)) % 100)
    values = {"checkpoint": str(folder), "lockstep": True, **parameters}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    nodes = [PolicyNode(context=context, parameter_overrides=overrides), Partner(context)]
    spins = [BackgroundSpin([node], SingleThreadedExecutor(context=context)) for node in nodes]
    partner = nodes[1]
    try:
        assert partner.starter.wait_for_service(DEADLINE_S) and partner.stopper.wait_for_service(DEADLINE_S)
        deadline = threading.Event()
        for _ in range(200):
            if partner.clouds.get_subscription_count() and partner.states.get_subscription_count() \
                    and partner.count_publishers(topics.ACTION_CHUNK.name):
                break
            deadline.wait(0.02)
        yield partner
    finally:
        for spin in spins:
            spin.shutdown()
        for node in nodes:
            node.destroy_node()
        context.try_shutdown()


def test_a_chunk_without_points_before_start_and_after_stop(folder: Path) -> None:
    points, q = observation()
    with running(folder) as partner:
        assert len(partner.answer_to(points, q, 1).points) == 0
        partner.call(partner.starter)
        assert len(partner.answer_to(points, q, 2).points) == 4
        partner.call(partner.stopper)
        assert len(partner.answer_to(points, q, 3).points) == 0


def test_the_chunk_is_the_engines_with_the_clouds_stamp_in_either_order(folder: Path) -> None:
    points, q = observation()
    expected = PolicyEngine.load(folder).act(points, q)
    with running(folder, start=True) as partner:
        for tick, cloud_first in ((1, False), (2, True)):
            message = partner.answer_to(points, q, tick, cloud_first)
            assert list(message.joint_names) == list(JOINT_NAMES)
            assert convert.stamp_to_ns(message.points[0].time_from_start) == TICK_NS
            np.testing.assert_allclose(convert.trajectory_to_chunk(message), expected, atol=1e-5)
        partner.wait(lambda: len(partner.markers) > 0)
        assert len(partner.markers[0].markers) == 10


def test_bad_clouds_and_empty_scenes_hold(folder: Path) -> None:
    points, q = observation()
    nan, empty = points.copy(), points.copy()
    nan[3, 0] = np.nan
    empty[:, 3] = np.where(empty[:, 3] == 0, 1, empty[:, 3])
    with running(folder, start=True) as partner:
        for tick, cloud in enumerate((nan, empty), start=1):
            assert len(partner.answer_to(cloud, q, tick).points) == 0
        assert len(partner.answer_to(points, q, 3).points) == 4


def test_in_real_time_the_nearest_joint_state_is_taken(folder: Path) -> None:
    points, q = observation()
    with running(folder, start=True, lockstep=False) as partner:
        partner.states.publish(convert.q_to_joint_state(q, TICK_NS - 10_000_000))
        partner.clouds.publish(convert.points_to_cloud(points, TICK_NS))
        partner.wait(lambda: len(partner.chunks) > 0)
        assert len(partner.chunks[0].points) == 4


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no such checkpoint folder"), running(tmp_path / "absent"):
        pass


def test_marker_paths_end_at_the_chunks_last_fingertips() -> None:
    _, q = observation()
    chunk = np.stack([q, q + 0.01])
    markers = path_markers(chunk, 0).markers
    last = fingertip_paths(chunk)[1, 1, -1]
    marker = next(m for m in markers if m.ns == "right_index")
    np.testing.assert_allclose([marker.points[-1].x, marker.points[-1].y, marker.points[-1].z], last)
