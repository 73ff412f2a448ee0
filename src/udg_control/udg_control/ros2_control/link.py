"""What the process of an arm needs of ROS: the controller that moves it, and who measures it."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from udg_control.device import Fault


class Complaint(NamedTuple):
    """What is wrong, for the operator."""

    fault: Fault
    detail: str


class Measured(NamedTuple):
    """Joints as ros2_control has measured them."""

    stamp_ns: int  # time.monotonic_ns() of this host at the message's own stamp
    q: np.ndarray  # (n,) [rad]
    velocity: np.ndarray  # (n,) [rad/s], nan where it is not said


class ControllerLink(Protocol):
    """A controller of ros2_control. No method blocks."""

    def lacks(self) -> Complaint | None:
        """What there is not yet, or is not the configured controller: WRONG_DEVICE does not pass by waiting."""

    def complaint(self) -> Complaint | None:
        """What keeps the arm from moving, once `lacks` has said that all is there."""

    def newest(self) -> Measured | None:
        """The newest joints, None before the first."""

    def why_silent(self) -> str:
        """Why joint states that come are of no use, "" where none come or all is well."""

    def speed_scaling(self) -> float:
        """Share of its speed at which the arm moves, 1 where nobody says."""

    def send(self, q: np.ndarray) -> None:
        """Command the positions (n,) [rad]."""

    def close(self) -> None:
        """Leave the graph."""
