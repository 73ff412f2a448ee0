"""A heat budget for the motors of a hand: brief high currents of a squeeze are fine, a blocked finger is not."""

from __future__ import annotations

import numpy as np

from udg_description.layout import N_HAND_JOINTS


class MotorHeat:
    """How warm each motor is, of what its largest lasting current would make of it (1: as warm as allowed).

    A motor heats with the square of its current and cools with a time constant. From cold, a current I of more than the
    lasting one I0 uses the budget up after -log(1 - (I0 / I)^2) time constants: 1.2 I0 after 1.2, 2 I0 after 0.3.
    """

    def __init__(self, lasting_a: float, time_constant_s: float) -> None:
        """All are cold. `lasting_a` [A] may flow for ever."""
        self._lasting_a, self._time_constant_s = lasting_a, time_constant_s
        self.share = np.zeros(N_HAND_JOINTS)

    def update(self, current_a: np.ndarray, dt_s: float) -> np.ndarray:
        """The shares (12,) after `dt_s` [s] of these currents (12,) [A]."""
        kept = np.exp(-max(dt_s, 0.0) / self._time_constant_s)
        self.share = self.share * kept + np.square(current_a / self._lasting_a) * (1.0 - kept)
        return self.share
