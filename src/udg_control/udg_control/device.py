"""What robot control needs of a device, an arm or a hand: one protocol for all of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import Protocol

import numpy as np


class Phase(Enum):
    """Where a device is on its way to motion."""

    CLOSED = "closed"  # before connect, after close
    CONNECTING = "connecting"
    STOPPED = "stopped"  # connected and measured, ignores commands: after connect and after stop
    ARMING = "arming"  # rearm was asked for and is under way
    READY = "ready"  # follows commands
    FAULT = "fault"  # stopped by a fault, ignores commands until rearm


class Fault(Enum):
    """Why a device has stopped by itself. Latched until `rearm`."""

    NOT_CONNECTED = "not_connected"  # nobody answers at its address
    LINK_LOST = "link_lost"  # the connection broke: cable, switch, USB adapter
    SILENT = "silent"  # connected, but no fresh state
    PROTECTIVE_STOP = "protective_stop"
    EMERGENCY_STOP = "device_emergency_stop"  # button at the device
    SAFEGUARD_STOP = "safeguard_stop"
    SAFETY_FAULT = "safety_fault"  # violation or fault of the device's own safety system
    PROGRAM_STOPPED = "program_stopped"
    REMOTE_CONTROL_OFF = "remote_control_off"  # local mode: the pendant has the robot
    NOT_RUNNING = "not_running"  # powered off, booting, brakes on, backdrive
    REBOOTED = "rebooted"  # its clock restarted
    OVER_CURRENT = "over_current"
    OVER_TEMPERATURE = "over_temperature"
    BUS_ERROR = "bus_error"  # CRC and framing errors that do not pass
    WRONG_DEVICE = "wrong_device"  # serial number, hand type or model is not the configured one
    WORKER_DIED = "worker_died"  # the process that holds the vendor's library ended or hangs
    COMMAND_TIMEOUT = "command_timeout"  # no command came for too long: control died or hangs
    COMMAND_REFUSED = "command_refused"  # not finite, wrong length, or refused by the vendor's library
    TRACKING = "tracking_error"  # the joints do not follow the commands


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """Measured joints of a device.

    `stamp_ns` is when they were measured: time.monotonic_ns() of this host for devices (the same clock in all
    processes), simulated time for the simulation. It must not advance unless a fresh measurement arrives.
    """

    q: np.ndarray  # (n,) [rad]
    stamp_ns: int
    velocity: np.ndarray | None = None  # (n,) [rad/s]
    effort: np.ndarray | None = None  # (n,) [Nm], None where only currents are known
    current: np.ndarray | None = None  # (n,) [A]
    temperature: np.ndarray | None = None  # (n,) [deg C]
    tactile_force: np.ndarray | None = None  # hands: (5, 3), thumb to pinky [N, or the sensors' units if uncalibrated]
    speed_scaling: float | None = None  # arms: share of its speed at which it moves (slider, reduced mode)


@dataclass(frozen=True, kw_only=True)
class DeviceStatus:
    """What a device says about itself; `values` goes to /diagnostics as it is (rates, ages, serial number)."""

    phase: Phase
    fault: Fault | None = None  # set exactly in Phase.FAULT
    advisory: str = ""  # worth telling, does not stop: e.g. a brief over-current
    detail: str = ""  # what happened and what to do, for the operator
    values: Mapping[str, object] = field(default_factory=lambda: MappingProxyType({}))


class Device(Protocol):
    """A part of the robot that can be read, commanded and stopped.

    `read`, `status`, `write`, `stop` and `rearm` never block for longer than a fraction of a millisecond and never
    raise because of the device: what is wrong is in `status()`. Only `connect` and `close` may take seconds.
    A vendor's library that can block or crash lives in its own process, which the device supervises: it ends the
    motion by itself (servoStop, stopScript, hold) when its parent dies or sends no command for `command_timeout_s`.
    """

    name: str  # for people: "left arm (UR5e at 192.168.1.101)"
    part: str  # which joints, by the layout's name of the part: "left_arm", "left_hand", ...

    def connect(self) -> None:
        """Open the device and measure, without motion. Raises DeviceError naming it. Then Phase.STOPPED."""

    def read(self) -> DeviceState | None:
        """The newest measured state, None before the first. Judge its age by `stamp_ns`."""

    def status(self) -> DeviceStatus:
        """What the device says about itself now."""

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command positions (n,) [rad] at `stamp_ns` (clock of DeviceState). Ignored unless READY."""

    def stop(self) -> None:
        """Stop moving at once and hold; commands are ignored from now on, until `rearm`. Idempotent.

        An arm brakes; a hand keeps its last commanded position, so that it does not drop what it holds.
        """

    def rearm(self) -> None:
        """Operator's request: clear what can be cleared and get READY, holding where the joints are measured.

        Returns at once: ARMING, then READY or FAULT. Nothing else ever leads out of STOPPED or FAULT. Until the first
        command after it, none is missed: all devices of a robot get ready before any is commanded.
        """

    def close(self) -> None:
        """Stop, end the programs and processes, release everything. Idempotent; then Phase.CLOSED."""
