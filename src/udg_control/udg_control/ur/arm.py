"""A UR5e as a device of control: starts and supervises the arm's process."""

from __future__ import annotations

import dataclasses
import os
import signal
import threading
import time
from collections.abc import Sequence

import numpy as np

from udg_control.device import Device, DeviceState, DeviceStatus, Fault, Phase
from udg_control.errors import DeviceError
from udg_control.ur.config import UrArmConfig
from udg_control.ur.dashboard import stop_program
from udg_control.ur.identity import Identity
from udg_control.ur.shared import FAULTS, LATENESS_BIN_US, PHASES, Command, Report, Shared
from udg_control.ur.start import Start
from udg_control.ur.watch import ROBOT_MODES
from udg_control.worker import Order, start_worker, wait_or_kill
from udg_description.layout import N_ARM_JOINTS, Side

CLOSE_S = 2.0
_CABLES = "power, cable and address"
_POLL_S = 0.002
_NS = 1_000_000_000
_CRASHES = (signal.SIGSEGV, signal.SIGABRT, signal.SIGBUS)  # of ur_rtde, never of Python
_NOBODY = tuple([float("nan")] * N_ARM_JOINTS)


class _Link:
    """A process and the memory shared with it."""

    def __init__(
        self, side: Side, config: UrArmConfig, partner_serial_number: str, *, arm: bool, seen: Report | None
    ) -> None:
        descriptor = Shared.create()
        try:
            self.shared = Shared(descriptor)
            start = Start(
                side=side,
                descriptor=descriptor,
                parent=os.getpid(),
                arm=arm,
                seen_controller_s=-1.0 if seen is None else seen.controller_s,
                seen_ns=0 if seen is None else seen.stamp_ns,
                config=dataclasses.asdict(config),
                partner_serial_number=partner_serial_number,
            )
            self.process = start_worker("udg_control.ur.process", start, descriptor)
        finally:
            os.close(descriptor)
        self.started_s = time.monotonic()
        self.orders = 0  # number of the last order given
        self.last_order = Order.ARM if arm else Order.NONE

    def give(self, order: Order) -> None:
        self.orders = self.shared.give(order)
        self.last_order = order

    def end(self, longest_s: float) -> None:
        """Ask the process to end; kill it if it does not."""
        self.give(Order.CLOSE)
        wait_or_kill(self.process, longest_s)


