"""The policy node: /scene_cloud and /joint_states in, /action_chunk out."""

from __future__ import annotations

import os
import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import numpy as np
import torch
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState, PointCloud2
from std_srvs.srv import Trigger

from udg_description.clock import STEP_S
from udg_description.cloud_labels import LABEL_SEEN
from udg_description.errors import UdgError
from udg_description.frames import WORLD
from udg_description.ros import convert, topics
from udg_description.ros.diagnostics import Diagnostics, Level, Status
from udg_description.ros.one_publisher import subscribe_one
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_description.settings import setting
from udg_policy.episodes.grasp import PredictedGrasp
from udg_policy.errors import CheckpointError, ObservationError
from udg_policy.inference.engine import MIN_SEEN_POINTS, PolicyEngine, Prediction
from udg_policy.inference.player import ChunkPlayer, PlayerConfig
from udg_policy.inference.prepared import InferenceConfig
from udg_policy.inference.retry import Retry, RetryConfig
from udg_policy.ros.chunk_markers import ChunkMarkers

_REPORT_PERIOD_S = 5.0
_KEPT_STATES = 200  # 2 s of joint states, or of commands
_T = TypeVar("_T")


@dataclass(frozen=True, kw_only=True)
class PolicyNodeConfig:
    """Parameters of the policy node."""

    checkpoint: Path | None = setting(None, "folder of the checkpoint (needed)")
    lockstep: bool = setting(False, "cloud and joint state of one moment have equal stamps, none is lost")
    start: bool = setting(False, "act from the beginning, without /policy/start")
    max_stamp_gap_s: float = setting(0.05, "real time: a cloud and its joint state may differ by this [s]", 0.0, 1.0)
    stale_after_s: float = setting(1.0, "an input older than this is silent [s]", 0.05, 60.0)
    player: PlayerConfig = field(default_factory=PlayerConfig)
    retry: RetryConfig = field(default_factory=RetryConfig)
    inference: InferenceConfig = field(default_factory=InferenceConfig)
    markers: bool = setting(True, "publish the predicted hands and fingertip paths")


