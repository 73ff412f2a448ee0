"""Memory shared by control and a hand's process: the newest command one way, what is measured the other."""

from __future__ import annotations

import struct
from typing import NamedTuple

import numpy as np

from udg_control.shared_memory import SharedMemory
from udg_description.layout import N_HAND_JOINTS

N_FINGERS = 5


class Command(NamedTuple):
    """The newest command."""

    written_ns: int  # time.monotonic_ns()
    q: tuple[float, ...]  # (12,) [rad]


class Report(NamedTuple):
    """What the process knows. Times are time.monotonic_ns() of this host."""

    alive_ns: int = 0
    stamp_ns: int = 0  # when the state arrived, 0: never
    fault_ns: int = 0
    phase: int = 0  # index into PHASES
    fault: int = -1  # index into FAULTS
    order: int = 0  # the last order that was taken up
    exchanges: int = 0
    crc_errors: int = 0
    other_errors: int = 0
    over_currents: int = 0  # replies with the hand's own advisory
    stalls: int = 0  # exchanges that took too long
    out_of_range: int = 0  # targets that the hand has refused
    last_code: int = 0  # of the SDK
    rate_hz: float = 0.0  # of clean replies
    heat: float = 0.0  # of the warmest motor; 1: as warm as allowed


class Joints(NamedTuple):
    """Measured: q (12,) [rad], current (12,) [A] with sign, temperature (12,) [deg C], force (5, 3) or nan."""

    q: np.ndarray
    current: np.ndarray
    temperature: np.ndarray
    force: np.ndarray


_JOINTS = struct.Struct(f"@{3 * N_HAND_JOINTS + 3 * N_FINGERS}d")
_COMMAND = struct.Struct(f"@q{N_HAND_JOINTS}d")


class HandMemory(SharedMemory[Report]):
    """The memory, seen from either side."""

    report_type = Report

    def __init__(self, descriptor: int) -> None:
        """Map the memory behind a descriptor of `create`."""
        super().__init__(descriptor)
        self._joints, self._command = self._record(_JOINTS), self._record(_COMMAND)
        self.identity = self._text()  # port, serial number and SDK version of the hand

    # --- control's side ---------------------------------------------------------------------------------------------

    def write(self, command: Command) -> None:
        """Put a command in place of the last."""
        self._command.put(command.written_ns, *command.q)

    def joints(self) -> Joints | None:
        """What was measured, None before the first."""
        values = self._joints.get()
        if values is None:
            return None
        n = N_HAND_JOINTS
        data = np.array(values)
        return Joints(data[:n], data[n : 2 * n], data[2 * n : 3 * n], data[3 * n :].reshape(N_FINGERS, 3))

    # --- the process's side -----------------------------------------------------------------------------------------

    def command(self) -> Command | None:
        """The newest command, None before the first."""
        values = self._command.get()
        return None if values is None else Command(values[0], values[1:])

    def put_joints(self, joints: Joints) -> None:
        """Publish."""
        self._joints.put(*np.concatenate([part.ravel() for part in joints]).tolist())
