"""The policy node: /scene_cloud and /joint_states in, /action_chunk out."""

from __future__ import annotations

import time
from collections import OrderedDict
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from geometry_msgs.msg import Point
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from sensor_msgs.msg import JointState, PointCloud2
from std_msgs.msg import ColorRGBA
from std_srvs.srv import Trigger
from visualization_msgs.msg import Marker, MarkerArray

from udg_description.errors import UdgError
from udg_description.layout import SIDES
from udg_description.ros import convert, topics
from udg_description.ros.diagnostics import Diagnostics, Level, Status
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_policy.engine import PolicyEngine
from udg_policy.episode import STEP_S
from udg_policy.errors import CheckpointError
from udg_policy.fingertips import FINGERS, fingertip_paths
from udg_policy.player import ChunkPlayer, PlayerConfig

_REPORT_PERIOD_S = 5.0
_KEPT_STATES = 200  # 2 s of joint states
_COLOURS = {"left": (0.20, 0.50, 0.95), "right": (0.95, 0.45, 0.15)}
_LINE_WIDTH_M = 0.003


@dataclass(frozen=True, kw_only=True)
class PolicyNodeConfig:
    """Parameters of the policy node."""

    checkpoint: Path | None = field(default=None, metadata={"description": "folder of the checkpoint (needed)"})
    lockstep: bool = field(
        default=False, metadata={"description": "cloud and joint state of one moment have equal stamps, none is lost"}
    )
    start: bool = field(default=False, metadata={"description": "act from the beginning, without /policy/start"})
    max_stamp_gap_s: float = field(
        default=0.05,
        metadata={"description": "real time: a cloud and its joint state may differ by this [s]", "range": (0.0, 1.0)},
    )
    stale_after_s: float = field(
        default=1.0, metadata={"description": "an input older than this is silent [s]", "range": (0.05, 60.0)}
    )
    player: PlayerConfig = field(default_factory=PlayerConfig)
    markers: bool = field(default=True, metadata={"description": "publish the predicted fingertip paths"})


