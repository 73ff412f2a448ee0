"""The sim node: the robot's devices and cameras, simulated, behind the same topics."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace

import numpy as np
from rclpy.clock import Clock, ClockType
from rclpy.node import Node
from rosgraph_msgs.msg import Clock as ClockMessage
from sensor_msgs.msg import JointState
from std_msgs.msg import String
from std_srvs.srv import Trigger

from udg_description import topic_names
from udg_description.camera import cameras_of
from udg_description.errors import UdgError
from udg_description.ros import convert, diagnostics, topics
from udg_description.ros.params import declare
from udg_description.ros.spin import run_node
from udg_description.settings import setting
from udg_sim.ros.camera_output import CameraOutput
from udg_sim.trials.session import COMMAND_HZ, SimSession, TrialSpec
from udg_sim.trials.status import TrialStatus

TRIAL_STATUS = topics.Topic(name=topic_names.TRIAL_STATUS, type=String, depth=10, latched=True)
WATCH_PERIOD_S = 0.5
MAX_LAG_S = 0.25  # further behind than this, real time is given up and the lag reported


@dataclass(frozen=True, kw_only=True)
class SimNodeConfig:
    """Parameters of the sim node that are fixed at its start."""

    lockstep: bool = setting(True, "step only when the command for the time has come")
    noise: bool = setting(True, "Kinect-like noise on the depth images")
    image_hz: int = setting(10, "rate of the depth images in real time [1/s]", choices=(10, 20, 25))
    autostart: bool = setting(True, "begin the first trial at once; else stand still until /sim/reset")
    trial_time_s: float = setting(0.0, "in lockstep, halt so long after the start [s]; 0 = never", 0.0, 90.0)
    command_deadline_s: float = setting(5.0, "lockstep: report a command that is later than this [s]", 0.5, 600.0)
    camera_config: str = setting("", "file of the cameras to simulate; empty: the default cameras")


class SimNode(Node):
    """Publishes clock, joint states and depth images; applies joint commands; /sim/reset loads the next trial.

    The trial is named by the parameters `object`, `seed` and `trial`, read at the start and at each reset.
    In lockstep the world stands still until the command with the stamp of its state has come, and for good when the
    trial is over (success, object fallen, `trial_time_s`), until the next reset.
    """

    def __init__(self, make_session: Callable[[SimNodeConfig], SimSession] | None = None) -> None:
        super().__init__("sim")
        self.config = declare(self, SimNodeConfig)
        self.declare_parameter("object", "soda_can")
        self.declare_parameter("seed", 0)
        self.declare_parameter("trial", 0)
        self._session = (make_session or _make_session)(self.config)
        self._commanded: np.ndarray | None = None  # newest command, real time only
        self._image_sent_s = math.nan
        self._tick_ms = math.nan
        self._listeners_told = 0
        self._sent_s = math.inf

        lockstep = self.config.lockstep
        self._clock_out = topics.publish(self, topics.CLOCK)
        self._joint_states = topics.publish(self, topics.SIM_JOINT_STATES)
        self._cameras = CameraOutput(self, self._session.cameras, lockstep=lockstep)
        self._photographer = ThreadPoolExecutor(max_workers=1, thread_name_prefix="cameras")
        self._photo: Future[None] | None = None  # real time: images under way
        self._status = topics.publish(self, TRIAL_STATUS)
        topics.subscribe(self, topics.SIM_JOINT_COMMAND, self._on_command)
        self.create_service(Trigger, topics.SIM_RESET.name, self._on_reset)

        self._diagnostics = diagnostics.Diagnostics(self)
        self._command_monitor = diagnostics.InputMonitor(
            topics.SIM_JOINT_COMMAND.name, max_age_s=self.config.command_deadline_s
        )
        self._diagnostics.add("joint command", self._command_monitor.status)

        if self.config.autostart:
            self._begin(self._trial_spec())
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        if lockstep:
            self.create_timer(WATCH_PERIOD_S, self._watch, clock=steady)
        else:
            self.create_timer(1.0 / COMMAND_HZ, self._run_to_now, clock=steady)

    # --- trials -----------------------------------------------------------------------------------------------------

    def _trial_spec(self) -> TrialSpec:
        return TrialSpec(
            object=str(self.get_parameter("object").value),
            seed=int(self.get_parameter("seed").value),
            trial=int(self.get_parameter("trial").value),
        )

    def _begin(self, spec: TrialSpec) -> None:
        if self._photo is not None:
            wait([self._photo])
        self._session.load(spec)
        self._commanded = None
        self._tick_ms = math.nan
        self._anchor_s = time.monotonic()
        if self.config.lockstep:
            self._listeners_told = self._listeners()
            self._publish_state()

    def _on_reset(self, _request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        """Begin the trial that the parameters name; on an error the old one continues."""
        try:
            spec = self._trial_spec()
            self._begin(spec)
        except UdgError as error:
            response.success, response.message = False, str(error)
            return response
        response.success, response.message = True, f"{spec.object}, seed {spec.seed}, trial {spec.trial}"
        return response

    # --- commands ---------------------------------------------------------------------------------------------------

    def _on_command(self, message: JointState) -> None:
        arrived_s = time.monotonic()
        self._command_monitor.tick()
        try:
            q_target = convert.joint_state_to_finite_q(message)
        except UdgError as error:
            self._command_monitor.reject(error)
            self.get_logger().error(f"{topics.SIM_JOINT_COMMAND.name}: {error}; ignored", throttle_duration_sec=1.0)
            return
        if not self.config.lockstep:
            self._commanded = q_target
            return
        session = self._session
        if not session.running or convert.stamp_to_ns(message.header.stamp) != session.stamp_ns:
            return  # an answer to an earlier trial, or a second one to this state
        if session.is_tick:
            self._tick_ms = 1e3 * (arrived_s - self._image_sent_s)
        session.advance(q_target)
        self._publish_state()

    def _watch(self) -> None:
        """Lockstep: repeat the state when a neighbour has come late, or when its command does not come."""
        if not self._session.running:
            return
        listeners = self._listeners()
        late_s = time.monotonic() - self._sent_s
        if late_s > self.config.command_deadline_s:
            self.get_logger().error(
                f"no {topics.SIM_JOINT_COMMAND.name} for the state of {self._session.stamp_ns * 1e-9:.2f} s "
                f"since {late_s:.1f} s (is control running? is {topics.ACTION_CHUNK.name} there?); still waiting"
            )
        elif listeners <= self._listeners_told:
            return
        self._listeners_told = listeners
        self._sent_s = time.monotonic()
        self._repeat_state()

    def _listeners(self) -> int:
        """Subscriptions to the state that the publishers know of."""
        return self._joint_states.get_subscription_count() + self._cameras.listeners

    # --- state ------------------------------------------------------------------------------------------------------

    def _publish_state(self) -> None:
        """Lockstep: the images, if it is time for them, before the joint states."""
        stamp_ns = self._session.stamp_ns
        self._publish_clock(stamp_ns)
        is_tick = self._session.is_tick
        if is_tick:
            self._depths = self._session.depths(self._session.view())
            self._image_sent_s = self._cameras.publish(self._depths, stamp_ns)
        self._publish_joint_states(stamp_ns)
        if is_tick or not self._session.running:
            self._publish_status(self._session.status(image_sent_s=self._image_sent_s, tick_ms=self._tick_ms))
        self._sent_s = time.monotonic()

    def _repeat_state(self) -> None:
        stamp_ns = self._session.stamp_ns
        self._publish_clock(stamp_ns)
        if self._session.is_tick:
            self._cameras.publish(self._depths, stamp_ns)
        self._publish_joint_states(stamp_ns)

    def _publish_clock(self, stamp_ns: int) -> None:
        self._clock_out.publish(ClockMessage(clock=convert.ns_to_stamp(stamp_ns)))

    def _publish_joint_states(self, stamp_ns: int) -> None:
        self._joint_states.publish(convert.q_to_joint_state(self._session.q, stamp_ns, self._session.qd))

    def _publish_status(self, status: TrialStatus) -> None:
        self._status.publish(String(data=status.to_json()))

    # --- real time --------------------------------------------------------------------------------------------------

    def _run_to_now(self) -> None:
        """Real time: advance to the wall clock with the newest command there is."""
        session = self._session
        if not session.loaded:
            return
        lag_s = time.monotonic() - self._anchor_s - session.time_s
        if lag_s > MAX_LAG_S:
            self._anchor_s += lag_s
            lag_s = 0.0
            self.get_logger().warning(
                f"the simulation was {MAX_LAG_S:.2f} s behind the wall clock and continues from now",
                throttle_duration_sec=5.0,
            )
        until_s = session.time_s + lag_s  # fixed now: services must be answered on a slow machine, too
        while session.time_s <= until_s:
            session.advance(self._commanded)
            stamp_ns = session.stamp_ns
            self._publish_clock(stamp_ns)
            self._publish_joint_states(stamp_ns)
            if round(session.time_s * COMMAND_HZ) % (COMMAND_HZ // self.config.image_hz) == 0:
                self._photograph(stamp_ns)

    def _photograph(self, stamp_ns: int) -> None:
        """Real time: a thread makes the images, as cameras do; one that would come too late is skipped."""
        status = self._session.status(image_sent_s=math.nan, tick_ms=math.nan)
        if self._photo is not None:
            if not self._photo.done():
                self._publish_status(status)
                return
            self._photo.result()  # raises what went wrong in the thread
        view = self._session.view()

        def photograph() -> None:
            depths_mm = self._session.depths(view)
            sent_s = self._cameras.publish(depths_mm, stamp_ns)
            self._publish_status(replace(status, image_sent_s=sent_s))

        self._photo = self._photographer.submit(photograph)

    def destroy_node(self) -> None:
        """Let the images that are under way finish, then end."""
        self._photographer.shutdown()
        super().destroy_node()


def _make_session(config: SimNodeConfig) -> SimSession:
    cameras = cameras_of(config.camera_config)
    trial_time_s = config.trial_time_s if config.lockstep else 0.0
    return SimSession.create(cameras=cameras, noise=config.noise, trial_time_s=trial_time_s)


def main() -> int:
    """Run the node until it is stopped; the process's exit code."""
    return run_node(SimNode)


if __name__ == "__main__":
    raise SystemExit(main())
