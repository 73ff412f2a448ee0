"""An XHand as a device of control: starts and supervises the hand's process."""

from __future__ import annotations

import dataclasses
import os
import threading
import time

import numpy as np

from udg_control.device import DeviceState, DeviceStatus, Fault, Phase
from udg_control.errors import DeviceError
from udg_control.worker import Order, start_worker, wait_or_kill
from udg_control.xhand.config import XHandConfig
from udg_control.xhand.shared import FAULTS, PHASES, Command, Report, Shared
from udg_control.xhand.start import Start
from udg_description.layout import N_HAND_JOINTS, Side

CLOSE_S = 2.0
_POLL_S = 0.005
_NS = 1_000_000_000
_NOBODY = tuple([float("nan")] * N_HAND_JOINTS)


class _Link:
    """A process and the memory shared with it."""

    def __init__(self, side: Side, config: XHandConfig, *, arm: bool) -> None:
        descriptor = Shared.create()
        try:
            self.shared = Shared(descriptor)
            settings = dataclasses.asdict(config)
            start = Start(side=side, descriptor=descriptor, parent=os.getpid(), arm=arm, config=settings)
            self.process = start_worker("udg_control.xhand.process", start, descriptor)
        finally:
            os.close(descriptor)
        self.started_s = time.monotonic()
        self.orders = 0  # number of the last order given
        self.last_order = Order.ARM if arm else Order.NONE

    def give(self, order: Order) -> None:
        self.orders = self.shared.give(order)
        self.last_order = order

    def end(self, longest_s: float) -> None:
        """Ask the process to let the hand go and end; kill it if it does not."""
        self.give(Order.CLOSE)
        wait_or_kill(self.process, longest_s)


