"""From commands at 100 Hz to servo targets at 500 Hz: smooth, within the limits, braking when commands stop coming.

Between the middles of two command intervals the velocity changes linearly (a quadratic B-spline over the commands), so
the targets keep the velocities and accelerations of the commands exactly and stay inside their hull. Time is counted
in servo ticks, not taken from a clock: a late process delays the motion, it never makes it jump. What is lost that way
is caught up within the same limits that the commands keep.
"""

from __future__ import annotations

from collections import deque

import numpy as np

from udg_control.joint_motion import next_velocity, stopping_speed

_MOST_AHEAD = 3  # commands in the queue beyond those that the jitter asks for: skip
_SETTLE = 100  # commands over which the queue must have been too long before one is skipped
_AT_REST = 1e-9  # [rad/s]


class Playout:
    """A queue of commands and the curve through them."""

    def __init__(
        self,
        *,
        period_s: float,
        ticks: int,
        delay_ticks: int,
        lower: np.ndarray,
        upper: np.ndarray,
        velocity: np.ndarray,
        acceleration: np.ndarray,
    ) -> None:
        """`ticks` servo targets a command of `period_s`; limits (n,) in [rad], [rad/s], [rad/s^2].

        The first command of a stream waits `delay_ticks`, so later ones may be that late.
        """
        self.starved = 0  # intervals for which no command was there
        self.skipped = 0  # commands skipped to catch up with the stream
        self._period_s, self._ticks, self._delay_ticks = period_s, ticks, delay_ticks
        self._lower, self._upper = lower, upper
        self._velocity_limit, self._acceleration_limit = velocity, acceleration
        self._share = np.arange(1, ticks + 1)[:, None] / ticks
        self.start(np.zeros(len(lower)))

    def start(self, q: np.ndarray) -> None:
        """Stand still at q (n,) [rad]; the queue is empty."""
        self._queue: deque[np.ndarray] = deque()
        self._target = np.array(q, dtype=np.float64)  # the last command taken from the queue
        self._knot = self._target  # the last point of the curve's polygon
        self._velocity = np.zeros_like(self._target)
        self._moving = False
        self._wait = -1  # ticks until the stream starts; -1: no stream
        self._tick = 0
        self._pushed = self._target
        self._least_queue, self._since_skip = 0, 0
        self._points = np.tile(self._target, (self._ticks, 1))
        self._last = self._target  # the last servo target
        self._ends = np.zeros((2, len(self._target)))  # velocities at both ends of the interval

    @property
    def at_rest(self) -> bool:
        """Whether the targets stand still."""
        return not self._moving

    def push(self, q: np.ndarray, periods: int = 1) -> None:
        """Add the command q (n,) [rad], `periods` after the one before."""
        if self._wait < 0:
            self._wait = self._delay_ticks
        for part in range(1, periods + 1):
            self._queue.append(self._pushed + (q - self._pushed) * (part / periods))
        self._pushed = q

    def brake(self) -> None:
        """Forget the commands and come to rest within the limits, from the next target on."""
        self._queue.clear()
        self._wait = -1
        if not self._moving:
            return
        before, after = self._ends
        velocity = before + (after - before) * ((self._tick or self._ticks) / self._ticks)
        knot = self._last + 0.5 * self._period_s * velocity  # of an interval that begins here
        room = np.where(velocity > 0.0, self._upper - knot, knot - self._lower)
        slower = np.abs(velocity) - self._acceleration_limit * self._period_s
        if (slower <= stopping_speed(room, self._acceleration_limit, self._period_s)).all():
            self._knot, self._velocity, self._tick = knot, velocity, 0
        # Else, so near a position limit, the interval that is under way ends as it is.

    def step(self) -> np.ndarray:
        """The next servo target (n,) [rad]."""
        waiting = self._wait != 0
        if self._wait > 0:
            self._wait -= 1
        if waiting and self.at_rest:
            self._tick = 0
            return self._last
        if self._tick == 0:
            self._begin_interval()
        self._last = self._points[self._tick]
        self._tick = (self._tick + 1) % self._ticks
        return self._last

    def _begin_interval(self) -> None:
        """Lay the curve of the next interval, from the middle of the last one to the middle of the next."""
        before = self._velocity
        after = self._next_velocity()
        middle = self._knot - 0.5 * self._period_s * before
        self._points = middle + self._period_s * (before * self._share + 0.5 * (after - before) * self._share**2)
        self._knot = self._knot + after * self._period_s
        self._velocity, self._ends = after, np.stack([before, after])
        self._moving = bool(max(np.abs(before).max(), np.abs(after).max()) > _AT_REST)

    def _next_velocity(self) -> np.ndarray:
        """Velocity [rad/s] to the next point of the polygon: that of the commands, inside all limits."""
        dt_s = self._period_s
        wanted = np.zeros_like(self._target)
        if self._wait == 0:
            previous = self._target
            if self._queue:
                self._skip_if_late()
                previous = self._target
                self._target = self._queue.popleft()
                wanted = (self._target - previous) / dt_s
            else:
                self.starved += 1
            error = previous - self._knot
            wanted = wanted + np.sign(error) * stopping_speed(np.abs(error), self._acceleration_limit, dt_s)
        return next_velocity(
            wanted,
            self._velocity,
            self._knot,
            lower=self._lower,
            upper=self._upper,
            velocity_limit=self._velocity_limit,
            acceleration_limit=self._acceleration_limit,
            dt_s=dt_s,
        )

    def _skip_if_late(self) -> None:
        """Leave a command out when the queue has been longer than the jitter needs for some time."""
        self._least_queue = min(self._least_queue, len(self._queue)) if self._since_skip else len(self._queue)
        self._since_skip += 1
        spare = 1 + self._delay_ticks // self._ticks
        too_long = len(self._queue) > spare + _MOST_AHEAD
        if too_long or (self._since_skip >= _SETTLE and self._least_queue > spare):
            self._target = self._queue.popleft()
            self.skipped += 1
            self._since_skip = 0
        elif self._since_skip >= _SETTLE:
            self._since_skip = 0
