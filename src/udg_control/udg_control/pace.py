"""How fast both arms move when one is slow: one slider, one slowed arm or one load slows the whole robot."""

from __future__ import annotations

from collections import deque

import numpy as np

from udg_description.layout import ARM_PLACES, JOINT_NAMES

# As shares of the allowed distance between commands and joints:
FREE, STOP = 0.6, 1.0  # distance from the newest command without an effect, and that at which the share is least
LATE_FREE, LATE_STOP = 0.2, 0.6  # the same of the distance from all commands of the last RECENT_S
RECENT_S = 0.2  # an arm that follows is where it was told to be within this time
LEAST = 0.05  # share that lag leaves: an arm that is blocked must be able to go back
RISE_PER_S = 0.5  # back to full speed within two seconds
LATE_S = 0.5  # an arm that is late for so long at its own full speed does not follow any more


class Pace:
    """A share of the speed limits, for all joints alike.

    It falls at once to what the slowest arm reports as its speed, and as an arm's joints fall behind: far behind the
    newest command, or where none of the last commands has told them to be. It rises slowly.
    """

    def __init__(self, step: np.ndarray, period_s: float = 0.01) -> None:
        """`step` (36,) [rad] is the largest distance of commands from joints that the filter allows."""
        self._step = step[ARM_PLACES]
        self._recent: deque[np.ndarray] = deque(maxlen=round(RECENT_S / period_s))
        self.start()

    def start(self) -> None:
        """Full speed, as after standing still where the joints are."""
        self.share = 1.0
        self._recent.clear()
        self._late_s = 0.0
        self._slowest = 0

    def update(self, command: np.ndarray, q_measured: np.ndarray, speed_scaling: float, dt_s: float) -> float:
        """The share for the next `dt_s` [s]; command and joints (36,) [rad], speed of the slowest arm."""
        joints = q_measured[ARM_PLACES]
        self._recent.append(command[ARM_PLACES])
        recent = np.array(self._recent)
        behind = np.abs(recent[-1] - joints) / self._step
        late = np.maximum(recent.min(axis=0) - joints, joints - recent.max(axis=0)) / self._step
        self._slowest = int(np.argmax(late))
        by_lag = (STOP - float(behind.max())) / (STOP - FREE)
        by_lag = min(by_lag, (LATE_STOP - float(late.max())) / (LATE_STOP - LATE_FREE))
        self.share = min(max(by_lag, LEAST), max(speed_scaling, 0.0), self.share + RISE_PER_S * dt_s)
        is_late = float(late.max()) > LATE_FREE and speed_scaling > 0.99
        self._late_s = self._late_s + dt_s if is_late else 0.0
        return self.share

    @property
    def complaint(self) -> str:
        """What is wrong when an arm does not follow; empty when it does."""
        if self._late_s < LATE_S:
            return ""
        return f"{JOINT_NAMES[ARM_PLACES[self._slowest]]} does not follow: it has been behind for {self._late_s:.1f} s"
