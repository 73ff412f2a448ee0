"""The dashboard server of a UR controller (port 29999): lines in, lines out; never waits in the servo loop."""

from __future__ import annotations

import select
import socket
import time

PORT = 29999
REMOTE = "is in remote control"
_GREETING = b"Dashboard Server"


class DashboardError(Exception):
    """The dashboard server does not answer, or not as it should."""


class Dashboard:
    """A connection. Questions with an answer wait for it; `poll` and `stop_program` do not."""

    def __init__(self, host: str, timeout_s: float = 1.0) -> None:
        """Connect and read the greeting. Raises DashboardError."""
        self._buffer = b""
        self._asked_s: float | None = None  # since when `poll` has waited for an answer
        self.remote: bool | None = None  # the last answer to `poll`
        self.complaint = ""  # what is wrong with the last answer
        try:
            self._sock = socket.create_connection((host, PORT), timeout=timeout_s)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.setblocking(False)
        except OSError as error:
            raise DashboardError(f"{host}:{PORT}: {error}") from error
        greeting = self._line(time.monotonic() + timeout_s)
        if _GREETING not in greeting:
            raise DashboardError(f"{host}:{PORT}: not a dashboard server: {greeting!r}")

    def ask(self, question: str, timeout_s: float = 1.0) -> str:
        """The answer to a question. Raises DashboardError."""
        deadline_s = time.monotonic() + timeout_s
        if self._asked_s is not None:
            self._asked_s = None
            self._line(deadline_s)
        self._send(question)
        return self._line(deadline_s).decode("utf-8", "replace")

    def poll(self) -> bool:
        """Ask for remote control, take up an answer that has come; False when the connection is broken."""
        try:
            self._take_answer()
            if self._asked_s is None:
                self._send(REMOTE)
                self._asked_s = time.monotonic()
        except DashboardError:
            return False
        return True

    def collect(self) -> bool:
        """Take an answer that has arrived, without asking again; False when the connection is broken."""
        try:
            self._take_answer()
        except DashboardError:
            return False
        return True

    def waiting_s(self, now_s: float) -> float:
        """How long `poll` has been waiting for an answer [s]."""
        return 0.0 if self._asked_s is None else now_s - self._asked_s

    def _take_answer(self) -> None:
        line = self._take_line() if self._asked_s is not None else None
        if line is None:
            return
        self._asked_s = None
        text = line.decode("utf-8", "replace").strip().lower()
        if text in ("true", "false"):
            self.remote = text == "true"
        else:
            self.complaint = f"the dashboard answers '{REMOTE}' with '{text}'"

    def stop_program(self) -> None:
        """Stop the running program if the connection still works; does not wait."""
        try:
            self._send("stop")
        except DashboardError:
            pass  # nothing more can be done over this connection

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()

    def _send(self, text: str) -> None:
        try:
            self._sock.sendall(text.encode() + b"\n")
        except OSError as error:
            raise DashboardError(f"dashboard: {error}") from error

    def _take_line(self) -> bytes | None:
        try:
            data = self._sock.recv(4096)
            if not data:
                raise DashboardError("dashboard: the controller closed the connection")
            self._buffer += data
        except BlockingIOError:
            pass
        except OSError as error:
            raise DashboardError(f"dashboard: {error}") from error
        line, separator, rest = self._buffer.partition(b"\n")
        if not separator:
            return None
        self._buffer = rest
        return line

    def _line(self, deadline_s: float) -> bytes:
        while True:
            line = self._take_line()
            if line is not None:
                return line
            left_s = deadline_s - time.monotonic()
            if left_s <= 0.0 or not select.select([self._sock], [], [], left_s)[0]:
                raise DashboardError("dashboard: no answer")


def stop_program(host: str, timeout_s: float = 0.5) -> bool:
    """Stop the program of a controller over a connection of its own; whether it confirmed."""
    try:
        dashboard = Dashboard(host, timeout_s)
        try:
            return dashboard.ask("stop", timeout_s) == "Stopped"
        finally:
            dashboard.close()
    except DashboardError:
        return False