class PolicyNode(Node):
    """Answers each cloud with one chunk of the cloud's stamp; a chunk without points means: hold.

    A cloud that comes again gets the same chunk again. Whatever is wrong with an input, the answer is to hold, and
    /diagnostics says why.
    """

    def __init__(
        self,
        *,
        context: Context | None = None,
        parameter_overrides: list[Parameter] | None = None,
        engine: PolicyEngine | None = None,
    ) -> None:
        super().__init__("policy", context=context, parameter_overrides=parameter_overrides)
        self.config = declare(self, PolicyNodeConfig)
        refuse_unknown(self)
        self.engine = engine if engine is not None else self._load()
        self.running = self.config.start
        self._run = _name_of_run()
        self.act_ms = 0.0
        self.markers_ms = 0.0
        self._player = ChunkPlayer(self.config.player)
        self._retry = Retry(self.config.retry)
        self._acted_ns: int | None = None  # stamp of the newest cloud acted on
        self._planned_ns: int | None = None  # and of the newest that was planned for
        self._played: tuple[int, np.ndarray] | None = None  # stamp [ns] and answer of the player's moment
        self._grasp: PredictedGrasp | None = None  # of the newest plan
        self._states: OrderedDict[int, np.ndarray | UdgError] = OrderedDict()  # stamp [ns] -> q, or what is wrong
        self._commands: OrderedDict[int, np.ndarray] = OrderedDict()  # stamp [ns] -> what left the real safety filter
        self._waiting: tuple[int, np.ndarray] | None = None  # stamp and points of a cloud without its joint state
        self._error: UdgError | None = None
        self._unseen: str | None = None  # why there is nothing to act on
        self._answered = 0
        self._bad_inputs = 0

        self._chunks = topics.publish(self, topics.ACTION_CHUNK)
        self._markers = topics.publish(self, topics.GRASP_MARKERS)
        self._drawing = ChunkMarkers(self.config.stale_after_s)
        self._diagnostics = Diagnostics(self)
        self._cloud_monitor = self._diagnostics.watch(topics.SCENE_CLOUD, max_age_s=self.config.stale_after_s)
        self._state_monitor = self._diagnostics.watch(topics.JOINT_STATES, max_age_s=self.config.stale_after_s)
        self._diagnostics.add("policy", self._status)
        topics.subscribe(self, topics.SCENE_CLOUD, self._on_cloud)
        subscribe_one(self, topics.JOINT_STATES, self._on_joint_state, depth=_KEPT_STATES)
        if self.engine.sees_following_error and not self.config.lockstep:
            topics.subscribe(self, topics.JOINT_COMMAND, self._on_joint_command, depth=_KEPT_STATES)
        self._serve(topics.POLICY_START, True)
        self._serve(topics.POLICY_STOP, False)

    def _load(self) -> PolicyEngine:
        if self.config.checkpoint is None:
            raise CheckpointError("node policy: parameter checkpoint is not set; it names the folder of a checkpoint")
        torch.set_num_threads(1)  # beside the network: small products, and the other nodes need the cores
        return PolicyEngine.load(self.config.checkpoint, self.config.inference)

    def _serve(self, service: topics.ServiceName, running: bool) -> None:
        def serve(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            if running:
                self._announce()
            self.running = running
            self._error = self._unseen = None
            if not self.config.lockstep:  # there each cloud has exactly one answer
                self._waiting = None  # what came before is of another run
            self._forget()
            self._draw(None, self.get_clock().now().nanoseconds)
            response.success, response.message = True, "running" if running else "stopped"
            return response

        self.create_service(service.type, service.name, serve)

    def _announce(self) -> None:
        """Begin a run: end the one before, tell the name of the new one. Its chunks count from here on."""
        ended, self._run = self._run, _name_of_run()
        if not self.config.lockstep:  # there each cloud has exactly one answer
            stamp_ns = self.get_clock().now().nanoseconds
            for run in (ended, self._run):
                self._chunks.publish(convert.chunk_to_trajectory(None, stamp_ns, STEP_S, run))

    def _forget(self) -> None:
        self._drop_chunks()
        self._player.reset()
        self._retry.reset()
        self._acted_ns = self._planned_ns = None

    def _drop_chunks(self) -> None:
        self._player.drop()
        self._played = self._grasp = None

    # --- inputs -----------------------------------------------------------------------------------------------------

    def _on_joint_state(self, message: JointState) -> None:
        self._state_monitor.tick()
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        if self._states and stamp_ns < next(reversed(self._states)):
            self._states.clear()  # the clock was reset
        try:
            self._states[stamp_ns] = convert.joint_state_to_finite_q(message)
        except UdgError as error:
            self._state_monitor.reject(error)
            self._states[stamp_ns] = ObservationError(f"{topics.JOINT_STATES.name}: {error}")
        while len(self._states) > _KEPT_STATES:
            self._states.popitem(last=False)
        self._answer_waiting()

    def _on_joint_command(self, message: JointState) -> None:
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        try:
            command = convert.joint_state_to_finite_q(message)
        except UdgError as error:
            self.get_logger().error(
                f"{topics.JOINT_COMMAND.name}: {error}; ignored", throttle_duration_sec=_REPORT_PERIOD_S
            )
            return
        if self._commands and stamp_ns < next(reversed(self._commands)):
            self._commands.clear()  # the clock was reset
        self._commands[stamp_ns] = command
        while len(self._commands) > _KEPT_STATES:
            self._commands.popitem(last=False)

    def _on_cloud(self, message: PointCloud2) -> None:
        self._cloud_monitor.tick()
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        if not self.running:
            self._publish(None, stamp_ns)
            return
        if self._waiting is not None and self._waiting[0] != stamp_ns:
            late_ns, _ = self._waiting
            self._waiting = None
            self._hold(
                ObservationError(
                    f"{topics.JOINT_STATES.name}: none of the moment of the cloud came before the "
                    f"next cloud (stamp {late_ns * 1e-9:.3f} s)"
                ),
                late_ns,
            )
        try:
            if message.header.frame_id != WORLD:
                raise ObservationError(f"in frame '{message.header.frame_id}'; valid: '{WORLD}'")
            points = convert.cloud_to_points(message)
            if not np.isfinite(points).all():
                raise ObservationError(f"{np.count_nonzero(~np.isfinite(points))} values are not finite")
        except UdgError as error:
            self._cloud_monitor.reject(error)
            self._hold(ObservationError(f"{topics.SCENE_CLOUD.name}: {error}"), stamp_ns)
            return
        self._waiting = (stamp_ns, points)
        self._answer_waiting()

    def _state_at(self, stamp_ns: int) -> np.ndarray | UdgError | None:
        """The joint state of a moment: exact, or in real time the nearest one within the allowed gap."""
        exact = self._states.get(stamp_ns)
        if exact is not None or self.config.lockstep or not self._states:
            return exact
        return self._nearest(self._states, stamp_ns)

    def _nearest(self, of_moments: OrderedDict[int, _T], stamp_ns: int) -> _T | None:
        """What is known of the moment nearest to `stamp_ns`, within the allowed gap."""
        if not of_moments:
            return None
        nearest = min(of_moments, key=lambda other_ns: abs(other_ns - stamp_ns))
        gap_ns = convert.seconds_to_ns(self.config.max_stamp_gap_s)
        return of_moments[nearest] if abs(nearest - stamp_ns) <= gap_ns else None

    def _commanded_at(self, stamp_ns: int) -> np.ndarray | None:
        """What the joints were told to be at a moment: what left the robot's filter if that is heard, which may be
        slower than the chunk; else what the chunk had for it."""
        commanded = self._nearest(self._commands, stamp_ns)
        return self._player.commanded if commanded is None else commanded

    # --- output -----------------------------------------------------------------------------------------------------

    def _answer_waiting(self) -> None:
        if self._waiting is None:
            return
        stamp_ns, points = self._waiting
        q = self._state_at(stamp_ns)
        if q is None:
            return
        self._waiting = None
        if not self.running:
            self._publish(None, stamp_ns)
            return
        start_s = time.monotonic()
        try:
            if isinstance(q, UdgError):
                raise q
            chunk = self._act(points, q, stamp_ns)
        except UdgError as error:
            self._hold(error, stamp_ns)
            return
        self._error = None
        self.act_ms = 1e3 * (time.monotonic() - start_s)
        self._publish(chunk, stamp_ns)

    def _act(self, points: np.ndarray, q: np.ndarray, stamp_ns: int) -> np.ndarray | None:
        """What to execute from `stamp_ns` on; None if there is no object to act on."""
        if self._acted_ns is not None and stamp_ns < self._acted_ns:
            self._forget()  # the clock was reset
        self._acted_ns = stamp_ns
        if self._played is not None:
            played_ns, answer = self._played
            if stamp_ns == played_ns:
                return answer
            self._player.advance((stamp_ns - played_ns) / convert.seconds_to_ns(STEP_S))
        planned: np.ndarray | None = None
        if self._player.wants_chunk:
            plan = self._plan(points, q, stamp_ns)
            if plan is None:
                seen = int(np.count_nonzero(points[:, 3] == LABEL_SEEN))
                self._unseen = f"no object: {seen} of {len(points)} points are seen, {MIN_SEEN_POINTS} are needed"
                self._drop_chunks()
                return None
            planned, self._grasp = plan
        self._unseen = None
        chunk = self._player.play(planned)
        if not np.isfinite(chunk).all():
            raise ObservationError("the policy's targets are not finite")
        self._played = stamp_ns, chunk
        return chunk

    def _plan(self, points: np.ndarray, q: np.ndarray, stamp_ns: int) -> Prediction | None:
        """A chunk from `stamp_ns` on: the way back after an attempt that failed, else what the network wants if there
        is an object to act on."""
        before_ns, self._planned_ns = self._planned_ns, stamp_ns
        steps = 1.0 if before_ns is None else (stamp_ns - before_ns) / convert.seconds_to_ns(STEP_S)
        retries = self._retry.retries
        back = self._retry.lead_back(points, q, self.engine.chunk, steps)
        if self._retry.retries > retries:
            self.get_logger().info(f"the object hasn't risen, or was lost: leading back for attempt {retries + 2}")
        if back is not None:
            return Prediction(back, None)
        if not self.engine.sees_object(points):
            return None
        engine = self.engine.for_attempt(self._retry.retries)
        return engine.predict(points, q, commanded=self._commanded_at(stamp_ns))

    def _hold(self, error: UdgError, stamp_ns: int) -> None:
        """Answer a cloud with nothing to do, and tell why: at once if it is news."""
        self._publish(None, stamp_ns)
        self._drop_chunks()
        self._planned_ns = None  # the time until the next plan is not the attempt's
        is_news = str(error) != str(self._error)
        self._error = error
        self._bad_inputs += 1
        self.get_logger().error(f"holding: {error}", throttle_duration_sec=_REPORT_PERIOD_S)
        if is_news:
            self._diagnostics.publish()

    def _publish(self, chunk: np.ndarray | None, stamp_ns: int) -> None:
        self._chunks.publish(convert.chunk_to_trajectory(chunk, stamp_ns, STEP_S, self._run))
        self._answered += 1
        self._draw(chunk, stamp_ns)

    def _draw(self, chunk: np.ndarray | None, stamp_ns: int) -> None:
        """Show the chunk to subscribers; delete the old markers when there is none."""
        start_s = time.monotonic()
        message = None
        if chunk is None:
            message = self._drawing.clear(stamp_ns)
        elif self.config.markers and self._markers.get_subscription_count() > 0:
            message = self._drawing.show(chunk, stamp_ns, self._grasp)
        if message is not None:
            self._markers.publish(message)
            self.markers_ms = 1e3 * (time.monotonic() - start_s)

    # --- diagnostics ------------------------------------------------------------------------------------------------

    def _status(self) -> Status:
        values: dict[str, object] = {
            "act_ms": f"{self.act_ms:.2f}",
            "markers_ms": f"{self.markers_ms:.2f}",
            "chunks": self._answered,
            "retries": self._retry.retries,
            "bad_inputs": self._bad_inputs,
            "preset": self.engine.config.name,
        }
        if self._error is not None:
            return Status(level=Level.ERROR, message=f"holding: {self._error}", values=values)
        if self._unseen is not None:
            return Status(level=Level.WARN, message=f"holding: {self._unseen}", values=values)
        return Status(message="running" if self.running else "stopped", values=values)


def _name_of_run() -> str:
    """A name that no other run has, of no other policy node either."""
    return f"run {time.time_ns()} of {os.getpid()}"


def main() -> int:
    """Run the node until it is stopped; the process's exit code."""
    return run_node(PolicyNode)


if __name__ == "__main__":
    raise SystemExit(main())
