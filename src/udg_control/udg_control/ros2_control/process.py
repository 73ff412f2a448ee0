"""The process of an arm behind ros2_control: smooth targets, watching, braking. Started by `ControllerArm`.

ros2_control holds the last target for ever when none comes. So this process brakes by itself when control dies or
hangs.
"""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable

import numpy as np

from udg_control.command_check import first_refusal, periods_between, refusal
from udg_control.device import Fault, Phase
from udg_control.playout import Playout
from udg_control.ros2_control.config import ControllerArmConfig
from udg_control.ros2_control.link import Complaint, ControllerLink
from udg_control.ros2_control.shared import Command, ControllerMemory, Report, Start
from udg_control.shared_memory import FAULTS, PHASES
from udg_control.worker import SILENT_CYCLES, Order, ask_for_real_time
from udg_description.clock import NS_PER_S
from udg_description.layout import N_ARM_JOINTS, part_indices
from udg_description.limits import joint_limits

LOOK_S = 0.05  # between looks at the graph
END_S = 1.0  # longest wait for a standstill on the way out
STILL_RAD_S = 0.02
EXIT_ENDED, EXIT_REFUSED, EXIT_ERROR = 0, 3, 5


class ControllerArmProcess:
    """One arm, from connecting to the end."""

    def __init__(
        self,
        start: Start,
        config: ControllerArmConfig,
        shared: ControllerMemory,
        open_link: Callable[[], ControllerLink],
        clock_ns: Callable[[], int] = time.monotonic_ns,
    ) -> None:
        """Nothing is connected yet."""
        self._clock_ns = clock_ns
        self._start, self._config, self._shared, self._open_link = start, config, shared, open_link
        where = part_indices(f"{start.side}_arm")
        limits = joint_limits()
        self._lower, self._upper = limits.lower[where], limits.upper[where]
        self._playout = Playout(
            period_s=config.command_period_s,
            ticks=config.ticks_per_command,
            delay_ticks=math.ceil(config.jitter_s * config.rate_hz),
            lower=self._lower,
            upper=self._upper,
            velocity=limits.velocity[where] * config.velocity_scale,
            acceleration=limits.acceleration[where] * config.acceleration_scale,
        )
        self.asked_to_end = False
        self._link: ControllerLink | None = None
        self._phase = Phase.CONNECTING
        self._fault: Fault | None = None
        self._fault_ns = self._armed_ns = 0
        self._order = self._missed = self._sent = 0
        self._real_time = False
        self._looked_s = 0.0
        # measured
        self._q, self._velocity = np.zeros(N_ARM_JOINTS), np.full(N_ARM_JOINTS, np.nan)
        self._stamp_ns = 0
        self._stale_cycles = 0
        # streaming
        self._last: Command | None = None  # the newest command since READY
        self._target: np.ndarray | None = None  # the last that was sent
        self._let_go = True  # after a fault: the target is where the joints stand

    # --- life -------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Connect and serve until the end; returns the exit code."""
        self._real_time = ask_for_real_time(self._config.real_time_priority)
        try:
            self._report()
            self._link = self._open_link()
            if not self.connect(self._link):
                return EXIT_REFUSED
            if self._start.arm:
                self._arm(self._link)
            self._serve(self._link, self._must_end)
            self._come_to_rest(self._link)
        except Exception as error:  # whatever it is: say so; the target stands still from now on
            self._enter_fault(Complaint(Fault.WORKER_DIED, f"error in the arm's process: {error!r}"))
            self._report()
            return EXIT_ERROR
        finally:
            if self._link is not None:
                self._link.close()
        return EXIT_ENDED

    def _must_end(self) -> bool:
        return self.asked_to_end or os.getppid() != self._start.parent

    def connect(self, link: ControllerLink) -> bool:
        """Wait until all is there; False, with the fault, when it does not come or is another one."""
        deadline_s = time.monotonic() + 0.8 * self._config.connect_timeout_s
        while (lack := link.lacks()) is not None:
            if self._must_end():
                return False
            if lack.fault is Fault.WRONG_DEVICE or time.monotonic() > deadline_s:
                self._enter_fault(lack)
                self._report()
                return False
            self._report()
            time.sleep(0.01)
        self._measure(link)
        self._phase = Phase.STOPPED
        self._report()
        return True

    def _come_to_rest(self, link: ControllerLink) -> None:
        """Brake, whoever asked for the end."""
        self._brake()
        if self._phase is not Phase.FAULT:
            self._phase = Phase.STOPPED
        deadline_s = time.monotonic() + END_S
        self._serve(link, lambda: self._playout.at_rest or time.monotonic() > deadline_s)

    def _serve(self, link: ControllerLink, must_end: Callable[[], bool]) -> None:
        period_s = 1.0 / self._config.rate_hz
        next_s = time.monotonic()
        while not must_end():
            next_s += period_s
            now_s = time.monotonic()
            if now_s < next_s:
                time.sleep(next_s - now_s)
                now_s = time.monotonic()
            late_s = now_s - next_s
            if late_s > period_s:
                left_out = int(late_s / period_s)
                self._missed += left_out
                next_s += left_out * period_s
            self.cycle(link, now_s)
            self.take_order(link)

    def cycle(self, link: ControllerLink, now_s: float) -> None:
        """Measure, judge, take the newest command, send the next target, report."""
        self._measure(link)
        if self._phase is not Phase.FAULT:
            found = self._silence(link, now_s) or self._look(link, now_s)
            if found is None and self._phase is Phase.READY:
                found = self._take_command(now_s) or self._tracking()
            if found is not None:
                self._enter_fault(found)
        self._move(link)
        self._report()

    # --- measuring and judging --------------------------------------------------------------------------------------

    def _measure(self, link: ControllerLink) -> None:
        new = link.newest()
        if new is None or new.stamp_ns <= self._stamp_ns:
            self._stale_cycles += 1
            return
        self._stamp_ns, self._q, self._velocity = new
        self._stale_cycles = 0
        self._shared.put_joints(self._q, self._velocity)

    def _silence(self, link: ControllerLink, now_s: float) -> Complaint | None:
        age_s = now_s - self._stamp_ns / NS_PER_S
        if age_s <= self._config.state_timeout_s or self._stale_cycles <= SILENT_CYCLES:
            return None
        text = f"no fresh joint states on {self._config.joint_states_topic} for {age_s:.3f} s"
        why = link.why_silent()
        return Complaint(Fault.SILENT, f"{text}: {why}" if why else text)

    def _look(self, link: ControllerLink, now_s: float) -> Complaint | None:
        """Look at controller and program now and then; what is wrong stops a ready arm, otherwise it is reported."""
        if now_s - self._looked_s < LOOK_S:
            return None
        self._looked_s = now_s
        found = link.complaint()
        if self._phase is Phase.READY:
            return found
        self._shared.advisory.put("" if found is None else found.detail)
        return None

    def _tracking(self) -> Complaint | None:
        if self._target is None:
            return None
        error = float(np.abs(self._target - self._q).max())
        if error <= self._config.tracking_error_rad:
            return None
        text = f"a joint is {error:.2f} rad from its target ({self._config.tracking_error_rad} allowed)"
        return Complaint(Fault.TRACKING, f"{text}; does {self._config.controller} move it?")

    def _enter_fault(self, complaint: Complaint) -> None:
        """Latch the fault and brake."""
        if self._phase is Phase.FAULT:
            return
        self._let_go = self._phase is not Phase.READY or self._target is None
        self._phase, self._fault, self._fault_ns = Phase.FAULT, complaint.fault, self._clock_ns()
        self._shared.detail.put(complaint.detail)
        self._brake()

    # --- moving -----------------------------------------------------------------------------------------------------

    def _brake(self) -> None:
        self._last = None
        self._playout.brake()

    def _take_command(self, now_s: float) -> Complaint | None:
        command = self._shared.command()
        if command is None or command.written_ns <= self._armed_ns:
            return None  # since arming there was none yet
        if self._last is None or command.written_ns != self._last.written_ns:
            refusal = self._refusal(command)
            if refusal:
                return Complaint(Fault.COMMAND_REFUSED, refusal)
            self._take(command)
        silence_s = now_s - command.written_ns / NS_PER_S
        if silence_s > self._config.command_timeout_s:
            return Complaint(Fault.COMMAND_TIMEOUT, f"no command for {silence_s:.3f} s: control died or hangs")
        return None

    def _refusal(self, command: Command) -> str:
        q = np.array(command.q)
        refused = refusal(q, self._lower, self._upper)
        if not refused and self._last is None:
            refused = first_refusal(q, self._q, self._config.start_step_rad)
        return refused

    def _take(self, command: Command) -> None:
        periods = 1
        if self._last is not None:
            periods = periods_between(self._last.stamp_ns, command.stamp_ns, self._config.command_period_s)
            if periods == 0 and command.q == self._last.q:
                self._last = command._replace(stamp_ns=self._last.stamp_ns)
                return
        self._last = command
        self._playout.push(np.array(command.q), max(periods, 1))

    def _move(self, link: ControllerLink) -> None:
        """Send the next target: of the stream, or of the braking. After a fault, let go of what was not reached."""
        if self._last is not None or not self._playout.at_rest:
            self._send(link, self._playout.step())
        elif not self._let_go and self._stale_cycles == 0 and self._stands():
            self._let_go = True
            self._send(link, self._q)

    def _stands(self) -> bool:
        """Whether the joints are known to be at rest."""
        return bool(np.isfinite(self._velocity).all() and np.abs(self._velocity).max() < STILL_RAD_S)

    def _send(self, link: ControllerLink, target: np.ndarray) -> None:
        self._target = np.array(target)
        self._sent += 1
        link.send(self._target)

    # --- orders and reports -----------------------------------------------------------------------------------------

    def take_order(self, link: ControllerLink) -> None:
        """Do what control has asked for; arming waits for a standstill."""
        number, order = self._shared.order()
        if number == self._order or (order is Order.ARM and self._phase is Phase.STOPPED and not self._playout.at_rest):
            return
        self._order = number
        if order is Order.CLOSE:
            self.asked_to_end = True
        elif order is Order.STOP and self._phase in (Phase.READY, Phase.ARMING):
            self._phase = Phase.STOPPED
            self._brake()
        elif order is Order.ARM and self._phase is Phase.STOPPED:
            self._arm(link)
        self._report()

    def _arm(self, link: ControllerLink) -> None:
        """Get ready: hold where the joints are, if nothing speaks against it."""
        self._measure(link)
        found = self._silence(link, self._clock_ns() / NS_PER_S) or link.complaint()
        if found is not None:
            self._enter_fault(found)
            return
        self._shared.advisory.put("")
        self._phase, self._last, self._target = Phase.READY, None, None
        self._armed_ns = self._clock_ns()
        self._playout.start(self._q)
        self._report()

    def _report(self) -> None:
        self._shared.put_report(
            Report(
                self._clock_ns(),
                self._stamp_ns,
                self._fault_ns,
                PHASES.index(self._phase),
                -1 if self._fault is None else FAULTS.index(self._fault),
                self._order,
                self._missed,
                self._playout.starved,
                self._playout.skipped,
                self._sent,
                self._real_time,
                1.0 if self._link is None else self._link.speed_scaling(),
            )
        )
