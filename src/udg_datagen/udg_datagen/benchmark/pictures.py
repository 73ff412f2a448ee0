"""Pictures of objects and films of trials for the page of a benchmark."""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from udg_datagen.benchmark.policies import Entrant
from udg_datagen.benchmark.report import extremes
from udg_datagen.benchmark.rows import Row
from udg_datagen.evaluation.cell import Cell
from udg_datagen.evaluation.policy import Observation, Policy, Start
from udg_datagen.evaluation.rules import rules_of
from udg_datagen.evaluation.trials import LostTrial, Rollout, RolloutConfig
from udg_description.clock import STEP_S
from udg_description.names import safe_name
from udg_sim.cameras.video import SceneRenderer, Viewpoint, object_sheet, video_writer
from udg_sim.objects.library import ObjectLibrary

FILMS_NAME = "films"
_SHOWN = 8  # objects of each picture


def object_pictures(rows: Sequence[Row], library: ObjectLibrary) -> dict[str, str]:
    """Those that are lifted least and most often: PNG in base64 by caption; none where there are too few objects."""
    worst, best = extremes(rows, _SHOWN)
    return {
        caption: _png(object_sheet([library.get(name) for name in names], columns=4))
        for caption, names in (("Lifted least often", worst), ("Lifted most often", best))
        if names
    }


def _png(picture: np.ndarray) -> str:
    out = io.BytesIO()
    Image.fromarray(picture).save(out, format="PNG")
    return base64.b64encode(out.getvalue()).decode("ascii")


class _Filmed:
    """A policy beside which a camera runs."""

    def __init__(self, policy: Policy, cell: Cell) -> None:
        self._policy, self._cell = policy, cell
        self.states: list[tuple[np.ndarray, np.ndarray]] = []

    def reset(self, start: Start) -> None:
        self._policy.reset(start)

    def act(self, observation: Observation) -> np.ndarray:
        self.states.append((observation.q, self._cell.world.T_world_object))
        return self._policy.act(observation)


def films(
    folder: Path, rows: Sequence[Row], policies: Sequence[Entrant], config: RolloutConfig, count: int
) -> dict[str, str]:
    """Films of `count` failed trials of each policy, causes in turn: done again, for trials are repeatable.

    Into `folder`/films; their paths in the folder by caption. Those that are there already are kept, and shown.
    """
    shown = {_film(folder, row): row for row in rows if not row.success and _film(folder, row).exists()}
    found = {_caption(row): str(path.relative_to(folder)) for path, row in shown.items()}
    if not count:
        return found
    torch.set_num_threads(1)  # as in a worker, so that the trials are the same
    cell, renderer = Cell(config.safety), SceneRenderer(Viewpoint(width=400, height=300))
    for entrant in policies:
        name = entrant.name
        own = [row for row in rows if row.policy == name and not row.success and row.time_s > 0.0]
        if not own:
            continue
        policy = entrant.make(cell)
        for row in _of_each_cause(own, count):
            path = _film(folder, row)
            if not path.exists():
                filmed = _Filmed(policy, cell)
                try:
                    own_config = replace(config, rules=rules_of(entrant.rules))
                    Rollout(filmed, own_config, cell).run(row.object, row.seed)
                except LostTrial:
                    pass  # it is the film of that
                with video_writer(path, fps=1.0 / STEP_S) as writer:
                    for q, T_world_object in filmed.states:
                        writer.add(renderer.render(q, [(cell.library.get(row.object), T_world_object)]))
            found[_caption(row)] = str(path.relative_to(folder))
    return found


def _film(folder: Path, row: Row) -> Path:
    return folder / FILMS_NAME / f"{safe_name(f'{row.policy} {row.object} {row.seed}')}.mp4"


def _caption(row: Row) -> str:
    return f"{row.policy}: {row.object}, seed {row.seed}: {row.cause.replace('_', ' ')}"


def _of_each_cause(rows: Sequence[Row], count: int) -> list[Row]:
    """The first of each cause, then the second of each, ..."""
    by: dict[str, list[Row]] = {}
    for row in rows:
        by.setdefault(row.cause, []).append(row)
    places = [(place, cause, row) for cause, own in by.items() for place, row in enumerate(own)]
    return [row for _, _, row in sorted(places, key=lambda one: one[:2])[:count]]