class UrArm:
    """One UR5e. See `device.Device` for the meaning of the methods; they may be called from several threads."""

    def __init__(self, side: Side, config: UrArmConfig, partner_serial_number: str = "") -> None:
        """Nothing is connected before `connect`. `partner_serial_number` is the configured one of the other arm."""
        self.part = f"{side}_arm"
        self.name = f"{side} arm (UR5e at {config.host})"
        self.config = config
        self._side: Side = side
        self._partner_serial_number = partner_serial_number
        self._lock = threading.Lock()
        self._link: _Link | None = None
        self._restarting: threading.Thread | None = None
        self._death: tuple[Fault, str] | None = None  # of the process, found here
        self._death_ns = 0
        self._checked_s = 0.0
        self._stop_wanted = False  # since the last `rearm`

    def connect(self) -> None:
        """Start the process, connect and measure. Raises DeviceError when nobody answers."""
        if self._link is not None:
            raise DeviceError(f"{self.name}: already connected; close it first")
        self._start_process(arm=False)
        deadline_s = time.monotonic() + self.config.connect_timeout_s
        while True:
            status = self.status()
            if status.phase is not Phase.CONNECTING:
                break
            if time.monotonic() > deadline_s:
                self.close()
                raise DeviceError(f"{self.name}: not there within {self.config.connect_timeout_s} s; is it booting?")
            time.sleep(_POLL_S)
        if status.fault in (Fault.NOT_CONNECTED, Fault.WRONG_DEVICE, Fault.WORKER_DIED):
            self.close()
            check = "addresses and serial numbers in robot.yaml" if status.fault is Fault.WRONG_DEVICE else _CABLES
            raise DeviceError(f"{self.name}: {status.detail}; check {check}")

    def read(self) -> DeviceState | None:
        """Return the newest measured state: q [rad], velocity [rad/s], current [A], temperature [deg C]."""
        link = self._link
        if link is None:
            return None
        stamp_ns = link.shared.report().stamp_ns
        joints = link.shared.joints()
        if joints is None or stamp_ns == 0:
            return None
        return DeviceState(
            q=joints[0],
            stamp_ns=stamp_ns,
            velocity=joints[1],
            current=joints[2],
            temperature=joints[3],
            speed_scaling=link.shared.report().speed_scaling,
        )

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command q (6,) [rad], to be reached one period after `stamp_ns` (and the driver's delay)."""
        link = self._link
        if link is not None:
            q = tuple(np.asarray(q_command, dtype=np.float64).tolist())
            link.shared.write(Command(time.monotonic_ns(), stamp_ns, q if len(q) == N_ARM_JOINTS else _NOBODY))

    def stop(self) -> None:
        """Brake within the limits, then hold; commands are ignored until `rearm`."""
        self._stop_wanted = True
        link = self._link
        if link is not None and link.last_order is not Order.STOP:
            link.give(Order.STOP)

    def rearm(self) -> None:
        """Get ready again, with a new process if there was a fault. Returns at once."""
        with self._lock:
            self._stop_wanted = False
            link = self._link
            if link is None or self._restarting is not None:
                return
            report = link.shared.report()
            if self._death is None and link.process.poll() is None and PHASES[report.phase] is not Phase.FAULT:
                if link.last_order is not Order.ARM:
                    link.give(Order.ARM)
                return
            self._restarting = threading.Thread(target=self._restart, args=(link, report), daemon=True)
            self._restarting.start()

    def _restart(self, old: _Link, seen: Report) -> None:
        old.end(CLOSE_S)
        with self._lock:
            if self._link is old:  # not closed meanwhile
                self._start_process(arm=True, seen=seen)
                if self._stop_wanted:  # meanwhile
                    self._link.give(Order.STOP)
            self._restarting = None

    def _start_process(self, *, arm: bool, seen: Report | None = None) -> None:
        self._death = None
        self._link = _Link(self._side, self.config, self._partner_serial_number, arm=arm, seen=seen)

    def close(self) -> None:
        """servoStop, stopScript, end the process."""
        restarting = self._restarting
        if restarting is not None:
            restarting.join()
        with self._lock:
            link, self._link = self._link, None
            self._death = None
        if link is not None:
            link.end(CLOSE_S)

    # --- supervision ------------------------------------------------------------------------------------------------

    def status(self) -> DeviceStatus:
        """Return phase, fault and figures; also finds out that the process died or hangs."""
        with self._lock:
            link = self._link
            if link is None:
                return DeviceStatus(phase=Phase.CLOSED)
            report = link.shared.report()
            values = self._values(report)
            if self._restarting is not None:
                return DeviceStatus(phase=Phase.ARMING, values=values)
            phase = PHASES[report.phase] if report.alive_ns else Phase.CONNECTING
            if phase is Phase.FAULT:
                self._after_death(link)
                fault = FAULTS[report.fault]
                return DeviceStatus(phase=phase, fault=fault, detail=link.shared.detail(), values=values)
            self._find_death(link, report, phase)
            if self._death is not None:
                fault, detail = self._death
                values["fault_ns"] = self._death_ns
                return DeviceStatus(phase=Phase.FAULT, fault=fault, detail=detail, values=values)
            if report.order < link.orders:  # not taken up yet
                phase = {Order.ARM: Phase.ARMING, Order.STOP: Phase.STOPPED}.get(link.last_order, phase)
            elif link.last_order is Order.ARM and phase in (Phase.CONNECTING, Phase.STOPPED):
                phase = Phase.ARMING
            advisory = ""
            if 0.0 < report.speed_scaling < 0.99:
                advisory = f"the speed slider is at {report.speed_scaling:.0%}"
            elif not self.config.serial_number and not self.config.host.startswith("127."):
                advisory = f"its serial number is not configured ({values['serial_number']}): any UR5e would do"
            return DeviceStatus(phase=phase, advisory=advisory, values=values)

    def _find_death(self, link: _Link, report: Report, phase: Phase) -> None:
        """Note the end or the hanging of the process, and kill what hangs."""
        now_s = time.monotonic()
        since_check_s, self._checked_s = now_s - self._checked_s, now_s
        if self._death is not None:
            return
        code = link.process.poll()
        if code is not None:
            self._death = _cause_of_death(code, self.config.host)
        else:
            busy = phase in (Phase.CONNECTING, Phase.ARMING) or report.order < link.orders
            longest_s = self.config.connect_timeout_s if busy else self.config.worker_timeout_s
            silent_since_s = report.alive_ns / _NS if report.alive_ns else link.started_s
            if now_s - silent_since_s <= longest_s or since_check_s > 0.5 * self.config.worker_timeout_s:
                return  # fine, or it was this process that slept
            link.process.kill()
            self._death = (Fault.WORKER_DIED, f"the arm's process did nothing for {now_s - silent_since_s:.2f} s")
        self._death_ns = time.monotonic_ns()
        self._stop_from_here(link)

    def _after_death(self, link: _Link) -> None:
        """The process has reported its fault; if it ended over that, make sure that no program runs."""
        if self._death is None and link.process.poll() is not None:
            self._death = (Fault.WORKER_DIED, "")
            self._stop_from_here(link)

    def _stop_from_here(self, link: _Link) -> None:
        """Stop the program over the dashboard; twice, because a reconnecting library may start it again."""
        host = self.config.host

        def stop() -> None:
            link.process.wait()
            for pause_s in (0.0, 0.3):
                time.sleep(pause_s)
                if self._link is link:
                    stop_program(host)

        threading.Thread(target=stop, daemon=True).start()

    def _values(self, report: Report) -> dict[str, object]:
        age_ms = (time.monotonic_ns() - report.stamp_ns) * 1e-6 if report.stamp_ns else float("nan")
        link = self._link
        identity = (None if link is None else link.shared.identity()) or Identity("", "", "")
        return {
            "host": self.config.host,
            "serial_number": identity.serial_number,
            "robot_model": identity.model,
            "polyscope": identity.polyscope,
            "state_age_ms": round(age_ms, 1),
            "cycles": report.cycles,
            "missed": report.missed,
            "commands_late": report.starved,
            "commands_skipped": report.skipped,
            "targets_sent": report.sent,
            "robot_mode": ROBOT_MODES.get(report.robot_mode, str(report.robot_mode)),
            "safety_bits": f"{report.safety_bits:#x}",
            "speed_scaling": report.speed_scaling,
            "controller_uptime_s": round(report.controller_s, 1),
            "real_time_priority": bool(report.real_time),
            "fault_ns": report.fault_ns,
            "dry_run": self.config.dry_run,
        }

    def lateness_ms(self, shares: Sequence[float]) -> list[float]:
        """Return the quantiles (0 to 1) of how late the servo cycles began [ms] since the process started."""
        link = self._link
        if link is None:
            return [float("nan")] * len(shares)
        counts = np.array(link.shared.lateness)
        cumulative = np.cumsum(counts)
        if not cumulative[-1]:
            return [float("nan")] * len(shares)
        bins = [int(np.searchsorted(cumulative, max(1, np.ceil(share * cumulative[-1])))) for share in shares]
        return [(index + 1) * LATENESS_BIN_US * 1e-3 for index in bins]


def _cause_of_death(code: int, host: str) -> tuple[Fault, str]:
    """Name the fault that ended the arm's process by itself.

    When the link drops, ur_rtde's receiving thread and the caller of `servoJ` both reconnect, with nothing between
    them, so that ur_rtde may crash before this process's own guard has noticed the lost link.
    """
    how = f"by signal {-code}" if code < 0 else f"with code {code}"
    if -code in _CRASHES:
        return Fault.LINK_LOST, f"ur_rtde crashed ({how}), as it does when the connection to {host} breaks"
    return Fault.WORKER_DIED, f"the arm's process ended {how}"


class StopTogether:
    """Stops all devices when one of them has a fault, from a thread of its own."""

    def __init__(self, devices: Sequence[Device], period_s: float = 0.005) -> None:
        """Watch until `close`."""
        self._devices, self._period_s = list(devices), period_s
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="stop-together", daemon=True)
        self._thread.start()

    def _watch(self) -> None:
        while not self._end.wait(self._period_s):
            if any(device.status().phase is Phase.FAULT for device in self._devices):
                for device in self._devices:
                    device.stop()

    def close(self) -> None:
        """Watch no longer."""
        self._end.set()
        self._thread.join()


def stop_together(devices: Sequence[Device]) -> StopTogether:
    """Stop all of the devices as soon as one has a fault, until the returned watch is closed."""
    return StopTogether(devices)
