"""The process of one arm: holds ur_rtde, streams servo targets, watches the controller. Started by `UrArm`.

ur_rtde's control interface can crash or hang its process when its link drops, and it reconnects and starts its program
again by itself. So it lives here alone, and this process ends at once when the link is lost.
"""

from __future__ import annotations

import ctypes
import json
import math
import os
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, NoReturn

import numpy as np

from udg_control.command_check import first_refusal, periods_between, refusal
from udg_control.device import Fault, Phase
from udg_control.playout import Playout
from udg_control.shared_memory import FAULTS, PHASES
from udg_control.ur.config import UrArmConfig
from udg_control.ur.dashboard import REMOTE, Dashboard, DashboardError
from udg_control.ur.identity import QUESTIONS, identify, wrong_serial, wrong_version
from udg_control.ur.receive import ReceiveError, Receiver
from udg_control.ur.shared import ArmMemory, Command, Report
from udg_control.ur.start import Start
from udg_control.ur.watch import PLAYING, FaultReport, Sample, judge
from udg_control.worker import SILENT_CYCLES, Order, ask_for_real_time, serve
from udg_description.clock import NS_PER_S
from udg_description.layout import part_indices
from udg_description.limits import joint_limits

KICK_PERIOD_S = 0.02  # the watchdog of the controller wants to hear something
END_S = 0.8  # longest wait for servoStop and stopScript on the way out
REBOOT_SLACK_S = 5.0
REFUSED_CYCLES = 3
GUARD_PERIOD_S = 0.005
LONG_CALL_S = 0.02  # in ur_rtde: meanwhile somebody else has to look at what the controller says
STUCK_S = 0.1
UNLOCKED = "Protective stop releasing"
EXIT_ENDED, EXIT_REFUSED, EXIT_LINK, EXIT_ERROR = 0, 3, 4, 5
SERVO_SLACK_NS, LIBRARY_SLACK_NS = 1_000, 500_000  # how coarse the timers of a thread may be
_PR_SET_TIMERSLACK = 29
_MCL_CURRENT_AND_FUTURE = 3


