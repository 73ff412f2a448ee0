"""The upper level: gradient descent of a batch of candidates, of which the better go on after a first part."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from udg_datagen.synthesis.batch_descent import BatchDescent
from udg_datagen.synthesis.descent import Descent
from udg_datagen.synthesis.initial import HandPose
from udg_datagen.synthesis.objective import Objective
from udg_datagen.synthesis.problem import Problem

_SCREEN_PROGRESS = 0.2  # weights at which candidates are compared half-way


class Optimised(NamedTuple):
    """Result of one batch; `alive` marks candidates whose gradients stayed finite."""

    pose: HandPose
    alive: Tensor  # (B,) bool
    energy: Tensor  # (B,) at the final weights
    wrench_residual: Tensor  # (B,) mean over the J wrenches of |w - G f|


class AnyDescent(Protocol):
    """A descent of one batch of candidates that goes on where it has stopped: `Descent` or `BatchDescent`."""

    def run(self, begin: int, end: int) -> None:
        """Do the steps from `begin` to before `end`, of all candidates that there still are."""

    def keep(self, index: Tensor) -> None:
        """Go on with the candidates at `index` (K,) alone, in that order."""

    @property
    def pose(self) -> HandPose:
        """Where the candidates are, in the object frame."""

    @property
    def alive(self) -> Tensor:
        """Candidates (B,) bool whose gradients stayed finite."""


class MakeDescent(Protocol):
    """What begins a descent: the class."""

    def __call__(self, problem: Problem, start: HandPose) -> AnyDescent:
        """Take the B candidates to start from, in the object frame."""


def optimise(problem: Problem, start: HandPose, keep: int, how: MakeDescent | None = None) -> Optimised:
    """Optimise a batch of starts, in the object frame; after `screen_step` steps only the `keep` best go on.

    Args:
        how: the class of the descent; by default one by one in compiled loops on a CPU, else all at once.
    """
    config, objective = problem.config, Objective(problem)
    if how is None:
        how = Descent if start.q.device.type == "cpu" else BatchDescent
    descent, begin = how(problem, start), 0
    if len(start.q) > keep:
        begin = config.screen_step
        descent.run(0, begin)
        descent.keep(_best(objective, descent, keep))
    descent.run(begin, config.qp_steps + config.refine_steps)
    energy, residual = objective.energy(descent.pose, 1.0)
    return Optimised(descent.pose, descent.alive & torch.isfinite(energy), energy, residual)


def _best(objective: Objective, descent: AnyDescent, keep: int) -> Tensor:
    """The `keep` best candidates half-way, in their order."""
    energy = objective.energy(descent.pose, _SCREEN_PROGRESS)[0].nan_to_num(torch.inf)
    return torch.argsort(torch.where(descent.alive, energy, torch.inf), stable=True)[:keep].sort()[0]
