"""Parameters of one hand's driver."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from udg_control.errors import SafetyConfigError
from udg_description.settings import check_ranges, setting

VENDOR_SDK = "xhand_controller.xhand_control"
EMULATED_SDK = "udg_control.emulators.xhand_sdk"


@dataclass(frozen=True, kw_only=True)
class XHandConfig:
    """One XHand: which one it is, how strong it may be, when it is given up."""

    sdk_module: str = setting(VENDOR_SDK, f"the vendor's module, or {EMULATED_SDK} for an emulated hand")
    bus: Literal["RS485", "EtherCAT"] = setting("RS485", "RS485 or EtherCAT")
    ports: tuple[str, ...] = setting(("",), "ports to look for the hand at; empty: all that the SDK names")
    serial_number: str = setting("", "refuse any other hand; empty: the first one of the right side")
    baud_rate: int = setting(3_000_000, "of RS485", 9600, 12_000_000)
    rate_hz: float = setting(83.0, "exchanges a second; an exchange takes 12 ms", 5.0, 200.0)
    kp: int = setting(100, "stiffness of the joints, SDK units", 0, 500)
    ki: int = setting(0, "integral gain, SDK units", 0, 1000)
    kd: int = setting(0, "damping of the joints, SDK units", 0, 32000)
    current_limit_ma: int = setting(300, "limit of each joint's current (tor_max) passed to the hand [mA]", 10, 400)
    over_current_ma: int = setting(1300, "a joint may draw this for ever; more only for a time [mA]", 50, 5000)
    over_current_s: float = setting(
        2.0, "time constant of its warming up: twice the current lasts 0.3 of it [s]", 0.05, 60.0
    )
    temperature_limit_c: float = setting(75.0, "a joint hotter than this is a fault [deg C]", 30.0, 110.0)
    tactile_scale_n: float = setting(
        0.0, "force of one unit of the fingertip sensors, once calibrated [N]; 0: the SDK's numbers", 0.0, 10.0
    )
    distal_least_rad: float = setting(
        0.0873, "the four fingers' last joints are kept open by this, so that they don't clog [rad]", 0.0, 0.5
    )
    thumb_most_rad: tuple[float, ...] = setting(
        (1.5708, 1.5699), "largest angles of thumb_rota_joint1 and 2, to be checked against the hand [rad]"
    )
    start_step_rad: float = setting(0.3, "largest distance of the first command from the joints [rad]", 0.01, 2.0)
    command_timeout_s: float = setting(0.15, "no command for this long stops the hand [s]", 0.03, 1.0)
    stall_s: float = setting(
        0.05, "an exchange that took longer is a stall: its state is not taken as fresh [s]", 0.015, 1.0
    )
    state_timeout_s: float = setting(0.3, "no clean reply for this long is a fault [s]", 0.03, 1.0)
    worker_timeout_s: float = setting(0.5, "the hand's process silent for this long is given up [s]", 0.1, 5.0)
    real_time_priority: int = setting(0, "SCHED_FIFO priority of the hand's process if permitted; 0: none", 0, 90)
    connect_timeout_s: float = setting(10.0, "longest wait for the hand to answer cleanly [s]", 1.0, 300.0)

    def __post_init__(self) -> None:
        """Check the numbers. Raises SafetyConfigError."""
        check_ranges(self, SafetyConfigError)
        if self.bus not in ("RS485", "EtherCAT"):
            raise SafetyConfigError(f"XHandConfig: bus is '{self.bus}'; valid: RS485, EtherCAT")
        if len(self.thumb_most_rad) != 2 or not all(0.5 <= angle <= 2.0 for angle in self.thumb_most_rad):
            raise SafetyConfigError(
                f"XHandConfig: thumb_most_rad is {self.thumb_most_rad}; valid: two of 0.5 to 2.0 rad"
            )
        if self.over_current_ma <= self.current_limit_ma:
            raise SafetyConfigError(
                f"XHandConfig: over_current_ma is {self.over_current_ma}; valid: more than current_limit_ma "
                f"({self.current_limit_ma}), which the hand is asked to keep"
            )

    @property
    def chosen_ports(self) -> tuple[str, ...]:
        """Ports to look at, without the empty ones (ROS has no empty list of strings)."""
        return tuple(port for port in self.ports if port)
