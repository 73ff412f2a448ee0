"""An emulated UR5e without its network: registers, control script, dashboard, safety system, joints.

The command numbers and the handshake are those of the script that ur_rtde 1.6 uploads.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from udg_control.emulators.ur_fields import InputRecipe, Outputs
from udg_control.emulators.ur_log import SERVO_S, ArmLog
from udg_control.emulators.ur_motion import JointMotion
from udg_description.ur5e import forward_kinematics

JOINT_LIMIT = 2.0 * np.pi  # [rad] beyond: the safety system stops the arm
PROGRAM_START_S = 0.05
STOPPED, PLAYING = 1, 2  # runtime_state
READY, DONE = 1, 2  # output_int_register_0
MOVE_J, SPEED_J, SERVO_J, SPEED_STOP, SERVO_STOP, STOP_J, WATCHDOG, STOP_SCRIPT = 1, 9, 11, 15, 16, 34, 35, 255
REAL_TIME_COMMANDS = frozenset({6, 9, 10, 11, 24, 25, 26, 27, 38, 58, 66, 67, 68, 69, 70, 71})
UNSUPPORTED_MOTION = frozenset({2, 3, 4, 6, 10, 12, 24, 33, 41, 45, 51, 66})
NORMAL, PROTECTIVE, SAFEGUARD, ROBOT_ESTOP, FAULT = 1, 3, 5, 7, 9  # safety_mode
SAFETY_BITS = {NORMAL: 1 << 0, PROTECTIVE: 1 << 2, SAFEGUARD: 1 << 4, ROBOT_ESTOP: 1 << 6 | 1 << 7, FAULT: 1 << 9}
STOPPED_DUE_TO_SAFETY = 1 << 10
POWER_OFF, RUNNING = 3, 7  # robot_mode
_MODE_NAMES = {POWER_OFF: "POWER_OFF", RUNNING: "RUNNING"}
_SAFETY_NAMES = {
    NORMAL: "NORMAL",
    PROTECTIVE: "PROTECTIVE_STOP",
    SAFEGUARD: "SAFEGUARD_STOP",
    ROBOT_ESTOP: "ROBOT_EMERGENCY_STOP",
    FAULT: "FAULT",
}
SCRIPT_MARK = "RTDE Control Script Loaded"


@dataclass(frozen=True, kw_only=True)
class ControllerKind:
    """Which controller is played: what it says of itself, and what it does not know."""

    version: tuple[int, int, int, int] = (5, 12, 4, 1101661)
    model: str = "UR5"
    unknown: tuple[str, ...] = ()  # questions that its dashboard does not understand
    has_dashboard: bool = True


SINCE_5_6 = ("is in remote control", "get serial number", "get robot model")
CONTROLLERS: dict[str, ControllerKind] = {
    "ur5e": ControllerKind(),
    "ur3e": ControllerKind(model="UR3"),
    "ur10e": ControllerKind(model="UR10"),
    "cb3": ControllerKind(version=(3, 10, 2, 66666), unknown=SINCE_5_6),
    "polyscope_5.4": ControllerKind(version=(5, 4, 3, 529), unknown=SINCE_5_6),
    "polyscope_x": ControllerKind(version=(10, 7, 0, 0), has_dashboard=False),
}


@dataclass(frozen=True, kw_only=True)
class EmulatedArmConfig:
    """What the emulated controller claims to be, and how it behaves."""

    controller: ControllerKind = CONTROLLERS["ur5e"]
    serial_number: str = "20215501234"
    unlock_delay_s: float = 0.0  # a real one refuses to unlock within 5 s of a protective stop
    q_start: tuple[float, ...] = field(default=(0.0, -1.5708, 0.0, -1.5708, 0.0, 0.0))  # [rad]


class EmulatedArm:
    """One controller with its arm. Not thread-safe; `step` is its clock."""

    def __init__(self, config: EmulatedArmConfig, log: ArmLog) -> None:
        """Powered, brakes released, in remote control, no program."""
        self.config, self.log = config, log
        self.outputs = Outputs()
        self.motion = JointMotion(np.array(config.q_start))
        self.remote = True
        self.program_running = False
        self.robot_mode, self.safety_mode = RUNNING, NORMAL
        self.wants_pose = False  # some client has asked for the flange pose
        self.uptime_s = 0.0
        self._program_due_s: float | None = None
        self._command = 0
        self._values: tuple[float, ...] = (0.0,) * 18
        self._executing = False
        self._waiting_for = ""  # what a blocking command waits for: "still", "arrived" or nothing
        self._min_frequency_hz = 0.0
        self._last_input_s = 0.0
        self._heard = False  # an input since the last step
        self._stopped_at_s = 0.0
        self._announce_still = False
        fields = self.outputs.field
        self._timestamp, self._q, self._qd = fields("timestamp")[:], fields("actual_q")[0], fields("actual_qd")[0]
        self._target_q = fields("target_q")[0]
        self._handshake = fields("output_int_register_0")
        fields("joint_temperatures")[0] = 30.0
        fields("speed_scaling")[0] = fields("target_speed_fraction")[0] = 1.0
        fields("joint_mode")[0] = 253
        fields("actual_main_voltage")[0] = fields("actual_robot_voltage")[0] = 48.0
        self._publish_modes()
        self._publish_motion()

    # --- what clients do --------------------------------------------------------------------------------------------

    def receive(self, recipe: InputRecipe, values: Sequence[float]) -> None:
        """Take the values of a data package."""
        if not recipe.has_command:
            return
        self._heard = True
        self._command = int(values[0])
        if recipe.n_doubles:
            self._values = (*values[1 : 1 + recipe.n_doubles], *self._values[recipe.n_doubles :])
        if self._command == SERVO_J:
            self.log.command(time.monotonic_ns(), self._values[:6])

    def upload(self, script: str) -> None:
        """Run a script; in local mode, without power or after a safety stop nothing happens."""
        refused = not self.remote or self.robot_mode != RUNNING or self.safety_mode != NORMAL
        self.log.event("script_refused" if refused else "script", bytes=len(script))
        if not refused and SCRIPT_MARK in script:
            if self.program_running:
                self._end_program("replaced")
            self._program_due_s = self.uptime_s + PROGRAM_START_S

    def dashboard(self, line: str) -> str:
        """Answer a line of the dashboard protocol."""
        command = line.strip()
        if command not in ("is in remote control", "robotmode", "safetystatus"):  # asked all the time
            self.log.event("dashboard", command=command)
        answers = {
            "PolyscopeVersion": "URSoftware {}.{}.{}.{} (emulated)".format(*self.config.controller.version),
            "get serial number": self.config.serial_number,
            "is in remote control": "true" if self.remote else "false",
            "robotmode": f"Robotmode: {_MODE_NAMES[self.robot_mode]}",
            "safetystatus": f"Safetystatus: {_SAFETY_NAMES[self.safety_mode]}",
            "running": f"Program running: {'true' if self.program_running else 'false'}",
            "get robot model": self.config.controller.model,
        }
        if command in self.config.controller.unknown:
            return f"could not understand: '{command}'"
        if command in answers:
            return answers[command]
        actions = {"stop": self._dashboard_stop, "unlock protective stop": self._dashboard_unlock}
        if command not in actions:
            return f"could not understand: {command}"
        if not self.remote:
            return "Command is not allowed due to safety reasons: the robot is in local control"
        return actions[command]()

    def _dashboard_stop(self) -> str:
        if self.program_running:
            self._end_program("dashboard")
        return "Stopped"

    def _dashboard_unlock(self) -> str:
        if self.safety_mode != PROTECTIVE:
            return "Protective stop releasing"
        if self.uptime_s - self._stopped_at_s < self.config.unlock_delay_s:
            return "Cannot unlock protective stop until 5s after occurrence. Always inspect cause of protective stop"
        self.safety_mode = NORMAL
        self.log.event("unlocked")
        self._publish_modes()
        return "Protective stop releasing"

    # --- what happens to the arm ------------------------------------------------------------------------------------

    def protective_stop(self) -> None:
        """Something was hit."""
        self._safety_stop(PROTECTIVE, "protective_stop")

    def emergency_stop(self) -> None:
        """Somebody pressed the button: the arm stops and loses its power."""
        self.robot_mode = POWER_OFF
        self._safety_stop(ROBOT_ESTOP, "emergency_stop")

    def safeguard_stop(self) -> None:
        """Somebody opened the fence."""
        self._safety_stop(SAFEGUARD, "safeguard_stop")

    def safety_fault(self) -> None:
        """The safety system has failed."""
        self._safety_stop(FAULT, "safety_fault")

    def program_stop(self) -> None:
        """Somebody pressed stop at the pendant."""
        self.log.event("program_stop")
        self._end_program("pendant")

    def local_mode(self) -> None:
        """Somebody took the pendant: local control. The program continues."""
        self.log.event("local_mode")
        self.remote = False

    def power_off(self) -> None:
        """Somebody switched the arm off."""
        self.log.event("power_off")
        self.robot_mode = POWER_OFF
        self._end_program("power_off")
        self._publish_modes()

    def jam(self) -> None:
        """The joints do not move any more, and nothing reports it."""
        self.log.event("jam")
        self.motion.jammed = True

    def slow(self) -> None:
        """Somebody has moved the slider on the pendant to 10 %."""
        self.log.event("slow")
        self._set_speed(0.1)

    def fast(self) -> None:
        """Somebody has moved the slider back."""
        self.log.event("fast")
        self._set_speed(1.0)

    def _set_speed(self, fraction: float) -> None:
        self.motion.speed_fraction = fraction
        self.outputs.field("target_speed_fraction")[0] = fraction

    def reboot(self) -> None:
        """Reboot: no power, no program, the clock at zero."""
        self._end_program("reboot")
        self.uptime_s = 0.0
        self.robot_mode, self.safety_mode, self.remote = POWER_OFF, NORMAL, True
        self._command, self._min_frequency_hz, self._last_input_s = 0, 0.0, 0.0
        self._program_due_s = None
        self._publish_modes()
        self._publish_motion()

    def restore(self) -> None:
        """The operator at the pendant makes everything good again; no program runs."""
        self.log.event("restore")
        self.remote, self.motion.jammed = True, False
        self._set_speed(1.0)
        self.robot_mode, self.safety_mode = RUNNING, NORMAL
        self._publish_modes()

    def _safety_stop(self, mode: int, name: str) -> None:
        self.log.event(name)
        self.safety_mode = mode
        self._stopped_at_s = self.uptime_s
        self._end_program(name)
        self._publish_modes()

    def _end_program(self, why: str) -> None:
        """The controller brakes whatever moves."""
        self._program_due_s = None
        self._brake()
        if not self.program_running:
            return
        self.program_running = False
        self.log.event("program_end", why=why)
        self._min_frequency_hz = 0.0
        self._executing, self._waiting_for = False, ""
        self._handshake[0] = 0
        self._publish_modes()

    def _brake(self, deceleration: float = 25.0) -> None:
        self._announce_still = self._announce_still or not self.motion.still or self.motion.servoing
        self.motion.brake(deceleration)

    # --- time -------------------------------------------------------------------------------------------------------

    def step(self, cycles: int = 1) -> None:
        """Let `cycles` control cycles of 2 ms pass; what came since the last call came just now."""
        self._check_watchdog(cycles)
        for _ in range(cycles):
            self.uptime_s += SERVO_S
            if self._program_due_s is not None and self.uptime_s >= self._program_due_s:
                self._start_program()
            if self.program_running:
                self._run_script()
            self.motion.step(SERVO_S)
        if np.abs(self.motion.q).max() > JOINT_LIMIT and self.safety_mode == NORMAL:
            self.protective_stop()
        if self._announce_still and self.motion.still:
            self._announce_still = False
            self.log.event("motion_stopped", q=[round(float(value), 6) for value in self.motion.q])
        self._publish_motion()
        self.log.motion.append((time.monotonic_ns(), self.motion.q, self.motion.qd))

    def _check_watchdog(self, cycles: int) -> None:
        now_s = self.uptime_s + cycles * SERVO_S
        if self._heard:
            self._last_input_s, self._heard = now_s, False
        if self._min_frequency_hz > 0.0 and now_s - self._last_input_s > 1.0 / self._min_frequency_hz:
            self.log.event("watchdog")
            self._end_program("watchdog")

    def _start_program(self) -> None:
        self._program_due_s = None
        self.program_running = True
        self._command, self._executing, self._waiting_for = 0, False, ""
        self._min_frequency_hz, self._last_input_s = 0.0, self.uptime_s
        self._handshake[0] = 0
        self.log.event("program_start")
        self._publish_modes()

    def _run_script(self) -> None:
        if self._waiting_for:
            if self.motion.still if self._waiting_for == "still" else self.motion.finished:
                self._waiting_for, self._handshake[0] = "", DONE
        elif self._command == 0:
            self._executing, self._handshake[0] = False, READY
        elif self._command == STOP_SCRIPT:
            self.log.event("stop_script")
            self._end_program("stop_script")
        elif self._command in REAL_TIME_COMMANDS:
            self._execute(self._command)
            self._handshake[0] = READY
        elif not self._executing:
            self._executing = True
            self._waiting_for = self._execute(self._command)
            if not self._waiting_for:
                self._handshake[0] = DONE

    def _execute(self, command: int) -> str:
        """Do a command; return what is to be waited for before it is done."""
        values = self._values
        if command == SERVO_J:
            self.motion.servo(np.array(values[:6]), values[9], values[10])
        elif command == SPEED_J:
            self.motion.speed(np.array(values[:6]), values[6])
        elif command == MOVE_J:
            self.log.event("movej", q=values[:6])
            self.motion.move(np.array(values[:6]), values[6], values[7])
            return "arrived"
        elif command in (SERVO_STOP, SPEED_STOP, STOP_J):
            self.log.event({SERVO_STOP: "servo_stop", SPEED_STOP: "speed_stop", STOP_J: "stop_j"}[command])
            self._brake(values[0])
            return "still"
        elif command == WATCHDOG:
            self._min_frequency_hz = values[0]
            self.log.event("set_watchdog", min_frequency_hz=values[0])
        else:
            name = "unsupported" if command in UNSUPPORTED_MOTION else "command"
            self.log.event(name, command=command, values=values[:6])
        return ""

    # --- what clients see -------------------------------------------------------------------------------------------

    def _publish_motion(self) -> None:
        self._timestamp[0] = self.uptime_s
        self._q[:] = self.motion.q
        self._qd[:] = self.motion.qd
        self._target_q[:] = self.motion.q_target
        if self.wants_pose:
            T = forward_kinematics(self.motion.q.tolist())
            self.outputs.field("actual_TCP_pose")[0, :3] = T[:3, 3]

    def _publish_modes(self) -> None:
        field = self.outputs.field
        powered = self.robot_mode == RUNNING
        field("robot_mode")[0], field("safety_mode")[0] = self.robot_mode, self.safety_mode
        field("runtime_state")[0] = PLAYING if self.program_running else STOPPED
        field("robot_status_bits")[0] = powered * 1 | self.program_running * 2
        stopped = 0 if self.safety_mode == NORMAL else STOPPED_DUE_TO_SAFETY
        field("safety_status_bits")[0] = SAFETY_BITS[self.safety_mode] | stopped
