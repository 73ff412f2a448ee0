"""The lockstep protocol of the sim node, with a scripted world behind it and a scripted control before it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from udg_description.clock import NS_PER_S

rclpy = pytest.importorskip("rclpy", reason="needs rclpy")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from rclpy.node import Node  # noqa: E402
from rclpy.parameter import Parameter  # noqa: E402
from sensor_msgs.msg import Image, JointState  # noqa: E402
from std_msgs.msg import String  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from udg_description.camera import default_cameras  # noqa: E402
from udg_description.layout import HOME_Q, JOINT_NAMES  # noqa: E402
from udg_description.ros import convert, topics  # noqa: E402
from udg_description.waiting import wait_until  # noqa: E402
from udg_sim.objects.library import UnknownObjectError  # noqa: E402
from udg_sim.ros.sim_node import TRIAL_STATUS, SimNode, SimNodeConfig  # noqa: E402
from udg_sim.trials.session import SimSession  # noqa: E402
from udg_sim.trials.status import TrialStatus  # noqa: E402

pytestmark = pytest.mark.ros
DEADLINE_S = 60.0  # of a busy machine


class ScriptedWorld:
    """Joints follow at once; the object rises by 1 mm a step from step `lift_at` on, and is gone from `fall_at` on."""

    def __init__(self, lift_at: int = 10**9, fall_at: int = 10**9) -> None:
        self.lift_at = lift_at
        self.fall_at = fall_at
        self.steps: list[int] = []

    def reset(self, q: np.ndarray, object: object, T_world_object: np.ndarray, *physics: object) -> None:
        self.q = np.array(q)
        self.qd = np.zeros_like(self.q)
        self.start = np.array(T_world_object)
        self.steps = []

    def settle(self) -> bool:
        return True

    def set_target(self, q: np.ndarray) -> None:
        self.q = np.array(q)

    def step(self, n: int) -> None:
        self.steps.append(n)

    def contacts(self, wanted: object) -> list[object]:
        del wanted
        return []

    @property
    def T_world_object(self) -> np.ndarray:
        T = self.start.copy()
        T[2, 3] -= 1.0 if sum(self.steps) >= self.fall_at else 0.0
        T[2, 3] += min(0.2, 1e-3 * max(0, sum(self.steps) - self.lift_at))
        return T


class OneObject:
    """A library of one object."""

    def get(self, spec: str) -> str:
        if spec != "cube":
            raise UnknownObjectError(f"object {spec!r} is not in the library; valid ids: cube")
        return spec


def place(_model: object, rng: np.random.Generator) -> np.ndarray:
    """Somewhere on the table."""
    T_world_object = np.eye(4)
    T_world_object[:3, 3] = [0.6, rng.uniform(-0.4, 0.4), 0.03]
    return T_world_object


class FlatRig:
    """Depth cameras that see their noise seed."""

    cameras = default_cameras()

    def reset(self, seed: int) -> None:
        self.seed = seed

    def render(self, q: np.ndarray, objects: object) -> list[np.ndarray]:
        return [np.full((576, 640), 500 + self.seed % 500, dtype=np.uint16)] * 2


class Neighbours(Node):
    """Control and perception in one: answers each state at once while `answering`, keeps what it hears."""

    def __init__(self, lockstep: bool) -> None:
        super().__init__("neighbours")
        self.answering = True
        self.shift = 0.0
        self.heard: list[tuple[str, int]] = []
        self.states: list[JointState] = []
        self.images: dict[int, Image] = {}
        self.statuses: list[TrialStatus] = []
        self.changed = threading.Condition()
        self.commands = topics.publish(self, topics.SIM_JOINT_COMMAND)
        topics.subscribe(self, topics.SIM_JOINT_STATES, self._on_state, depth=10)
        topics.subscribe(self, topics.depth_image("right_camera"), self._on_image, lockstep=lockstep)
        topics.subscribe(self, TRIAL_STATUS, self._on_status)
        self.reset = self.create_client(Trigger, topics.SIM_RESET.name)

    def _on_state(self, message: JointState) -> None:
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        with self.changed:
            self.heard.append(("state", stamp_ns))
            self.states.append(message)
            self.changed.notify_all()
        if self.answering:
            self.command(stamp_ns)

    def command(self, stamp_ns: int) -> None:
        """Send the command that belongs to a state."""
        self.commands.publish(convert.q_to_joint_state(HOME_Q + self.shift, stamp_ns))

    def _on_image(self, message: Image) -> None:
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        with self.changed:
            self.heard.append(("image", stamp_ns))
            self.images[stamp_ns] = message
            self.changed.notify_all()

    def _on_status(self, message: String) -> None:
        with self.changed:
            self.statuses.append(TrialStatus.from_json(message.data))
            self.changed.notify_all()

    def wait_for(self, condition: Callable[[], bool]) -> None:
        """Wait until it holds, with a deadline."""
        with self.changed:
            assert self.changed.wait_for(condition, timeout=DEADLINE_S)

    def call_reset(self) -> Trigger.Response:
        """Begin the next trial."""
        assert self.reset.wait_for_service(timeout_sec=DEADLINE_S)
        done = threading.Event()
        future = self.reset.call_async(Trigger.Request())
        future.add_done_callback(lambda _: done.set())
        assert done.wait(DEADLINE_S)
        return future.result()


class Rig:
    """A sim node and its neighbours, spun by one thread each."""

    def __init__(self, world: ScriptedWorld, parameters: dict[str, object]) -> None:
        words = [w for name, value in parameters.items() for w in ("-p", f"sim:{name}:={value}".lower())]
        rclpy.init(args=["--ros-args", *words], domain_id=101 - os.getpid() % 60)
        self.world = world
        self.neighbours = Neighbours(bool(parameters.get("lockstep", True)))
        self.sim = SimNode(self._make_session)
        self.executors = []
        for node in (self.neighbours, self.sim):
            executor = SingleThreadedExecutor()
            executor.add_node(node)
            thread = threading.Thread(target=executor.spin, daemon=True)
            thread.start()
            self.executors.append((executor, thread))

    def _make_session(self, config: SimNodeConfig) -> SimSession:
        return SimSession(
            library=OneObject(),
            world=self.world,
            rig=FlatRig(),
            trial_time_s=config.trial_time_s,
            place=place,
        )

    def wait_until_matched(self, listeners: int) -> None:
        """Wait until the sim node knows so many subscriptions to its state."""
        wait_until(lambda: self.sim._listeners() >= listeners, DEADLINE_S, f"{listeners} subscriptions")

    def close(self) -> None:
        """Stop the threads and ROS."""
        for executor, thread in self.executors:
            executor.shutdown()
            thread.join(DEADLINE_S)
        self.sim.destroy_node()
        self.neighbours.destroy_node()
        rclpy.shutdown()


@pytest.fixture
def make_bench() -> Iterator[Callable[..., Rig]]:
    """Make rigs that are closed at the end."""
    rigs: list[Rig] = []

    def make(world: ScriptedWorld | None = None, **parameters: object) -> Rig:
        rigs.append(Rig(world or ScriptedWorld(), {"object": "cube", "autostart": False, **parameters}))
        return rigs[-1]

    yield make
    for rig in rigs:
        rig.close()


def test_a_tick_is_24_physics_steps_and_10_commands_with_consecutive_stamps(make_bench: Callable[..., Rig]) -> None:
    rig = make_bench(trial_time_s=0.5)
    assert rig.neighbours.call_reset().success
    rig.neighbours.wait_for(lambda: bool(rig.neighbours.statuses) and rig.neighbours.statuses[-1].done)
    assert len(rig.world.steps) == 50
    assert [sum(rig.world.steps[i : i + 10]) for i in range(0, 50, 10)] == [24] * 5
    stamps = [convert.stamp_to_ns(state.header.stamp) for state in rig.neighbours.states]
    assert stamps == [stamps[0] + i * NS_PER_S // 100 for i in range(51)]
    assert list(rig.neighbours.images) == [stamps[0] + i * NS_PER_S // 10 for i in range(6)]
    assert list(rig.neighbours.states[0].name) == list(JOINT_NAMES)


def test_the_world_stands_still_until_the_command_with_the_stamp_of_its_state_comes(
    make_bench: Callable[..., Rig],
) -> None:
    rig = make_bench(command_deadline_s=0.5)
    neighbours = rig.neighbours
    neighbours.answering = False
    assert neighbours.call_reset().success
    neighbours.wait_for(lambda: bool(neighbours.states))
    stamp_ns = convert.stamp_to_ns(neighbours.states[0].header.stamp)
    neighbours.command(stamp_ns - NS_PER_S // 100)
    neighbours.command(stamp_ns + NS_PER_S // 100)
    neighbours.wait_for(lambda: len(neighbours.states) >= 2)  # the state is repeated
    assert {convert.stamp_to_ns(state.header.stamp) for state in neighbours.states} == {stamp_ns}
    assert rig.world.steps == []
    neighbours.shift = 0.01
    neighbours.command(stamp_ns)
    neighbours.wait_for(lambda: convert.stamp_to_ns(neighbours.states[-1].header.stamp) > stamp_ns)
    assert rig.world.steps == [2]
    np.testing.assert_array_equal(neighbours.states[-1].position, HOME_Q + 0.01)


def test_the_state_is_repeated_for_a_neighbour_that_comes_late_and_only_then(make_bench: Callable[..., Rig]) -> None:
    rig = make_bench(command_deadline_s=600.0)
    neighbours = rig.neighbours
    neighbours.answering = False
    rig.wait_until_matched(listeners=2)
    neighbours.call_reset()
    neighbours.wait_for(lambda: bool(neighbours.states))
    late: list[JointState] = []

    def on_state(message: JointState) -> None:
        with neighbours.changed:
            late.append(message)
            neighbours.changed.notify_all()

    topics.subscribe(neighbours, topics.SIM_JOINT_STATES, on_state)
    neighbours.wait_for(lambda: bool(late) and len(neighbours.states) == 2)
    assert late[0].header.stamp == neighbours.states[0].header.stamp


def test_images_leave_before_the_joint_states_of_their_tick(make_bench: Callable[..., Rig]) -> None:
    rig = make_bench()
    rig.neighbours.answering = False
    rig.neighbours.call_reset()
    rig.neighbours.wait_for(lambda: {kind for kind, _ in rig.neighbours.heard} == {"image", "state"})
    image = next(iter(rig.neighbours.images.values()))
    assert (image.encoding, image.width, image.height) == ("16UC1", 640, 576)
    assert image.header.stamp == rig.neighbours.states[0].header.stamp
    assert rig.neighbours.statuses[-1].image_sent_s > 0.0


def test_a_reset_with_the_same_seed_gives_the_same_start_at_a_later_time(make_bench: Callable[..., Rig]) -> None:
    rig = make_bench()
    neighbours = rig.neighbours
    neighbours.answering = False
    starts = []
    for trial in (3, 4, 3):
        rig.sim.set_parameters([Parameter("trial", value=trial)])
        neighbours.statuses.clear()
        neighbours.images.clear()
        assert neighbours.call_reset().success
        neighbours.wait_for(lambda: bool(neighbours.statuses) and bool(neighbours.images))
        image = convert.image_to_depth(next(iter(neighbours.images.values())))
        starts.append((neighbours.statuses[-1], int(image[0, 0])))
    assert starts[0][0].T_world_object == starts[2][0].T_world_object != starts[1][0].T_world_object
    assert starts[0][1] == starts[2][1] != starts[1][1]  # the noise, too
    assert [status.start_s for status, _ in starts] == [0.0, 100.0, 200.0]


def test_a_lift_of_a_second_ends_the_trial_with_success_and_halts_the_world(make_bench: Callable[..., Rig]) -> None:
    rig = make_bench(ScriptedWorld(lift_at=24))
    rig.neighbours.call_reset()
    rig.neighbours.wait_for(lambda: bool(rig.neighbours.statuses) and rig.neighbours.statuses[-1].done)
    status = rig.neighbours.statuses[-1]
    assert status.success
    assert status.raised_m == pytest.approx(0.2)
    # up by 0.17 m after 24 + 170 steps = 0.81 s, and for one second from then on
    assert status.time_s == pytest.approx(1.81, abs=0.03)
    assert len(rig.world.steps) == round(status.time_s * 100)


def test_a_fall_from_the_table_ends_the_trial_without_success(make_bench: Callable[..., Rig]) -> None:
    rig = make_bench(ScriptedWorld(fall_at=48))
    rig.neighbours.call_reset()
    rig.neighbours.wait_for(lambda: bool(rig.neighbours.statuses) and rig.neighbours.statuses[-1].done)
    assert not rig.neighbours.statuses[-1].success
    assert sum(rig.world.steps) >= 48


def test_an_unknown_object_is_refused_and_the_old_trial_stays(make_bench: Callable[..., Rig]) -> None:
    rig = make_bench()
    rig.neighbours.answering = False
    assert rig.neighbours.call_reset().success
    rig.sim.set_parameters([Parameter("object", value="no_such_thing")])
    response = rig.neighbours.call_reset()
    assert not response.success
    assert "no_such_thing" in response.message and "valid" in response.message
    rig.neighbours.wait_for(lambda: bool(rig.neighbours.states))
    stamp_ns = convert.stamp_to_ns(rig.neighbours.states[-1].header.stamp)
    rig.neighbours.command(stamp_ns)
    rig.neighbours.wait_for(lambda: convert.stamp_to_ns(rig.neighbours.states[-1].header.stamp) > stamp_ns)


def test_a_command_with_a_joint_missing_or_not_a_number_moves_nothing(make_bench: Callable[..., Rig]) -> None:
    rig = make_bench(command_deadline_s=0.5)
    neighbours = rig.neighbours
    neighbours.answering = False
    neighbours.call_reset()
    neighbours.wait_for(lambda: bool(neighbours.states))
    stamp_ns = convert.stamp_to_ns(neighbours.states[0].header.stamp)
    for bad in (HOME_Q + np.nan, HOME_Q[:35]):
        message = convert.q_to_joint_state(bad, stamp_ns)
        message.name = message.name[: len(bad)]
        neighbours.commands.publish(message)
    count = len(neighbours.states)
    neighbours.wait_for(lambda: len(neighbours.states) > count)  # the same state once more
    assert rig.world.steps == []


def test_in_real_time_the_world_goes_on_without_commands(make_bench: Callable[..., Rig]) -> None:
    rig = make_bench(lockstep=False)
    rig.neighbours.answering = False
    rig.neighbours.call_reset()
    rig.neighbours.wait_for(lambda: len(rig.neighbours.images) >= 3)
    assert sum(rig.world.steps) >= 48
    stamps = sorted(rig.neighbours.images)
    assert set(np.diff(stamps)) == {NS_PER_S // 10}
