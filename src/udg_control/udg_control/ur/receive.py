"""The receiving side: what the controller measures, over its own RTDE connection, without a thread.

ur_rtde's RTDEReceiveInterface does the same with a thread that polls ten thousand times a second behind a lock that
the servo loop then waits for, keeps returning old values after the link broke, and can't be left when it waits.
"""

from __future__ import annotations

import select
import socket
import struct
import time
from typing import NamedTuple

PORT = 30004
VERSION_S = 0.4
_HEADER = struct.Struct(">HB")
_VERSION = struct.Struct(">4I")
_VERSION_2 = 2
_REQUEST_VERSION, _GET_CONTROLLER, _SETUP_OUTPUTS, _START, _DATA, _TEXT = (ord(letter) for letter in "VvOSUM")
_FIELDS = {
    "timestamp": ("DOUBLE", "d"),
    "actual_q": ("VECTOR6D", "6d"),
    "actual_qd": ("VECTOR6D", "6d"),
    "actual_current": ("VECTOR6D", "6d"),
    "joint_temperatures": ("VECTOR6D", "6d"),
    "robot_mode": ("INT32", "i"),
    "safety_status_bits": ("UINT32", "I"),
    "runtime_state": ("UINT32", "I"),
    "speed_scaling": ("DOUBLE", "d"),
}
_SLIDER = "target_speed_fraction"  # the pendant's slider; not every controller has it
_CODES = ">B" + "".join(code for _, code in _FIELDS.values())
_LOST = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class ReceiveError(Exception):
    """The controller does not answer, answers otherwise than RTDE version 2, or the link broke."""


class SilentError(ReceiveError):
    """The controller does not answer in time."""


class Measurement(NamedTuple):
    """A data package; joints in the controller's order, which is the layout's."""

    controller_s: float  # time since the controller started
    q: tuple[float, ...]  # (6,) [rad]
    qd: tuple[float, ...]  # (6,) [rad/s]
    current: tuple[float, ...]  # (6,) [A]
    temperature: tuple[float, ...]  # (6,) [deg C]
    robot_mode: int
    safety_bits: int
    runtime_state: int
    speed_scaling: float  # the smaller of the controller's own and the slider's


class Receiver:
    """A connection that asks for the fields above at a rate, and gives the newest that have come."""

    def __init__(self, host: str, rate_hz: float, timeout_s: float = 1.0) -> None:
        """Connect and wait for the first measurement. Raises ReceiveError."""
        self._buffer = bytearray()
        deadline_s = time.monotonic() + timeout_s
        try:
            self._sock = socket.create_connection((host, PORT), timeout=timeout_s)
            self._sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._sock.setblocking(False)
            if self._ask(_REQUEST_VERSION, struct.pack(">H", _VERSION_2), deadline_s) != b"\x01":
                raise ReceiveError(f"{host}: the controller does not speak RTDE version 2")
            self.version = self._ask_version(min(deadline_s, time.monotonic() + VERSION_S))  # of PolyScope
            self._set_up(host, rate_hz, deadline_s)
            if self._ask(_START, b"", deadline_s) != b"\x01":
                raise ReceiveError(f"{host}: the controller does not start to send")
            self.newest = self._wait_for_data(deadline_s)
        except OSError as error:
            raise ReceiveError(f"{host}:{PORT}: {error}") from error
        self._poll = select.poll()
        self._poll.register(self._sock, _LOST)

    def _set_up(self, host: str, rate_hz: float, deadline_s: float) -> None:
        """Ask for the fields, with the slider where the controller has it."""
        wanted = [kind for kind, _ in _FIELDS.values()]
        for more in ([_SLIDER], []):
            names = ",".join([*_FIELDS, *more]).encode()
            answer = self._ask(_SETUP_OUTPUTS, struct.pack(">d", rate_hz) + names, deadline_s)
            types = answer[1:].decode("ascii", "replace").split(",")
            if types == wanted + ["DOUBLE"] * len(more):
                self._id, self._package = answer[0], struct.Struct(_CODES + "d" * len(more))
                return
        raise ReceiveError(f"{host}: the controller gives {types} for {', '.join(_FIELDS)}")

    def lost(self) -> bool:
        """Whether the other side has closed or reset the connection; from any thread."""
        return bool(self._poll.poll(0))

    def read(self) -> Measurement | None:
        """The newest measurement if one has come since the last call. Raises ReceiveError on a broken link."""
        found = None
        for kind, payload in self._packages():
            if kind == _DATA and len(payload) == self._package.size and payload[0] == self._id:
                found = payload
        if found is None:
            return None
        values = self._package.unpack(found)
        self.newest = Measurement(
            values[1],
            values[2:8],
            values[8:14],
            values[14:20],
            values[20:26],
            values[26],
            values[27],
            values[28],
            min(values[29:]),
        )
        return self.newest

    def _packages(self) -> list[tuple[int, bytes]]:
        """Take the complete messages that have come."""
        try:
            data = self._sock.recv(65536)
        except BlockingIOError:
            return []
        except OSError as error:
            raise ReceiveError(f"the link broke: {error}") from error
        if not data:
            raise ReceiveError("the controller closed the connection")
        self._buffer += data
        found, start, end = [], 0, len(self._buffer)
        while end - start >= _HEADER.size:
            size, kind = _HEADER.unpack_from(self._buffer, start)
            if size < _HEADER.size:
                raise ReceiveError("the controller sends what is no RTDE")
            if end - start < size:
                break
            found.append((kind, bytes(self._buffer[start + _HEADER.size : start + size])))
            start += size
        del self._buffer[:start]
        return found

    def _ask_version(self, deadline_s: float) -> tuple[int, ...]:
        """The version of the controller's software, () if it does not tell."""
        try:
            answer = self._ask(_GET_CONTROLLER, b"", deadline_s)
        except SilentError:
            return ()
        return _VERSION.unpack(answer)[:3] if len(answer) == _VERSION.size else ()

    def _ask(self, kind: int, payload: bytes, deadline_s: float) -> bytes:
        self._sock.sendall(_HEADER.pack(_HEADER.size + len(payload), kind) + payload)
        while True:
            self._wait(deadline_s)
            for answered, answer in self._packages():
                if answered == kind:
                    return answer
                if answered not in (_TEXT, _GET_CONTROLLER):
                    raise ReceiveError(f"the controller answers {chr(kind)} with {chr(answered)}")

    def _wait_for_data(self, deadline_s: float) -> Measurement:
        while True:
            self._wait(deadline_s)
            measurement = self.read()
            if measurement is not None:
                return measurement

    def _wait(self, deadline_s: float) -> None:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0.0 or not select.select([self._sock], [], [], left_s)[0]:
            raise SilentError("the controller does not answer")

    def close(self) -> None:
        """Close the connection."""
        self._sock.close()
