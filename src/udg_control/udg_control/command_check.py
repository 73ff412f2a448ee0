"""What a device's process asks of a command before it follows it, and how much time the command stands for."""

from __future__ import annotations

import numpy as np

from udg_description.clock import NS_PER_S
from udg_description.limits import POSITION_TOLERANCE_RAD

MOST_PERIODS = 5  # that one command may be given: control has paused, and goes on no faster than the filter allows
_SAME_STREAM_S = 1.0  # stamps further apart, or backwards, say nothing


def as_numbers(q_command: np.ndarray, n: int) -> tuple[float, ...]:
    """The command (n,) [rad] for the shared memory; nan, which `refusal` names, where its length is another."""
    q = tuple(np.asarray(q_command, dtype=np.float64).tolist())
    return q if len(q) == n else (float("nan"),) * n


def refusal(q: np.ndarray, lower: np.ndarray, upper: np.ndarray) -> str:
    """Why a command (n,) [rad] is refused whatever came before it; "" if it is not. Limits (n,) [rad]."""
    if not np.isfinite(q).all():
        return f"a command that is not {len(lower)} finite numbers"
    if ((q < lower - POSITION_TOLERANCE_RAD) | (q > upper + POSITION_TOLERANCE_RAD)).any():
        return "a command outside the position limits"
    return ""


def first_refusal(q: np.ndarray, q_device: np.ndarray, most_rad: float) -> str:
    """Why the first command (n,) [rad] of a device that stands at `q_device` (n,) [rad] is refused; "" if it is not."""
    step = float(np.abs(q - q_device).max())
    return f"the first command is {step:.3f} rad from the joints ({most_rad} allowed)" if step > most_rad else ""


def periods_between(before_ns: int, stamp_ns: int, period_s: float) -> int:
    """Command periods from one stamp to the next, at most `MOST_PERIODS`; 0 of stamps in the same period."""
    elapsed_s = (stamp_ns - before_ns) / NS_PER_S
    return min(round(elapsed_s / period_s), MOST_PERIODS) if 0.0 <= elapsed_s < _SAME_STREAM_S else 1
