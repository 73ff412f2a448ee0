"""The policy node with a scripted perception and control, each test in its own ROS context and domain."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

import rclpy
import torch
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState, PointCloud2
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory
from visualization_msgs.msg import Marker, MarkerArray

from udg_description.cloud_labels import LABEL_SEEN
from udg_description.layout import JOINT_NAMES, SIDES, part_indices
from udg_description.ros import convert, topics
from udg_description.ros.spin import BackgroundSpin
from udg_description.waiting import wait_until
from udg_policy.config import PolicyConfig, preset
from udg_policy.episodes.grasp import key_points
from udg_policy.episodes.synthetic import make_episode
from udg_policy.errors import CheckpointError
from udg_policy.frames.frame_store import frames_of
from udg_policy.inference.engine import PolicyEngine, Prediction
from udg_policy.inference.retry import ARM_STEP_RAD
from udg_policy.network.checkpoint import AGAIN_NAME, Checkpoint, load_checkpoint, save_checkpoint
from udg_policy.network.network import PolicyNetwork
from udg_policy.ros.policy_node import PolicyNode

pytestmark = pytest.mark.ros

TICK_NS = 100_000_000
DEADLINE_S = 60.0  # of a busy machine
_counter = itertools.count()


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_checkpoint(tmp_path_factory.mktemp("policy"), checkpoint_of(preset("debug")))


def checkpoint_of(config: PolicyConfig) -> Checkpoint:
    store = frames_of([make_episode(0, steps=4)], config)
    torch.manual_seed(0)
    return Checkpoint(
        config=config,
        bounds=store.bounds(store.views(torch.arange(1), True)),
        weights=PolicyNetwork(config).state_dict(),
    )


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
        self.reports: list[DiagnosticArray] = []
        self.clouds = topics.publish(self, topics.SCENE_CLOUD)
        self.states = topics.publish(self, topics.JOINT_STATES)
        topics.subscribe(self, topics.ACTION_CHUNK, self._keeper(self.chunks), depth=20)
        topics.subscribe(self, topics.GRASP_MARKERS, self._keeper(self.markers), depth=20)
        topics.subscribe(self, topics.DIAGNOSTICS, self._keeper(self.reports))
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
        return self.answer(
            convert.q_to_joint_state(q, tick * TICK_NS), convert.points_to_cloud(points, tick * TICK_NS), cloud_first
        )

    def answer(self, state: JointState, cloud: PointCloud2, cloud_first: bool = False) -> JointTrajectory:
        """What comes for the cloud's stamp after these two messages."""
        before = len(self.chunks)
        messages = [(self.states, state), (self.clouds, cloud)]
        for publisher, message in reversed(messages) if cloud_first else messages:
            publisher.publish(message)
        self.wait(lambda: any(c.header.stamp == cloud.header.stamp for c in self.chunks[before:]))
        return self.chunks[-1]

    def said(self) -> list[tuple[bytes, str]]:
        """Level and message of what the policy reported of itself so far."""
        return [
            (status.level, status.message)
            for report in self.reports
            for status in report.status
            if status.name == "policy: policy"
        ]

    def clouds_taken(self) -> int:
        """How many clouds the policy reported to have come."""
        return self.reported(f"policy: {topics.SCENE_CLOUD.name}", "count")

    def reported(self, name: str, key: str) -> int:
        """The largest number that a status reported as `key`; 0 if it never did."""
        counts = [
            int(pair.value)
            for report in self.reports
            for status in report.status
            if status.name == name
            for pair in status.values
            if pair.key == key
        ]
        return max(counts, default=0)


