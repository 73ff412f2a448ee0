"""Parameters of one arm's driver."""

from __future__ import annotations

from dataclasses import dataclass

from udg_control.errors import SafetyConfigError
from udg_description.settings import check_ranges, setting


@dataclass(frozen=True, kw_only=True)
class UrArmConfig:
    """One UR5e: where it is, how it is streamed to, when it is given up. The defaults reach no real arm."""

    host: str = setting("127.0.0.1", "address of the controller")
    serial_number: str = setting("", "refuse any other controller; empty: take the one that answers")
    servo_rate_hz: float = setting(500.0, "servo targets and states a second; an e-Series has 500", 50, 500)
    command_period_s: float = setting(0.01, "time between the commands of control [s]", 0.002, 0.1)
    jitter_s: float = setting(0.006, "commands may come this much late without any effect [s]", 0.0, 0.1)
    lookahead_s: float = setting(0.05, "servoJ: smooths the targets [s]", 0.03, 0.2)
    gain: float = setting(500.0, "servoJ: stiffness", 100.0, 2000.0)
    velocity_scale: float = setting(
        1.0, "share of the joints' velocity limits that the driver passes; no more than the filter's", 0.01, 1.0
    )
    acceleration_scale: float = setting(
        1.0, "share of the acceleration limits for targets and stops; no more than the filter's", 0.01, 1.0
    )
    start_step_rad: float = setting(0.1, "largest distance of the first command from the joints [rad]", 0.001, 0.5)
    tracking_error_rad: float = setting(0.3, "targets and joints further apart than this: fault [rad]", 0.02, 1.5)
    command_timeout_s: float = setting(0.15, "no command for this long stops the arm [s]", 0.03, 1.0)
    state_timeout_s: float = setting(0.1, "no fresh state for this long stops the arm [s]", 0.02, 1.0)
    worker_timeout_s: float = setting(0.15, "the arm's process silent for this long is given up [s]", 0.03, 2.0)
    watchdog_hz: float = setting(
        10.0, "the controller stops its program when inputs come more rarely than this", 1.0, 100.0
    )
    remote_poll_s: float = setting(0.05, "time between questions for remote control [s]", 0.01, 1.0)
    dashboard_timeout_s: float = setting(0.4, "no answer of the dashboard for this long: fault [s]", 0.1, 10)
    connect_timeout_s: float = setting(10.0, "longest wait for connecting or arming [s]", 1.0, 300.0)
    unlock_protective_stop: bool = setting(True, "rearm releases a protective stop; else it needs the pendant")
    payload_kg: float = setting(0.0, "hand and connector, told to the controller; 0: leave its own", 0.0, 5.0)
    payload_centre_m: tuple[float, ...] = setting((0.0, 0.0, 0.08), "centre of that mass from the flange [m]")
    real_time_priority: int = setting(0, "SCHED_FIFO priority of the arm's process where permitted; 0: none", 0, 90)
    dry_run: bool = setting(False, "measure and judge, but send nothing to the arm")

    def __post_init__(self) -> None:
        """Check the numbers. Raises SafetyConfigError."""
        check_ranges(self, SafetyConfigError)
        if not self.host:
            raise SafetyConfigError("UrArmConfig: host is empty; valid: the address of a controller")
        if len(self.payload_centre_m) != 3:
            raise SafetyConfigError(f"UrArmConfig: payload_centre_m is {self.payload_centre_m}; valid: 3 numbers")
        ticks = self.command_period_s * self.servo_rate_hz
        if abs(ticks - round(ticks)) > 1e-6 or ticks < 1.0:
            raise SafetyConfigError(
                f"UrArmConfig: {ticks:g} servo targets a command; valid: command_period_s a multiple of 1/servo_rate_hz"
            )

    @property
    def servo_period_s(self) -> float:
        """Time between servo targets [s]."""
        return 1.0 / self.servo_rate_hz

    @property
    def ticks_per_command(self) -> int:
        """How many servo targets a command makes."""
        return round(self.command_period_s * self.servo_rate_hz)
