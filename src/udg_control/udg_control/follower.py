"""From action chunks at 10 Hz to commands at 100 Hz, shaped to what the joints can do."""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from udg_control.errors import SafetyConfigError
from udg_control.joint_motion import next_velocity, stopping_speed
from udg_control.margins import MarginKeeper
from udg_description.clock import NS_PER_S
from udg_description.layout import N_JOINTS, SIDES, part_indices
from udg_description.settings import check_ranges, setting

MAX_SUBSTEPS = 5  # after a longer gap the command advances by this many periods only
_SLOWEST = 0.02  # pace of a chunk whose arms are waited for
INSIDE = 1.0 - 1e-6  # share of the filter's limits that the follower uses, so that rounding never meets the filter


class Reference(Protocol):
    """Where the joints should be, as a function of time."""

    def at(self, time_ns: int) -> np.ndarray:
        """The positions (36,) [rad] wanted at `time_ns`."""


class ChunkReference:
    """Linear interpolation from a start through the points of a chunk; the last point stays."""

    def __init__(self, start: np.ndarray, start_ns: int, chunk: np.ndarray, chunk_ns: np.ndarray) -> None:
        """`start` (36,) at `start_ns`; `chunk` (K, 36) [rad] due at `chunk_ns` (K,); past points are skipped."""
        later = chunk_ns > start_ns
        if len(chunk) and not later.any():
            start = chunk[-1]
        self._times_ns = [start_ns, *chunk_ns[later].tolist()]
        self._points = np.concatenate([start[None], chunk[later]])

    def at(self, time_ns: int) -> np.ndarray:
        """The interpolated positions (36,) [rad]."""
        after = bisect_right(self._times_ns, time_ns)
        if after == 0:
            return self._points[0]
        if after == len(self._times_ns):
            return self._points[-1]
        begin_ns, end_ns = self._times_ns[after - 1], self._times_ns[after]
        share = (time_ns - begin_ns) / (end_ns - begin_ns)
        return self._points[after - 1] + share * (self._points[after] - self._points[after - 1])


class PartsReference:
    """One reference for the arms' joints and one for the hands'."""

    def __init__(self, arms: Reference, hands: Reference) -> None:
        """Both are of all 36 joints; the others of each are ignored."""
        self._arms, self._hands = arms, hands
        self._of_arms = np.zeros(N_JOINTS, dtype=bool)
        for side in SIDES:
            self._of_arms[part_indices(f"{side}_arm")] = True

    def at(self, time_ns: int) -> np.ndarray:
        """The positions (36,) [rad]."""
        return np.where(self._of_arms, self._arms.at(time_ns), self._hands.at(time_ns))


class SmoothMove:
    """From rest at `start` to rest at `end`, all joints together, by a polynomial of fifth degree."""

    def __init__(
        self, start: np.ndarray, end: np.ndarray, start_ns: int, velocity: np.ndarray, acceleration: np.ndarray
    ) -> None:
        """No joint exceeds `velocity` (36,) [rad/s] or `acceleration` (36,) [rad/s^2]."""
        distance = np.abs(end - start)
        # The largest slope of 10 s^3 - 15 s^4 + 6 s^5 is 15/8, its largest second derivative 10/sqrt(3).
        by_velocity = (15.0 / 8.0) * distance / velocity
        by_acceleration = np.sqrt((10.0 / np.sqrt(3.0)) * distance / acceleration)
        self.duration_s = float(np.maximum(by_velocity, by_acceleration).max())
        self.end_ns = start_ns + round(self.duration_s * NS_PER_S)
        self._start, self._end, self._start_ns = start, end, start_ns

    def at(self, time_ns: int) -> np.ndarray:
        """The positions (36,) [rad]."""
        elapsed_s = (time_ns - self._start_ns) / NS_PER_S
        s = min(max(elapsed_s / self.duration_s, 0.0), 1.0) if self.duration_s > 0.0 else 1.0
        return self._start + (10.0 * s**3 - 15.0 * s**4 + 6.0 * s**5) * (self._end - self._start)


@dataclass(frozen=True, kw_only=True)
class FollowerConfig:
    """Times of the command stream."""

    period_s: float = setting(0.01, "time between commands [s]", 0.001, 0.1)
    step_s: float = setting(0.1, "time between the points of a chunk [s]", 0.01, 1.0)
    arm_lead_s: float = setting(
        0.0, "chunks are followed so much earlier by the arms: what they lag behind commands [s]", 0.0, 0.2
    )
    hand_lead_s: float = setting(0.0, "the same for the hands [s]", 0.0, 0.2)
    keep_margins: bool = setting(True, "chunks slide along the margins of the collision check, not into them")
    reserve_m: float = setting(0.004, "how much room chunks keep beyond the margins then [m]", 0.0, 0.05)

    def __post_init__(self) -> None:
        """Check the numbers. Raises SafetyConfigError."""
        check_ranges(self, SafetyConfigError)
        if self.period_s > self.step_s:
            raise SafetyConfigError(f"FollowerConfig: period_s is {self.period_s}; valid: at most step_s")

    @property
    def period_ns(self) -> int:
        """Time between commands [ns]."""
        return round(self.period_s * NS_PER_S)

    @property
    def step_ns(self) -> int:
        """Time between the points of a chunk [ns]."""
        return round(self.step_s * NS_PER_S)


