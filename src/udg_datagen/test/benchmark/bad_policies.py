"""Policies that fail in every way, by the trial's seed."""

import os
import time

import numpy as np

from udg_datagen.evaluation.policy import Observation, PolicyFault, Start
from udg_description.layout import HOME_Q


class Bad:
    """By the seed: 0 holds still, 1 raises, 2 is not finite, 3 of another shape, 4 no plan, 5 hangs, 6 dies."""

    def reset(self, start: Start) -> None:
        self._seed = start.seed

    def act(self, observation: Observation) -> np.ndarray:
        if observation.time_s < 0.15:
            return HOME_Q
        if self._seed == 1:
            raise RuntimeError("lost the thread")
        if self._seed == 4:
            raise PolicyFault("no_plan")
        if self._seed == 5:
            time.sleep(3600.0)
        if self._seed == 6:
            os._exit(9)
        return {2: np.full(36, np.nan), 3: np.zeros(7)}.get(self._seed, HOME_Q)


class Unmade:
    """Cannot be made."""

    def __init__(self) -> None:
        raise FileNotFoundError("weights.bin")

    def reset(self, start: Start) -> None: ...

    def act(self, observation: Observation) -> np.ndarray: ...


class Half:
    """Lacks a method."""

    def reset(self, start: Start) -> None: ...
