"""Our own policy: the engine and the chunk player behind the protocol of the benchmark."""

from __future__ import annotations

import numpy as np

from udg_datagen.evaluation.policy import Observation, Start
from udg_policy.episodes.grasp import PredictedGrasp
from udg_policy.inference.engine import PolicyEngine
from udg_policy.inference.player import ChunkPlayer, PlayerConfig


class EnginePolicy:
    """Plans a chunk whenever the player wants one."""

    def __init__(self, engine: PolicyEngine, config: PlayerConfig | None = None) -> None:
        self._engine = engine
        self._config = PlayerConfig() if config is None else config
        self._player = ChunkPlayer(self._config)
        self.predicted_grasp: PredictedGrasp | None = None
        """Of the chunk that the last `act` planned; None if it planned none."""

    def reset(self, start: Start) -> None:
        """Forget the chunks of the last trial."""
        self._player.reset()
        self.predicted_grasp = None

    def act(self, observation: Observation) -> np.ndarray:
        """What is left of the newest chunk (K, 36) [rad], blended with older ones as configured."""
        chunk = self.predicted_grasp = None
        if self._player.wants_chunk:
            steps = self._player.config.steps_needed
            chunk, self.predicted_grasp = self._engine.predict(
                observation.points, observation.q, steps, self._player.commanded
            )
        return self._player.step(chunk)
