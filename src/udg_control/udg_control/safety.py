"""The safety filter: the last gate before the devices. No command outside the limits leaves it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum

import numpy as np

from udg_control.collision import CollisionCheck, CollisionConfig, Hazard
from udg_control.collision_watch import CollisionWatch
from udg_control.errors import SafetyConfigError
from udg_description.layout import JOINT_NAMES, N_JOINTS, SIDES, part_indices
from udg_description.limits import JointLimits
from udg_description.settings import check_ranges, setting


class Reason(Enum):
    """Why a command, a chunk or a state was rejected and the robot held."""

    DISABLED = "disabled"
    EMERGENCY_STOP = "emergency_stop"
    BAD_STATE = "bad_state"  # measured state: wrong names, wrong length or not finite
    STALE_STATE = "stale_state"
    LENGTH = "wrong_length"
    JOINT_NAMES = "wrong_joint_names"
    NOT_FINITE = "not_finite"
    POSITION = "position_limit"
    VELOCITY = "velocity_limit"
    ACCELERATION = "acceleration_limit"
    STEP = "step_from_measured"  # too far from the joints, or joints that do not follow
    WORKSPACE = "workspace_box"
    COLLISION_SELF = "collision_self"
    COLLISION_ARMS = "collision_arms"
    COLLISION_TABLE = "collision_table"
    BAD_CHUNK = "bad_chunk"  # message content: times, lengths of points
    STALE_CHUNK = "stale_chunk"
    FUTURE_CHUNK = "future_chunk"
    CLOCK_JUMP = "clock_jump"  # time went back or made a leap: re-synchronised
    HEARTBEAT = "heartbeat"  # it stopped, or it tells what is silent
    DEVICE = "device_fault"  # a device has stopped by itself; its own code is in the detail
    INTERNAL_ERROR = "internal_error"


_REASON_OF_HAZARD = {
    Hazard.SELF: Reason.COLLISION_SELF,
    Hazard.ARMS: Reason.COLLISION_ARMS,
    Hazard.TABLE: Reason.COLLISION_TABLE,
    Hazard.WORKSPACE: Reason.WORKSPACE,
}


@dataclass(frozen=True, kw_only=True)
class SafetyConfig:
    """Limits of ours that come on top of the robot's."""

    velocity_scale: float = setting(1.0, "share of the joints' velocity limits that may be used", 0.01, 1.0)
    acceleration_scale: float = setting(1.0, "share of the joints' acceleration limits that may be used", 0.01, 1.0)
    arm_step_rad: float = setting(
        0.3, "largest distance of an arm joint's command from its measured position [rad]", 0.01, 1.0
    )
    hand_step_rad: float = setting(
        1.2, "the same of a hand joint [rad]; wide, because squeezing commands beyond the contact", 0.01, 3.0
    )
    max_state_age_s: float = setting(0.1, "a measured state older than this is stale [s]", 0.01, 1.0)
    max_hand_state_age_s: float = setting(
        0.3, "the same of a hand, whose exchanges sometimes stall for 0.1 s, if it is more [s]", 0.01, 1.0
    )
    collision: CollisionConfig = field(default_factory=CollisionConfig)

    def __post_init__(self) -> None:
        """Check the numbers. Raises SafetyConfigError."""
        check_ranges(self, SafetyConfigError)


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What may leave: the command (36,) [rad], and why it is not the one that was asked for (None: it is)."""

    command: np.ndarray
    reason: Reason | None = None
    detail: str = ""

    @property
    def accepted(self) -> bool:
        """Whether the command that was asked for passed."""
        return self.reason is None


class SafetyFilter:
    """Passes a command, or brakes and holds. Disabled at the start; fails closed.

    What leaves is always finite and inside the position limits, moves no joint faster than its velocity limit, changes
    no joint's velocity faster than its acceleration limit, and can be followed by a stop within those limits that ends
    inside the position limits, inside the workspace and without a collision. Holding is that stop. It passes nothing
    that brings the arms together wherever each is between its measured place and that stop, and nothing while measured
    links come to overlap (`CollisionWatch`). In front of simulated joints: `offline.OfflineFilter`. Only `sync` may
    move the command at once: to where the joints are measured, that is without pulling at them.
    """

    _EPSILON_RAD = 1e-9
    _EPSILON_RAD_S = 1e-6

    def __init__(self, config: SafetyConfig, limits: JointLimits, period_s: float = 0.01) -> None:
        """`period_s` [s] is the usual time between commands."""
        self.config = config
        self.period_s = period_s
        self.velocity = limits.velocity * config.velocity_scale  # (36,) [rad/s]
        self.acceleration = limits.acceleration * config.acceleration_scale  # (36,) [rad/s^2]
        self.lower, self.upper = limits.lower, limits.upper
        self.step = np.full(N_JOINTS, config.hand_step_rad)
        for side in SIDES:
            self.step[part_indices(f"{side}_arm")] = config.arm_step_rad
        self._watch = CollisionWatch(config.collision) if config.collision.enabled else None
        self.counts: Counter[Reason] = Counter()
        self._enabled = False
        self._stopped = False
        self._command: np.ndarray | None = None
        self._velocity = np.zeros(N_JOINTS)
        self._dt_s = 0.0

    # --- state ------------------------------------------------------------------------------------------------------

    @property
    def enabled(self) -> bool:
        """Whether commands may pass."""
        return self._enabled and not self._stopped

    @property
    def stopped(self) -> bool:
        """Whether an emergency stop is latched."""
        return self._stopped

    @property
    def command(self) -> np.ndarray | None:
        """The last command that left (36,) [rad], None before the first state."""
        return self._command

    @property
    def command_velocity(self) -> np.ndarray:
        """Mean velocity (36,) [rad/s] of the last step between commands."""
        return self._velocity

    @property
    def at_rest(self) -> bool:
        """Whether the last command stood still."""
        return not self._velocity.any()

    def count(self, reason: Reason) -> None:
        """Count one more rejection."""
        self.counts[reason] += 1

    def enable(self) -> None:
        """Let commands pass again; also releases a latched emergency stop."""
        self._enabled, self._stopped = True, False

    def disable(self) -> None:
        """Brake and hold from now on."""
        self._enabled = False

    def emergency_stop(self) -> None:
        """Brake and hold from now on, until `enable`."""
        self._stopped = True
        self.disable()

    def sync(self, q_measured: np.ndarray) -> np.ndarray:
        """Make the measured position (36,) [rad], brought inside the limits, the last safe command at rest."""
        self._command = _read_only(np.clip(q_measured, self.lower, self.upper))
        self._rest()
        if self._watch is not None:
            self._watch.start()
        return self._command

    def hold(self, reason: Reason, detail: str = "", dt_s: float | None = None) -> Verdict:
        """Count the reason; brake within the limits, then stand still. Needs a `sync` before.

        `dt_s` [s] is the time since the last command, by default the usual one.
        """
        assert self._command is not None, "sync before the first command"
        self.count(reason)
        dt_s = self.period_s if dt_s is None or not dt_s > 0.0 else dt_s
        slower = np.maximum(np.abs(self._velocity) - self._change(dt_s), 0.0)
        if slower.any():
            velocity = np.copysign(slower, self._velocity)
            self._command = _read_only(np.clip(self._command + velocity * dt_s, self.lower, self.upper))
            self._velocity, self._dt_s = velocity, dt_s
        else:
            self._rest()
        return Verdict(command=self._command, reason=reason, detail=detail)

    def freeze(self, reason: Reason, detail: str = "") -> Verdict:
        """Count the reason and stand still at once, without braking."""
        self._rest()
        return self.hold(reason, detail)

    def _rest(self) -> None:
        self._velocity = np.zeros(N_JOINTS)
        self._dt_s = 0.0

    def _change(self, dt_s: float) -> np.ndarray:
        """Largest change (36,) [rad/s] of the velocity to a step of `dt_s`.

        Mean velocities of two intervals belong to their middles; after a stop the interval before is as long.
        """
        return self.acceleration * (0.5 * (dt_s + (self._dt_s or dt_s)))

    # --- the gate ---------------------------------------------------------------------------------------------------

    def judge(
        self,
        command: np.ndarray,
        q_measured: np.ndarray,
        *,
        dt_s: float,
        state_age_s: float = 0.0,
        names: Sequence[str] = JOINT_NAMES,
    ) -> Verdict:
        """The command (36,) [rad] if it is safe, else the last safe one with the reason.

        `dt_s` is the time since the last command; `q_measured` (36,) [rad] the newest measured state.
        """
        if self._stopped:
            return self.hold(Reason.EMERGENCY_STOP, dt_s=dt_s)
        if not self._enabled:
            return self.hold(Reason.DISABLED, dt_s=dt_s)
        failure = (
            self._judge_state(q_measured, state_age_s)
            or self._judge_form(command, names)
            or self._judge_motion(command, q_measured, dt_s)
        )
        if failure is not None:
            return self.hold(*failure, dt_s=dt_s)
        assert self._command is not None, "sync before the first command"
        velocity = (command - self._command) / dt_s
        stop = command + self._braking_distance(velocity, dt_s)
        failure = self._judge_stop(command, stop, q_measured)
        if failure is not None:
            return self.hold(*failure, dt_s=dt_s)
        self._velocity, self._dt_s = velocity, dt_s
        self._command = _read_only(np.array(command, dtype=np.float64))
        return Verdict(command=self._command)

    def _judge_state(self, q_measured: np.ndarray, state_age_s: float) -> tuple[Reason, str] | None:
        if np.shape(q_measured) != (N_JOINTS,) or not np.isfinite(q_measured).all():
            return Reason.BAD_STATE, f"the measured state is not {N_JOINTS} finite numbers"
        if not state_age_s <= self.config.max_state_age_s:
            return Reason.STALE_STATE, f"the state is {state_age_s:.3f} s old ({self.config.max_state_age_s} s allowed)"
        return None

    def _judge_form(self, command: np.ndarray, names: Sequence[str]) -> tuple[Reason, str] | None:
        if np.shape(command) != (N_JOINTS,):
            return Reason.LENGTH, f"a command of shape {np.shape(command)}; valid: ({N_JOINTS},)"
        if names is not JOINT_NAMES and tuple(names) != JOINT_NAMES:
            return Reason.JOINT_NAMES, "joint names that aren't the layout's, in its order"
        if not np.isfinite(command).all():
            return Reason.NOT_FINITE, f"{_joint(~np.isfinite(command))} is not finite"
        return None

    def _judge_motion(self, command: np.ndarray, q_measured: np.ndarray, dt_s: float) -> tuple[Reason, str] | None:
        outside = (command < self.lower) | (command > self.upper)
        if outside.any():
            return Reason.POSITION, f"{_joint(outside)} outside its limits"
        if not dt_s > 0.0:
            return Reason.STALE_STATE, "no time has passed since the last command"
        assert self._command is not None, "sync before the first command"
        velocity = (command - self._command) / dt_s
        fast = np.abs(velocity) > self.velocity + self._EPSILON_RAD_S
        if fast.any():
            return Reason.VELOCITY, f"{_joint(fast)} above its velocity limit"
        hard = np.abs(velocity - self._velocity) > self._change(dt_s) + self._EPSILON_RAD_S
        if hard.any():
            return Reason.ACCELERATION, f"{_joint(hard)} above its acceleration limit"
        far = np.abs(command - q_measured) > self.step
        # A command that brings a far joint nearer must pass, else a blocked arm could never be freed.
        far &= np.abs(command - q_measured) > np.abs(self._command - q_measured) + self._EPSILON_RAD
        if far.any():
            return Reason.STEP, f"{_joint(far)} too far from its measured position"
        return None

    @property
    def check(self) -> CollisionCheck | None:
        """The collision check of commands; None where it is switched off."""
        return None if self._watch is None else self._watch.check

    def _braking_distance(self, velocity: np.ndarray, dt_s: float) -> np.ndarray:
        """Way (36,) [rad] that `hold` will still go, in steps of the usual period, after a step of dt_s at velocity."""
        unit = self.acceleration * self.period_s
        first = np.maximum(np.abs(velocity) - self.acceleration * 0.5 * (dt_s + self.period_s), 0.0)
        steps = np.ceil(first / unit)  # at speeds first, first - unit, ...
        return np.copysign(self.period_s * (steps * first - 0.5 * unit * steps * (steps - 1.0)), velocity)

    def _judge_stop(self, command: np.ndarray, stop: np.ndarray, q_measured: np.ndarray) -> tuple[Reason, str] | None:
        """Judge the command, where the joints can stand still after it, and where they are, each (36,) [rad]."""
        outside = (stop < self.lower - self._EPSILON_RAD) | (stop > self.upper + self._EPSILON_RAD)
        if outside.any():
            return Reason.POSITION, f"{_joint(outside)} too fast to stop before its limit"
        if self._watch is None:
            return None
        assert self._command is not None, "sync before the first command"
        before = self._command + self._braking_distance(self._velocity, self._dt_s or self.period_s)
        violation = self._watch.judge(np.stack([self._command, before]), np.stack([command, stop]), q_measured)
        return None if violation is None else (_REASON_OF_HAZARD[violation.hazard], str(violation))


def _joint(mask: np.ndarray) -> str:
    """Name the first joint that the mask (36,) marks."""
    return JOINT_NAMES[int(np.argmax(mask))]


def _read_only(values: np.ndarray) -> np.ndarray:
    values.flags.writeable = False
    return values