class PolicyNode(Node):
    """Answers each cloud with one chunk of the cloud's stamp; a chunk without points means: hold."""

    def __init__(self, *, context: Context | None = None, parameter_overrides: list[Parameter] | None = None,
                 engine: PolicyEngine | None = None) -> None:
        super().__init__("policy", context=context, parameter_overrides=parameter_overrides)
        self.config = declare(self, PolicyNodeConfig)
        refuse_unknown(self)
        self.engine = engine if engine is not None else self._load()
        self.running = self.config.start
        self.act_ms = 0.0
        self._player = ChunkPlayer(self.config.player)
        self._states: OrderedDict[int, np.ndarray] = OrderedDict()  # stamp [ns] -> q
        self._waiting: tuple[int, np.ndarray] | None = None  # stamp and points of a cloud without its joint state
        self._error: UdgError | None = None
        self._answered = 0

        self._chunks = topics.publish(self, topics.ACTION_CHUNK)
        self._markers = topics.publish(self, topics.GRASP_MARKERS)
        diagnostics = Diagnostics(self)
        self._cloud_monitor = diagnostics.watch(topics.SCENE_CLOUD, max_age_s=self.config.stale_after_s)
        self._state_monitor = diagnostics.watch(topics.JOINT_STATES, max_age_s=self.config.stale_after_s)
        diagnostics.add("policy", self._status)
        topics.subscribe(self, topics.SCENE_CLOUD, self._on_cloud)
        topics.subscribe(self, topics.JOINT_STATES, self._on_joint_state, depth=_KEPT_STATES)
        self._serve(topics.POLICY_START, True)
        self._serve(topics.POLICY_STOP, False)

    def _load(self) -> PolicyEngine:
        if self.config.checkpoint is None:
            raise CheckpointError("node policy: parameter checkpoint is not set; it names the folder of a checkpoint")
        torch.set_num_threads(1)  # small products: one thread is the quickest, and the other nodes need the cores
        return PolicyEngine.load(self.config.checkpoint)

    def _serve(self, service: topics.ServiceName, running: bool) -> None:
        def serve(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            self.running = running
            self._player.reset()
            response.success, response.message = True, "running" if running else "stopped"
            return response

        self.create_service(service.type, service.name, serve)

    # --- inputs -----------------------------------------------------------------------------------------------------

    def _on_joint_state(self, message: JointState) -> None:
        self._state_monitor.tick()
        try:
            q = convert.joint_state_to_q(message)
        except UdgError as error:
            self._report(error)
            return
        self._states[convert.stamp_to_ns(message.header.stamp)] = q
        while len(self._states) > _KEPT_STATES:
            self._states.popitem(last=False)
        self._answer_waiting()

    def _on_cloud(self, message: PointCloud2) -> None:
        self._cloud_monitor.tick()
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        if not self.running:
            self._publish(None, stamp_ns)
            return
        try:
            points = convert.cloud_to_points(message)
        except UdgError as error:
            self._report(error)
            self._publish(None, stamp_ns)
            return
        if self._waiting is not None:  # its joint state never came
            self._publish(None, self._waiting[0])
        self._waiting = (stamp_ns, points)
        self._answer_waiting()

    def _state_at(self, stamp_ns: int) -> np.ndarray | None:
        """The joint state of a moment: exact, or in real time the nearest one within the allowed gap."""
        exact = self._states.get(stamp_ns)
        if exact is not None or self.config.lockstep or not self._states:
            return exact
        nearest = min(self._states, key=lambda other_ns: abs(other_ns - stamp_ns))
        gap_ns = convert.seconds_to_ns(self.config.max_stamp_gap_s)
        return self._states[nearest] if abs(nearest - stamp_ns) <= gap_ns else None

    # --- output -----------------------------------------------------------------------------------------------------

    def _answer_waiting(self) -> None:
        if self._waiting is None:
            return
        stamp_ns, points = self._waiting
        q = self._state_at(stamp_ns)
        if q is None:
            return
        self._waiting = None
        start_s = time.monotonic()
        chunk: np.ndarray | None = None
        try:
            chunk = self._act(points, q)
            self._error = None
        except UdgError as error:
            self._player.reset()
            self._report(error)
        self.act_ms = 1e3 * (time.monotonic() - start_s)
        self._publish(chunk, stamp_ns)
        if chunk is not None and self.config.markers and self._markers.get_subscription_count() > 0:
            self._markers.publish(path_markers(chunk, stamp_ns))

    def _act(self, points: np.ndarray, q: np.ndarray) -> np.ndarray | None:
        if not self._player.wants_chunk:
            return self._player.step()
        if not self.engine.sees_object(points):
            self._player.reset()
            return None
        return self._player.step(self.engine.act(points, q))

    def _publish(self, chunk: np.ndarray | None, stamp_ns: int) -> None:
        self._chunks.publish(convert.chunk_to_trajectory(chunk, stamp_ns, STEP_S))
        self._answered += 1

    # --- diagnostics ------------------------------------------------------------------------------------------------

    def _report(self, error: UdgError) -> None:
        self._error = error
        self.get_logger().error(f"holding: {error}", throttle_duration_sec=_REPORT_PERIOD_S)

    def _status(self) -> Status:
        values: dict[str, object] = {"act_ms": f"{self.act_ms:.2f}", "chunks": self._answered,
                                     "preset": self.engine.config.name}
        if self._error is not None:
            return Status(level=Level.ERROR, message=f"holding: {self._error}", values=values)
        return Status(message="running" if self.running else "stopped", values=values)


def path_markers(chunk: np.ndarray, stamp_ns: int) -> MarkerArray:
    """Lines of the predicted fingertip paths of a chunk (K, 36) in the world."""
    markers = MarkerArray()
    for side, paths in zip(SIDES, fingertip_paths(chunk), strict=True):
        red, green, blue = _COLOURS[side]
        for number, (finger, path) in enumerate(zip(FINGERS, paths, strict=True)):
            marker = Marker(header=convert.make_header(stamp_ns, "world"), ns=f"{side}_{finger}", id=number,
                            type=Marker.LINE_STRIP, action=Marker.ADD,
                            color=ColorRGBA(r=red, g=green, b=blue, a=0.9))
            marker.pose.orientation.w = 1.0
            marker.scale.x = _LINE_WIDTH_M
            marker.points = [Point(x=float(x), y=float(y), z=float(z)) for x, y, z in path]
            markers.markers.append(marker)
    return markers


def main() -> int:
    """Run the node until it is stopped; the process's exit code."""
    return run_node(PolicyNode)


if __name__ == "__main__":
    raise SystemExit(main())