@contextmanager
def running(folder: Path, engine: PolicyEngine | None = None, **parameters: object) -> Iterator[Partner]:
    context = Context()
    rclpy.init(context=context, domain_id=60 + (os.getpid() * 7 + next(_counter)) % 100)
    values = {"checkpoint": str(folder), "lockstep": True, **parameters}
    overrides = [Parameter(name, value=value) for name, value in values.items()]
    nodes = [PolicyNode(context=context, parameter_overrides=overrides, engine=engine), Partner(context)]
    spins = [BackgroundSpin([node], SingleThreadedExecutor(context=context)) for node in nodes]
    partner = nodes[1]
    try:
        assert partner.starter.wait_for_service(DEADLINE_S) and partner.stopper.wait_for_service(DEADLINE_S)
        wait_until(
            lambda: bool(
                partner.clouds.get_subscription_count()
                and partner.states.get_subscription_count()
                and partner.count_publishers(topics.ACTION_CHUNK.name)
            ),
            DEADLINE_S,
            "the policy node",
        )
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


def changed(message: JointState | PointCloud2, **values: object) -> JointState | PointCloud2:
    for name, value in values.items():
        setattr(message, name, value)
    return message


def bad_clouds() -> dict[str, tuple[Callable[[int], PointCloud2], str]]:
    """Name: the cloud of a stamp, and what must be said of it."""
    points, _ = observation()

    def of(some: np.ndarray, **values: object) -> Callable[[int], PointCloud2]:
        return lambda stamp_ns: changed(convert.points_to_cloud(some, stamp_ns), **values)

    def with_value(row: int, column: int, value: float) -> np.ndarray:
        copy = points.copy()
        copy[row, column] = value
        return copy

    def in_frame(stamp_ns: int) -> PointCloud2:
        cloud = convert.points_to_cloud(points, stamp_ns)
        cloud.header.frame_id = "left_base_link"
        return cloud

    def without_label(stamp_ns: int) -> PointCloud2:
        cloud = convert.points_to_cloud(points, stamp_ns)
        return changed(cloud, fields=list(cloud.fields)[:3])

    def as_doubles(stamp_ns: int) -> PointCloud2:
        cloud = convert.points_to_cloud(points, stamp_ns)
        cloud.fields[1].datatype = 8
        return cloud

    return {
        "no point": (of(points[:0]), "no object: 0 of 0 points are seen"),
        "no seen point": (of(points[points[:, 3] != 0]), "no object: 0 of "),
        "too few seen points": (
            of(np.concatenate([points[points[:, 3] == 0][:7], points[points[:, 3] != 0]])),
            "no object: 7 of ",
        ),
        "no left robot": (of(points[points[:, 3] != 1]), "no point of the left robot"),
        "not a number": (of(with_value(3, 0, np.nan)), "1 values are not finite"),
        "infinite": (of(with_value(3, 2, np.inf)), "1 values are not finite"),
        "millimetres": (of(points * np.float32([1e3, 1e3, 1e3, 1.0])), "are these millimetres?"),
        "greatest number": (of(with_value(3, 1, 3e38)), "a coordinate of 3e+38 m"),
        "label not a number": (of(with_value(3, 3, np.nan)), "not finite"),
        "unknown label": (of(with_value(3, 3, 7.0)), "unknown labels; valid are 0 seen"),
        "label between": (of(with_value(3, 3, 0.5)), "unknown labels; valid are 0 seen"),
        "other frame": (in_frame, "in frame 'left_base_link'; valid: 'world'"),
        "without labels": (without_label, "without float32 field 'label'"),
        "doubles": (as_doubles, "without float32 field 'y'"),
        "no fields": (of(points, fields=[]), "without float32 field 'x'"),
        "cut": (of(points, width=len(points) + 1), "points in"),
        "short step": (of(points, point_step=12), "step 12"),
        "big-endian": (of(points, is_bigendian=True), "byte order"),
    }


def bad_states() -> dict[str, tuple[Callable[[int], JointState], str]]:
    _, q = observation()

    def of(some: np.ndarray = q, **values: object) -> Callable[[int], JointState]:
        return lambda stamp_ns: changed(convert.q_to_joint_state(some, stamp_ns), **values)

    def at(value: float) -> np.ndarray:
        copy = q.copy()
        copy[5] = value
        return copy

    names = list(JOINT_NAMES)
    return {
        "not a number": (of(at(np.nan)), "valid: finite angles"),
        "infinite": (of(at(-np.inf)), "valid: finite angles"),
        "other names": (of(name=["j" + name for name in names]), f"joint '{names[0]}' is missing"),
        "a joint twice": (of(name=[names[0], *names[:-1]]), f"joint '{names[0]}' is there twice"),
        "one hand": (of(name=names[:18], position=list(q[:18])), f"joint '{names[18]}' is missing"),
        "no positions": (of(position=[]), "36 joint names but 0 positions"),
        "nothing": (of(name=[], position=[]), f"joint '{names[0]}' is missing"),
    }


