"""A device whose vendor's library lives in its own process: what all of them share.

The process measures, judges and stops by itself; here it is started, given orders, and watched. A device adds its
process, its memory and what is special about it (`UrArm`, `XHand`).
"""

from __future__ import annotations

import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, Generic, TypeVar

import numpy as np

from udg_control.device import DeviceState, DeviceStatus, Fault, Phase
from udg_control.errors import DeviceError
from udg_control.shared_memory import FAULTS, PHASES, DeviceReport, SharedMemory
from udg_control.worker import Order, start_worker, wait_or_kill
from udg_description.clock import NS_PER_S

CLOSE_S = 2.0
START_S = 20.0
"""Longest wait for a new process to say that it runs, on a busy machine; what it waits for itself counts from there."""
NOT_THERE = (Fault.NOT_CONNECTED, Fault.WRONG_DEVICE, Fault.WORKER_DIED)
"""With one of these nothing was connected; any other fault may be cleared by `rearm`."""
HUNG_S = 1.0
"""A process in a fault that has not reported for so long hangs: it is replaced when the device is armed."""
_POLL_S = 0.002
M = TypeVar("M", bound=SharedMemory[Any])
R = TypeVar("R", bound=DeviceReport)


class Link(Generic[M]):
    """A process and the memory shared with it."""

    def __init__(self, device: SupervisedDevice[M, R], *, arm: bool, seen: R | None) -> None:
        """Start the process, to get ready at once if `arm`; `seen` is the last report of the process before."""
        descriptor = device.memory_type.create()
        try:
            self.shared = device.memory_type(descriptor)
            start = device.start(descriptor, os.getpid(), arm, seen)
            self.process = start_worker(device.worker_module, start, descriptor)
        finally:
            os.close(descriptor)
        self.started_s = time.monotonic()
        self.orders = 0  # number of the last order given
        self.last_order = Order.ARM if arm else Order.NONE

    def give(self, order: Order) -> None:
        """Give the process an order."""
        self.orders = self.shared.give(order)
        self.last_order = order

    def end(self, longest_s: float) -> None:
        """Ask the process to end; kill it if it does not."""
        self.give(Order.CLOSE)
        wait_or_kill(self.process, longest_s)


