"""What a worker of the benchmark does: one trial of one policy, whatever the policy does."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from udg_datagen.benchmark.policies import Entrant, NotAvailableError
from udg_datagen.benchmark.protocol import ObjectFacts, seen_of
from udg_datagen.benchmark.rows import Key, Row
from udg_datagen.evaluation.cell import Cell
from udg_datagen.evaluation.phases import PHASES
from udg_datagen.evaluation.policy import Policy, Start
from udg_datagen.evaluation.rules import rules_of
from udg_datagen.evaluation.trials import LostTrial, Rollout, RolloutConfig, Trial
from udg_description.clock import STEP_S

_NOTE_CHARACTERS = 160


class Done(NamedTuple):
    """A trial, and what it cost: without what is built once (policy, object)."""

    row: Row
    cpu_s: float
    steps: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """One trial, with what its row tells of the object."""

    key: Key
    entrant: Entrant
    facts: ObjectFacts

    def row(self, *, cause: str, note: str = "") -> Row:
        """The row of a trial of which nothing else is known."""
        return Row(
            policy=self.key.policy,
            object=self.key.object,
            seed=self.key.seed,
            category=self.facts.category,
            seen=seen_of(self.key.object, self.facts, self.entrant.trained_on),
            size=self.facts.size,
            mass_kg=0.0,
            success=False,
            cause=cause,
            phase="",
            time_s=0.0,
            frames=0,
            refused=0,
            raised_m=0.0,
            final_m=0.0,
            x=0.0,
            y=0.0,
            note=_line(note)[:_NOTE_CHARACTERS],
        )


def _line(note: str) -> str:
    """One line that any file can hold: undecodable bytes of a path, for one, are no text."""
    return " ".join("".join(one if one.isprintable() else " " for one in note).split())


class _Broken:
    """In place of a policy that could not be made: each of its trials is lost."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def reset(self, start: Start) -> None:
        raise self._error

    def act(self, observation: object) -> None:
        raise self._error


class BenchmarkWorker:
    """Does trials in a worker; a policy is made when it is first needed."""

    def __init__(self, entrants: Mapping[str, Entrant], config: RolloutConfig) -> None:
        torch.set_num_threads(1)
        self._entrants, self._config = entrants, config
        self._cell = Cell(config.safety)
        self._policies: dict[str, Policy] = {}

    def __call__(self, task: Task) -> Done:
        policy = self._policy(task.key.policy)
        target = self._cell.library.get(task.key.object)
        config = replace(self._config, rules=rules_of(task.entrant.rules))
        self._cell.clouds = 0
        began, note = time.process_time(), ""
        try:
            trial = Rollout(policy, config, self._cell).run(task.key.object, task.key.seed)
        except LostTrial as lost:
            trial, note = lost.trial, str(lost.fault)
        mass_kg = round(config.rules.mass_kg(target), 5)
        row = replace(_told(task.row(cause=trial.cause, note=note), trial), mass_kg=mass_kg, frames=self._cell.clouds)
        return Done(row, time.process_time() - began, trial.steps)

    def _policy(self, name: str) -> Policy:
        if name not in self._policies:
            try:
                self._policies[name] = self._entrants[name].make(self._cell)
            except NotAvailableError:
                raise  # the trial is not run
            except (Exception, SystemExit) as error:  # whatever somebody's policy does
                self._policies[name] = _Broken(error)  # type: ignore[assignment]
        return self._policies[name]


def _told(row: Row, trial: Trial) -> Row:
    return replace(
        row,
        success=trial.success,
        phase=next((p for p in reversed(PHASES) if p in trial.phases), ""),
        time_s=round(trial.steps * STEP_S, 2),
        refused=trial.refused,
        raised_m=trial.raised_m,
        final_m=trial.final_m,
        x=trial.position_xy[0],
        y=trial.position_xy[1],
    )
