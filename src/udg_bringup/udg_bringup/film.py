"""The film of a run of trials, drawn from the recorded states: an mp4 and a sheet of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from udg_sim.objects import ObjectLibrary
from udg_sim.ros.status import TrialStatus
from udg_sim.video import SceneRenderer, VideoWriter, captioned, contact_sheet, video_writer, write_png

FILM_NAME = "trials.mp4"
SHEET_NAME = "trials.png"
SHEET_COLUMNS = 6  # pictures of one trial in a row of the sheet
RESULT_FRAMES = 5  # that the outcome stays on the film


class Film:
    """Draws trials at their ticks, 10 frames a simulated second."""

    def __init__(self, writer: VideoWriter, library: ObjectLibrary) -> None:
        self.sheet: list[np.ndarray] = []
        self._writer = writer
        self._library = library
        self._renderer = SceneRenderer()

    def add(self, statuses: Sequence[TrialStatus]) -> tuple[np.ndarray, ...]:
        """Draw one trial; return pictures (H, W, 3) of its start, middle and end."""
        model = self._library.get(statuses[0].object)
        frames = []
        for status in statuses:
            frame = self._renderer.render(np.array(status.q), [(model, np.array(status.T_world_object))])
            frames.append(captioned(frame, _caption(status)))
            self._writer.add(frames[-1])
        for _ in range(RESULT_FRAMES):
            self._writer.add(frames[-1])
        places = np.linspace(0, len(frames) - 1, SHEET_COLUMNS).round().astype(int)
        self.sheet += [frames[place][::2, ::2] for place in places]
        return tuple(frames[place][::2, ::2] for place in (0, len(frames) // 2, len(frames) - 1))


@contextmanager
def filming(folder: Path, library: ObjectLibrary) -> Iterator[Film]:
    """Write film and sheet of the trials that the block adds to `folder`."""
    with video_writer(folder / FILM_NAME) as writer:
        film = Film(writer, library)
        yield film
    if film.sheet:
        write_png(folder / SHEET_NAME, contact_sheet(film.sheet, SHEET_COLUMNS))


def _caption(status: TrialStatus) -> str:
    result = "  lifted" if status.success else "  time is over" if status.done else ""
    return f"trial {status.trial + 1}  {status.object}  {status.time_s:4.1f} s  raised {status.raised_m:.2f} m{result}"
