"""A swing of the arms about home, the same for all arm joints, for the control benchmark."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from udg_description.clock import STEP_S
from udg_description.layout import HOME_Q, SIDES, part_indices


@dataclass(frozen=True, kw_only=True)
class Sine:
    """offset(t) = amplitude * sin(2 pi f t), its amplitude growing over `ramp_s` at the start."""

    amplitude_rad: float = 0.1
    frequency_hz: float = 0.5
    ramp_s: float = 2.0
    chunk_points: int = 16
    step_s: float = STEP_S

    def offset(self, time_s: np.ndarray) -> np.ndarray:
        """Offset from home [rad] at times (...,) [s] since the start; 0 before it."""
        ramp = np.clip(np.asarray(time_s) / self.ramp_s, 0.0, 1.0)
        grown = ramp * ramp * (3.0 - 2.0 * ramp)
        return self.amplitude_rad * grown * np.sin(2.0 * np.pi * self.frequency_hz * np.asarray(time_s))

    def chunk(self, time_s: float) -> np.ndarray:
        """Action chunk (K, 36) [rad] whose point i is due at time_s + (i + 1) * step_s."""
        chunk = np.tile(HOME_Q, (self.chunk_points, 1))
        offset = self.offset(time_s + self.step_s * np.arange(1, self.chunk_points + 1))
        for side in SIDES:
            chunk[:, part_indices(f"{side}_arm")] += offset[:, None]
        return chunk
