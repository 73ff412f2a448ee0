"""The panel next to the scene: what is going on, the stop, commands where they are allowed, and plots."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import viser
from viser import uplot

from udg_bringup.view.figures import Series
from udg_description.errors import UdgError

LINE_COLOURS = ("#1f6fd6", "#d6651f", "#2a9d5c", "#b5254b", "#7a4fd0", "#8a8d18", "#1c9aa8", "#6b6b6b")
PLOT_ASPECT = 2.4
STOP, RELEASE = "EMERGENCY STOP", "Release the stop"
START, PAUSE, RESET = "Start", "Stop", "Reset"


class Commands(Protocol):
    """What the panel's buttons do. Each returns what to tell, or raises UdgError."""

    def stop(self) -> str:
        """Stop the robot at once, and hold the stop."""

    def release(self) -> str:
        """Hold the stop no longer; nothing moves by that."""

    def start(self) -> str:
        """Enable control and let the policy act."""

    def pause(self) -> str:
        """Let the policy rest and disable control."""

    def reset(self, object_name: str, seed: int) -> str:
        """Begin a simulated trial."""


class Panel:
    """Built once; `show_text` and `show` update it."""

    def __init__(
        self,
        server: viser.ViserServer,
        commands: Commands,
        *,
        allowed: bool,
        simulated: bool,
        object_name: str = "",
        seed: int = 0,
    ) -> None:
        """`allowed`: there are buttons for more than the stop. `simulated`: there is a trial to reset."""
        self._server, self._gui = server, server.gui
        self._text = self._gui.add_markdown("waiting for the robot")
        self._button(STOP, commands.stop, color="red")
        self._button(RELEASE, commands.release)
        if allowed:
            self._button(START, commands.start, color="green")
            self._button(PAUSE, commands.pause)
        if allowed and simulated:
            with self._gui.add_folder("Trial"):
                name = self._gui.add_text("Object", object_name, hint="library id or path.obj@0.1")
                number = self._gui.add_number("Seed", seed, min=0, step=1)
                self._button(RESET, lambda: commands.reset(name.value, int(number.value)))
        self._answer = self._gui.add_markdown("" if allowed else "only the stop is allowed here")
        self._plots: dict[str, tuple[viser.GuiUplotHandle, tuple[str, ...]]] = {}
        self._shown = ""

    def _button(self, label: str, act: Callable[[], str], color: str | None = None) -> None:
        button = self._gui.add_button(label, color=color)  # type: ignore[arg-type]
        button.on_click(lambda _: self._answered(label, act))

    def _answered(self, label: str, act: Callable[[], str]) -> None:
        try:
            self._answer.content = f"{label}: {act()}"
        except UdgError as error:
            self._answer.content = f"**{label}: {error}**"

    def show_text(self, text: str) -> None:
        """Replace the text at the top (Markdown)."""
        if text != self._shown:
            self._text.content = self._shown = text

    def show(self, title: str, series: Series) -> None:
        """Draw a plot, if its series has changed."""
        if not series.changed or not series.names:
            return
        series.changed = False
        data = series.arrays()
        handle, names = self._plots.get(title, (None, ()))
        if handle is None:
            handle = add_plot(self._gui, title, series)
        else:
            with self._server.atomic():
                if names != series.names:
                    handle.series = _lines(series.names)
                handle.data = data
        self._plots[title] = (handle, series.names)


def add_plot(gui: viser.GuiApi, title: str, series: Series) -> viser.GuiUplotHandle:
    """A plot of the lines as they are now."""
    return gui.add_uplot(
        data=series.arrays(),
        series=_lines(series.names),
        title=title,
        scales={"x": uplot.Scale(time=False, auto=True), "y": uplot.Scale(auto=True)},
        legend=uplot.Legend(show=True),
        aspect=PLOT_ASPECT,
    )


def _lines(names: tuple[str, ...]) -> tuple[uplot.Series, ...]:
    """The axis, and a line for each name."""
    lines = [
        uplot.Series(label=name, stroke=LINE_COLOURS[i % len(LINE_COLOURS)], width=2) for i, name in enumerate(names)
    ]
    return (uplot.Series(label="t"), *lines)
