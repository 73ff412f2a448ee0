"""Films of failed trials, done again in workers: a policy that hangs or ends its process loses its film alone."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from udg_datagen.benchmark.policies import Entrant
from udg_datagen.benchmark.rows import Row
from udg_datagen.evaluation.cell import Cell
from udg_datagen.evaluation.policy import Observation, Policy, Start
from udg_datagen.evaluation.rules import rules_of
from udg_datagen.evaluation.trials import LostTrial, Rollout, RolloutConfig
from udg_datagen.workers import open_pool, outcomes
from udg_description.clock import STEP_S
from udg_description.files import write_atomically
from udg_description.names import safe_name
from udg_sim.cameras.video import SceneRenderer, Viewpoint, video_writer

FILMS_NAME = "films"


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


class FilmWorker:
    """Films trials in a worker."""

    def __init__(self, entrants: Mapping[str, Entrant], config: RolloutConfig) -> None:
        torch.set_num_threads(1)  # as for the trials, so that these are the same
        self._entrants, self._config = entrants, config
        self._cell, self._renderer = Cell(config.safety), SceneRenderer(Viewpoint(width=400, height=300))

    def __call__(self, row: Row) -> bytes:
        """The trial of a row, as mp4."""
        entrant = self._entrants[row.policy]
        filmed = _Filmed(entrant.make(self._cell), self._cell)
        try:
            Rollout(filmed, replace(self._config, rules=rules_of(entrant.rules)), self._cell).run(row.object, row.seed)
        except LostTrial:
            pass  # it is the film of that
        target = self._cell.library.get(row.object)
        with TemporaryDirectory() as folder:
            path = Path(folder) / "film.mp4"
            with video_writer(path, fps=1.0 / STEP_S) as writer:
                for q, T_world_object in filmed.states:
                    writer.add(self._renderer.render(q, [(target, T_world_object)]))
            return path.read_bytes()


def films(
    folder: Path,
    rows: Sequence[Row],
    policies: Sequence[Entrant],
    config: RolloutConfig,
    count: int,
    workers: int | None,
    timeout_s: float,
) -> dict[str, str]:
    """Films of `count` failed trials of each policy, causes in turn: done again, for trials are repeatable.

    Into `folder`/films; their paths in the folder by caption. Those that are there already are kept, and shown. What
    could not be filmed is said on stderr.
    """
    lost = [row for row in rows if not row.success]
    chosen = [
        row
        for entrant in policies
        for row in _of_each_cause([row for row in lost if row.policy == entrant.name and row.time_s > 0.0], count)
    ]
    missing = [row for row in chosen if not _film(folder, row).exists()]
    if missing:
        (folder / FILMS_NAME).mkdir(exist_ok=True)
        pool = open_pool(partial(FilmWorker, {one.name: one for one in policies}, config), workers, timeout_s)
        try:
            for row, outcome in outcomes(pool, [(row, row) for row in missing]):
                assert isinstance(row, Row)
                if outcome.failure:
                    print(f"no film of {_caption(row)}: {outcome.message or outcome.failure}", file=sys.stderr)
                else:
                    write_atomically(_film(folder, row), outcome.value)
        finally:
            pool.close()
    return {_caption(row): str(path.relative_to(folder)) for row in lost if (path := _film(folder, row)).exists()}


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