def test_bad_clouds_hold_and_are_named(folder: Path) -> None:
    points, q = observation()
    with running(folder, start=True) as partner:
        tick = 0
        for name, (make, expected) in bad_clouds().items():
            tick += 2
            answer = partner.answer(convert.q_to_joint_state(q, tick * TICK_NS), make(tick * TICK_NS))
            assert len(answer.points) == 0, name
            held = DiagnosticStatus.WARN if expected.startswith("no object") else DiagnosticStatus.ERROR
            partner.wait(
                lambda e=expected, held=held: any(level == held and e in said for level, said in partner.said())
            )
            assert len(partner.answer_to(points, q, tick + 1).points) == 4, f"not well again after: {name}"


def test_bad_joint_states_hold_and_are_named(folder: Path) -> None:
    points, q = observation()
    with running(folder, start=True) as partner:
        tick = 0
        for name, (make, expected) in bad_states().items():
            tick += 2
            cloud = convert.points_to_cloud(points, tick * TICK_NS)
            assert len(partner.answer(make(tick * TICK_NS), cloud).points) == 0, name
            partner.wait(
                lambda e=expected: any(level == DiagnosticStatus.ERROR and e in said for level, said in partner.said())
            )
            assert len(partner.answer_to(points, q, tick + 1).points) == 4, f"not well again after: {name}"


def test_fewer_points_than_the_network_takes_are_enough(folder: Path) -> None:
    points, q = observation()
    few = np.concatenate([points[points[:, 3] == label][:8] for label in range(3)])
    expected = PolicyEngine.load(folder).act(few, q)
    with running(folder, start=True) as partner:
        chunk = convert.trajectory_to_chunk(partner.answer_to(few, q, 1))
    np.testing.assert_allclose(chunk, expected, atol=1e-5)


class Spoilt(PolicyEngine):
    """An engine whose targets are not numbers."""

    def predict(
        self, points: np.ndarray, q: np.ndarray, steps: int | None = None, commanded: np.ndarray | None = None
    ) -> Prediction:
        prediction = super().predict(points, q, steps, commanded)
        prediction.chunk[-1, 7] = np.nan
        return prediction


class Told(PolicyEngine):
    """An engine that keeps what it is told of the last command."""

    def predict(
        self, points: np.ndarray, q: np.ndarray, steps: int | None = None, commanded: np.ndarray | None = None
    ) -> Prediction:
        self.__dict__.setdefault("commanded", []).append(commanded)
        return super().predict(points, q, steps, commanded)


def test_the_policy_is_told_what_it_commanded_last(folder: Path) -> None:
    points, q = observation()
    engine = Told.load(folder)
    with running(folder, engine=engine, start=True) as partner:
        first = partner.answer_to(points, q, 1)
        partner.answer_to(points, q, 2)
    before, after = engine.__dict__["commanded"]
    assert before is None
    np.testing.assert_allclose(after, first.points[0].positions, atol=1e-6)


def test_what_left_the_robots_filter_counts_before_what_was_planned(tmp_path: Path) -> None:
    config = preset("debug")
    config = replace(config, observation=replace(config.observation, following_error=True))
    folder = save_checkpoint(tmp_path, checkpoint_of(config))
    _, q = observation()
    slow = convert.q_to_joint_state(q + 0.02, TICK_NS)
    with node_alone(folder, lockstep=False) as node:
        assert node._commanded_at(TICK_NS) is None
        node._on_joint_command(slow)
        np.testing.assert_allclose(node._commanded_at(TICK_NS + node_gap_ns(node)), q + 0.02)
        assert node._commanded_at(TICK_NS + 2 * node_gap_ns(node)) is None  # too long ago
        slow.position[7] = float("nan")
        node._on_joint_command(slow)
        assert np.isfinite(node._commanded_at(TICK_NS)).all()
        assert node.count_subscribers(topics.JOINT_COMMAND.name) == 1
    with node_alone(folder, lockstep=True) as node:
        assert node.count_subscribers(topics.JOINT_COMMAND.name) == 0


