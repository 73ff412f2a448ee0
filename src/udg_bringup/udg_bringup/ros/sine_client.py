"""Makes the robot follow a sine: enables control and publishes chunks in the policy's place."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # its place in Humble and Jazzy
from rclpy.node import Node
from sensor_msgs.msg import JointState
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from udg_bringup.ros.running import RunningGraph
from udg_bringup.sine import Sine
from udg_description.errors import UdgError
from udg_description.ros import convert, topics
from udg_description.ros.spin import background_spin

POLL_S = 0.05
POLICY_CHUNK = topics.Topic(name="/policy/action_chunk", type=JointTrajectory)
"""Where the policy's own chunks go meanwhile."""


class SineError(UdgError):
    """The graph does not come up or stops."""


class SineClient(Node):
    """Publishes chunks of a sine from `start` on. Its callbacks must be spun by another thread than the caller's."""

    def __init__(self, graph: RunningGraph, sine: Sine, deadline_s: float) -> None:
        super().__init__("sine")
        self.policy_chunks = 0
        self.start_ns: int | None = None  # host clock
        self._graph, self._sine, self._deadline_s = graph, sine, deadline_s
        self._states = threading.Event()
        self._chunks = topics.publish(self, topics.ACTION_CHUNK)
        topics.subscribe(self, topics.JOINT_STATES, self._on_state)
        topics.subscribe(self, POLICY_CHUNK, self._on_policy_chunk)
        self._triggers = {
            service.name: self.create_client(service.type, service.name)
            for service in (topics.CONTROL_ENABLE, topics.CONTROL_DISABLE, topics.POLICY_START)
        }
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        group = MutuallyExclusiveCallbackGroup()
        self.create_timer(sine.step_s, self._publish, clock=steady, callback_group=group)

    def _on_state(self, _message: JointState) -> None:
        self._states.set()

    def _on_policy_chunk(self, _message: JointTrajectory) -> None:
        self.policy_chunks += 1

    def _publish(self) -> None:
        now_ns = time.time_ns()
        if self.start_ns is None:  # nothing to do yet
            self._chunks.publish(convert.chunk_to_trajectory(None, now_ns, self._sine.step_s))
            return
        chunk = self._sine.chunk((now_ns - self.start_ns) * 1e-9)
        self._chunks.publish(convert.chunk_to_trajectory(chunk, now_ns, self._sine.step_s, f"sine {self.start_ns}"))

    def begin(self, policy: bool) -> int:
        """Start the policy, enable control, begin the sine; returns its start [ns] by the host's clock."""
        self._until(self._states.is_set, "/joint_states is silent")
        if policy:
            self.call(topics.POLICY_START.name)
            self._until(lambda: self.policy_chunks > 0, "the policy sends no chunks")
        self._until(self._enabled, "control can't be enabled")
        self.start_ns = time.time_ns()
        return self.start_ns

    def _enabled(self) -> bool:
        """Ask for motion; refused as long as an input is missing."""
        try:
            self.call(topics.CONTROL_ENABLE.name)
        except SineError as error:
            self._refusal = str(error)
            return False
        return True

    def call(self, name: str) -> str:
        """Call a Trigger service; return its message. Raises SineError if it refuses or does not answer."""
        client = self._triggers[name]
        done = threading.Event()
        self._until(client.service_is_ready, f"service {name} is not there")
        future = client.call_async(Trigger.Request())
        future.add_done_callback(lambda _: done.set())
        self._until(done.is_set, f"service {name} does not answer")
        response = future.result()
        assert response is not None
        if not response.success:
            raise SineError(f"{name} refused: {response.message}")
        return response.message

    def _until(self, condition: object, complaint: str) -> None:
        assert callable(condition)
        deadline_s = time.monotonic() + self._deadline_s
        while not condition():
            self._graph.check()
            if time.monotonic() > deadline_s:
                refusal = getattr(self, "_refusal", "")
                raise SineError(f"{complaint} ({self._deadline_s:.0f} s){': ' + refusal if refusal else ''}")
            time.sleep(POLL_S)


@contextmanager
def sine_client(graph: RunningGraph, sine: Sine, deadline_s: float = 120.0) -> Iterator[SineClient]:
    """Give a client that is spun by its own thread."""
    client = SineClient(graph, sine, deadline_s)
    with background_spin(client):
        yield client