class XHand:
    """One XHand. See `device.Device` for the meaning of the methods; they may be called from several threads."""

    def __init__(self, side: Side, config: XHandConfig) -> None:
        """Nothing is connected before `connect`."""
        self.part = f"{side}_hand"
        self.name = f"{side} hand (XHand{' ' + config.serial_number if config.serial_number else ''})"
        self.config = config
        self._side: Side = side
        self._lock = threading.Lock()
        self._link: _Link | None = None
        self._restarting: threading.Thread | None = None
        self._death: tuple[Fault, str] | None = None  # of the process, found here
        self._checked_s = 0.0
        self._stop_wanted = False  # since the last `rearm`

    def connect(self) -> None:
        """Start the process, find the hand and measure. The hand is told to let go (mode 0). Raises DeviceError."""
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
                raise DeviceError(f"{self.name}: no answer within {self.config.connect_timeout_s} s")
            time.sleep(_POLL_S)
        if status.fault is not None:
            self.close()
            raise DeviceError(f"{self.name}: {status.detail}")

    def read(self) -> DeviceState | None:
        """Return the newest measured state: q [rad], current [A], temperature [deg C], tactile_force."""
        link = self._link
        if link is None:
            return None
        stamp_ns = link.shared.report().stamp_ns
        joints = link.shared.joints()
        if joints is None or stamp_ns == 0:
            return None
        return DeviceState(
            q=joints.q,
            stamp_ns=stamp_ns,
            current=joints.current,
            temperature=joints.temperature,
            tactile_force=joints.force if np.isfinite(joints.force).all() else None,
        )

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command q (12,) [rad]; the newest one goes out with the next exchange."""
        del stamp_ns
        link = self._link
        if link is not None:
            q = tuple(np.asarray(q_command, dtype=np.float64).tolist())
            link.shared.write(Command(time.monotonic_ns(), q if len(q) == N_HAND_JOINTS else _NOBODY))

    def stop(self) -> None:
        """Hold the last commanded position; commands are ignored until `rearm`."""
        self._stop_wanted = True
        link = self._link
        if link is not None and link.last_order is not Order.STOP:
            link.give(Order.STOP)

    def rearm(self) -> None:
        """Get ready again; with a new process if the last one has ended. Returns at once."""
        with self._lock:
            self._stop_wanted = False
            link = self._link
            if link is None or self._restarting is not None:
                return
            ended = self._death is not None or link.process.poll() is not None
            if not ended and FAULTS[link.shared.report().fault] is not Fault.LINK_LOST:
                link.give(Order.ARM)
                return
            self._restarting = threading.Thread(target=self._restart, args=(link,), daemon=True)
            self._restarting.start()

    def _restart(self, old: _Link) -> None:
        wait_or_kill(old.process, CLOSE_S)
        with self._lock:
            if self._link is old:  # not closed meanwhile
                self._start_process(arm=True)
                if self._stop_wanted:  # meanwhile
                    self._link.give(Order.STOP)
            self._restarting = None

    def _start_process(self, *, arm: bool) -> None:
        self._death = None
        self._link = _Link(self._side, self.config, arm=arm)

    def close(self) -> None:
        """Let the hand go (mode 0) and end the process."""
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
            values = self._values(link, report)
            if self._restarting is not None:
                return DeviceStatus(phase=Phase.ARMING, values=values)
            phase = PHASES[report.phase] if report.alive_ns else Phase.CONNECTING
            if phase is not Phase.FAULT:
                self._find_death(link, report, phase)
            if self._death is not None:
                fault, detail = self._death
                return DeviceStatus(phase=Phase.FAULT, fault=fault, detail=detail, values=values)
            waits = report.order < link.orders  # the last order is not taken up yet
            if waits and link.last_order is Order.ARM:
                return DeviceStatus(phase=Phase.ARMING, values=values)
            if phase is Phase.FAULT:
                return DeviceStatus(phase=phase, fault=FAULTS[report.fault], detail=link.shared.detail(), values=values)
            if waits and link.last_order is Order.STOP:
                phase = Phase.STOPPED
            elif link.last_order is Order.ARM and phase in (Phase.CONNECTING, Phase.STOPPED):
                phase = Phase.ARMING
            return DeviceStatus(phase=phase, advisory=link.shared.advisory(), values=values)

    def _find_death(self, link: _Link, report: Report, phase: Phase) -> None:
        """Note the end or the hanging of the process, and kill what hangs: the hand holds by itself."""
        now_s = time.monotonic()
        since_check_s, self._checked_s = now_s - self._checked_s, now_s
        if self._death is not None:
            return
        code = link.process.poll()
        if code is not None:
            how = f"by signal {-code}" if code < 0 else f"with code {code}"
            self._death = (Fault.WORKER_DIED, f"the hand's process ended {how}")
            return
        busy = phase in (Phase.CONNECTING, Phase.ARMING)
        longest_s = self.config.connect_timeout_s if busy else self.config.worker_timeout_s
        silent_s = now_s - (report.alive_ns / _NS if report.alive_ns else link.started_s)
        if silent_s <= longest_s or since_check_s > 0.5 * self.config.worker_timeout_s:
            return  # fine, or it was this process that slept
        link.process.kill()
        self._death = (Fault.WORKER_DIED, f"the hand's process did nothing for {silent_s:.2f} s")

    def _values(self, link: _Link, report: Report) -> dict[str, object]:
        age_ms = (time.monotonic_ns() - report.stamp_ns) * 1e-6 if report.stamp_ns else float("nan")
        port, _, rest = link.shared.identity().partition("|")
        serial_number, _, version = rest.partition("|")
        joints = link.shared.joints()
        return {
            "port": port,
            "serial_number": serial_number,
            "sdk_version": version,
            "state_age_ms": round(age_ms, 1),
            "rate_hz": round(report.rate_hz, 1),
            "exchanges": report.exchanges,
            "crc_errors": report.crc_errors,
            "other_errors": report.other_errors,
            "stalls": report.stalls,
            "out_of_range": report.out_of_range,
            "over_current_advisories": report.over_currents,
            "motor_heat": round(report.heat, 3),
            "last_code": report.last_code,
            "largest_current_ma": float("nan") if joints is None else round(1e3 * float(np.abs(joints.current).max())),
            "hottest_joint_c": float("nan") if joints is None else float(joints.temperature.max()),
            "fault_ns": report.fault_ns,
        }