def node_gap_ns(node: PolicyNode) -> int:
    return convert.seconds_to_ns(node.config.max_stamp_gap_s)


@contextmanager
def node_alone(folder: Path, **parameters: object) -> Iterator[PolicyNode]:
    context = Context()
    rclpy.init(context=context, domain_id=60 + (os.getpid() * 7 + next(_counter)) % 100)
    values = {"checkpoint": str(folder), **parameters}
    node = PolicyNode(
        context=context, parameter_overrides=[Parameter(name, value=value) for name, value in values.items()]
    )
    try:
        yield node
    finally:
        node.destroy_node()
        context.try_shutdown()


def test_targets_that_are_not_finite_are_never_published(folder: Path) -> None:
    points, q = observation()
    with running(folder, engine=Spoilt.load(folder), start=True) as partner:
        assert len(partner.answer_to(points, q, 1).points) == 0
        partner.wait(lambda: any("targets are not finite" in said for _, said in partner.said()))


def test_a_cloud_without_its_joint_state_is_answered_when_the_next_one_comes(folder: Path) -> None:
    points, q = observation()
    with running(folder, start=True) as partner:
        partner.clouds.publish(convert.points_to_cloud(points, TICK_NS))
        partner.wait(lambda: partner.clouds_taken() == 1)
        assert len(partner.answer_to(points, q, 2).points) == 4
        assert [len(chunk.points) for chunk in partner.chunks] == [0, 4]
        partner.wait(lambda: any("/joint_states: none of the moment" in said for _, said in partner.said()))


def test_a_cloud_that_comes_again_gets_the_same_chunk(folder: Path) -> None:
    points, q = observation()
    player = {"player.replan_every": 3, "player.blend": 0.5}
    with running(folder, start=True, **player) as partner:
        first = convert.trajectory_to_chunk(partner.answer_to(points, q, 1))
        for _ in range(3):
            np.testing.assert_array_equal(convert.trajectory_to_chunk(partner.answer_to(points, q, 1)), first)
        np.testing.assert_array_equal(convert.trajectory_to_chunk(partner.answer_to(points, q, 2)), first[1:])


def test_the_rest_of_a_chunk_follows_the_stamps(folder: Path) -> None:
    points, q = observation()
    with running(folder, start=True, **{"player.replan_every": 4}) as partner:
        first = convert.trajectory_to_chunk(partner.answer_to(points, q, 10))
        skipped = convert.trajectory_to_chunk(partner.answer_to(points, q, 12))  # a cloud was lost
        np.testing.assert_array_equal(skipped, first[2:])
        assert len(partner.answer_to(points, q, 40).points) == 4  # much later: anew
        assert len(partner.answer_to(points, q, 3).points) == 4  # time began anew


def test_hands_that_reached_an_object_and_did_not_lift_it_are_led_back(folder: Path, tmp_path: Path) -> None:
    """The fingers are open; the arms go where the attempt began; there the other network acts."""
    first = load_checkpoint(folder)
    torch.manual_seed(1)
    other = replace(first, weights=PolicyNetwork(first.config).state_dict())
    folder = save_checkpoint(tmp_path, first)
    save_checkpoint(folder / AGAIN_NAME, other)
    points, q = observation()
    begun = q.copy()
    begun[part_indices("right_arm")] += 0.14
    object_points = points[:, 3] == LABEL_SEEN
    near, away = points.copy(), points.copy()
    near[object_points, :3] = key_points(q)[1, 1]
    away[object_points, :3] = key_points(q)[1, 1] - [0.0, 0.0, 0.5]
    with running(folder, start=True, **{"retry.after_s": 0.3}) as partner:
        partner.answer_to(away, begun, 1)
        for tick in range(2, 5):
            assert np.abs(convert.trajectory_to_chunk(partner.answer_to(near, q, tick))[-1] - begun).max() > 1e-6
        led = convert.trajectory_to_chunk(partner.answer_to(near, q, 5))
        np.testing.assert_allclose(led[-1], begun)
        assert 0.0 < np.abs(led[0] - q).max() <= ARM_STEP_RAD + 1e-6
        partner.wait(lambda: partner.reported("policy: policy", "retries") == 1)
        again = convert.trajectory_to_chunk(partner.answer_to(near, begun, 6))
        np.testing.assert_allclose(again, PolicyEngine(other).act(near.astype(np.float32), begun), atol=1e-9)


