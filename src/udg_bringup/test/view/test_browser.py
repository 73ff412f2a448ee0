"""The view in a real browser without a window: it loads, the robot moves, its buttons act, its console is quiet."""

from __future__ import annotations

import http.server
import io
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import viser
from PIL import Image

from udg_bringup.replay import Player
from udg_bringup.view.panel import RESET, START, STOP
from udg_bringup.view.recordings import TrialRecording
from udg_bringup.view.scene import Scene
from udg_bringup.view.server import open_server, url
from udg_bringup.view_picture import OpenedPage, PictureError, browser_path, click, fill, opened_page
from udg_description.layout import HOME_Q
from udg_description.waiting import wait_until
from udg_sim.objects.library import ObjectLibrary
from udg_sim.trials.status import TrialStatus

pytestmark = pytest.mark.slow
try:
    browser_path()
    import playwright  # noqa: F401
except (PictureError, ImportError) as error:
    pytest.skip(f"needs a browser and playwright: {error}", allow_module_level=True)

WITHIN_S = 120.0  # drawn by two busy cores
SAME, OTHER = 0.001, 0.003  # mean difference of two pictures, in grey levels


def canvas(opened: OpenedPage) -> np.ndarray:
    """The picture of the scene, (50, 80) grey levels in [0, 1]: viser changes the resolution with the frame rate."""
    picture = Image.open(io.BytesIO(opened.page.screenshot(type="png")))
    return np.asarray(picture.convert("L").resize((80, 50), Image.Resampling.BOX), dtype=float) / 255


def apart(a: np.ndarray, b: np.ndarray) -> float:
    """How much two pictures differ in the mean."""
    return float(np.abs(a - b).mean())


def settles_at(opened: OpenedPage, wanted: Callable[[np.ndarray], bool]) -> np.ndarray:
    """The picture once it is as wanted and stays so for two looks."""
    pictures = [np.zeros((50, 80))]

    def settled() -> bool:
        pictures.append(canvas(opened))
        return apart(pictures[-1], pictures[-2]) < SAME and wanted(pictures[-1])

    wait_until(settled, WITHIN_S, "a picture that stays")
    return pictures[-1]


def trial_file(folder: Path) -> Path:
    """A trial in which the robot moves and comes back."""
    moved = HOME_Q + 0.4
    path = folder / "trial.jsonl"
    status = dict(
        object="soda_can",
        seed=0,
        trial=0,
        start_s=0.0,
        object_z_m=0.06,
        raised_m=0.0,
        success=False,
        done=False,
        T_world_object=np.eye(4).tolist(),
        image_sent_s=np.nan,
        tick_ms=np.nan,
    )
    lines = [
        TrialStatus(**status, time_s=0.1 * k, q=q.tolist()).to_json()  # type: ignore[arg-type]
        for k, q in enumerate((HOME_Q, moved, HOME_Q))
    ]
    path.write_text("\n".join(lines))
    return path


TITLE = "a view under test"  # stays on the page, where viser's own "Connected" gives way to it


@pytest.fixture
def server() -> Iterator[viser.ViserServer]:
    made = open_server(0, TITLE)
    yield made
    made.stop()


def test_a_replayed_robot_moves_and_comes_back_to_the_same_picture(server: viser.ViserServer, tmp_path: Path) -> None:
    player = Player(server, Scene(server), TrialRecording(trial_file(tmp_path), ObjectLibrary()))
    player.step(0.0)
    with opened_page(url(server), waits_for="Play") as opened:
        pictures = [settles_at(opened, lambda picture: True)]
        for moment in (1, 2, 1, 2):
            player._slider.value = moment
            player.step(0.0)
            before = pictures[-1]
            pictures.append(settles_at(opened, lambda picture, before=before: apart(picture, before) > OTHER))
        _, moved, home, moved_again, home_again = pictures
        assert apart(home, home_again) < SAME and apart(moved, moved_again) < SAME
        assert opened.errors == []


