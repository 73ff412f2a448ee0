"""A separate process for a vendor's library, with memory that it shares with its parent."""

from __future__ import annotations

import dataclasses
import gc
import json
import os
import signal
import subprocess
import sys
from enum import IntEnum
from types import FrameType
from typing import NoReturn, Protocol

SILENT_CYCLES = 10
"""A device is silent only if no state came for this many cycles, too: a pause of its process is not its silence."""


class Order(IntEnum):
    """What control wants of a device's process, newest last."""

    NONE = 0
    ARM = 1
    STOP = 2
    CLOSE = 3


class Worker(Protocol):
    """What a device's process runs."""

    asked_to_end: bool  # set by signals; `run` looks at it in each cycle

    def run(self) -> int:
        """Serve until the end; returns the exit code."""


def serve(worker: Worker) -> NoReturn:
    """Run a device's process to its end.

    Signals ask it to end in order. At the end nothing of the vendor's library runs any more: its destructors and
    threads may sleep, reconnect or abort.
    """

    def ask_to_end(_signal: int, _frame: FrameType | None) -> None:
        worker.asked_to_end = True

    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, ask_to_end)
    gc.freeze()
    gc.disable()
    code = worker.run()
    sys.stderr.flush()
    os._exit(code)


def start_worker(module: str, start: object, descriptor: int) -> subprocess.Popen[bytes]:
    """Run `python -m module START` (JSON of the dataclass `start`), which inherits the descriptor of shared memory."""
    return subprocess.Popen(
        [sys.executable, "-m", module, json.dumps(dataclasses.asdict(start))],  # type: ignore[call-overload]
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=[descriptor],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
    )


def ask_for_real_time(priority: int, *, children: bool = True) -> bool:
    """Give this thread a SCHED_FIFO priority (0: leave it); whether it was permitted.

    Threads and processes that it starts have the priority, too, if `children`.
    """
    if priority == 0:
        return False
    policy = os.SCHED_FIFO if children else os.SCHED_FIFO | os.SCHED_RESET_ON_FORK
    try:
        os.sched_setscheduler(0, policy, os.sched_param(priority))
    except PermissionError:
        return False
    return True


def wait_or_kill(process: subprocess.Popen[bytes], longest_s: float) -> None:
    """Wait for a process that was asked to end; kill it if it does not."""
    try:
        process.wait(longest_s)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
