"""What control needs of a device: an arm, a hand, or the whole simulated robot."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np


@dataclass(frozen=True, kw_only=True)
class DeviceState:
    """Measured joints of a device."""

    q: np.ndarray  # (n,) [rad]
    stamp_ns: int
    velocity: np.ndarray | None = None  # (n,) [rad/s]


class Device(Protocol):
    """A part of the robot that can be read, commanded and stopped."""

    part: str  # which joints, by the layout's name of the part

    def read(self) -> DeviceState | None:
        """Return the newest measured state, None before the first."""

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command positions (n,) [rad], in answer to the state of `stamp_ns`."""

    def stop(self) -> None:
        """Stop moving; the device holds where it is."""
