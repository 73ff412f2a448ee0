"""What an emulated controller has seen and done, with times of this host's monotonic clock."""

from __future__ import annotations

import json
import time
from typing import NamedTuple, TextIO

import numpy as np

COMMANDS = np.dtype([("t_ns", "<i8"), ("q", "<f8", 6)])  # servoJ targets, at their arrival
MOTION = np.dtype([("t_ns", "<i8"), ("q", "<f8", 6), ("qd", "<f8", 6)])  # the joints, every cycle
SERVO_S = 0.002  # the cycle of the controller; between targets
PAUSE_S = 0.1  # after a longer one the stream restarts at the joints
_FIRST_ROWS = 4096
_MOST_ROWS = 500_000  # a thousand seconds; older rows are overwritten


class Greatest(NamedTuple):
    """Greatest speeds (6,) [rad/s] and accelerations (6,) [rad/s^2] of a stream of servo targets, by joint."""

    velocity: np.ndarray
    acceleration: np.ndarray


def greatest(commands: np.ndarray) -> Greatest:
    """How fast servo targets (rows of COMMANDS) went: as they follow each other, one each servo period.

    That is what a driver is to answer for; when they arrived is another matter.
    """
    velocity = np.diff(commands["q"], axis=0) / SERVO_S
    streaming = np.diff(commands["t_ns"]) * 1e-9 < PAUSE_S
    change = np.diff(velocity, axis=0)[streaming[1:] & streaming[:-1]] / SERVO_S
    return Greatest(np.abs(velocity[streaming]).max(axis=0, initial=0.0), np.abs(change).max(axis=0, initial=0.0))


class Rows:
    """A growing table; once it is full the oldest rows make room."""

    def __init__(self, dtype: np.dtype) -> None:
        """Empty."""
        self._data = np.zeros(_FIRST_ROWS, dtype)
        self._count = 0

    def append(self, row: tuple) -> None:
        """Add a row."""
        if self._count == len(self._data) < _MOST_ROWS:
            self._data = np.concatenate([self._data, np.zeros_like(self._data)])[:_MOST_ROWS]
        self._data[self._count % len(self._data)] = row
        self._count += 1

    def __len__(self) -> int:
        """How many rows have ever been added."""
        return self._count

    def rows(self, newest: int = 0) -> np.ndarray:
        """A copy of the newest rows (0: of all that are kept), oldest first."""
        kept = min(self._count, len(self._data))
        first = self._count - (min(newest, kept) or kept)
        return self._data[np.arange(first, self._count) % len(self._data)]


class ArmLog:
    """Events, commands and motion of one arm; events and commands also go to a file of JSON lines, if there is one."""

    def __init__(self, side: str, file: TextIO | None = None) -> None:
        """Write to `file` as well."""
        self.side = side
        self.events: list[dict[str, object]] = []
        self.commands = Rows(COMMANDS)
        self.motion = Rows(MOTION)
        self._file = file

    def event(self, name: str, **details: object) -> None:
        """Note what happened now."""
        entry: dict[str, object] = {"t": time.monotonic(), "event": name, "arm": self.side, **details}
        self.events.append(entry)
        if self._file is not None:
            self._file.write(json.dumps(entry) + "\n")

    def command(self, t_ns: int, q: tuple[float, ...]) -> None:
        """Note a servo target."""
        self.commands.append((t_ns, q))
        if self._file is not None:
            entry = {"t": t_ns * 1e-9, "event": "servoj", "arm": self.side, "q": q}
            self._file.write(json.dumps(entry) + "\n")