def test_a_page_of_another_origin_cannot_connect(server: viser.ViserServer) -> None:
    """Tried by the browser itself, from a page that another server of this host has given it."""
    page = b"<html><title>another origin</title></html>"

    class Other(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:  # noqa: N802 - named by the library
            self.send_response(200)
            self.send_header("Content-Type", "text/html")
            self.end_headers()
            self.wfile.write(page)

    other = http.server.HTTPServer(("127.0.0.1", 0), Other)
    threading.Thread(target=other.serve_forever, daemon=True).start()
    connect = f"""(address) => new Promise(resolve => {{
        const socket = new WebSocket(address, "viser-v{viser.__version__}");
        socket.onopen = () => resolve("open"); socket.onerror = () => resolve("refused");
    }})"""
    framed = """(address) => new Promise(resolve => {
        const frame = document.createElement("iframe"); frame.src = address;
        frame.onload = () => { let inside = "hidden"; try { inside = frame.contentDocument.title } catch (e) {}
                               resolve(inside) };
        document.body.append(frame);
    })"""
    websocket = url(server).replace("http://", "ws://")
    try:
        with opened_page(url(server), waits_for=TITLE) as own:
            assert own.page.evaluate(connect, websocket) == "open"
        with opened_page(f"http://127.0.0.1:{other.server_port}", waits_for="") as foreign:
            assert foreign.page.evaluate(connect, websocket) == "refused"
            foreign.page.evaluate(framed, url(server))
            assert len(server.get_clients()) == 0  # the page in the frame was not shown, so it has not connected
    finally:
        other.shutdown()


@pytest.mark.ros
def test_in_the_live_view_of_a_simulation_the_robot_moves_and_a_click_resets(tmp_path: Path) -> None:
    """The whole simulated graph, as `make view` starts it."""
    pytest.importorskip("rclpy", reason="needs ROS")
    import socket

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    log = tmp_path / "view.log"
    command = [sys.executable, "-m", "udg_bringup.compose", "--view", "--view-port", str(port), "--start"]
    with log.open("wb") as output:
        process = subprocess.Popen(command, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: "the view is at" in log.read_text() or process.poll() is not None, WITHIN_S, log.read_text)
        with opened_page(f"http://127.0.0.1:{port}") as opened:

            def text() -> str:
                return str(opened.page.inner_text("body"))

            def time_s() -> float:
                found = re.search(r"(\w+), seed (\d+), trial 0: [\w ]+, ([\d.]+) s", text())
                return float(found[3]) if found else -1.0

            wait_until(lambda: time_s() > 5.0, WITHIN_S, text)
            first = canvas(opened)
            wait_until(lambda: apart(canvas(opened), first) > OTHER, WITHIN_S, "another picture")
            fill(opened.page, "Object", "cube_60")
            fill(opened.page, "Seed", "3")
            before_s = time_s()
            click(opened.page, RESET)
            wait_until(lambda: "cube_60, seed 3" in text() and 0.0 <= time_s() < before_s, WITHIN_S, text)
            click(opened.page, STOP)
            wait_until(lambda: re.search("control: emergency_stop", text()) is not None, WITHIN_S, text)
            click(opened.page, START)
            wait_until(lambda: f"{START}: /control/enable refused" in text(), WITHIN_S, text)
            assert opened.errors == []
    finally:
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 0


@pytest.mark.ros
def test_without_permission_there_is_the_stop_and_no_other_command() -> None:
    """Of a real robot's view: the buttons, and what the node could send at all."""
    rclpy = pytest.importorskip("rclpy", reason="needs ROS")
    from rclpy.context import Context
    from rclpy.executors import SingleThreadedExecutor
    from rclpy.parameter import Parameter

    from udg_bringup.ros.view_node import ViewNode
    from udg_description.ros import topics
    from udg_description.ros.spin import BackgroundSpin

    context = Context()
    rclpy.init(context=context, domain_id=100 - os.getpid() % 60)
    heard: list[bool] = []
    node = ViewNode(context=context, parameter_overrides=[Parameter("port", value=0)])
    other = rclpy.create_node("other", context=context)
    topics.subscribe(other, topics.EMERGENCY_STOP, lambda message: heard.append(message.data))
    executor = SingleThreadedExecutor(context=context)
    spin = BackgroundSpin([node, other], executor)
    try:
        commanding = {publisher.topic_name for publisher in node.publishers} - {"/rosout", "/parameter_events"}
        assert commanding == {"/emergency_stop"}
        assert list(node.clients) == []
        with opened_page(url(node.server)) as opened:
            names = {button.inner_text() for button in opened.page.get_by_role("button").all()}
            assert STOP in names and not names & {START, RESET, "Stop"}
            click(opened.page, STOP)
            wait_until(lambda: heard == [True], WITHIN_S, "the stop")
            assert opened.errors == []
    finally:
        spin.shutdown()
        node.destroy_node()
        other.destroy_node()
        rclpy.try_shutdown(context=context)
