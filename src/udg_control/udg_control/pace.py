"""How fast both arms go when one of them is slow: one slider, one slowed arm, one load slows the whole robot."""

from __future__ import annotations

import numpy as np

from udg_description.layout import JOINT_NAMES, SIDES, part_indices

_ARMS = np.concatenate([np.arange(36)[part_indices(f"{side}_arm")] for side in SIDES])
FREE = 0.6  # share of the allowed distance between command and joint that an arm may lag without an effect
RISE_PER_S = 0.5  # back to full speed within two seconds
LAGGING_S = 1.0  # an arm that stays behind for so long at its own full speed does not follow any more


class Pace:
    """A share of the speed limits, for all joints alike.

    It falls at once to what the slowest arm reports as its speed, and towards 0 as an arm's joints fall behind their
    commands, so that the distance which stops the robot is approached but not jumped over. It rises slowly.
    """

    def __init__(self, step: np.ndarray) -> None:
        """`step` (36,) [rad] is the largest distance of commands from joints that the filter allows."""
        self._step = step[_ARMS]
        self.start()

    def start(self) -> None:
        """Full speed, as after standing still where the joints are."""
        self.share = 1.0
        self._behind_s = 0.0
        self._slowest = 0

    def update(self, command: np.ndarray, q_measured: np.ndarray, speed_scaling: float, dt_s: float) -> float:
        """Return the share for the next `dt_s` [s]; command and joints (36,) [rad], speed of the slowest arm."""
        lags = np.abs(command[_ARMS] - q_measured[_ARMS]) / self._step
        self._slowest = int(np.argmax(lags))
        lag = float(lags[self._slowest])
        by_lag = min(max((1.0 - lag) / (1.0 - FREE), 0.0), 1.0)
        self.share = min(by_lag, max(speed_scaling, 0.0), self.share + RISE_PER_S * dt_s)
        self._behind_s = self._behind_s + dt_s if lag > FREE and speed_scaling >= 1.0 - 1e-3 else 0.0
        return self.share

    @property
    def complaint(self) -> str:
        """What is wrong when an arm stays behind; empty when it does not."""
        if self._behind_s < LAGGING_S:
            return ""
        return f"{JOINT_NAMES[_ARMS[self._slowest]]} has been far behind its commands for {self._behind_s:.1f} s"
