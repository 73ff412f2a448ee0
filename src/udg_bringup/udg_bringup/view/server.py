"""viser on 127.0.0.1, behind a check: pages of another origin may neither connect to it nor show it in a frame.

viser itself accepts a WebSocket from any page that the user has open, and by default listens on all addresses.
"""

from __future__ import annotations

import http
import io
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import viser
import websockets
import websockets.asyncio.server
from viser.infra import _infra
from websockets.asyncio.server import ServerConnection
from websockets.datastructures import Headers
from websockets.exceptions import InvalidHandshake
from websockets.http11 import Request, Response
from websockets.sync.client import connect

from udg_bringup.graph import DEFAULT_PORT
from udg_description.errors import UdgError

HOST = "127.0.0.1"
NOT_FRAMED = {"X-Frame-Options": "DENY", "Content-Security-Policy": "frame-ancestors 'none'"}
FOREIGN = "http://another-origin.invalid"


class ViewServerError(UdgError):
    """The page cannot be served, or not safely."""


class LocalServer(viser.ViserServer):
    """A server that nobody can share: viser's button for that would open a tunnel to a host on the internet."""

    def request_share_url(self, verbose: bool = True) -> str | None:
        """Refuse."""
        del verbose
        return None


def open_server(port: int = DEFAULT_PORT, title: str = "udg") -> viser.ViserServer:
    """Serve an empty page at 127.0.0.1:`port` (0: any free one). Raises ViewServerError."""
    refuse_taken(port)
    logging.getLogger("websockets.server").setLevel(logging.CRITICAL)  # a browser that hangs up is no error
    with _checked(), redirect_stdout(io.StringIO()):  # viser prints a banner
        server = LocalServer(host=HOST, port=port, label=title, verbose=False)
    server.gui.configure_theme(control_width="large", show_share_button=False)
    if not _refuses_foreign(server.get_port()):
        server.stop()
        raise ViewServerError(f"viser {viser.__version__} lets pages of other origins in; valid: the pinned version")
    return server


def url(server: viser.ViserServer) -> str:
    """Where the page is."""
    return f"http://{HOST}:{server.get_port()}"


def allowed_origins(port: int) -> tuple[str, ...]:
    """Origins of the page itself, by each name of this host."""
    return (f"http://{HOST}:{port}", f"http://localhost:{port}")


def refusal(headers: Headers, port: int) -> str:
    """Why a request is refused; "" if it is not. A WebSocket always has an origin, in every browser."""
    origin = headers.get("Origin")
    upgrades = "Upgrade" in headers
    if origin is None and not upgrades:
        return ""
    if origin in allowed_origins(port):
        return ""
    return f"origin {origin}; valid: {' or '.join(allowed_origins(port))} (forward the same port through ssh)"


@contextmanager
def _checked() -> Iterator[None]:
    """Let a server that is started inside the block check each request."""
    serve = websockets.asyncio.server.serve

    def checked_serve(*words: Any, process_request: Any = None, **named: Any) -> Any:  # noqa: ANN401 - as serve has them
        return serve(*words, process_request=_with_check(process_request), **named)

    if getattr(_infra, "websockets", None) is not websockets:
        raise ViewServerError(f"viser {viser.__version__} serves in another way; valid: the pinned version")
    websockets.asyncio.server.serve = checked_serve  # type: ignore[assignment,misc]
    try:
        yield
    finally:
        websockets.asyncio.server.serve = serve  # type: ignore[misc]


def _with_check(
    answer: Callable[[ServerConnection, Request], Response | None],
) -> Callable[[ServerConnection, Request], Awaitable[Response | None]]:
    async def checked(connection: ServerConnection, request: Request) -> Response | None:
        why = refusal(request.headers, connection.local_address[1])
        if why:
            return connection.respond(http.HTTPStatus.FORBIDDEN, f"{why}\n")
        response = answer(connection, request)
        if response is not None:
            response.headers.update(NOT_FRAMED)
        return response

    return checked


def _refuses_foreign(port: int) -> bool:
    try:
        with connect(f"ws://{HOST}:{port}", origin=FOREIGN, subprotocols=[f"viser-v{viser.__version__}"]):  # type: ignore
            return False
    except InvalidHandshake:
        return True
    except OSError as error:
        raise ViewServerError(f"the page at {HOST}:{port} does not answer: {error}") from error


def refuse_taken(port: int) -> None:
    """Raise ViewServerError if the port is in use; viser would take the next free one silently."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except (OSError, OverflowError) as error:
            raise ViewServerError(f"port {port} of {HOST}: {error}; valid: a free one, 0 for any") from None
