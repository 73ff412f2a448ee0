"""From the chunks of successive ticks to the chunk that is executed: replanning period and blending."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

from udg_policy.errors import ConfigError


@dataclass(frozen=True, kw_only=True)
class PlayerConfig:
    """How chunks are executed."""

    replan_every: int = field(
        default=1, metadata={"description": "ticks from one inference to the next", "range": (1, 100)}
    )
    blend: float = field(
        default=0.0,
        metadata={"description": "weight of a chunk relative to the next newer one; 0 = newest alone",
                  "range": (0.0, 1.0)},
    )

    def __post_init__(self) -> None:
        if self.replan_every < 1:
            raise ConfigError(f"player.replan_every: {self.replan_every}, must be at least 1")
        if not 0.0 <= self.blend <= 1.0:
            raise ConfigError(f"player.blend: {self.blend}, must be in [0, 1]")


class ChunkPlayer:
    """Keeps the recent chunks of one robot. A tick: if `wants_chunk`, plan; then `step` gives what to execute."""

    def __init__(self, config: PlayerConfig | None = None) -> None:
        self.config = config if config is not None else PlayerConfig()
        self._chunks: deque[tuple[int, np.ndarray]] = deque()  # tick of planning, chunk; newest last
        self._tick = 0

    def reset(self) -> None:
        """Forget everything."""
        self._chunks.clear()
        self._tick = 0

    @property
    def wants_chunk(self) -> bool:
        """Whether this tick needs a new chunk: the period is over, or the newest has no step left."""
        if not self._chunks:
            return True
        planned, chunk = self._chunks[-1]
        age = self._tick - planned
        return age >= min(self.config.replan_every, len(chunk))

    def step(self, chunk: np.ndarray | None = None) -> np.ndarray:
        """Targets (n, 36) [rad] from this tick on, given a new chunk (K, 36) or none; advances by one tick."""
        if chunk is not None:
            self._chunks.append((self._tick, chunk))
        while self._chunks and self._tick - self._chunks[0][0] >= len(self._chunks[0][1]):
            self._chunks.popleft()
        assert self._chunks, "step without a chunk although one is wanted"
        planned, newest = self._chunks[-1]
        out = newest[self._tick - planned:].copy()
        if self.config.blend > 0.0:
            out = self._blended(out)
        else:
            self._chunks = deque([self._chunks[-1]])
        self._tick += 1
        return out

    def _blended(self, newest: np.ndarray) -> np.ndarray:
        total, weights = np.zeros_like(newest), np.zeros((len(newest), 1))
        newest_tick = self._chunks[-1][0]
        for planned, chunk in self._chunks:
            part = chunk[self._tick - planned:][: len(newest)]
            weight = self.config.blend ** (newest_tick - planned)
            total[: len(part)] += weight * part
            weights[: len(part)] += weight
        return total / weights
