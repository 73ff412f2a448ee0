"""Our own policy: the engine, the chunk player and the way back behind the protocol of the benchmark."""

from __future__ import annotations

import numpy as np

from udg_datagen.evaluation.policy import Observation, Start, TellsMore
from udg_description.limits import joint_limits
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
            points, q, commanded = observation.points, observation.q, self._player.commanded
            config, size = self._player.config, self._engine.chunk
            chunk = self._retry.lead_back(points, q, size, min(config.replan_every, size))
            if chunk is None and PolicyEngine.sees_object(points):
                engine = self._engine.for_attempt(self.retries)
                chunk, self.predicted_grasp = engine.predict(points, q, config.steps_needed, commanded)
            if chunk is None:  # nothing to act on: the robot holds what it was commanded, as of an empty chunk
                self._player.drop()
                self._player.advance()
                return joint_limits().clip(q if commanded is None else commanded)
        return self._player.step(chunk)
