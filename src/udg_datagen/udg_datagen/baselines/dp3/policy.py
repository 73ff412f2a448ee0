"""A trained DP3 as a policy of the benchmark."""

from __future__ import annotations

from collections import deque
from pathlib import Path

import numpy as np
import torch

from udg_datagen.baselines.dp3.checkpoint import DP3Checkpoint, load
from udg_datagen.evaluation.policy import Observation, Start
from udg_description.cloud_labels import LABEL_SEEN
from udg_description.limits import joint_limits
from udg_policy.config import preset
from udg_policy.hands.poses import grasp_frames_np
from udg_policy.network.point_set import PointSampler


class DP3Policy:
    """Draws a chunk and executes its next steps; then looks again. Without an object in sight it holds its command."""

    def __init__(self, checkpoint: DP3Checkpoint) -> None:
        self._config, self._scales = checkpoint.config, checkpoint.scales
        self._network = checkpoint.network()
        frames = preset(checkpoint.config.frames)
        self._sampler = PointSampler(frames.observation, frames.encoder)
        self._seen: deque[tuple[np.ndarray, np.ndarray]] = deque(maxlen=self._config.n_observations)
        self._left: list[np.ndarray] = []
        self._command: np.ndarray | None = None  # the last one (36,) [rad]
        self._generator = torch.Generator()

    @classmethod
    def load(cls, folder: Path) -> DP3Policy:
        """The policy of a folder. Raises UdgError."""
        return cls(load(folder))

    def reset(self, start: Start) -> None:
        """Forget what was seen; draws follow from the trial's seed."""
        self._seen.clear()
        self._left, self._command = [], None
        self._generator.manual_seed(start.seed)

    def act(self, observation: Observation) -> np.ndarray:
        """The target (36,) of this step [rad]."""
        if len(self._left) < self._config.n_observations:  # the next chunk is due, or needs this observation
            sees = self._look(observation)
            if not self._left:
                held = observation.q if self._command is None else self._command  # the measured would let go
                self._left = list(self._chunk()) if sees else [held]
        self._command = joint_limits().clip(self._left.pop(0))
        return self._command

    def _look(self, observation: Observation) -> bool:
        """Keep what a chunk will need of this moment; whether there is an object."""
        cloud, q = observation.points, observation.q
        sees = bool((cloud[:, 3] == LABEL_SEEN).any())
        if sees:
            chosen = self._sampler.select(cloud, grasp_frames_np(q)[:, :3, 3])
            self._seen.append((cloud[chosen, :3], q))
        else:
            self._seen.clear()  # two observations are of consecutive steps
        return sees

    def _chunk(self) -> np.ndarray:
        """Targets (n_actions, 36) from now on."""
        seen = list(self._seen)
        seen = [seen[0]] * (self._config.n_observations - len(seen)) + seen
        points, q = (torch.from_numpy(np.stack(part).astype(np.float32)) for part in zip(*seen, strict=True))
        actions = self._network.act(
            self._scales["points"].normalise(points)[None], self._scales["q"].normalise(q)[None], self._generator
        )
        now = self._config.n_observations - 1
        targets = self._scales["target"].denormalise(actions)[0, now : now + self._config.n_actions]
        return targets.numpy().astype(np.float64)
