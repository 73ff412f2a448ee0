"""The planner in the policy's place: it knows the simulated object, plans once a trial, and plays its targets."""

from __future__ import annotations

import os
import time

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import PointCloud2
from std_msgs.msg import String
from std_srvs.srv import Trigger

from udg_datagen.evaluation.planner_policy import PlannerPolicy
from udg_datagen.evaluation.policy import PolicyFault, Start
from udg_description.clock import NS_PER_S, STEP_S
from udg_description.ros import convert, topics
from udg_description.ros.diagnostics import Diagnostics, Level, Status
from udg_description.ros.params import refuse_unknown
from udg_description.ros.spin import run_node
from udg_policy.config import DecoderConfig
from udg_sim.objects.library import ObjectLibrary
from udg_sim.ros.sim_node import TRIAL_STATUS
from udg_sim.trials.status import TrialStatus

CHUNK = DecoderConfig().chunk  # targets of an answer


class PlannerNode(Node):
    """Answers each cloud of a simulated trial with the plan from there on; without a plan it holds. Lockstep only."""

    def __init__(self) -> None:
        super().__init__("policy")
        refuse_unknown(self)
        self._policy = PlannerPolicy()
        self._library = ObjectLibrary()
        self._running = False
        self._run = ""
        self._newest: TrialStatus | None = None
        self._trial: tuple[str, int, int, float] | None = None  # object, seed, trial, start: of the plan
        self._begins_s = 0.0  # when the first target is due
        self._targets = np.zeros((0, 0))
        self._problem = ""
        self._waiting_ns: int | None = None  # stamp of a cloud whose trial is not known yet
        self._chunks = topics.publish(self, topics.ACTION_CHUNK)
        Diagnostics(self).add("policy", self._status)
        topics.subscribe(self, TRIAL_STATUS, self._on_status)
        topics.subscribe(self, topics.SCENE_CLOUD, self._on_cloud)
        self._serve(topics.POLICY_START, True)
        self._serve(topics.POLICY_STOP, False)

    def _serve(self, service: topics.ServiceName, running: bool) -> None:
        def serve(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            self._running, self._trial, self._waiting_ns = running, None, None
            self._run = f"run {time.time_ns()} of {os.getpid()}"
            response.success, response.message = True, "running" if running else "stopped"
            return response

        self.create_service(service.type, service.name, serve)

    def _on_status(self, message: String) -> None:
        """Plan when a trial has begun, or this node was started in the midst of one."""
        status = self._newest = TrialStatus.from_json(message.data)
        if not self._running or _trial(status) == self._trial:
            return
        self._plan(status)
        if self._waiting_ns is not None:
            self._answer(self._waiting_ns)

    def _plan(self, status: TrialStatus) -> None:
        """The trial's targets, from where robot and object are at the status's time."""
        self._trial, self._begins_s = _trial(status), _now_s(status)
        self._targets, self._problem = np.zeros((0, 0)), ""
        start = Start(
            target=self._library.get(status.object),
            T_world_object=np.array(status.T_world_object),
            q=np.array(status.q),
            seed=status.seed,
        )
        try:
            self._policy.reset(start)
            self._targets = self._policy.targets
        except PolicyFault as fault:
            self._problem = str(fault)
            self.get_logger().error(f"holding: {fault}")

    def _on_cloud(self, message: PointCloud2) -> None:
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        if self._running and self._trial is None:
            newest = self._newest
            if newest is None or abs(_now_s(newest) - stamp_ns / NS_PER_S) > 0.5 * STEP_S:
                self._waiting_ns = stamp_ns  # its status comes yet
                return
            self._plan(newest)  # it came before this node was started
        self._answer(stamp_ns)

    def _answer(self, stamp_ns: int) -> None:
        self._waiting_ns = None
        chunk: np.ndarray | None = None
        if self._running and self._trial is not None and len(self._targets):
            step = round((stamp_ns / NS_PER_S - self._begins_s) / STEP_S)
            chunk = self._targets[np.clip(step + np.arange(CHUNK), 0, len(self._targets) - 1)]
        self._chunks.publish(convert.chunk_to_trajectory(chunk, stamp_ns, STEP_S, self._run))

    def _status(self) -> Status:
        if self._problem:
            return Status(level=Level.ERROR, message=f"holding: {self._problem}")
        return Status(message="running" if self._running else "stopped")


def _trial(status: TrialStatus) -> tuple[str, int, int, float]:
    return status.object, status.seed, status.trial, status.start_s


def _now_s(status: TrialStatus) -> float:
    return status.start_s + status.time_s


def main() -> int:
    """Run the node until it is stopped; the process's exit code."""
    return run_node(PlannerNode)


if __name__ == "__main__":
    raise SystemExit(main())
