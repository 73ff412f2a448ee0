"""The runner's own node: sets up trials by parameters and services, watches them by topics."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TypeVar

from builtin_interfaces.msg import Time
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from udg_bringup.ros.running import RunningGraph
from udg_bringup.stages import StageClock
from udg_description.camera import DEFAULT_CAMERAS
from udg_description.errors import UdgError
from udg_description.ros import convert, topics
from udg_description.ros.spin import background_spin
from udg_sim.ros.sim_node import TRIAL_STATUS
from udg_sim.trials.session import TrialSpec
from udg_sim.trials.status import TrialStatus

POLL_S = 0.05
LOOP = (
    topics.SIM_JOINT_STATES,
    topics.JOINT_STATES,
    topics.SCENE_CLOUD,
    topics.ACTION_CHUNK,
    topics.SIM_JOINT_COMMAND,
)
Response = TypeVar("Response")


class TrialError(UdgError):
    """The graph does not do what a trial needs."""


@dataclass(frozen=True, kw_only=True)
class Deadlines:
    """How long the runner waits, in wall-clock time."""

    service_s: float = 60.0  # a node that is loading, an object that is prepared for the first time
    silence_s: float = 150.0  # no tick of the running trial; longer than the nodes' own deadlines


class TrialClient(Node):
    """Runs trials in the graph. Its callbacks must be spun by another thread than the one that calls it."""

    def __init__(
        self,
        graph: RunningGraph,
        deadlines: Deadlines | None = None,
        *,
        cameras: Sequence[str] = DEFAULT_CAMERAS,
        watch_commands: bool = False,
    ) -> None:
        super().__init__("trials")
        self.stages = StageClock()
        self._graph, self._cameras = graph, cameras
        self._deadlines = deadlines or Deadlines()
        self._statuses: list[TrialStatus] = []
        self._arrived = threading.Event()
        self._triggers: dict[str, Client] = {
            service.name: self.create_client(service.type, service.name)
            for service in (
                topics.POLICY_START,
                topics.POLICY_STOP,
                topics.CONTROL_ENABLE,
                topics.CONTROL_DISABLE,
                topics.SIM_RESET,
            )
        }
        self._parameter_client = self.create_client(SetParameters, "/sim/set_parameters")
        topics.subscribe(self, TRIAL_STATUS, self._on_status)
        topics.subscribe(self, topics.SCENE_CLOUD, self._on_cloud, depth=5)
        topics.subscribe(self, topics.ACTION_CHUNK, self._on_chunk, depth=5)
        if watch_commands:  # in real time the simulation can't tell which command answers which image
            topics.subscribe(self, topics.SIM_JOINT_COMMAND, self._on_command)

    # --- topics -----------------------------------------------------------------------------------------------------

    def _on_status(self, message: String) -> None:
        status = TrialStatus.from_json(message.data)
        stamp_ns = round((status.start_s + status.time_s) * 1e9)
        self.stages.image(stamp_ns, status.image_sent_s, status.tick_ms)
        self._statuses.append(status)
        self._arrived.set()

    def _on_cloud(self, message: PointCloud2) -> None:
        self.stages.cloud(_ns(message.header.stamp), time.monotonic())

    def _on_chunk(self, message: JointTrajectory) -> None:
        self.stages.chunk(_ns(message.header.stamp), time.monotonic())

    def _on_command(self, _message: JointState) -> None:
        self.stages.command(time.monotonic())

    # --- trials -----------------------------------------------------------------------------------------------------

    def wait_until_ready(self) -> None:
        """Wait for every service and both ends of every topic of the loop.

        Raises TrialError naming the one that is missing, or what ended a node.
        """
        deadline_s = time.monotonic() + self._deadlines.service_s
        for name, client in [*self._triggers.items(), ("/sim/set_parameters", self._parameter_client)]:
            while not client.wait_for_service(timeout_sec=POLL_S):
                self._graph.check()
                if time.monotonic() > deadline_s:
                    raise TrialError(f"service {name} did not appear within {self._deadlines.service_s:.0f} s")
        for topic in (*map(topics.depth_image, self._cameras), *LOOP):
            while not (self.count_publishers(topic.name) and self.count_subscribers(topic.name)):
                self._graph.check()
                if time.monotonic() > deadline_s:
                    raise TrialError(f"topic {topic.name} has no publisher or no subscriber")
                time.sleep(POLL_S)

    def begin(self, spec: TrialSpec) -> None:
        """Enable control and start the policy, then begin the trial.

        The simulation stands still until the reset: so the very first state of the trial meets a policy and a
        control that run, and the trial goes the same way whatever the speed of this machine.
        """
        self.end()
        self._choose({"object": spec.object, "seed": spec.seed, "trial": spec.trial})
        self.call(topics.CONTROL_ENABLE.name)
        self.call(topics.POLICY_START.name)
        self._statuses.clear()
        self.call(topics.SIM_RESET.name)

    def end(self) -> None:
        """Stop policy and control."""
        self.call(topics.POLICY_STOP.name)
        self.call(topics.CONTROL_DISABLE.name)

    def watch(self, spec: TrialSpec, on_status: Callable[[TrialStatus], bool]) -> TrialStatus:
        """Hand each tick's status of the trial to `on_status` until it returns False or the trial is done.

        Raises TrialError naming the silent topic when the trial stops moving.
        """
        heard_s = time.monotonic()
        while True:
            self._graph.check()
            if self._arrived.wait(POLL_S):
                self._arrived.clear()
            while self._statuses:
                status = self._statuses.pop(0)
                if (status.object, status.seed, status.trial) != (spec.object, spec.seed, spec.trial):
                    continue
                heard_s = time.monotonic()
                if not on_status(status) or status.done:
                    return status
            if time.monotonic() - heard_s > self._deadlines.silence_s:
                raise TrialError(
                    f"trial {spec.trial} ({spec.object}) has not advanced for {self._deadlines.silence_s:.0f} s: "
                    f"{self.stages.waiting_for()}"
                )

    # --- services ---------------------------------------------------------------------------------------------------

    def call(self, name: str) -> str:
        """Call a Trigger service; return its message. Raises TrialError if it refuses or does not answer."""
        response = self._answer(self._triggers[name], Trigger.Request(), Trigger.Response, name)
        if not response.success:
            raise TrialError(f"{name} refused: {response.message}")
        return response.message

    def _choose(self, values: dict[str, str | int]) -> None:
        request = SetParameters.Request(
            parameters=[Parameter(name, value=value).to_parameter_msg() for name, value in values.items()]
        )
        response = self._answer(self._parameter_client, request, SetParameters.Response, "/sim/set_parameters")
        for name, result in zip(values, response.results, strict=True):
            if not result.successful:
                raise TrialError(f"the sim node refused parameter '{name}' = {values[name]!r}: {result.reason}")

    def _answer(self, client: Client, request: object, response_type: type[Response], name: str) -> Response:
        done = threading.Event()
        future = client.call_async(request)
        future.add_done_callback(lambda _: done.set())
        deadline_s = time.monotonic() + self._deadlines.service_s
        while not done.wait(POLL_S):
            self._graph.check()
            if time.monotonic() > deadline_s:
                raise TrialError(f"service {name} did not answer within {self._deadlines.service_s:.0f} s")
        response = future.result()
        assert isinstance(response, response_type)
        return response


@contextmanager
def trial_client(
    graph: RunningGraph,
    deadlines: Deadlines | None = None,
    *,
    cameras: Sequence[str] = DEFAULT_CAMERAS,
    watch_commands: bool = False,
) -> Iterator[TrialClient]:
    """Give a client that is spun by its own thread, once every service of the graph is there."""
    client = TrialClient(graph, deadlines, cameras=cameras, watch_commands=watch_commands)
    with background_spin(client):
        client.wait_until_ready()
        yield client


def _ns(stamp: Time) -> int:
    return convert.stamp_to_ns(stamp)
