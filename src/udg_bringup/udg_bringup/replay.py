"""A recording in the browser, with a time slider: `udg replay FILE`."""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import viser

from udg_bringup.ending import asked_to_end
from udg_bringup.graph import DEFAULT_PORT
from udg_bringup.view.panel import add_plot
from udg_bringup.view.recordings import Recording, open_recording
from udg_bringup.view.scene import Scene
from udg_bringup.view.server import open_server, url
from udg_description.camera import default_cameras
from udg_description.errors import cli
from udg_description.files import user_path
from udg_sim.objects.library import ObjectLibrary

FRAME_S = 0.05
SPEEDS = ("0.25", "0.5", "1", "2", "4")


class Player:
    """The time slider of a recording, and its play button."""

    def __init__(self, server: viser.ViserServer, scene: Scene, recording: Recording) -> None:
        self._server, self._scene, self._recording = server, scene, recording
        times_s = recording.times_s
        gui = server.gui
        self._text = gui.add_markdown("")
        self._slider = gui.add_slider("Moment", 0, max(1, len(times_s) - 1), 1, 0)
        self._plays = gui.add_checkbox("Play", False)
        self._speed = gui.add_dropdown("Speed", SPEEDS, initial_value="1")
        for title, series in recording.plots().items():
            if series.names:
                add_plot(gui, title, series)
        self._shown = -1
        self._time_s = float(times_s[0])

    def step(self, passed_s: float) -> None:
        """Go on by the time that has passed, and show the moment of the slider."""
        times_s = self._recording.times_s
        last = len(times_s) - 1
        index = min(int(self._slider.value), last)
        if index != self._shown:
            self._time_s = float(times_s[index])
        elif self._plays.value:
            self._time_s += passed_s * float(self._speed.value)
            if self._time_s > times_s[-1] + FRAME_S:
                self._time_s = float(times_s[0])
            index = max(0, int(times_s.searchsorted(self._time_s + 1e-9, side="right")) - 1)
            self._slider.value = index  # type: ignore[misc]  # it has a setter
        if index != self._shown:
            self._shown = index
            text = self._recording.show(self._scene, index)
            self._text.content = f"{self._recording.title}: {times_s[index]:.1f} s\n\n{text}"


def main() -> None:
    """Show an episode, a trial of make sim, a grasp file or a bag in the browser until it is interrupted."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("file", type=user_path, help="episode (.h5), trial (.jsonl), grasps (.npz), or a bag")
    parser.add_argument("--port", type=int, default=DEFAULT_PORT, help=f"at 127.0.0.1 (default: {DEFAULT_PORT})")
    options = parser.parse_args()
    recording = open_recording(Path(options.file), ObjectLibrary())
    server = open_server(options.port)
    player = Player(server, Scene(server, default_cameras()), recording)
    stop = asked_to_end()
    print(f"{options.file} is at {url(server)}; Ctrl-C ends it", flush=True)
    before_s = time.monotonic()
    while not stop.wait(FRAME_S):
        now_s = time.monotonic()
        player.step(now_s - before_s)
        before_s = now_s
    server.stop()


if __name__ == "__main__":
    main()