def test_hands_that_hide_an_object_do_not_stand_above_it_forever(folder: Path) -> None:
    points, q = observation()
    begun = q.copy()
    begun[part_indices("right_arm")] += 0.14
    near, away = points.copy(), points.copy()
    near[points[:, 3] == LABEL_SEEN, :3] = key_points(q)[1, 1]
    away[points[:, 3] == LABEL_SEEN, :3] = key_points(q)[1, 1] - [0.0, 0.0, 0.5]
    hidden = points[points[:, 3] != LABEL_SEEN]
    with running(folder, start=True, **{"retry.after_s": 0.3}) as partner:
        partner.answer_to(away, begun, 1)
        partner.answer_to(near, q, 2)
        held = [partner.answer_to(hidden, q, tick).points for tick in (3, 4)]
        assert held == [[], []]
        np.testing.assert_allclose(convert.trajectory_to_chunk(partner.answer_to(hidden, q, 5))[-1], begun)
        assert len(partner.answer_to(hidden, begun, 6).points) == 0  # back, and still nothing to act on


def test_what_is_shown_is_deleted_when_the_policy_holds_or_stops(folder: Path) -> None:
    points, q = observation()

    def shown(arrays: list[MarkerArray]) -> set[tuple[str, int]]:
        seen: set[tuple[str, int]] = set()
        for marker in (marker for array in arrays for marker in array.markers):
            key = (marker.ns, marker.id)
            assert marker.action in (Marker.ADD, Marker.DELETE)
            seen = seen | {key} if marker.action == Marker.ADD else seen - {key}
        return seen

    with running(folder, start=True) as partner:
        partner.answer_to(points, q, 1)
        partner.wait(lambda: len(partner.markers) == 1)
        assert {name for name, _ in shown(partner.markers)} >= {"left_paths", "right_paths"}
        assert len(partner.answer_to(points[:0], q, 2).points) == 0
        partner.wait(lambda: len(partner.markers) == 2)
        assert shown(partner.markers) == set()
        partner.answer_to(points[:0], q, 3)  # nothing to delete: nothing is sent
        partner.answer_to(points, q, 4)
        partner.wait(lambda: len(partner.markers) == 3)
        assert shown(partner.markers) != set()
        partner.call(partner.stopper)
        partner.wait(lambda: len(partner.markers) == 4)
        assert shown(partner.markers) == set()


def test_the_grasp_that_it_is_going_for_is_shown(tmp_path: Path) -> None:
    config = preset("debug")
    config = replace(config, decoder=replace(config.decoder, grasp_query=True))
    points, q = observation()
    folder = save_checkpoint(tmp_path, checkpoint_of(config))
    grasp = PolicyEngine.load(folder).predict(points, q).grasp
    assert grasp is not None
    with running(folder, start=True) as partner:
        partner.answer_to(points, q, 1)
        partner.wait(lambda: len(partner.markers) == 1)
        for side, acts, own in zip(SIDES, grasp.acts, grasp.points_world, strict=True):
            dots = [
                marker
                for marker in partner.markers[0].markers
                if marker.ns == f"{side}_grasp" and marker.type == Marker.SPHERE_LIST
            ]
            assert len(dots) == int(acts)
            for marker in dots:
                np.testing.assert_allclose([[p.x, p.y, p.z] for p in marker.points], own, atol=1e-5)


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
