"""One control cycle: measured state and newest chunk in, one safe command and a report out. Knows no ROS."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np

from udg_control.errors import RefusedError, SafetyConfigError
from udg_control.follower import MAX_SUBSTEPS, ChunkFollower, FollowerConfig, SmoothMove
from udg_control.margins import margin_keeper
from udg_control.pace import Pace
from udg_control.safety import Reason, SafetyConfig, SafetyFilter, Verdict
from udg_control.states import Event, Mode, StateMachine
from udg_control.streams import SOLE, Source, Streams
from udg_description.clock import NS_PER_S
from udg_description.layout import HOME_Q, JOINT_NAMES, N_JOINTS
from udg_description.limits import JointLimits
from udg_description.settings import check_ranges, setting

__all__ = ["Controller", "ControllerConfig", "Cycle", "CycleReport", "FaultReport", "Mode"]


@dataclass(frozen=True, kw_only=True)
class ControllerConfig:
    """Parameters of the controller."""

    safety: SafetyConfig = field(default_factory=SafetyConfig)
    follower: FollowerConfig = field(default_factory=FollowerConfig)
    max_chunk_age_s: float = setting(0.4, "a chunk older than this is stale: the arms brake and hold [s]", 0.1, 5.0)
    max_gap_s: float = setting(
        0.5, "a longer pause between states is a leap of the clock: re-synchronise [s]", 0.05, 10.0
    )
    max_chunk_points: int = setting(200, "a longer chunk is rejected", 1, 10_000)
    chunk_position_slack_rad: float = setting(
        0.2, "chunk points further outside the position limits reject the chunk [rad]", 0.0, 1.0
    )
    chunk_speed_slack: float = setting(
        3.0, "a chunk that needs more than this multiple of a velocity limit is rejected", 1.0, 20.0
    )
    speed_scale: float = setting(1.0, "chunks are followed at this share of their speed", 0.02, 1.0, dynamic=True)
    heartbeat_timeout_s: float = setting(
        0.0, "no heartbeat for this long stops the arms; 0: none is asked for [s]", 0, 5
    )
    latch: bool = setting(False, "whatever holds the robot is a fault that only /control/enable clears")
    home_speed: float = setting(0.2, "share of the velocity limits used to move home", 0.01, 1.0)

    def __post_init__(self) -> None:
        """Check the numbers. Raises SafetyConfigError."""
        check_ranges(self, SafetyConfigError)

    @property
    def stream_pause_s(self) -> float:
        """A stream of chunks that was silent for this long has ended [s]: no sooner than its last chunk is stale."""
        return max(1.0, self.max_chunk_age_s)


@dataclass(frozen=True, kw_only=True)
class FaultReport:
    """What stopped the robot until the operator enables it again."""

    reason: Reason
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class CycleReport:
    """What a cycle did."""

    mode: Mode
    reason: Reason | None = None  # why the robot was held, None: it was not
    detail: str = ""


@dataclass(frozen=True, kw_only=True)
class Cycle:
    """The command (36,) [rad] of a cycle, None while no state has ever been measured, and its report."""

    command: np.ndarray | None
    report: CycleReport


class Controller:
    """Ties follower, safety filter, states and watchdogs together. Disabled at the start.

    With `latch` every rejection while enabled is a fault: the robot brakes and stands until `enable`. Without it (in
    simulation) it continues as soon as the reason is gone. Enabling sets nothing in motion: see `Streams`.
    """

    def __init__(self, config: ControllerConfig, limits: JointLimits, streams: Streams | None = None) -> None:
        """`streams` have seen the chunks that came before there was a controller."""
        self.config = config
        self.filter = SafetyFilter(config.safety, limits, config.follower.period_s)
        self.follower = ChunkFollower(
            config.follower,
            lower=limits.lower,
            upper=limits.upper,
            velocity=self.filter.velocity,
            acceleration=self.filter.acceleration,
            keeper=margin_keeper(self.filter.check, limits, config.follower),
        )
        self.fault: FaultReport | None = None  # set in Mode.FAULT
        self.streams = streams or Streams(config.stream_pause_s)
        self._states = StateMachine()
        self.arm_speed = 1.0  # share of its speed at which the slowest arm says that it moves
        self._pace = Pace(self.filter.step)
        self._joint_velocity = limits.velocity
        self._speed_scale = config.speed_scale
        self._beat: tuple[int, str] | None = None  # when the last heartbeat came [ns], and what it complained about
        self._move: SmoothMove | None = None
        self._home_requested = False
        self._sync_due = True
        self._last_ns: int | None = None
        self._chunk_ns: int | None = None  # stamp of the chunk that is being followed or was last judged
        self._ignored_ns: int | None = None  # stamp of the newest chunk that was not to be followed
        self._pending: tuple[np.ndarray, int] | None = None
        self._chunk_detail = ""  # what is wrong with the chunk that is being judged

    @property
    def mode(self) -> Mode:
        """What control is doing; see `states.TABLE`."""
        return self._states.mode

    @property
    def enabled(self) -> bool:
        """Whether commands may leave."""
        return self.filter.enabled

    @property
    def at_rest(self) -> bool:
        """Whether the last command stood still."""
        return self.filter.at_rest

    # --- requests ---------------------------------------------------------------------------------------------------

    def check_enable(self) -> None:
        """Raise RefusedError as long as an emergency stop is held."""
        if not self._states.allows(Event.ENABLE):
            raise RefusedError(
                "can't enable: an emergency stop is held: the last word on /emergency_stop is true; "
                "remove the cause, publish false there, then enable"
            )

    def enable(self) -> None:
        """Hold where the joints are measured, until a stream of chunks begins or `home`; frees from stops and faults.

        Raises RefusedError while an emergency stop is held.
        """
        self.check_enable()
        self._let_go()
        self._states.fire(Event.ENABLE)
        self.streams.open()
        self.filter.enable()
        self.fault = None
        self._sync_due = True

    def disable(self) -> None:
        """Brake and hold from now on. A latched emergency stop stays latched, a fault stays told."""
        self._end(Event.DISABLE)

    def emergency_stop(self, *, held: bool = False) -> None:
        """Brake and hold until `enable`, which is refused as long as the stop is `held`."""
        self.filter.emergency_stop()
        self.fault = None
        self._end(Event.HOLD_STOP if held else Event.STOP)

    def release_stop(self) -> None:
        """A stop is held no longer; the robot stays stopped."""
        self._states.fire(Event.RELEASE)

    def trip(self, reason: Reason, detail: str = "") -> None:
        """Stop because of a fault: brake and hold until `enable`. The first fault is the one that is kept."""
        self.filter.count(reason)
        self._latch(reason, detail)

    def _latch(self, reason: Reason, detail: str) -> None:
        if self._states.enabled:
            self.fault = FaultReport(reason=reason, detail=detail)
            self._end(Event.FAULT)

    def _end(self, event: Event) -> None:
        """Brake and hold from now on, in the mode that the event leads to."""
        self._let_go()
        self._states.fire(event)
        self.streams.close()
        self.filter.disable()

    def heartbeat(self, now_ns: int, complaint: str = "") -> None:
        """Note that a heartbeat has come; one that complains about something stops the robot as none would."""
        self._beat = (now_ns, complaint)

    @property
    def speed_scale(self) -> float:
        """Share of their speed at which chunks are followed."""
        return self._speed_scale

    def set_speed_scale(self, scale: float) -> None:
        """Change the speed at which chunks are followed. Raises RefusedError while enabled or out of range."""
        if self._states.enabled:
            raise RefusedError("speed_scale: control is enabled; call /control/disable first")
        if not 0.02 <= scale <= 1.0:
            raise RefusedError(f"speed_scale is {scale}; valid: 0.02 to 1.0")
        self._speed_scale = scale

    def home(self) -> None:
        """Move smoothly to the home configuration, joint by joint straight: keep the way clear. Then wait for a start.

        Raises RefusedError while control is not enabled.
        """
        if not self._states.allows(Event.HOME):
            raise RefusedError(f"home: control is '{self.mode.value}'; call /control/enable first")
        self._let_go()
        self._states.fire(Event.HOME)
        self.streams.close()
        self._home_requested = True

    def set_chunk(
        self,
        chunk: np.ndarray,
        stamp_ns: int,
        names: Sequence[str] = JOINT_NAMES,
        source: Source = SOLE,
        sent_ns: int | None = None,
    ) -> None:
        """Take the newest action chunk (K, 36) [rad]; K = 0 means "nothing to do". It is judged in the next cycle.

        `sent_ns` is its time by its publisher's clock, by default `stamp_ns`. A chunk of a stream that is not to be
        followed is counted, nothing else.
        """
        if not self._is_followed(stamp_ns, source, sent_ns, empty=np.shape(chunk)[:1] == (0,)):
            return
        if names is not JOINT_NAMES and tuple(names) != JOINT_NAMES:
            self._reject_chunk(Reason.JOINT_NAMES, "joint names that aren't the layout's, in its order")
        else:
            self._pending = (chunk, stamp_ns)

    def reject_chunk(
        self, reason: Reason, detail: str, stamp_ns: int, source: Source = SOLE, sent_ns: int | None = None
    ) -> None:
        """Count a chunk that could not even be read; brake and hold if it is one of the stream that is followed."""
        if self._is_followed(stamp_ns, source, sent_ns, empty=False):
            self._reject_chunk(reason, detail)
        else:
            self.filter.count(reason)

    def _is_followed(self, stamp_ns: int, source: Source, sent_ns: int | None, *, empty: bool) -> bool:
        followed = self.streams.take(source, stamp_ns if sent_ns is None else sent_ns, empty=empty)
        if not followed:
            self._ignored_ns = stamp_ns
        return followed

    def _reject_chunk(self, reason: Reason, detail: str) -> None:
        self.filter.count(reason)
        self._drop_chunk()
        if self.config.latch:
            self._latch(reason, detail)

    def wants_chunk(self, now_ns: int) -> bool:
        """Whether, in lockstep, the command of `now_ns` needs the chunk of the same stamp."""
        following = self.mode in (Mode.WAITING, Mode.HOLDING, Mode.FOLLOWING)
        there = now_ns in (self._newest_chunk_ns(), self._ignored_ns)
        return following and now_ns % self.config.follower.step_ns == 0 and not there

    @property
    def counts(self) -> Mapping[Reason, int]:
        """How often each reason has held the robot or rejected a chunk."""
        return MappingProxyType(self.filter.counts)

    def _newest_chunk_ns(self) -> int | None:
        return self._pending[1] if self._pending is not None else self._chunk_ns

    def _let_go(self) -> None:
        """Brake and hold: nothing to follow, nothing that waits."""
        self._pending = None
        self._abandon()

    def _abandon(self) -> None:
        """Brake and hold: no move, no chunk that is being followed. A chunk that is yet to be judged stays."""
        self._move = None
        self._home_requested = False
        self._chunk_ns = self._ignored_ns = None
        self.follower.stop()
        self._states.fire(Event.NOTHING)
        if self._states.fire(Event.HOME_ENDED):
            self.streams.open()

    def _drop_chunk(self) -> None:
        self._pending = None
        if self._states.fire(Event.NOTHING):
            self.follower.stop()

    # --- the cycle --------------------------------------------------------------------------------------------------

    def cycle(self, q_measured: np.ndarray, stamp_ns: int, now_ns: int | None = None) -> Cycle:
        """The command in answer to the state `q_measured` (36,) [rad] measured at `stamp_ns`.

        `now_ns` is the time of the command, by default that of the state. Never raises: an unknown error stops.
        """
        try:
            return self._cycle(q_measured, stamp_ns, stamp_ns if now_ns is None else now_ns)
        except Exception as error:  # whatever it is, the arms must not continue
            self.emergency_stop()
            self.fault = FaultReport(reason=Reason.INTERNAL_ERROR, detail=repr(error))
            self.filter.count(Reason.INTERNAL_ERROR)
            report = CycleReport(mode=self.mode, reason=Reason.INTERNAL_ERROR, detail=repr(error))
            return Cycle(command=self.filter.command, report=report)

    def reject_state(self, detail: str, now_ns: int) -> Cycle:
        """Hold because the measured state can't be used."""
        dt_s = None
        if self._last_ns is not None and not self._is_leap(now_ns):
            dt_s = (now_ns - self._last_ns) / NS_PER_S
            self._last_ns = now_ns
        if self.filter.command is None:
            self.filter.count(Reason.BAD_STATE)
            return Cycle(command=None, report=CycleReport(mode=self.mode, reason=Reason.BAD_STATE, detail=detail))
        self.filter.hold(Reason.BAD_STATE, detail, dt_s)
        if self.config.latch:
            self._latch(Reason.BAD_STATE, detail)
        return self._hold(Reason.BAD_STATE, detail)

    def miss_chunk(self) -> None:
        """Note that the chunk did not come in time: brake and hold."""
        self._reject_chunk(Reason.STALE_CHUNK, "no chunk in time")

    def miss_state(self, detail: str = "") -> None:
        """Note that no state comes any more: stop, and start from the measured state when there is one again."""
        self.filter.count(Reason.STALE_STATE)
        self._pending = None
        self._abandon()
        self._sync_due = True
        if self.config.latch:
            self._latch(Reason.STALE_STATE, detail)

    def _cycle(self, q_measured: np.ndarray, stamp_ns: int, now_ns: int) -> Cycle:
        if np.shape(q_measured) != (N_JOINTS,) or not np.isfinite(q_measured).all():
            return self.reject_state(f"the measured state is not {N_JOINTS} finite numbers", now_ns)
        first = self.filter.command is None
        leap = self._is_leap(now_ns)
        if leap:
            self._note_leap()
        if first or leap or self._sync_due:
            self.follower.sync(self.filter.sync(q_measured))
            self._pace.start()
            self._sync_due = False
        periods = 1 if first or leap else self._periods_since_last(now_ns)
        if periods == 0:  # the same state again: the same command again
            return Cycle(command=self.filter.command, report=CycleReport(mode=self.mode))
        dt_s = periods * self.config.follower.period_s
        self._last_ns = now_ns
        if self.filter.enabled:
            self._check_heartbeat(now_ns)
            assert self.filter.command is not None  # synchronised above
            self.follower.pace = self._pace.update(self.filter.command, q_measured, self.arm_speed, dt_s)
        rejected = self._choose_reference(now_ns) if self.filter.enabled else None
        if not self.filter.enabled:
            return self._brake(dt_s)
        if self._pace.complaint and self.config.latch:
            return self._reject(self.filter.hold(Reason.STEP, self._pace.complaint, dt_s))
        verdict = self.filter.judge(
            self.follower.advance(now_ns, periods), q_measured, dt_s=dt_s, state_age_s=(now_ns - stamp_ns) / NS_PER_S
        )
        if verdict.reason is not None:
            return self._reject(verdict)
        if self._move is not None and now_ns >= self._move.end_ns and self.follower.at_rest:
            self._abandon()
        return Cycle(command=verdict.command, report=CycleReport(mode=self.mode, reason=rejected))

    def _note_leap(self) -> None:
        self.filter.count(Reason.CLOCK_JUMP)
        self._abandon()
        if self.config.latch:
            self._latch(Reason.CLOCK_JUMP, "the clock went back, or on by more than a pause")

    def _check_heartbeat(self, now_ns: int) -> None:
        """Stop when the heartbeat is asked for and does not come, or complains."""
        lack = self.heartbeat_lack(now_ns)
        if lack:
            self.trip(Reason.HEARTBEAT, lack)

    def heartbeat_lack(self, now_ns: int) -> str:
        """Say what is wrong with the heartbeat; empty when it is well or not asked for."""
        allowed_s = self.config.heartbeat_timeout_s
        if allowed_s == 0.0:
            return ""
        if self._beat is None:
            return "no heartbeat yet"
        if now_ns - self._beat[0] > allowed_s * NS_PER_S:
            return f"no heartbeat for more than {allowed_s} s"
        return self._beat[1]

    def _brake(self, dt_s: float) -> Cycle:
        """Brake, or stand, while not enabled."""
        reason, detail = (Reason.EMERGENCY_STOP if self.filter.stopped else Reason.DISABLED), ""
        self.filter.hold(reason, dt_s=dt_s)
        if self.fault is not None:
            reason, detail = self.fault.reason, self.fault.detail
        return self._hold(reason, detail)

    def _is_leap(self, now_ns: int) -> bool:
        """Whether the clock went back, or on by more than a pause."""
        return self._last_ns is not None and not 0 <= now_ns - self._last_ns <= self.config.max_gap_s * NS_PER_S

    def _periods_since_last(self, now_ns: int) -> int:
        """How many periods to advance: 0 for the same state again, few after a long pause."""
        if self._last_ns is None:
            return 1
        return min(round((now_ns - self._last_ns) / self.config.follower.period_ns), MAX_SUBSTEPS)

    def _reject(self, verdict: Verdict) -> Cycle:
        """Continue from what the filter let pass instead; on the robot a fault."""
        assert verdict.reason is not None
        if self.config.latch:
            self._latch(verdict.reason, verdict.detail)
        return self._hold(verdict.reason, verdict.detail)

    def _hold(self, reason: Reason, detail: str = "") -> Cycle:
        """Continue from what the filter let pass; a move home ends, a chunk is taken up again from there."""
        if self._move is not None or self._home_requested:
            self._abandon()
        if self.filter.command is not None:
            self.follower.hold_at(self.filter.command, self.filter.command_velocity)
        return Cycle(command=self.filter.command, report=CycleReport(mode=self.mode, reason=reason, detail=detail))

    # --- what to follow ---------------------------------------------------------------------------------------------

    def _choose_reference(self, now_ns: int) -> Reason | None:
        """Give the follower what it is to follow now; return why a chunk was rejected, None if none was."""
        if self.mode is Mode.HOMING:
            self._pending = None
            if self._home_requested and self.follower.at_rest:
                self._home_requested = False
                self._move = self.follower.move_to(HOME_Q, now_ns, self.config.home_speed)
            return None
        stamp_ns, self._chunk_detail = self._newest_chunk_ns(), ""
        reason = self._take_pending(now_ns)
        if reason is None and self.mode is Mode.FOLLOWING and self._chunk_ns is not None:
            reason = Reason.STALE_CHUNK if self._too_old(self._chunk_ns, now_ns) else None
        if reason is not None:
            age_s = (now_ns - (stamp_ns or now_ns)) / NS_PER_S
            self._reject_chunk(reason, f"{self._chunk_detail or 'chunk'}, {age_s:.2f} s after its stamp")
        return reason

    def _take_pending(self, now_ns: int) -> Reason | None:
        if self._pending is None:
            return None
        chunk, stamp_ns = self._pending
        if stamp_ns > now_ns:  # its state is yet to come
            return Reason.FUTURE_CHUNK if self._too_old(now_ns, stamp_ns) else None
        self._pending = None
        if self._chunk_ns is not None and stamp_ns < self._chunk_ns:
            return None  # a newer one is there already
        self._chunk_ns = stamp_ns
        if self._too_old(stamp_ns, now_ns):
            return Reason.STALE_CHUNK
        reason = self._judge_chunk(chunk, stamp_ns, now_ns)
        if reason is not None:
            return reason
        if len(chunk):
            self._states.fire(Event.CHUNK)
            self.follower.follow(chunk, stamp_ns, now_ns, self._speed_scale)
        else:
            self._drop_chunk()
        return None

    def _too_old(self, stamp_ns: int, now_ns: int) -> bool:
        return now_ns - stamp_ns > self.config.max_chunk_age_s * NS_PER_S

    def _judge_chunk(self, chunk: np.ndarray, stamp_ns: int, now_ns: int) -> Reason | None:
        """Reject what is no action at all; small excess is left to the follower."""
        if np.ndim(chunk) != 2 or np.shape(chunk)[1] != N_JOINTS or len(chunk) > self.config.max_chunk_points:
            self._chunk_detail = f"a chunk of shape {np.shape(chunk)}"
            return Reason.LENGTH
        slack = self.config.chunk_position_slack_rad
        step_ns = self.config.follower.step_ns
        ahead = chunk[max(0, int((now_ns - stamp_ns) * self._speed_scale) // step_ns) :]  # points still to come
        way = np.abs(np.diff(ahead, axis=0, prepend=self.follower.command[None]))
        most = self.config.chunk_speed_slack * self._joint_velocity * self.config.follower.step_s
        for reason, bad in (
            (Reason.NOT_FINITE, ~np.isfinite(chunk)),
            (Reason.POSITION, (chunk < self.filter.lower - slack) | (chunk > self.filter.upper + slack)),
            (Reason.VELOCITY, way > most),
        ):
            if bad.any():
                point, joint = np.argwhere(bad)[0]
                self._chunk_detail = f"chunk: {JOINT_NAMES[joint]} of point {point}"
                return reason
        return None
