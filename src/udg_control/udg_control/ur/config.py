"""Parameters of one arm's driver."""

from __future__ import annotations

from dataclasses import dataclass, field

from udg_control.errors import SafetyConfigError
from udg_control.ranges import check_ranges


@dataclass(frozen=True, kw_only=True)
class UrArmConfig:
    """One UR5e: where it is, how it is streamed to, when it is given up. The defaults reach no real arm."""

    host: str = field(default="127.0.0.1", metadata={"description": "address of the controller"})
    serial_number: str = field(
        default="", metadata={"description": "refuse any other controller; empty: take the one that answers"}
    )
    servo_rate_hz: float = field(
        default=500.0,
        metadata={"description": "servo targets and states a second; an e-Series has 500", "range": (50, 500)},
    )
    command_period_s: float = field(
        default=0.01, metadata={"description": "time between the commands of control [s]", "range": (0.002, 0.1)}
    )
    jitter_s: float = field(
        default=0.006,
        metadata={"description": "commands may come this much late without any effect [s]", "range": (0.0, 0.1)},
    )
    lookahead_s: float = field(
        default=0.05, metadata={"description": "servoJ: smooths the targets [s]", "range": (0.03, 0.2)}
    )
    gain: float = field(default=500.0, metadata={"description": "servoJ: stiffness", "range": (100.0, 2000.0)})
    velocity_scale: float = field(
        default=1.0,
        metadata={
            "description": "share of the joints' velocity limits that the driver passes; no more than the filter's",
            "range": (0.01, 1.0),
        },
    )
    acceleration_scale: float = field(
        default=1.0,
        metadata={
            "description": "share of the acceleration limits for targets and stops; no more than the filter's",
            "range": (0.01, 1.0),
        },
    )
    start_step_rad: float = field(
        default=0.1,
        metadata={"description": "largest distance of the first command from the joints [rad]", "range": (0.001, 0.5)},
    )
    tracking_error_rad: float = field(
        default=0.3,
        metadata={"description": "targets and joints further apart than this: fault [rad]", "range": (0.02, 1.5)},
    )
    command_timeout_s: float = field(
        default=0.15, metadata={"description": "no command for this long stops the arm [s]", "range": (0.03, 1.0)}
    )
    state_timeout_s: float = field(
        default=0.1, metadata={"description": "no fresh state for this long stops the arm [s]", "range": (0.02, 1.0)}
    )
    worker_timeout_s: float = field(
        default=0.15,
        metadata={"description": "the arm's process silent for this long is given up [s]", "range": (0.03, 2.0)},
    )
    watchdog_hz: float = field(
        default=10.0,
        metadata={
            "description": "the controller stops its program when inputs come more rarely than this",
            "range": (1.0, 100.0),
        },
    )
    remote_poll_s: float = field(
        default=0.05, metadata={"description": "time between questions for remote control [s]", "range": (0.01, 1.0)}
    )
    dashboard_timeout_s: float = field(
        default=0.4, metadata={"description": "no answer of the dashboard for this long: fault [s]", "range": (0.1, 10)}
    )
    connect_timeout_s: float = field(
        default=10.0, metadata={"description": "longest wait for connecting or arming [s]", "range": (1.0, 300.0)}
    )
    unlock_protective_stop: bool = field(
        default=True, metadata={"description": "rearm releases a protective stop; else it needs the pendant"}
    )
    payload_kg: float = field(
        default=0.0,
        metadata={"description": "hand and connector, told to the controller; 0: leave its own", "range": (0.0, 5.0)},
    )
    payload_centre_m: tuple[float, ...] = field(
        default=(0.0, 0.0, 0.08), metadata={"description": "centre of that mass from the flange [m]"}
    )
    real_time_priority: int = field(
        default=0,
        metadata={"description": "SCHED_FIFO priority of the arm's process where permitted; 0: none", "range": (0, 90)},
    )
    dry_run: bool = field(default=False, metadata={"description": "measure and judge, but send nothing to the arm"})

    def __post_init__(self) -> None:
        """Check the numbers. Raises SafetyConfigError."""
        check_ranges(self)
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