class SupervisedDevice(ABC, Generic[M, R]):
    """See `device.Device` for the meaning of the methods; they may be called from several threads."""

    worker_module: ClassVar[str]  # run as `python -m`
    memory_type: type[M]
    what: ClassVar[str]  # "arm", for people

    def __init__(self, name: str, part: str, *, connect_timeout_s: float, worker_timeout_s: float) -> None:
        """Nothing is connected before `connect`."""
        self.name, self.part = name, part
        self._connect_timeout_s, self._worker_timeout_s = connect_timeout_s, worker_timeout_s
        self._lock = threading.Lock()
        self._link: Link[M] | None = None
        self._restarting: threading.Thread | None = None
        self._death: tuple[Fault, str] | None = None  # of the process, found here
        self._death_ns = 0
        self._ended = False  # what follows the end of the process was done
        self._checked_s = 0.0
        self._stop_wanted = False  # since the last `rearm`
        self._arm_due = False  # when the stop before it has been taken up

    # --- what a device adds -----------------------------------------------------------------------------------------

    @abstractmethod
    def start(self, descriptor: int, parent: int, arm: bool, seen: R | None) -> object:
        """What the new process is given (a dataclass): its memory, this process, whether to get ready at once."""

    @abstractmethod
    def read(self) -> DeviceState | None:
        """See `device.Device`."""

    @abstractmethod
    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """See `device.Device`."""

    @abstractmethod
    def _values(self, link: Link[M]) -> dict[str, object]:
        """What goes to /diagnostics."""

    @abstractmethod
    def _rearm_needs_new_process(self, phase: Phase, fault: Fault | None) -> bool:
        """Whether a process that is alive must be replaced to get ready again."""

    def _advisory(self, link: Link[M], values: Mapping[str, object]) -> str:
        """What is worth telling, "" for nothing."""
        return link.shared.advisory.get()

    def _cause_of_death(self, code: int) -> tuple[Fault, str]:
        """Name the fault that ended the process by itself."""
        how = f"by signal {-code}" if code < 0 else f"with code {code}"
        return Fault.WORKER_DIED, f"the {self.what}'s process ended {how}"

    def _after_end(self, link: Link[M]) -> None:
        """Make sure of a standstill once the process has ended by itself, or was killed because it hung."""

    def _remedy(self, fault: Fault) -> str:
        """What to check when there is nobody to connect to, "" for nothing."""
        return ""

    # --- the protocol -----------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Start the process, connect and measure. Raises DeviceError when nobody answers."""
        if self._link is not None:
            raise DeviceError(f"{self.name}: already connected; close it first")
        link = self._start_process(arm=False)
        runs_s: float | None = None
        while True:
            status = self.status()
            if status.phase is not Phase.CONNECTING:
                break
            now_s = time.monotonic()
            if runs_s is None and link.shared.report().alive_ns:
                runs_s = now_s
            if runs_s is not None and now_s > runs_s + self._connect_timeout_s:
                self.close()
                raise DeviceError(f"{self.name}: not there within {self._connect_timeout_s} s; is it booting?")
            if runs_s is None and now_s > link.started_s + START_S:
                self.close()
                raise DeviceError(f"{self.name}: the {self.what}'s process has not begun within {START_S:g} s")
            time.sleep(_POLL_S)
        if status.fault in NOT_THERE:
            self.close()
            remedy = self._remedy(status.fault)
            raise DeviceError(f"{self.name}: {status.detail}" + (f"; {remedy}" if remedy else ""))

    def stop(self) -> None:
        """Stop within the limits, then hold; commands are ignored until `rearm`."""
        self._stop_wanted, self._arm_due = True, False
        link = self._link
        if link is not None and link.last_order is not Order.STOP:
            link.give(Order.STOP)

    def rearm(self) -> None:
        """Get ready again, with a new process where that is needed. Returns at once."""
        with self._lock:
            self._stop_wanted = self._arm_due = False
            link = self._link
            if link is None or self._restarting is not None:
                return
            report = link.shared.report()
            fault = FAULTS[report.fault] if report.fault >= 0 else None
            ended = self._death is not None or link.process.poll() is not None
            silent_s = time.monotonic() - report.alive_ns / NS_PER_S
            ended |= PHASES[report.phase] is Phase.FAULT and silent_s > max(self._worker_timeout_s, HUNG_S)
            if not ended and not self._rearm_needs_new_process(PHASES[report.phase], fault):
                if link.last_order is Order.STOP and report.order < link.orders:
                    self._arm_due = True  # at once it would take the place of the stop, of which nobody would know
                elif link.last_order is not Order.ARM or PHASES[report.phase] is Phase.FAULT:
                    link.give(Order.ARM)
                return
            self._restarting = threading.Thread(target=self._restart, args=(link, report), daemon=True)
            self._restarting.start()

    def _restart(self, old: Link[M], seen: R) -> None:
        old.end(CLOSE_S)
        with self._lock:
            self._restarting = None
            if self._link is not old:  # closed meanwhile
                return
            try:
                link = self._start_process(arm=not self._stop_wanted, seen=seen)
            except OSError as error:  # no memory, no descriptors: as if the new process had died at once
                self._death_ns = time.monotonic_ns()
                self._death = Fault.WORKER_DIED, f"the {self.what}'s process can't be started: {error}"
                return
            if self._stop_wanted:  # meanwhile
                link.give(Order.STOP)

    def _start_process(self, *, arm: bool, seen: R | None = None) -> Link[M]:
        self._death, self._ended = None, False
        link = self._link = Link(self, arm=arm, seen=seen)
        return link

    def close(self) -> None:
        """Let the process stop the device and end."""
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
        """Phase, fault and figures; also finds out that the process died or hangs.

        What the process has reported before it ended counts more than its end.
        """
        with self._lock:
            link = self._link
            if link is None:
                return DeviceStatus(phase=Phase.CLOSED)
            values = self._values(link)
            if self._restarting is not None:
                return DeviceStatus(phase=Phase.ARMING, values=values)
            report = link.shared.report()
            if self._arm_due and report.order >= link.orders:  # the stop has been taken up
                self._arm_due = False
                link.give(Order.ARM)
                if self._stop_wanted:  # meanwhile
                    link.give(Order.STOP)
            phase = PHASES[report.phase] if report.alive_ns else Phase.CONNECTING
            alive = link.process.poll() is None
            waits = alive and report.order < link.orders  # the last order is not taken up yet
            if phase is not Phase.FAULT:
                arms = phase in (Phase.CONNECTING, Phase.ARMING) or (waits and link.last_order is Order.ARM)
                self._find_death(link, report, busy=arms)
            elif not alive:
                self._end(link)
            if self._death is not None:
                fault, detail = self._death
                values["fault_ns"] = self._death_ns
                return DeviceStatus(phase=Phase.FAULT, fault=fault, detail=detail, values=values)
            if self._arm_due or (waits and link.last_order is Order.ARM):
                return DeviceStatus(phase=Phase.ARMING, values=values)
            if phase is Phase.FAULT:
                detail = link.shared.detail.get()
                return DeviceStatus(phase=phase, fault=FAULTS[report.fault], detail=detail, values=values)
            if waits and link.last_order is Order.STOP:
                phase = Phase.STOPPED
            elif link.last_order is Order.ARM and phase in (Phase.CONNECTING, Phase.STOPPED):
                phase = Phase.ARMING
            return DeviceStatus(phase=phase, advisory=self._advisory(link, values), values=values)

    def _find_death(self, link: Link[M], report: DeviceReport, *, busy: bool) -> None:
        """Note the end or the hanging of the process, and kill what hangs."""
        now_s = time.monotonic()
        since_check_s, self._checked_s = now_s - self._checked_s, now_s
        if self._death is not None:
            return
        code = link.process.poll()
        if code is not None:
            self._death = self._cause_of_death(code)
        else:
            longest_s = self._connect_timeout_s if busy else self._worker_timeout_s
            if not report.alive_ns:
                longest_s = max(longest_s, START_S)
            silent_s = now_s - (report.alive_ns / NS_PER_S if report.alive_ns else link.started_s)
            if silent_s <= longest_s or since_check_s > 0.5 * self._worker_timeout_s:
                return  # fine, or it was this process that slept
            link.process.kill()
            self._death = (Fault.WORKER_DIED, f"the {self.what}'s process did nothing for {silent_s:.2f} s")
        self._death_ns = time.monotonic_ns()
        self._end(link)

    def _end(self, link: Link[M]) -> None:
        if not self._ended:
            self._ended = True
            self._after_end(link)


def age_ms(stamp_ns: int) -> float:
    """Age [ms] of what was measured at `stamp_ns`, nan where that is 0."""
    return round((time.monotonic_ns() - stamp_ns) * 1e-6, 1) if stamp_ns else float("nan")
