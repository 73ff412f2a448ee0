"""The view's server: on this host alone, and for its own page alone."""

from __future__ import annotations

import socket
import urllib.request
from collections.abc import Iterator

import pytest
import viser
from viser._messages import ShareUrlRequest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from udg_bringup.view.server import FOREIGN, HOST, ViewServerError, allowed_origins, open_server, url

PROTOCOLS = [f"viser-v{viser.__version__}"]


@pytest.fixture(scope="module")
def server() -> Iterator[viser.ViserServer]:
    made = open_server(0)
    yield made
    made.stop()


def test_its_own_page_may_connect_by_either_name(server: viser.ViserServer) -> None:
    port = server.get_port()
    for origin in allowed_origins(port):
        with connect(f"ws://{HOST}:{port}", origin=origin, subprotocols=PROTOCOLS) as socket_:
            assert socket_.recv(timeout=20.0)


@pytest.mark.parametrize(
    "origin",
    [
        FOREIGN,
        "null",  # a file, or a frame in a sandbox
        None,  # no browser leaves it out
        "http://127.0.0.1",
        "http://127.0.0.1:1",  # another server of this host
        "https://localhost:{port}",
        "http://localhost:{port}.evil.invalid",
        "http://evil.invalid:{port}",  # a name that was bound to 127.0.0.1 afterwards
    ],
)
def test_a_page_of_another_origin_may_not(server: viser.ViserServer, origin: str | None) -> None:
    port = server.get_port()
    given = None if origin is None else origin.format(port=port)
    with pytest.raises(InvalidStatus) as refused:
        connect(f"ws://{HOST}:{port}", origin=given, subprotocols=PROTOCOLS)  # type: ignore[arg-type]
    assert refused.value.response.status_code == 403


def test_it_cannot_be_shown_in_a_frame_of_another_page(server: viser.ViserServer) -> None:
    with urllib.request.urlopen(url(server), timeout=20.0) as answer:
        assert answer.headers["X-Frame-Options"] == "DENY"
        assert answer.headers["Content-Security-Policy"] == "frame-ancestors 'none'"


def test_it_listens_on_the_loopback_address_alone(server: viser.ViserServer) -> None:
    assert server.get_host() == "127.0.0.1"
    with open("/proc/self/net/tcp") as table:
        rows = [line.split() for line in table.read().splitlines()[1:]]
    port = f"{server.get_port():04X}"
    listening = {row[1].split(":")[0] for row in rows if row[3] == "0A" and row[1].endswith(f":{port}")}
    assert listening == {"0100007F"}


def test_nobody_can_share_it_over_the_internet(server: viser.ViserServer) -> None:
    assert server.request_share_url() is None
    handlers = server._websock_server._incoming_handlers[ShareUrlRequest]
    assert handlers  # the button's request comes here, and there to the method above
    assert type(server).request_share_url is not viser.ViserServer.request_share_url


def test_a_port_in_use_is_refused_by_number() -> None:
    with socket.socket() as taken:
        taken.bind((HOST, 0))
        taken.listen()
        with pytest.raises(ViewServerError, match=f"port {taken.getsockname()[1]} .*valid: a free one"):
            open_server(taken.getsockname()[1])


def test_a_viser_that_let_others_in_would_be_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udg_bringup.view.server.refusal", lambda headers, port: "")
    with pytest.raises(ViewServerError, match="lets pages of other origins in"):
        open_server(0)
