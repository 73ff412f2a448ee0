"""From the chunks of successive moments to the chunk that is executed: replanning period and blending."""

from __future__ import annotations

import math
from collections import deque
from dataclasses import dataclass

import numpy as np

from udg_description.settings import setting
from udg_policy.errors import ConfigError

_SAME_STEPS = 1e-6  # moments that differ by less are one
_EARLY_STEPS = 0.5  # in real time a moment may come this much before its period is over


@dataclass(frozen=True, kw_only=True)
class PlayerConfig:
    """How chunks are executed."""

    replan_every: int = setting(1, "steps of 0.1 s from one inference to the next", 1, 100)
    blend: float = setting(0.0, "weight of a chunk relative to one planned a step later; 0 = newest alone", 0.0, 1.0)

    def __post_init__(self) -> None:
        if self.replan_every < 1:
            raise ConfigError(f"player.replan_every: {self.replan_every}, must be at least 1")
        if not 0.0 <= self.blend <= 1.0:
            raise ConfigError(f"player.blend: {self.blend}, must be in [0, 1]")

    @property
    def steps_needed(self) -> int | None:
        """Steps of a chunk that are looked at before the next one, played a step at a time: those executed and the one
        that they head for. None: all."""
        return self.replan_every + 1 if self.blend == 0.0 else None


class ChunkPlayer:
    """Keeps the recent chunks of one robot, and its own time in steps of a chunk.

    At a moment: if `wants_chunk`, plan; `play` gives what to execute from now on; `advance` goes to the next moment.
    """

    def __init__(self, config: PlayerConfig | None = None) -> None:
        self.config = config if config is not None else PlayerConfig()
        self._chunks: deque[tuple[float, np.ndarray]] = deque()  # age in steps, chunk; newest last
        self._told: tuple[float, np.ndarray] | None = None  # age in steps and answer of the last `play`

    def reset(self) -> None:
        """Forget everything."""
        self._chunks.clear()
        self._told = None

    def drop(self) -> None:
        """Forget the chunks: the robot stops, and holds what it was commanded last."""
        self._chunks.clear()
        last = self.commanded
        self._told = None if last is None else (1.0, last[None])

    @property
    def wants_chunk(self) -> bool:
        """Whether this moment needs a new chunk: the period is over, or the newest has no step left."""
        if not self._chunks:
            return True
        age, chunk = self._chunks[-1]
        return age > self.config.replan_every - _EARLY_STEPS or len(_rest(chunk, age)) == 0

    @property
    def commanded(self) -> np.ndarray | None:
        """Targets (36,) [rad] that the last answer had for this moment; None if there is none or it is new."""
        if self._told is None or self._told[0] < _SAME_STEPS:
            return None
        age, told = self._told
        due = _rest(told, max(age - 1.0, 0.0))  # before the first target is due, it is under way
        return due[0] if len(due) else told[-1]

    def play(self, chunk: np.ndarray | None = None) -> np.ndarray:
        """Targets (n, 36) [rad], the first due one step from now, given a chunk (K, 36) planned now or none."""
        if chunk is not None:
            self._chunks.append((0.0, chunk))
        assert self._chunks, "play without a chunk although one is wanted"
        age, newest = self._chunks[-1]
        out = _rest(newest, age)
        if self.config.blend > 0.0:
            out = self._blended(out)
        else:
            self._chunks = deque([self._chunks[-1]])
        self._told = 0.0, out
        return out

    def advance(self, steps: float = 1.0) -> None:
        """Let time pass; chunks without a step left are forgotten."""
        older = ((age + steps, chunk) for age, chunk in self._chunks)
        self._chunks = deque((age, chunk) for age, chunk in older if len(_rest(chunk, age)) > 0)
        if self._told is not None:
            self._told = self._told[0] + steps, self._told[1]

    def step(self, chunk: np.ndarray | None = None) -> np.ndarray:
        """`play`, then `advance` by one step."""
        out = self.play(chunk)
        self.advance()
        return out

    def _blended(self, newest: np.ndarray) -> np.ndarray:
        total, weights = np.zeros_like(newest), np.zeros((len(newest), 1))
        newest_age = self._chunks[-1][0]
        for age, chunk in self._chunks:
            part = _rest(chunk, age)[: len(newest)]
            weight = self.config.blend ** (age - newest_age)
            total[: len(part)] += weight * part
            weights[: len(part)] += weight
        return total / weights


def _rest(chunk: np.ndarray, age: float) -> np.ndarray:
    """What is left of a chunk (K, 36) planned `age` steps ago: targets one, two, ... steps from now (n, 36)."""
    whole = math.floor(age + _SAME_STEPS)
    part = age - whole
    if part < _SAME_STEPS:
        return chunk[whole:].copy()
    return (1.0 - part) * chunk[whole:-1] + part * chunk[whole + 1 :]
