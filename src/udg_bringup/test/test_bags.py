"""Bags: recorded from topics, read by others' readers, made into episodes and frames of training; others' bags, too."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs rclpy")

import rclpy
from rclpy.context import Context
from rclpy.qos import DurabilityPolicy, QoSProfile
from rclpy.serialization import serialize_message
from rosbags.highlevel import AnyReader
from rosbags.rosbag2 import Reader, StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore
from std_msgs.msg import Bool, String

from udg_bringup.bag_writer import BagError, BagWriter
from udg_bringup.ros.recorder import Recorder, chosen_topics, message_type
from udg_description.layout import HOME_Q, JOINT_NAMES
from udg_description.ros import convert, topics
from udg_description.ros.spin import background_spin
from udg_description.ros.tf_message import Frame, from_bytes, to_bytes
from udg_description.waiting import wait_until
from udg_policy.episodes.dataset import CLOUD_POINTS, EpisodeDataset
from udg_policy.episodes.episode import NO_STAGE
from udg_policy.errors import DatasetError
from udg_policy.exchange.bag_episodes import Bag, episodes_of, read_bag
from udg_policy.exchange.import_ import import_episodes, run_command
from udg_sim.ros.sim_node import TRIAL_STATUS
from udg_sim.trials.status import TrialStatus

pytestmark = pytest.mark.ros
STEP_NS = 100_000_000
FRAMES = 6
WITHIN_S = 60.0


def q_at(step: float) -> np.ndarray:
    """Angles of a robot that moves evenly."""
    return HOME_Q + 0.02 * step


def cloud_at(step: int) -> np.ndarray:
    points = np.random.default_rng(step).uniform(-0.5, 0.5, (CLOUD_POINTS, 4)).astype(np.float32)
    points[:, :3] = np.rint(points[:, :3] * 8192) / 8192  # what an episode's file keeps exactly
    points[:, 3] = np.arange(CLOUD_POINTS) % 3
    return points


def status_at(step: int, trial: int, start_ns: int) -> String:
    T = np.eye(4)
    T[2, 3] = 0.05 * step
    return String(
        data=TrialStatus(
            object="soda_can",
            seed=3,
            trial=trial,
            start_s=start_ns * 1e-9,
            time_s=0.1 * step,
            object_z_m=0.0,
            raised_m=0.0,
            success=step == FRAMES - 1 and trial == 1,
            done=False,
            q=q_at(step).tolist(),
            T_world_object=T.tolist(),
            image_sent_s=0.0,
            tick_ms=float("nan"),
        ).to_json()
    )


@pytest.fixture
def context() -> Iterator[Context]:
    made = Context()
    rclpy.init(context=made, domain_id=99 - os.getpid() % 60)
    yield made
    rclpy.try_shutdown(context=made)


class Robot:
    """Publishes the topics of two short trials."""

    def __init__(self, context: Context) -> None:
        self.node = rclpy.create_node("robot", context=context)
        wanted = (topics.JOINT_STATES, topics.SCENE_CLOUD, topics.SIM_JOINT_COMMAND, topics.TF, TRIAL_STATUS)
        self.out = {topic.name: topics.publish(self.node, topic) for topic in wanted}
        self.sent = 0

    def send(self, topic: topics.Topic, message: Any) -> None:  # noqa: ANN401
        self.out[topic.name].publish(message)
        self.sent += 1

    def run(self, recorder: BagWriter, simulated: bool = True) -> None:
        wait_until(lambda: all(out.get_subscription_count() for out in self.out.values()), WITHIN_S, "subscriptions")
        for trial in range(2):
            start_ns = 100 * (trial + 1) * 1_000_000_000
            for step in range(FRAMES):
                stamp_ns = start_ns + step * STEP_NS
                self.send(topics.JOINT_STATES, convert.q_to_joint_state(q_at(step), stamp_ns))
                self.send(topics.SIM_JOINT_COMMAND, convert.q_to_joint_state(q_at(step) + 0.001, stamp_ns))
                self.send(topics.SCENE_CLOUD, convert.points_to_cloud(cloud_at(step), stamp_ns))
                self.send(topics.TF, to_bytes([Frame("world", "here", np.eye(4), stamp_ns)]))
                if simulated:
                    self.send(TRIAL_STATUS, status_at(step, trial, start_ns))
                wait_until(lambda: recorder.messages == self.sent, WITHIN_S, "the recording")


def record(context: Context, path: Path, simulated: bool = True) -> int:
    """Record two trials; the number of messages."""
    writer = BagWriter(path)
    robot = Robot(context)
    with background_spin(Recorder(writer, chosen_topics(images=False), context=context), robot.node, context=context):
        robot.run(writer, simulated)
    writer.close()
    return robot.sent


def test_a_recording_is_what_was_sent_byte_for_byte_with_its_types_for_rosbags_and_for_mcap(
    context: Context, tmp_path: Path
) -> None:
    sent = record(context, tmp_path / "bag")
    with Reader(tmp_path / "bag") as reader:  # no type store: the definitions are in the file
        assert reader.message_count == sent
        types = {connection.topic: connection.msgtype for connection in reader.connections if connection.msgcount}
        frames = [from_bytes(data) for connection, _, data in reader.messages() if connection.topic == "/tf"]
    assert types["/joint_states"] == "sensor_msgs/msg/JointState" and types["/tf"] == "tf2_msgs/msg/TFMessage"
    assert len(frames) == 2 * FRAMES and frames[0][0].child == "here"

    mcap = pytest.importorskip("mcap_ros2.reader", reason="needs mcap-ros2-support")
    (file,) = (tmp_path / "bag").glob("*.mcap")
    decoded = [message for message in mcap.read_ros2_messages(str(file)) if message.channel.topic == "/joint_states"]
    angles = np.array([message.ros_msg.position for message in decoded])
    np.testing.assert_array_equal(angles, np.tile([q_at(step) for step in range(FRAMES)], (2, 1)))
    frames_seen = [m.ros_msg.transforms for m in mcap.read_ros2_messages(str(file)) if m.channel.topic == "/tf"]
    assert frames_seen[0][0].transform.rotation.w == 1.0


@pytest.mark.parametrize("latched", [False, True])  # as `ros2 topic pub` does, and as our own nodes
def test_an_emergency_stop_is_recorded_once_whoever_sends_it(context: Context, tmp_path: Path, latched: bool) -> None:
    writer, node = BagWriter(tmp_path / "bag"), rclpy.create_node("operator", context=context)
    kept = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
    topic = topics.EMERGENCY_STOP
    out = node.create_publisher(topic.type, topic.name, QoSProfile(depth=1, durability=kept))
    with background_spin(Recorder(writer, [topic], context=context), node, context=context):
        wait_until(lambda: out.get_subscription_count() == (3 if latched else 2), WITHIN_S, "subscriptions")
        for count, held in enumerate((True, False, True), start=1):
            out.publish(Bool(data=held))
            wait_until(lambda count=count: writer.messages >= count, WITHIN_S, "the recording")
    writer.close()
    with Reader(tmp_path / "bag") as reader:
        assert reader.message_count == 3


def test_the_metadata_is_what_rosbag2_writes_with_the_quality_of_service(context: Context, tmp_path: Path) -> None:
    import yaml

    record(context, tmp_path / "bag")
    info = yaml.safe_load((tmp_path / "bag" / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert info["storage_identifier"] == "mcap" and info["version"] == 9
    assert info["relative_file_paths"] == ["bag.mcap"]
    by_name = {entry["topic_metadata"]["name"]: entry["topic_metadata"] for entry in info["topics_with_message_count"]}
    assert by_name["/tf_static"]["offered_qos_profiles"][0]["durability"] == "transient_local"
    assert by_name["/joint_states"]["offered_qos_profiles"][0]["reliability"] == "reliable"
    assert by_name["/tf"]["type_description_hash"].startswith("RIHS01_e369d0f05a23ae52")


def test_each_topic_of_the_table_can_be_recorded(tmp_path: Path) -> None:
    writer = BagWriter(tmp_path / "bag")
    chosen = chosen_topics(images=True)
    for topic in chosen:
        writer.add_topic(topic.name, message_type(topic.type), depth=1, reliable=True, latched=topic.latched)
    writer.close()
    assert {topic.name for topic in topics.TOPICS} < {topic.name for topic in chosen}
    more = {topic.name for topic in chosen_topics(images=True, cameras=("left_camera", "top"))}
    assert "/top/depth/image_raw" in more and "/right_camera/depth/image_raw" not in more
    with pytest.raises(BagError, match="does not exist yet"):
        BagWriter(tmp_path / "bag")


def test_a_bag_becomes_an_episode_a_trial_and_frames_of_training(context: Context, tmp_path: Path) -> None:
    from udg_policy.config import preset
    from udg_policy.frames.frame_store import frames_of

    record(context, tmp_path / "bag")
    assert import_episodes("bag", [tmp_path / "bag"], tmp_path / "data") == 2
    dataset = EpisodeDataset(tmp_path / "data")
    for number, episode in enumerate(dataset):
        assert len(episode) == FRAMES - 1  # of the last cloud the next command is not known
        np.testing.assert_allclose(episode.q, [q_at(step) for step in range(FRAMES - 1)], atol=1e-6)
        np.testing.assert_allclose(episode.target, [q_at(step + 1) + 0.001 for step in range(FRAMES - 1)], atol=1e-6)
        np.testing.assert_array_equal(episode.cloud_xyz[2], cloud_at(2)[:, :3])
        np.testing.assert_array_equal(episode.cloud_label[2], cloud_at(2)[:, 3])
        np.testing.assert_allclose(episode.T_world_object[:, 2, 3], 0.05 * np.arange(FRAMES - 1), atol=1e-6)
        assert (episode.meta["object"], episode.meta["seed"], episode.meta["trial"]) == ("soda_can", 3, number)
        assert episode.meta["success"] is (number == 1)  # told at the last tick
    assert frames_of(list(dataset), preset("debug")).n_frames == 2 * (FRAMES - 1)


def test_without_a_trial_a_pause_ends_an_episode_and_without_states_there_is_none(
    context: Context, tmp_path: Path
) -> None:
    record(context, tmp_path / "bag", simulated=False)
    found = list(episodes_of(read_bag(tmp_path / "bag"), "run"))
    assert [name for name, _ in found] == ["run_0000", "run_0001"] and found[0][1].T_world_object is None
    with pytest.raises(DatasetError, match="no episode that was a success"):
        run_command(["--from", "bag", str(tmp_path / "bag"), "--out", str(tmp_path / "data"), "--successes-only"])
    assert not (tmp_path / "data").exists()


def test_a_bag_that_others_have_written_opens_here(tmp_path: Path) -> None:
    """SQLite, serialized by rosbags, joints in another order, chunks of two runs of the policy."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    stamp_of = types["builtin_interfaces/msg/Time"]
    header_of, joints_of = types["std_msgs/msg/Header"], types["sensor_msgs/msg/JointState"]

    def header(stamp_ns: int, frame: str = "") -> Any:  # noqa: ANN401
        return header_of(stamp=stamp_of(sec=stamp_ns // 10**9, nanosec=stamp_ns % 10**9), frame_id=frame)

    with Writer(tmp_path / "bag", version=9, storage_plugin=StoragePlugin.SQLITE3) as writer:

        def add(topic: str, kind: str) -> Any:  # noqa: ANN401
            return writer.add_connection(topic, kind, typestore=store)

        states, commands = (add(name, "sensor_msgs/msg/JointState") for name in ("/joint_states", "/joint_command"))
        clouds = add("/scene_cloud", "sensor_msgs/msg/PointCloud2")
        chunks = add("/action_chunk", "trajectory_msgs/msg/JointTrajectory")
        point = types["trajectory_msgs/msg/JointTrajectoryPoint"](
            positions=q_at(0),
            velocities=np.zeros(0),
            accelerations=np.zeros(0),
            effort=np.zeros(0),
            time_from_start=types["builtin_interfaces/msg/Duration"](sec=0, nanosec=STEP_NS),
        )
        for step in range(2 * FRAMES):
            stamp_ns = 10**12 + step * STEP_NS
            backwards = joints_of(
                header=header(stamp_ns + 4_000_000),
                name=list(JOINT_NAMES)[::-1],
                position=q_at(step)[::-1].copy(),
                velocity=np.zeros(0),
                effort=np.zeros(0),
            )
            for connection in (states, commands):
                writer.write(connection, stamp_ns, store.serialize_cdr(backwards, "sensor_msgs/msg/JointState"))
            cloud = convert.points_to_cloud(cloud_at(step), stamp_ns)
            writer.write(clouds, stamp_ns, serialize_message(cloud))
            run = types["trajectory_msgs/msg/JointTrajectory"](
                header=header(stamp_ns, f"run {step // FRAMES}"), joint_names=list(JOINT_NAMES), points=[point]
            )
            writer.write(chunks, stamp_ns, store.serialize_cdr(run, "trajectory_msgs/msg/JointTrajectory"))
    found = [episode for _, episode in episodes_of(read_bag(tmp_path / "bag"), "x")]
    assert [len(episode) for episode in found] == [FRAMES, FRAMES - 1]
    np.testing.assert_allclose(found[1].q[0], q_at(FRAMES), atol=1e-6)
    np.testing.assert_allclose(found[1].target[0], q_at(FRAMES + 1), atol=1e-6)


def test_what_is_no_bag_or_lacks_topics_is_refused_by_name(tmp_path: Path) -> None:
    for name in ("nothing", "empty.mcap"):
        with pytest.raises(DatasetError, match=name):
            read_bag(tmp_path / name)
        (tmp_path / "empty.mcap").write_bytes(b"no bag")
    writer = BagWriter(tmp_path / "bag")
    writer.add_topic("/joint_states", "sensor_msgs/msg/JointState", depth=1, reliable=True, latched=False)
    writer.close()
    with pytest.raises(DatasetError, match="has no /scene_cloud"):
        read_bag(tmp_path / "bag")


def test_a_bag_can_be_looked_at_moment_by_moment(context: Context, tmp_path: Path) -> None:
    from udg_bringup.view.recordings import open_recording
    from udg_sim.objects.library import ObjectLibrary

    record(context, tmp_path / "bag")
    told: dict[str, list[Any]] = {}

    class Seen:
        def __getattr__(self, name: str) -> Any:  # noqa: ANN401
            return lambda *words: told.setdefault(name, []).append(words)

    recording = open_recording(tmp_path / "bag", ObjectLibrary())
    assert recording.times_s[:FRAMES].tolist() == pytest.approx([0.1 * step for step in range(FRAMES)])
    text = recording.show(Seen(), 2)  # type: ignore[arg-type]
    np.testing.assert_array_equal(told["set_q"][0][0], q_at(2))
    np.testing.assert_array_equal(told["set_cloud"][0][0], cloud_at(2))
    assert "soda_can, seed 3, trial 0: 0.2 s" in text
    assert len(recording.times_s) == 2 * FRAMES


def test_any_reader_reads_our_bag_without_being_told_the_types(context: Context, tmp_path: Path) -> None:
    record(context, tmp_path / "bag")
    with AnyReader([tmp_path / "bag"]) as reader:
        connection = next(c for c in reader.connections if c.topic == "/scene_cloud")
        _, _, raw = next(reader.messages(connections=[connection]))
        cloud: Any = reader.deserialize(raw, connection.msgtype)
    np.testing.assert_array_equal(np.frombuffer(cloud.data, dtype="<f4").reshape(-1, 4), cloud_at(0))


def bag_of(stamps_ns: list[int], states_ns: list[int]) -> Bag:
    """Clouds at these moments, and states and commands at those and a step later."""
    bag = Bag()
    for step, stamp_ns in enumerate(stamps_ns):
        bag.clouds.add(stamp_ns, cloud_at(step))
    for stamp_ns in states_ns:
        bag.states.add(stamp_ns, q_at(stamp_ns / STEP_NS))
        bag.commands.add(stamp_ns + STEP_NS, q_at(stamp_ns / STEP_NS) + 0.001)
    return bag


def test_frames_of_an_episode_are_a_step_apart() -> None:
    """The policy takes them to be: what a chunk is made of are the next frames."""
    thirty_hz = [step * STEP_NS // 3 for step in range(30)]
    (fast,) = (episode for _, episode in episodes_of(bag_of(thirty_hz, thirty_hz), "fast"))
    assert len(fast.q) == 10
    np.testing.assert_allclose(np.diff(fast.q, axis=0), 0.02, atol=1e-6)
    assert (fast.stage == NO_STAGE).all()
    ten_hz = [step * STEP_NS for step in range(12)]
    for rate_hz in (5, 15):  # 0.2 s and 0.133 s would be taken for 0.1 s
        odd = [round(step * 1e9 / rate_hz) for step in range(30)]
        with pytest.raises(DatasetError, match=r"odd: usable clouds are 0.(200|133) s apart; valid: 0.1 s"):
            list(episodes_of(bag_of(odd, odd), "odd"))
    twelve_hz = [round(step * 1e9 / 12) for step in range(12)]
    assert [len(one.q) for _, one in episodes_of(bag_of(twelve_hz, twelve_hz), "near")] == [12]
    lost = [ns for ns in ten_hz if ns != 5 * STEP_NS]
    for bag in (bag_of(lost, ten_hz), bag_of(ten_hz, lost)):  # a cloud, or its state and command
        parts = [episode for _, episode in episodes_of(bag, "gap")]
        assert [len(part.q) for part in parts] == [5, 6]
        for part in parts:
            np.testing.assert_allclose(np.diff(part.q, axis=0), 0.02, atol=1e-6)
