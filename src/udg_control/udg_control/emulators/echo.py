"""A minimal device, for tests and as a template: its process measures what it was commanded.

It does badly what the first value of a command says. A device adds to `supervised` its memory, its process, and what is
special about it.
"""

from __future__ import annotations

import json
import os
import struct
import sys
import time
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from udg_control.device import DeviceState, Fault, Phase
from udg_control.shared_memory import FAULTS, PHASES, SharedMemory
from udg_control.supervised import Link, SupervisedDevice, age_ms
from udg_control.worker import Order, serve

DIE, REPORT_AND_DIE, HANG, REPORT_AND_HANG = 7.0, 8.0, 9.0, 10.0
_VALUE = struct.Struct("@d")


class Report(NamedTuple):
    """What the process knows."""

    alive_ns: int = 0
    stamp_ns: int = 0
    fault_ns: int = 0
    phase: int = 0
    fault: int = -1
    order: int = 0


class Memory(SharedMemory[Report]):
    """A command one way, the joint the other."""

    report_type = Report

    def __init__(self, descriptor: int) -> None:
        """Map the memory."""
        super().__init__(descriptor)
        self.command, self.joint = self._record(_VALUE), self._record(_VALUE)


@dataclass(frozen=True)
class Start:
    """What the process is given."""

    descriptor: int
    parent: int
    arm: bool
    absent: bool


class EchoDevice(SupervisedDevice[Memory, Report]):
    """The device, in control's process; `ends` counts how often its process was found to have ended by itself."""

    worker_module = "udg_control.emulators.echo"
    memory_type = Memory
    what = "echo"

    def __init__(self, *, absent: bool = False) -> None:
        """Nobody answers if `absent`."""
        super().__init__("echo", "left_arm", connect_timeout_s=20.0, worker_timeout_s=2.0)
        self.absent = absent
        self.ends = 0

    def start(self, descriptor: int, parent: int, arm: bool, seen: Report | None) -> Start:
        """What the process is given."""
        return Start(descriptor, parent, arm, self.absent)

    def read(self) -> DeviceState | None:
        """The joint."""
        value = None if self._link is None else self._link.shared.joint.get()
        return None if value is None else DeviceState(q=np.array(value), stamp_ns=1)

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command the joint."""
        if self._link is not None:
            self._link.shared.command.put(float(q_command[0]))

    def _values(self, link: Link[Memory]) -> dict[str, object]:
        return {"state_age_ms": age_ms(link.shared.report().stamp_ns)}

    def _rearm_needs_new_process(self, phase: Phase, fault: Fault | None) -> bool:
        return phase is Phase.FAULT

    def _after_end(self, link: Link[Memory]) -> None:
        self.ends += 1

    def _remedy(self, fault: Fault) -> str:
        return "plug it in"


class Process:
    """The device's process."""

    def __init__(self, start: Start) -> None:
        """Nothing was commanded yet."""
        self.asked_to_end = False
        self._start, self._shared = start, Memory(start.descriptor)
        self._phase, self._fault, self._order = Phase.STOPPED, -1, 0

    def run(self) -> int:
        """Serve until the end; returns the exit code."""
        if self._start.absent:
            return self._fail(Fault.NOT_CONNECTED, "nobody answers")
        if self._start.arm:
            self._phase = Phase.READY
        while not self.asked_to_end and os.getppid() == self._start.parent:
            number, order = self._shared.order()
            if number != self._order:
                self._order = number
                self.asked_to_end = order is Order.CLOSE
                self._phase = {Order.ARM: Phase.READY, Order.STOP: Phase.STOPPED}.get(order, self._phase)
            command = self._shared.command.get()
            if self._phase is Phase.READY and command is not None:
                self._obey(command[0])
            self._report()
            time.sleep(0.001)
        return 0

    def _obey(self, value: float) -> None:
        if value == DIE:
            os._exit(9)
        if value == REPORT_AND_DIE:
            os._exit(self._fail(Fault.TRACKING, "it does not follow"))
        if value in (HANG, REPORT_AND_HANG):
            if value == REPORT_AND_HANG:
                self._fail(Fault.BUS_ERROR, "nothing passes")
            time.sleep(60.0)
        self._shared.joint.put(value)

    def _fail(self, fault: Fault, detail: str) -> int:
        self._phase, self._fault = Phase.FAULT, FAULTS.index(fault)
        self._shared.detail.put(detail)
        self._report()
        return 3

    def _report(self) -> None:
        now_ns = time.monotonic_ns()
        self._shared.put_report(Report(now_ns, now_ns, 0, PHASES.index(self._phase), self._fault, self._order))


if __name__ == "__main__":
    serve(Process(Start(**json.loads(sys.argv[1]))))