class ArmProcess:
    """One arm, from connecting to the end."""

    def __init__(self, start: Start, config: UrArmConfig, shared: ArmMemory) -> None:
        """Nothing is connected yet."""
        self._start, self._config, self._shared = start, config, shared
        where = part_indices(f"{start.side}_arm")
        limits = joint_limits()
        self._lower, self._upper = limits.lower[where], limits.upper[where]
        acceleration = limits.acceleration[where] * config.acceleration_scale
        self._stop_rad_s2 = float(acceleration.min())  # of servoStop
        ticks = config.ticks_per_command
        self._playout = Playout(
            period_s=config.command_period_s,
            ticks=ticks,
            delay_ticks=math.ceil(config.jitter_s * config.servo_rate_hz),
            lower=self._lower,
            upper=self._upper,
            velocity=limits.velocity[where] * config.velocity_scale,
            acceleration=acceleration,
        )
        self.asked_to_end = False
        self._phase = Phase.CONNECTING
        self._fault: FaultReport | None = None
        self._fault_ns = 0
        self._receiver: Receiver | None = None
        self._control: Any = None
        self._dashboard: Dashboard | None = None
        self._worker: threading.Thread | None = None
        self._real_time = False
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._order = 0
        self._cycles = self._missed = self._sent = 0
        self._cycle_s = 0.0  # when the servo loop last began a cycle
        self._called = False  # inside ur_rtde
        # measured
        self._sample = Sample(0.0, 0, 0, 0, None)
        self._q = np.zeros(6)
        self._state_s = 0.0  # when the state was fresh last
        self._stale_cycles = 0
        self._rebooted = False
        self._speed_scaling = 1.0
        # streaming
        self._braking = False
        self._last: Command | None = None  # the newest command since READY
        self._target = self._q
        self._refused_cycles = 0  # servo targets in a row that the library did not take
        self._reporting, self._receiving = threading.Lock(), threading.Lock()
        self._kicked_s = self._polled_s = 0.0
        self._unanswered_cycles = 0  # looks at the dashboard since it was asked last

    # --- life -------------------------------------------------------------------------------------------------------

    def run(self) -> int:
        """Connect and serve until the end; returns the exit code."""
        self._ask_for_real_time()
        try:
            self._report(time.monotonic())
            if not self._connect():
                return EXIT_REFUSED
            threading.Thread(target=self._guard, daemon=True).start()
            if self._start.arm:
                self._arm()
            self._loop()
        except Exception as error:  # whatever it is: stop the arm and say so
            self._enter_fault(FaultReport(Fault.WORKER_DIED, f"error in the arm's process: {error!r}"))
            self._report(time.monotonic())
            self._end_program()
            return EXIT_ERROR
        self._end_program()
        return EXIT_ENDED

    def _loop(self) -> None:
        period_s = self._config.servo_period_s
        next_s = time.monotonic()
        while not self._must_end():
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
            self._cycle(now_s)
            if self._order_is_taken(now_s):
                next_s = time.monotonic()

    def _guard(self) -> None:
        """Notice what the servo loop can't while it is inside ur_rtde: a lost link, a fault, a call that hangs.

        A program that ends during a call keeps ur_rtde waiting; the controller's state says so at once.
        """
        assert self._receiver is not None
        pause = threading.Event()
        while not pause.wait(GUARD_PERIOD_S):
            if self._receiver.lost():
                self._give_up(FaultReport(Fault.LINK_LOST, f"the connection to {self._config.host} broke"))
            stuck_s = time.monotonic() - self._cycle_s
            if stuck_s < LONG_CALL_S or not self._called or self._phase is Phase.ARMING:
                continue
            fault = self._judge_during_call()
            stuck_s = time.monotonic() - self._cycle_s  # it may have returned meanwhile
            if fault is None and stuck_s > STUCK_S and self._called:
                fault = FaultReport(Fault.LINK_LOST, f"ur_rtde has not returned for {stuck_s:.2f} s")
            if fault is not None:
                self._give_up(fault)

    def _judge_during_call(self) -> FaultReport | None:
        """What the newest state means; for the guard, while the servo loop is inside ur_rtde."""
        assert self._receiver is not None
        with self._receiving:
            if not self._called:
                return None  # the servo loop looks by itself
            try:
                self._receiver.read()
            except ReceiveError as error:
                return FaultReport(Fault.LINK_LOST, f"{self._config.host}: {error}")
            newest = self._receiver.newest
        modes = newest.robot_mode, newest.safety_bits, newest.runtime_state
        return judge(Sample(newest.controller_s, *modes, self._sample.remote), program_expected=True)

    def _must_end(self) -> bool:
        return self.asked_to_end or os.getppid() != self._start.parent

    def _cycle(self, now_s: float) -> None:
        self._cycles += 1
        self._cycle_s = now_s
        self._measure(now_s)
        self._ask_dashboard(now_s)
        if self._phase is not Phase.FAULT:
            fault = self._look_for_fault(now_s)
            if fault is None:
                fault = self._move(now_s)
            if fault is not None:
                self._enter_fault(fault)
        self._report(now_s)

    # --- connecting -------------------------------------------------------------------------------------------------

    def _connect(self) -> bool:
        """Connect to measure; False when there is nobody to connect to, or another robot than the configured one."""
        config = self._config
        try:
            self._receiver = Receiver(config.host, config.servo_rate_hz)
            found = self._identify()
        except (ReceiveError, DashboardError) as error:
            found = FaultReport(Fault.NOT_CONNECTED, f"{config.host} does not answer: {error}")
        if found is not None:
            self._enter_fault(found)
            self._report(time.monotonic())
            return False
        now_s = time.monotonic()
        self._measure(now_s)
        self._polled_s = now_s
        seen_s = self._start.seen_controller_s
        expected_s = seen_s + (time.monotonic_ns() - self._start.seen_ns) / NS_PER_S - REBOOT_SLACK_S
        self._rebooted = seen_s >= 0.0 and self._sample.controller_s < max(seen_s, expected_s)
        self._phase = Phase.STOPPED
        self._report(now_s)
        return True

    def _identify(self) -> FaultReport | None:
        """Ask who the controller is; say what is wrong with it. Raises DashboardError."""
        config = self._config
        assert self._receiver is not None
        who = f"the controller at {config.host}"
        wrong = wrong_version(self._receiver.version)
        if wrong:
            return FaultReport(Fault.WRONG_DEVICE, f"{who} {wrong}")
        timeout_s = config.dashboard_timeout_s
        self._dashboard = Dashboard(config.host, timeout_s)
        answers = {question: self._dashboard.ask(question, timeout_s) for question in QUESTIONS}
        identity, wrong = identify(self._receiver.version, answers)
        self._shared.put_identity(identity)
        wrong = wrong or wrong_serial(identity, config.serial_number, self._start.partner_serial_number)
        if wrong:
            return FaultReport(Fault.WRONG_DEVICE, f"{who} {wrong}")
        self._sample = self._sample._replace(remote=answers[REMOTE].strip().lower() == "true")
        return None

    def _arm(self) -> None:
        """Get ready: release what can be released, start the control program, hold."""
        self._phase = Phase.ARMING
        self._report(time.monotonic())
        answer = self._unlock() if self._config.unlock_protective_stop else ""
        fault = judge(self._sample, program_expected=False)
        if fault is not None and fault.fault is Fault.PROTECTIVE_STOP and answer:
            fault = FaultReport(fault.fault, f"{fault.detail}; the controller says: {answer}")
        if fault is not None and self._rebooted:
            fault = FaultReport(Fault.REBOOTED, f"the controller has rebooted; {fault.detail}")
        if fault is None and not self._config.dry_run:
            fault = self._start_program()
        if fault is not None:
            self._enter_fault(fault)
        else:
            self._rebooted = False
            self._phase, self._last, self._braking, self._refused_cycles = Phase.READY, None, False, 0
            self._shared.commands()  # older ones do not count
            self._measure(time.monotonic())
            self._playout.start(self._q)
            self._target = self._q
        self._report(time.monotonic())

    def _unlock(self) -> str:
        """Release a protective stop if there is one; return what the controller answered."""
        fault = judge(self._sample, program_expected=False)
        if fault is None or fault.fault is not Fault.PROTECTIVE_STOP or self._dashboard is None:
            return ""
        try:
            self._dashboard.ask("close safety popup")
            answer = self._dashboard.ask("unlock protective stop")
        except DashboardError as error:
            return str(error)
        if answer == UNLOCKED:
            self._wait_for(lambda: judge(self._sample, program_expected=False) is None, 1.0)
        return answer

    def _start_program(self) -> FaultReport | None:
        from rtde_control import RTDEControlInterface

        config = self._config
        try:
            if self._control is None:
                with self._library_thread():
                    self._control = RTDEControlInterface(config.host, config.servo_rate_hz)
            ready = self._wait_for(lambda: self._sample.runtime_state == PLAYING, 1.0)
            ready = ready and self._control.setWatchdog(config.watchdog_hz)
            if ready and config.payload_kg > 0.0:
                ready = self._control.setPayload(config.payload_kg, list(config.payload_centre_m))
        except RuntimeError as error:
            return FaultReport(Fault.PROGRAM_STOPPED, f"the control program did not start: {error}")
        if not ready:
            return FaultReport(Fault.PROGRAM_STOPPED, "the control program did not start")
        return None

    def _wait_for(self, condition: Callable[[], bool], longest_s: float) -> bool:
        """Measure until the condition holds; whether it does."""
        deadline_s = time.monotonic() + longest_s
        while True:
            self._measure(time.monotonic())
            if condition():
                return True
            if time.monotonic() > deadline_s:
                return False
            time.sleep(self._config.servo_period_s)

    # --- measuring and judging --------------------------------------------------------------------------------------

    def _measure(self, now_s: float) -> None:
        assert self._receiver is not None
        try:
            with self._receiving:
                self._receiver.read()
        except ReceiveError as error:
            self._give_up(FaultReport(Fault.LINK_LOST, f"{self._config.host}: {error}"))
        sample, new = self._sample, self._receiver.newest
        if new.controller_s == sample.controller_s:
            self._stale_cycles += 1
            return
        if new.controller_s < sample.controller_s:
            self._rebooted = True
        self._state_s, self._stale_cycles = now_s, 0
        self._q = np.array(new.q)
        self._shared.put_joints(new.q, new.qd, new.current, new.temperature)
        self._speed_scaling = new.speed_scaling
        self._sample = Sample(new.controller_s, new.robot_mode, new.safety_bits, new.runtime_state, sample.remote)

    def _ask_dashboard(self, now_s: float) -> None:
        dashboard = self._dashboard
        assert dashboard is not None
        if now_s - self._polled_s >= self._config.remote_poll_s:
            self._polled_s = now_s
            alive = dashboard.poll()
        elif self._cycles % 5 == 0:
            alive = dashboard.collect()
        else:
            return
        if dashboard.remote is not None:
            self._sample = self._sample._replace(remote=dashboard.remote)
            dashboard.remote = None
        waited_s = dashboard.waiting_s(now_s)
        self._unanswered_cycles = self._unanswered_cycles + 1 if waited_s > 0.0 else 0
        if not alive:
            self._give_up(FaultReport(Fault.LINK_LOST, "the dashboard connection broke"))
        if dashboard.complaint:
            self._give_up(FaultReport(Fault.LINK_LOST, dashboard.complaint))
        if waited_s > self._config.dashboard_timeout_s and self._unanswered_cycles > SILENT_CYCLES // 2:
            self._give_up(FaultReport(Fault.SILENT, f"the dashboard has not answered for {waited_s:.2f} s"))

    def _look_for_fault(self, now_s: float) -> FaultReport | None:
        if self._control is not None and not self._control.isConnected():
            self._give_up(FaultReport(Fault.LINK_LOST, f"the connection to {self._config.host} broke"))
        age_s = now_s - self._state_s
        if age_s > self._config.state_timeout_s and self._stale_cycles > SILENT_CYCLES:
            self._give_up(FaultReport(Fault.SILENT, f"no fresh state from {self._config.host} for {age_s:.3f} s"))
        if self._rebooted and self._phase is not Phase.STOPPED:
            return FaultReport(Fault.REBOOTED, "the controller's clock restarted")
        fault = judge(self._sample, program_expected=self._control is not None)
        if fault is None and self._last is not None and not self._config.dry_run:
            error = float(np.abs(self._target - self._q).max())
            if error > self._config.tracking_error_rad:
                text = f"a joint is {error:.2f} rad from its target ({self._config.tracking_error_rad} allowed)"
                return FaultReport(Fault.TRACKING, text)
        return fault

    def _enter_fault(self, fault: FaultReport) -> None:
        """Latch the fault and stop the arm."""
        if self._phase is Phase.FAULT:
            return
        self._phase, self._fault, self._fault_ns = Phase.FAULT, fault, time.monotonic_ns()
        self._shared.detail.put(fault.detail)
        self._braking, self._last = False, None
        if self._control is not None:
            self._in_background(self._stop_and_end)

    def _give_up(self, fault: FaultReport) -> NoReturn:
        """End now, without ur_rtde's destructors: it would reconnect by itself. The controller's watchdog stops too."""
        if self._phase is not Phase.FAULT:
            self._phase, self._fault, self._fault_ns = Phase.FAULT, fault, time.monotonic_ns()
            self._shared.detail.put(fault.detail)
        self._report(time.monotonic())
        if self._dashboard is not None:
            self._dashboard.stop_program()
        os._exit(EXIT_LINK)

    # --- moving -----------------------------------------------------------------------------------------------------

    def _move(self, now_s: float) -> FaultReport | None:
        """Take up commands and send the next servo target."""
        refusal = None
        for command in self._shared.commands():
            if self._phase is Phase.READY:
                refusal = refusal or self._take(command)
        if refusal is not None:
            return refusal
        if self._worker is not None:
            if self._worker.is_alive():
                return None
            self._worker = None
        if self._phase is Phase.READY and self._last is not None:
            silence_s = now_s - self._last.written_ns / NS_PER_S
            if silence_s > self._config.command_timeout_s:
                return FaultReport(Fault.COMMAND_TIMEOUT, f"no command for {silence_s:.3f} s: control died or hangs")
            return self._send()
        if self._braking:
            fault = self._send()
            if self._playout.at_rest:
                self._braking, self._last = False, None
                if self._control is not None:
                    self._in_background(lambda: self._control.servoStop(self._stop_rad_s2))
            return fault
        if self._control is not None and now_s - self._kicked_s > KICK_PERIOD_S:
            self._kicked_s = now_s
            self._call(self._control.kickWatchdog)
        return None

    def _take(self, command: Command) -> FaultReport | None:
        q = np.array(command.q)
        refused = refusal(q, self._lower, self._upper)
        if not refused and self._last is None:
            refused = first_refusal(q, self._q, self._config.start_step_rad)
        if refused:
            return FaultReport(Fault.COMMAND_REFUSED, refused)
        periods = 1
        if self._last is not None:
            periods = periods_between(self._last.stamp_ns, command.stamp_ns, self._config.command_period_s)
            if periods == 0 and command.q == self._last.q:
                self._last = command._replace(stamp_ns=self._last.stamp_ns)
                return None
        self._last = command
        self._playout.push(q, max(periods, 1))
        return None

    def _send(self) -> FaultReport | None:
        self._target = self._playout.step()
        if self._config.dry_run:
            return None
        config = self._config
        period_s = config.servo_period_s
        target = self._target.tolist()
        if self._call(self._control.servoJ, target, 0.0, 0.0, period_s, config.lookahead_s, config.gain):
            self._sent += 1
            self._refused_cycles = 0
            return None
        self._refused_cycles += 1  # the state that tells why may come a moment later
        if self._refused_cycles > REFUSED_CYCLES:
            return FaultReport(Fault.PROGRAM_STOPPED, "the control program does not take servo targets any more")
        return None

    def _call(self, function: Callable[..., bool], *arguments: object) -> bool:
        """Call ur_rtde; what it raises here is a lost link."""
        self._called = True
        try:
            return function(*arguments)
        except RuntimeError as error:
            self._give_up(FaultReport(Fault.LINK_LOST, f"the connection to {self._config.host} broke: {error}"))
        finally:
            self._called = False

    def _in_background(self, task: Callable[[], object]) -> None:
        """Do what waits for the controller in a thread, so that measuring continues."""
        self._worker = threading.Thread(target=task, daemon=True)
        self._worker.start()

    def _stop_and_end(self) -> None:
        self._control.servoStop(self._stop_rad_s2)
        self._control.stopScript()

    def _end_program(self) -> None:
        """servoStop and stopScript, whatever state the arm is in; over the dashboard if they take too long."""
        if self._control is None:
            return
        deadline_s = time.monotonic() + END_S
        if self._worker is not None:
            self._worker.join(END_S)
        if self._worker is None or not self._worker.is_alive():
            self._in_background(self._stop_and_end)
        while self._worker is not None and self._worker.is_alive() and time.monotonic() < deadline_s:
            self._worker.join(0.01)
            self._report(time.monotonic())
        if self._dashboard is not None:
            self._dashboard.stop_program()

    # --- orders and reports -----------------------------------------------------------------------------------------

    def _order_is_taken(self, now_s: float) -> bool:
        """Do what control has asked for; whether that may have taken long."""
        number, order = self._shared.order()
        if number == self._order:
            return False
        self._order = number
        if order is Order.CLOSE:
            self.asked_to_end = True
        elif order is Order.STOP and self._phase in (Phase.READY, Phase.ARMING):
            self._phase = Phase.STOPPED
            self._braking = self._last is not None
            self._playout.brake()
        elif order is Order.ARM and self._phase is Phase.STOPPED:
            if self._braking or self._worker is not None:
                self._order = number - 1  # when it has come to rest
                return False
            self._arm()
            return True
        self._report(now_s)
        return False

    def _report(self, now_s: float) -> None:
        sample = self._sample
        report = Report(
            int(now_s * NS_PER_S),
            int(self._state_s * NS_PER_S),
            self._fault_ns,
            PHASES.index(self._phase),
            -1 if self._fault is None else FAULTS.index(self._fault.fault),
            self._cycles,
            self._missed,
            self._playout.starved,
            self._playout.skipped,
            self._sent,
            sample.robot_mode,
            sample.safety_bits,
            sample.runtime_state,
            self._real_time,
            self._order,
            sample.controller_s,
            self._speed_scaling,
        )
        with self._reporting:
            self._shared.put_report(report)

    # --- scheduling -------------------------------------------------------------------------------------------------

    def _ask_for_real_time(self) -> None:
        """Real-time priority and memory that stays, where permitted; fine timers everywhere."""
        self._real_time = ask_for_real_time(self._config.real_time_priority)
        if self._real_time:
            self._libc.mlockall(_MCL_CURRENT_AND_FUTURE)
        self._libc.prctl(_PR_SET_TIMERSLACK, SERVO_SLACK_NS, 0, 0, 0)

    @contextmanager
    def _library_thread(self) -> Iterator[None]:
        """Let ur_rtde start its receiving thread: with coarse timers, because it polls every 0.1 ms.

        With real-time priority that thread comes before the callers, which wait for what it receives without sleeping.
        """
        priority = self._config.real_time_priority
        self._libc.prctl(_PR_SET_TIMERSLACK, LIBRARY_SLACK_NS, 0, 0, 0)
        if self._real_time:
            os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority + 1))
        try:
            yield
        finally:
            if self._real_time:
                os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(priority))
            self._libc.prctl(_PR_SET_TIMERSLACK, SERVO_SLACK_NS, 0, 0, 0)


def main(argv: Sequence[str]) -> NoReturn:
    """Run the arm that the argument (JSON of `Start`) describes."""
    start = Start(**json.loads(argv[0]))
    config = UrArmConfig(**{**start.config, "payload_centre_m": tuple(start.config["payload_centre_m"])})
    serve(ArmProcess(start, config, ArmMemory(start.descriptor)))


if __name__ == "__main__":
    main(sys.argv[1:])
