"""The control node of the real robot: a lifecycle node that connects devices, safety filter and policy."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from rcl_interfaces.msg import SetParametersResult
from rclpy.callback_groups import MutuallyExclusiveCallbackGroup
from rclpy.context import Context
from rclpy.parameter import Parameter
from std_msgs.msg import String
from std_srvs.srv import Trigger
from trajectory_msgs.msg import JointTrajectory

from udg_control.controller import Controller, ControllerConfig, Cycle
from udg_control.device import Device, DeviceStatus, Phase
from udg_control.errors import ControlError, RefusedError
from udg_control.hardware import HardwareConfig, keep_limits, make_devices
from udg_control.robot import Robot
from udg_control.robot_loop import Arming, RobotLoop, RobotLoopConfig
from udg_control.ros.control_markers import control_markers
from udg_control.ros.emergency_stop import EmergencyStop
from udg_control.ros.received_chunk import read_chunk
from udg_control.ros.tactile import tactile_messages
from udg_control.safety import Reason
from udg_control.states import Mode
from udg_control.streams import CHUNKS_WAITING, Streams
from udg_control.timing import SWITCH_S, LoopTimer, keep_collections_short
from udg_control.worker import ask_for_real_time
from udg_description.errors import UdgError
from udg_description.limits import joint_limits
from udg_description.ros import convert, topics
from udg_description.ros.diagnostics import Diagnostics, Level, Status
from udg_description.ros.lifecycle import SteadyLifecycleNode
from udg_description.ros.one_publisher import names_of_publishers, subscribe_apart
from udg_description.ros.params import declare, refuse_unknown
from udg_description.ros.spin import run_node
from udg_description.settings import setting

CLOCK_READING_NS = 1_000_000  # longest time that two readings of clocks may take
THREADS = 4  # services that wait, chunks, stops and the rest
WAIT_STEP_S = 0.01
TACTILE_EVERY = 5  # cycles
LISTEN_S = 1.0  # within which a stop that is held, and chunks that flow, are heard by a node that has just started
SUPERVISORS_S = 0.5  # between two looks at who sends heartbeats
SPEED_SCALE = "controller.speed_scale"


@dataclass(frozen=True, kw_only=True)
class RobotNodeConfig:
    """Parameters of the node. Defaults are careful; config/*.yaml says what this cell uses."""

    autostart: bool = setting(
        True,
        "configure and activate at the start, again and again until the devices are there; "
        "control still waits for /control/enable",
    )
    real_time_priority: int = setting(0, "SCHED_FIFO priority of the cycle's thread if permitted; 0: none", 0, 90)
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    loop: RobotLoopConfig = field(default_factory=RobotLoopConfig)
    controller: ControllerConfig = field(
        default_factory=lambda: ControllerConfig(latch=True, heartbeat_timeout_s=0.3, speed_scale=0.2)
    )


class RobotNode(SteadyLifecycleNode):
    """Runs the control cycle in its own thread while active; every transition downwards stops the robot.

    Configure opens the devices and measures, without motion; activate starts the cycle, which still sends nothing
    before /control/enable; deactivate brakes and stops; cleanup and shutdown release the devices.
    """

    def __init__(
        self,
        *,
        context: Context | None = None,
        parameter_overrides: list[Parameter] | None = None,
        devices: Callable[[HardwareConfig], Sequence[Device]] = make_devices,
    ) -> None:
        super().__init__("control", context=context, parameter_overrides=parameter_overrides)
        self.config = declare(self, RobotNodeConfig)
        refuse_unknown(self)
        self._make_devices = devices
        self._lock = threading.RLock()
        self._loop: RobotLoop | None = None
        self._why_not = "not configured"  # why there is no robot, for the operator
        self._last: Cycle | None = None
        self._timer = LoopTimer(self.config.controller.follower.period_s)
        self._streams = Streams(self.config.controller.stream_pause_s)  # those from before the robot was there, too
        self._began_s = time.monotonic()
        self._counted_s, self._supervisors = float("-inf"), ""

        self._joint_states = topics.publish(self, topics.JOINT_STATES)
        self._commands = topics.publish(self, topics.JOINT_COMMAND)
        self._markers = topics.publish(self, topics.CONTROL_MARKERS)
        self._tactile = {side: topics.publish(self, topic) for side, topic in topics.TACTILE.items()}
        inputs, stops, services = (MutuallyExclusiveCallbackGroup() for _ in range(3))
        subscribe_apart(self, topics.ACTION_CHUNK, self._on_chunk, depth=CHUNKS_WAITING, group=inputs)
        topics.subscribe(self, topics.HEARTBEAT, self._on_heartbeat, group=stops)
        self._stop = EmergencyStop(self, self._emergency_stop, self._release_stop, stops)
        self._serve(topics.CONTROL_ENABLE, self._enable, services)
        self._serve(topics.CONTROL_HOME, self._home, services)
        self._serve(topics.CONTROL_DISABLE, self._disable, stops)
        self.add_on_set_parameters_callback(self._on_set_parameters)

        diagnostics = Diagnostics(self)
        self._chunk_monitor = diagnostics.watch(topics.ACTION_CHUNK, max_age_s=self.config.controller.max_chunk_age_s)
        diagnostics.add("controller", self._controller_status)
        diagnostics.add("cycle", self._cycle_status)
        diagnostics.add(topics.JOINT_STATES.name, self._joint_states_status)
        for part in ("left_arm", "left_hand", "right_arm", "right_hand"):
            diagnostics.add(part, partial(self._device_status, part))
        if self.config.autostart:
            self.start_by_itself(services)

    # --- lifecycle --------------------------------------------------------------------------------------------------

    def configure(self) -> bool:
        """Open the devices; on failure say which device and why."""
        try:
            robot = Robot(self._make_devices(keep_limits(self.config.hardware, self.config.controller.safety)))
            robot.connect()
        except UdgError as error:
            self._why_not = str(error)
            self.get_logger().error(f"not configured: {error}")
            return False
        controller = Controller(self.config.controller, joint_limits(), self._streams)
        controller.set_speed_scale(float(self.get_parameter(SPEED_SCALE).value))  # it may have been set since the start
        keep_collections_short()
        with self._lock:
            self._loop = RobotLoop(self.config.loop, robot, controller)
            if self._stop.held:
                self._loop.emergency_stop(held=True)
        self._why_not = ""
        self.get_logger().info("configured: " + ", ".join(device.name for device in robot.devices))
        return True

    def pause(self) -> None:
        """Brake, stop the devices, end the cycle."""
        if self._loop is not None:
            with self._lock:
                self._loop.disable()
            self._wait(lambda: self._loop is None or not self._loop.sending, 1.0)
        self._end_thread(longest_s=2.0)

    def release(self) -> None:
        """Stop and release the devices."""
        self.pause()
        with self._lock:
            loop, self._loop = self._loop, None
        self._why_not = "not configured"
        if loop is not None:
            try:
                loop.close()
            except ControlError as error:
                self.get_logger().error(str(error))

    # --- the cycle --------------------------------------------------------------------------------------------------

    def run(self) -> None:
        """Cycle until deactivated. Whatever ends it otherwise stops the devices first."""
        self._ask_for_real_time()
        self._timer.start()
        count = 0
        try:
            while not self._ending.is_set():
                now_ns = self._timer.wait()
                with self._lock:
                    loop = self._loop
                    if loop is None:
                        return
                    self._watch_clock(loop)
                    cycle = loop.cycle(now_ns)
                self._publish_while_ok(loop, cycle, now_ns, count)
                count += 1
        except Exception as error:  # the robot must not continue without its cycle
            with self._lock:
                if self._loop is not None:
                    self._loop.emergency_stop()
            self._why_not = f"the control cycle ended: {error!r}"
            self.get_logger().fatal(self._why_not)

    def _ask_for_real_time(self) -> None:
        """Give this thread its priority."""
        wanted = self.config.real_time_priority
        if wanted > 0 and not ask_for_real_time(wanted):
            self.get_logger().warning("no permission for real-time priority (docs/first_day.md); continuing without")

    def _watch_clock(self, loop: RobotLoop) -> None:
        """Let the loop compare the clocks, unless this thread was pre-empted between the two readings."""
        before_ns = time.monotonic_ns()
        host_ns = time.time_ns()
        after_ns = time.monotonic_ns()
        if after_ns - before_ns < CLOCK_READING_NS or not loop.knows_clock:
            loop.watch_clock(host_ns, before_ns)

    def _publish_while_ok(self, loop: RobotLoop, cycle: Cycle, now_ns: int, count: int) -> None:
        """Publish; after SIGINT the cycle continues braking, but nobody listens any more."""
        if not self.context.ok():
            return
        try:
            self._publish(loop, cycle, now_ns, count)
        except RuntimeError:  # rclpy's RCLError is one
            if self.context.ok():
                raise

    def _publish(self, loop: RobotLoop, cycle: Cycle, now_ns: int, count: int) -> None:
        state = loop.state
        if state is not None:
            stamp_ns = loop.to_host_ns(state.stamp_ns)
            velocity = state.velocity if np.isfinite(state.velocity).all() else None
            self._joint_states.publish(convert.q_to_joint_state(state.q, stamp_ns, velocity))
            if count % TACTILE_EVERY == 0:
                for side, publisher in self._tactile.items():
                    for message in tactile_messages(side, state.parts[f"{side}_hand"], stamp_ns):
                        publisher.publish(message)
        if cycle.command is not None and loop.sending:
            self._commands.publish(convert.q_to_joint_state(cycle.command, loop.to_host_ns(now_ns)))
        last, self._last = self._last, cycle
        changed = last is None or (last.report.mode, last.report.reason) != (cycle.report.mode, cycle.report.reason)
        if changed:
            self._markers.publish(control_markers(cycle.report, loop.to_host_ns(now_ns)))
        if changed and (cycle.report.mode is Mode.FAULT or cycle.report.reason is Reason.INTERNAL_ERROR):
            self.get_logger().error(
                f"stopped: {cycle.report.reason.value if cycle.report.reason else 'fault'}: {cycle.report.detail}; "
                f"{topics.CONTROL_ENABLE.name} frees it"
            )

    # --- inputs -----------------------------------------------------------------------------------------------------

    def _on_chunk(self, message: JointTrajectory, publisher: int) -> None:
        self._chunk_monitor.tick()
        chunk = read_chunk(message, publisher, self.config.controller.follower.step_s)
        source, sent_ns = chunk.source, chunk.stamp_ns
        with self._lock:
            if self._loop is None or not self._cycling:
                self._streams.take(source, sent_ns, empty=chunk.empty)
                return
            controller, stamp_ns = self._loop.controller, self._loop.to_monotonic_ns(sent_ns)
            if chunk.points is None:
                assert chunk.reason is not None
                controller.reject_chunk(chunk.reason, chunk.detail, stamp_ns, source, sent_ns)
            else:
                controller.set_chunk(chunk.points, stamp_ns, source=source, sent_ns=sent_ns)

    def _on_heartbeat(self, message: String) -> None:
        complaint = message.data or self._too_many_supervisors()
        with self._lock:
            if self._loop is not None:
                self._loop.controller.heartbeat(time.monotonic_ns(), complaint)

    def _too_many_supervisors(self) -> str:
        """Say who sends heartbeats if several do: one that is well would hide what another one misses."""
        now_s = time.monotonic()
        if now_s - self._counted_s > SUPERVISORS_S:
            self._counted_s = now_s
            names = names_of_publishers(self, topics.HEARTBEAT)
            several = f"{len(names)} nodes send heartbeats ({', '.join(names)}); end all but one"
            self._supervisors = several if len(names) > 1 else ""
        return self._supervisors

    def _emergency_stop(self, held: bool) -> None:
        with self._lock:
            if self._loop is not None:
                self._loop.emergency_stop(held=held)
        how = f"publish false on {topics.EMERGENCY_STOP.name}, then call" if held else "call"
        self.get_logger().error(f"emergency stop; to continue {how} {topics.CONTROL_ENABLE.name}")

    def _release_stop(self) -> None:
        with self._lock:
            if self._loop is not None:
                self._loop.release_stop()
        self.get_logger().warning(f"the emergency stop is released; {topics.CONTROL_ENABLE.name} may follow")

    def _on_set_parameters(self, parameters: list[Parameter]) -> SetParametersResult:
        for parameter in parameters:
            if parameter.name == SPEED_SCALE:
                try:
                    self._set_speed_scale(float(parameter.value))
                except (RefusedError, TypeError, ValueError) as error:
                    return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _set_speed_scale(self, scale: float) -> None:
        with self._lock:
            if self._loop is None:
                raise RefusedError(f"{SPEED_SCALE}: {self._why_not}")
            self._loop.controller.set_speed_scale(scale)

    # --- services ---------------------------------------------------------------------------------------------------

    def _serve(
        self, service: topics.ServiceName, request: Callable[[], str], group: MutuallyExclusiveCallbackGroup
    ) -> None:
        def serve(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
            try:
                response.success, response.message = True, request()
            except RefusedError as error:
                response.success, response.message = False, str(error)
            return response

        self.create_service(service.type, service.name, serve, callback_group=group)

    @property
    def _cycling(self) -> bool:
        return self._thread is not None and self._thread.is_alive() and self._timer.began

    def _active_loop(self) -> RobotLoop:
        loop = self._loop
        if loop is None or not self._cycling:
            raise RefusedError(f"the control node is not active: {self._why_not or 'activate it first'}")
        return loop

    def _enable(self) -> str:
        loop = self._active_loop()
        self._wait(lambda: time.monotonic() - self._began_s > LISTEN_S, LISTEN_S)
        with self._lock:
            loop.enable(time.monotonic_ns())
        self._wait(lambda: loop.arming is not Arming.UNDER_WAY, self.config.loop.arm_timeout_s + 1.0)
        with self._lock:
            if loop.arming is Arming.FAILED or not loop.controller.enabled:
                fault = loop.controller.fault
                why = loop.arming_detail or ("stopped meanwhile" if fault is None else fault.detail)
                raise RefusedError(f"not enabled: {why}")
            return loop.controller.mode.value

    def _disable(self) -> str:
        loop = self._active_loop()
        with self._lock:
            loop.disable()
            return loop.controller.mode.value

    def _home(self) -> str:
        loop = self._active_loop()
        with self._lock:
            loop.home()
            return loop.controller.mode.value

    def _wait(self, done: Callable[[], bool], longest_s: float) -> None:
        deadline_s = time.monotonic() + longest_s
        while not done() and time.monotonic() < deadline_s:
            time.sleep(WAIT_STEP_S)

    # --- what it says about itself ----------------------------------------------------------------------------------

    def _controller_status(self) -> Status:
        with self._lock:
            loop = self._loop
            if loop is None:
                return Status(level=Level.ERROR, message=self._why_not)
            controller = loop.controller
            fault = controller.fault
            values: dict[str, object] = {
                "mode": controller.mode.value,
                "fault": "" if fault is None else fault.reason.value,
                "detail": "" if fault is None else fault.detail,
                "dry_run": loop.config.dry_run,
                "speed_scale": controller.speed_scale,
                "arming": loop.arming.value,
                "clamped_points": controller.follower.clamped_points,
                "kept_points": controller.follower.kept_points,
                "limited_steps": controller.follower.limited_steps,
                "chunks_not_followed": controller.streams.ignored,
                **{reason.value: controller.counts.get(reason, 0) for reason in Reason},
            }
        if fault is not None:
            return Status(level=Level.ERROR, message=f"{fault.reason.value}: {fault.detail}", values=values)
        if controller.mode in (Mode.STOPPED, Mode.HELD):
            return Status(level=Level.ERROR, message="emergency stop", values=values)
        return Status(message=controller.mode.value, values=values)

    def _cycle_status(self) -> Status:
        values = self._timer.take()
        late = values["missed"] != 0
        return Status(level=Level.WARN if late else Level.OK, message="cycles missed" if late else "ok", values=values)

    def _joint_states_status(self) -> Status:
        names = names_of_publishers(self, topics.JOINT_STATES)
        if len(names) < 2:
            return Status()
        return Status(level=Level.WARN, message=f"{len(names)} publishers: {', '.join(names)}; control's are measured")

    def _device_status(self, part: str) -> Status:
        with self._lock:
            loop = self._loop
            devices = [] if loop is None else [device for device in loop.robot.devices if device.part == part]
        if loop is None or not devices:
            return Status(level=Level.STALE, message=self._why_not)
        device = devices[0]
        status, state = device.status(), device.read()
        silent = [text for text in loop.silent(time.monotonic_ns()) if text.startswith(f"{device.name}: ")]
        values: dict[str, object] = {"device": device.name, "phase": status.phase.value, **status.values}
        if state is not None:
            values["age_s"] = f"{(time.monotonic_ns() - state.stamp_ns) * 1e-9:.3f}"
            if state.temperature is not None:
                values["temperature_max_deg_c"] = f"{float(np.max(state.temperature)):.0f}"
        return _device_line(status, values, "; ".join(silent))


def _device_line(status: DeviceStatus, values: dict[str, object], silent: str) -> Status:
    if status.phase is Phase.FAULT and status.fault is not None:
        return Status(level=Level.ERROR, message=f"{status.fault.value}: {status.detail}", values=values)
    if status.phase is Phase.CLOSED:
        return Status(level=Level.STALE, message=status.phase.value, values=values)
    if silent and status.phase in (Phase.READY, Phase.STOPPED):  # while it connects or arms that is no news
        return Status(level=Level.ERROR, message=silent, values=values)
    if status.advisory:
        return Status(level=Level.WARN, message=status.advisory, values=values)
    return Status(message=status.phase.value, values=values)


def main() -> None:
    """Run the control node of the real robot."""
    sys.setswitchinterval(SWITCH_S)
    sys.exit(run_node(RobotNode, threads=THREADS))


if __name__ == "__main__":
    main()
