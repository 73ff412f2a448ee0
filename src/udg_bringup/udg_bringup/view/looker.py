"""A viewer that does not draw, to measure what the view itself costs."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import msgspec
import viser
from viser._messages import ViewerCameraMessage
from websockets.exceptions import ConnectionClosed, InvalidHandshake
from websockets.sync.client import ClientConnection, connect

from udg_bringup.view.server import HOST, ViewServerError, allowed_origins

CAMERA = ViewerCameraMessage(
    wxyz=(1.0, 0.0, 0.0, 0.0),
    position=(2.0, 0.0, 1.0),
    fov=0.8,
    near=0.01,
    far=100.0,
    image_height=800,
    image_width=1280,
    look_at=(0.0, 0.0, 0.0),
    up_direction=(0.0, 0.0, 1.0),
)
_PATIENCE_S = 60.0
_LOOK_EVERY_S = 0.2


class Looker:
    """Counts what comes: viser sends one message for each picture that has changed."""

    def __init__(self, socket: ClientConnection, pid: int) -> None:
        self._socket, self._pid = socket, pid
        self._began_s, self._cpu_before_s = time.monotonic(), cpu_s(pid)
        self.messages = self.received_bytes = 0
        self._thread = threading.Thread(target=self._receive, daemon=True)
        self._thread.start()

    def _receive(self) -> None:
        try:
            for message in self._socket:
                self.messages += 1
                self.received_bytes += len(message)
        except ConnectionClosed:
            pass

    def figures(self) -> dict[str, float]:
        """Messages and megabytes a second, and the cores that the view's process has used."""
        passed_s = time.monotonic() - self._began_s
        return {
            "messages_hz": round(self.messages / passed_s, 1),
            "mb_per_s": round(self.received_bytes / passed_s / 1e6, 3),
            "cores": round((cpu_s(self._pid) - self._cpu_before_s) / passed_s, 3),
        }


def cpu_s(pid: int) -> float:
    """Processor time of a process so far [s] (Linux)."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        words = file.read().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def looking(port: int, pid: int) -> Iterator[Looker]:
    """Look at the view at a port, of a process, once it is there. Raises ViewServerError."""
    deadline_s = time.monotonic() + _PATIENCE_S
    while True:
        try:
            socket = connect(
                f"ws://{HOST}:{port}",
                origin=allowed_origins(port)[0],  # type: ignore[arg-type]
                subprotocols=[f"viser-v{viser.__version__}"],  # type: ignore[list-item]
                max_size=None,
            )
            break
        except (OSError, InvalidHandshake) as error:
            if time.monotonic() > deadline_s:
                raise ViewServerError(f"no view at {HOST}:{port} within {_PATIENCE_S:.0f} s: {error}") from error
            time.sleep(_LOOK_EVERY_S)
    with socket:
        socket.send(msgspec.msgpack.encode(CAMERA.as_serializable_dict()))  # viser counts who has a camera
        yield Looker(socket, pid)