class ChunkFollower:
    """Follows a reference within position, velocity and acceleration limits.

    The command given at time t is the position to be reached one period later. Where the reference is feasible the
    command lies on it; where it is not, each joint follows as fast as its limits allow, and always so that it can
    still stop before its position limit.
    """

    def __init__(
        self,
        config: FollowerConfig,
        *,
        lower: np.ndarray,
        upper: np.ndarray,
        velocity: np.ndarray,
        acceleration: np.ndarray,
        keeper: MarginKeeper | None = None,
    ) -> None:
        """Limits (36,) each, in [rad], [rad/s], [rad/s^2]; `keeper` brings chunks inside the margins of collisions."""
        self.config = config
        self.keeper = keeper
        self.kept_points = 0  # chunk points that the keeper moved
        self.clamped_points = 0  # chunk points that lay outside the position limits
        self.limited_steps = 0  # commands that a velocity or acceleration limit kept off the reference
        self.pace = 1.0  # share of the velocity limits, and of the speed of chunks, that may be used
        self._lower, self._upper = lower, upper
        self._velocity_limit = velocity * INSIDE
        self._acceleration_limit = acceleration * INSIDE
        self._command = np.zeros(N_JOINTS)
        self._velocity = np.zeros(N_JOINTS)
        self._reference: Reference | None = None
        self._ahead: tuple[Reference | None, int, np.ndarray] = (None, 0, self._command)  # where it will be, and when

    @property
    def command(self) -> np.ndarray:
        """The last command (36,) [rad]."""
        return self._command

    @property
    def at_rest(self) -> bool:
        """Whether the last command stood still."""
        return not self._velocity.any()

    def sync(self, command: np.ndarray) -> None:
        """Stand still at `command` (36,) [rad], forget the reference."""
        self.hold_at(command)
        self._reference = None

    def hold_at(self, command: np.ndarray, velocity: np.ndarray | None = None) -> None:
        """Be at `command` (36,) [rad], still or at `velocity` (36,) [rad/s]; continue with the reference from there."""
        self._command = np.array(command)
        self._velocity = np.zeros(N_JOINTS) if velocity is None else np.array(velocity)

    def stop(self) -> None:
        """Brake within the limits, then hold."""
        self._reference = None

    def follow(self, chunk: np.ndarray, stamp_ns: int, now_ns: int, speed: float = 1.0) -> None:
        """Follow the chunk (K, 36) [rad] from the last command on: point i is due at stamp + (i + 1) * step_s / speed.

        Commands are given earlier than that by the lead of the configuration, so that the joints are there in time.
        Points outside the position limits are brought inside and counted; so are those too near to something.
        """
        speed *= max(self.pace, _SLOWEST)
        inside = np.clip(chunk, self._lower, self._upper)
        self.clamped_points += int((inside != chunk).any(axis=1).sum())
        if self.keeper is not None:
            inside, kept = self.keeper.keep(inside, self._command)
            self.kept_points += kept
        due_ns = stamp_ns + np.round(self.config.step_ns / speed * np.arange(1, len(chunk) + 1)).astype(np.int64)

        def early(lead_s: float) -> Reference:
            return ChunkReference(self._command, now_ns, inside, due_ns - round(lead_s * NS_PER_S))

        arm_lead_s, hand_lead_s = self.config.arm_lead_s, self.config.hand_lead_s
        arms = early(arm_lead_s)
        self._reference = arms if arm_lead_s == hand_lead_s else PartsReference(arms, early(hand_lead_s))

    def move_to(self, end: np.ndarray, now_ns: int, speed: float) -> SmoothMove:
        """Move to `end` (36,) [rad] and rest there, with the share `speed` of the velocity limits."""
        end = np.clip(end, self._lower, self._upper)
        move = SmoothMove(self._command, end, now_ns, self._velocity_limit * speed, self._acceleration_limit * speed)
        self._reference = move
        return move

    def advance(self, now_ns: int, periods: int = 1) -> np.ndarray:
        """The command (36,) [rad] for `now_ns`, `periods` (0 to MAX_SUBSTEPS) after the last one."""
        for back in range(periods - 1, -1, -1):
            self._substep(now_ns - back * self.config.period_ns)
        return self._command

    def _substep(self, now_ns: int) -> None:
        dt_s = self.config.period_s
        if self._reference is None:
            wanted = np.zeros(N_JOINTS)
        else:
            reference, ahead_ns, here = self._ahead
            if reference is not self._reference or ahead_ns != now_ns:
                here = self._reference.at(now_ns)
            ahead_ns = now_ns + self.config.period_ns
            there = self._reference.at(ahead_ns)
            self._ahead = (self._reference, ahead_ns, there)
            error = here - self._command
            wanted = (there - here) / dt_s + np.sign(error) * stopping_speed(
                np.abs(error), self._acceleration_limit, dt_s
            )
        velocity = next_velocity(
            wanted,
            self._velocity,
            self._command,
            lower=self._lower,
            upper=self._upper,
            velocity_limit=self._velocity_limit * self.pace,
            acceleration_limit=self._acceleration_limit,
            dt_s=dt_s,
        )
        if np.abs(velocity - wanted).max() > 1e-6:
            self.limited_steps += 1
        self._command = np.minimum(np.maximum(self._command + velocity * dt_s, self._lower), self._upper)
        self._velocity = velocity
