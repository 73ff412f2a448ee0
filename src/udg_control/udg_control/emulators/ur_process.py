"""Starting emulated UR controllers from a test, and talking to their control channel."""

from __future__ import annotations

import json
import os
import select
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple

import numpy as np

from udg_control.emulators.ur_controller import CONTROL_PORT
from udg_control.emulators.ur_log import COMMANDS, MOTION
from udg_control.errors import ControlError

ANSWER_S = 60.0  # of a busy machine
START_S = 120.0


class EmulatorError(ControlError):
    """An emulator that does not start or does not know what was asked."""


class EmulatorLog(NamedTuple):
    """All that an emulated arm has seen; times `t_ns` are time.monotonic_ns() of this host."""

    events: list[dict[str, object]]  # "t" [s], "event", details
    commands: np.ndarray  # ur_log.COMMANDS: servo targets at their arrival
    motion: np.ndarray  # ur_log.MOTION: the joints, every 2 ms

    def times_s(self, event: str) -> list[float]:
        """When an event happened [s]."""
        return [float(entry["t"]) for entry in self.events if entry["event"] == event]  # type: ignore[arg-type]


class UrEmulatorClient:
    """The control channel of one emulated arm."""

    def __init__(self, address: str) -> None:
        """Connect. Raises OSError when no emulator runs there."""
        self.address = address
        self._sock = socket.create_connection((address, CONTROL_PORT), timeout=ANSWER_S)
        self._file = self._sock.makefile("rwb")

    def ask(self, do: str, **arguments: object) -> dict:
        """Send a request and return the answer. Raises EmulatorError."""
        self._file.write(json.dumps({"do": do, **arguments}).encode() + b"\n")
        self._file.flush()
        answer = json.loads(self._file.readline() or b'{"error": "the emulator has gone"}')
        if "error" in answer:
            raise EmulatorError(f"emulator at {self.address}: {do}: {answer['error']}")
        return answer

    def inject(self, what: str, **arguments: object) -> float:
        """Let something happen (see docs/ur5e.md); returns when it happened [s] by time.monotonic()."""
        return float(self.ask(what, **arguments)["t"])

    def q(self) -> np.ndarray:
        """Where the joints are (6,) [rad]."""
        return np.array(self.ask("state")["q"])

    def count(self, what: str) -> int:
        """How many "commands", "events" or "cycles" were noted so far: cheap enough to wait for."""
        return int(self.ask("state")[what])

    def full_log(self, newest: int = 0) -> EmulatorLog:
        """What was noted so far, of commands and motion the `newest` rows (0: all).

        All of it is megabytes after a while: not for waiting, see `count`.
        """
        answer = self.ask("log", newest=newest)
        commands = np.frombuffer(self._file.read(answer["commands"]), COMMANDS)
        motion = np.frombuffer(self._file.read(answer["motion"]), MOTION)
        return EmulatorLog(events=answer["events"], commands=commands, motion=motion)

    def log(self) -> list[dict[str, object]]:
        """Events and servo targets ("servoj") as dictionaries in the order of time."""
        log = self.full_log()
        servo: list[dict[str, object]] = [
            {"t": float(row["t_ns"]) * 1e-9, "event": "servoj", "q": row["q"].tolist()} for row in log.commands
        ]
        return sorted([*log.events, *servo], key=lambda entry: float(entry["t"]))  # type: ignore[arg-type]

    def close(self) -> None:
        """Close the channel; the emulator continues."""
        self._file.close()
        self._sock.close()


class UrEmulators:
    """A process with emulated arms, and the control channels to them."""

    def __init__(
        self,
        *,
        left: str | None = None,
        right: str | None = None,
        log: Path | None = None,
        arguments: Sequence[str] = (),
    ) -> None:
        """Addresses of the arms; `arguments` are more of the command's. Starts in `__enter__`."""
        self._addresses = {side: host for side, host in (("left", left), ("right", right)) if host is not None}
        self._command = [sys.executable, "-m", "udg_control.emulators.ur"]
        for side, host in self._addresses.items():
            self._command += [f"--{side}", host]
        if log is not None:
            self._command += ["--log", str(log)]
        self._command += arguments
        self._clients: dict[str, UrEmulatorClient] = {}

    def __enter__(self) -> UrEmulators:
        """Start and wait until the ports listen. Raises EmulatorError."""
        self.process = subprocess.Popen(
            self._command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)},
        )
        assert self.process.stdout is not None
        readable, _, _ = select.select([self.process.stdout], [], [], START_S)
        if not readable or not self.process.stdout.readline():
            self.process.kill()
            self.process.wait()
            raise EmulatorError(f"no emulator: {' '.join(self._command)}")
        self._clients = {side: UrEmulatorClient(host) for side, host in self._addresses.items()}
        return self

    @property
    def left(self) -> UrEmulatorClient:
        """The left arm's."""
        return self._clients["left"]

    @property
    def right(self) -> UrEmulatorClient:
        """The right arm's."""
        return self._clients["right"]

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End the process."""
        for client in self._clients.values():
            client.close()
        self.process.terminate()
        try:
            self.process.wait(ANSWER_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        assert self.process.stdout is not None
        self.process.stdout.close()


def loopback_pair(salt: int = 0) -> tuple[str, str]:
    """Two loopback addresses of this process's own: the ports are fixed, so tests in parallel need other addresses.

    Each `salt` (0 to 100) gives two more.
    """
    number = os.getpid()
    network = f"127.{1 + number // 250 % 250}.{1 + number % 250}"
    return f"{network}.{1 + 2 * salt}", f"{network}.{2 + 2 * salt}"
