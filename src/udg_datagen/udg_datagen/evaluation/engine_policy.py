"""Our own policy: the engine, the chunk player and the way back behind the protocol of the benchmark."""

from __future__ import annotations

import numpy as np

from udg_datagen.evaluation.policy import Observation, Start, TellsMore
from udg_policy.inference.engine import PolicyEngine
from udg_policy.inference.player import ChunkPlayer, PlayerConfig
from udg_policy.inference.retry import Retry, RetryConfig


class EnginePolicy(TellsMore):
    """Plans a chunk whenever the player wants one."""

    def __init__(
        self, engine: PolicyEngine, config: PlayerConfig | None = None, retry: RetryConfig | None = None
    ) -> None:
        self._engine = engine
        self._player = ChunkPlayer(PlayerConfig() if config is None else config)
        self._retry = Retry(retry)

    @property
    def retries(self) -> int:
        return self._retry.retries

    def reset(self, start: Start) -> None:
        """Forget the last trial."""
        self._player.reset()
        self._retry.reset()
        self.predicted_grasp = None

    def act(self, observation: Observation) -> np.ndarray:
        """What is left of the newest chunk (K, 36) [rad], blended with older ones as configured."""
        chunk = self.predicted_grasp = None
        if self._player.wants_chunk:
            config = self._player.config
            chunk = self._retry.lead_back(observation.points, observation.q, self._engine.chunk, config.replan_every)
            if chunk is None:
                chunk, self.predicted_grasp = self._engine.for_attempt(self.retries).predict(
                    observation.points, observation.q, config.steps_needed, self._player.commanded
                )
        return self._player.step(chunk)
