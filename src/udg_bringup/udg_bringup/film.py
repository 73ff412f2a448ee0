"""The film of a run of trials, drawn from the recorded states: an mp4 and a sheet of pictures."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from udg_sim.cameras.video import SceneRenderer, VideoWriter, captioned, contact_sheet, video_writer, write_png
from udg_sim.objects.library import ObjectLibrary
from udg_sim.trials.status import TrialStatus

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
        small = []
        for status in statuses:
            picture = self._renderer.render(np.array(status.q), [(model, np.array(status.T_world_object))])
            small.append(_half(picture))
            frame = captioned(picture, _caption(status))
            self._writer.add(frame)
        for _ in range(RESULT_FRAMES):
            self._writer.add(frame)
        places = np.linspace(0, len(small) - 1, SHEET_COLUMNS).round().astype(int)
        self.sheet += [captioned(small[place], _caption(statuses[place])) for place in places]
        return tuple(small[place] for place in (0, len(small) // 2, len(small) - 1))


@contextmanager
def filming(folder: Path, library: ObjectLibrary) -> Iterator[Film]:
    """Write film and sheet of the trials that the block adds to `folder`."""
    with video_writer(folder / FILM_NAME) as writer:
        film = Film(writer, library)
        yield film
    if film.sheet:
        write_png(folder / SHEET_NAME, contact_sheet(film.sheet, SHEET_COLUMNS))


def _half(picture: np.ndarray) -> np.ndarray:
    """Mean over squares of 2 x 2 pixels of a picture (H, W, 3) with even sides."""
    height, width, _ = picture.shape
    return picture.reshape(height // 2, 2, width // 2, 2, 3).mean(axis=(1, 3)).astype(np.uint8)


def _caption(status: TrialStatus) -> str:
    result = "  lifted" if status.success else "  not lifted" if status.done else ""
    return f"trial {status.trial + 1}  {status.object}  {status.time_s:4.1f} s  raised {status.raised_m:.2f} m{result}"
