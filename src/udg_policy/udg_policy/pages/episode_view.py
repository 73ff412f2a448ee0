"""What a policy sees, attends to and predicts in every frame of an episode, next to what was demonstrated."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from scipy.spatial import cKDTree
from scipy.stats import truncnorm

from udg_policy.episodes.episode import Episode
from udg_policy.episodes.grasp import UNKNOWN, PredictedGrasp, grasp_label, key_points
from udg_policy.frames.frame_store import FrameStore, frames_of
from udg_policy.hands.fingertips import fingertip_paths
from udg_policy.heads import ActionDistribution
from udg_policy.inference.engine import PolicyEngine
from udg_policy.network.checkpoint import Checkpoint
from udg_policy.network.observation import WORLD_ORIGIN, WORLD_SCALE_M
from udg_policy.pages.attention import Attended, attend, token_points

QUANTILES = (0.05, 0.25, 0.75, 0.95)
_FRAMES_AT_ONCE = 8


class DemonstratedGrasp(NamedTuple):
    """The grasp of an episode."""

    closed: int  # step whose target is the closed grasp
    points_world: np.ndarray  # (2, 7, 3) [m] key points
    acting: np.ndarray  # (2,) bool


@dataclass(frozen=True, kw_only=True)
class EpisodeView:
    """F frames of an episode, chunks of K steps, T tokens with a place, N tokens in all."""

    episode: Episode
    steps: np.ndarray  # (F,) frame of the episode
    attention: np.ndarray  # (F, L, H, K, N) float32, sums to 1 over the last axis
    tokens_world: np.ndarray  # (F, T, 3) [m]
    token_labels: np.ndarray  # (F, T) uint8: 0 seen, 1 left robot, 2 right robot
    has_state_token: bool
    chunks: np.ndarray  # (F, K, 36) [rad], what the engine predicts
    demonstrated_chunks: np.ndarray  # (F, K, 36) [rad]
    # In the action's own units (see action_spaces):
    action_names: tuple[str, ...]  # (36,)
    lower: np.ndarray  # (K, 36)
    upper: np.ndarray  # (K, 36)
    demonstrated: np.ndarray  # (F, K, 36)
    mode: np.ndarray  # (F, K, 36)
    mu: np.ndarray  # (F, K, 36), may lie outside the bounds
    sigma: np.ndarray | None  # (F, K, 36), None for a network without a distribution
    quantiles: np.ndarray | None  # (4, F, K, 36), QUANTILES
    grasps: tuple[PredictedGrasp | None, ...] = ()  # of each frame; empty for a network without grasp queries
    demonstrated_grasp: DemonstratedGrasp | None = None  # None where the episode has none

    @property
    def tip_errors_m(self) -> np.ndarray:
        """Mean distance (F, K, 2) [m] of the predicted fingertips of each side from the demonstrated ones."""
        paths = zip(self.chunks, self.demonstrated_chunks, strict=True)
        apart = [np.linalg.norm(fingertip_paths(a) - fingertip_paths(b), axis=-1) for a, b in paths]
        return np.stack(apart).mean(axis=2).swapaxes(1, 2)

    def grasp_error_m(self, frame: int) -> float | None:
        """Mean distance [m] of the demonstrated acting hands' key points in the prediction of a frame; None where there
        is none, and once the grasp is made: it then moves with the hand."""
        grasp = self.grasps[frame] if self.grasps else None
        label = self.demonstrated_grasp
        if grasp is None or label is None or self.steps[frame] > label.closed:
            return None
        apart = np.linalg.norm(grasp.points_world - label.points_world, axis=-1).mean(axis=-1)
        return float(apart[label.acting].mean())


def view_episode(checkpoint: Checkpoint, episode: Episode, every: int = 1) -> EpisodeView:
    """Run a policy over one in `every` frames of an episode. Frames without the points that it needs are skipped."""
    config = checkpoint.config
    store = frames_of([episode], config)
    views = torch.arange(0, store.n_frames, every)
    steps = store.row[views].numpy()
    attended, demonstrated, tokens_world = _run(checkpoint, views, store)
    labels = np.stack([_labels(episode, step, places) for step, places in zip(steps, tokens_world, strict=True)])
    engine = PolicyEngine(checkpoint)
    clouds = [np.column_stack([episode.cloud_xyz[step], episode.cloud_label[step]]) for step in steps]
    commanded = [episode.target[step - 1] if step > 0 else episode.q[0] for step in steps]
    predictions = [
        engine.predict(cloud, episode.q[step], commanded=last)
        for cloud, step, last in zip(clouds, steps, commanded, strict=True)
    ]
    chunks = np.stack([prediction.chunk for prediction in predictions])
    rows = np.minimum(steps[:, None] + np.arange(config.decoder.chunk), len(episode) - 1)
    mu = attended.distribution.mu.numpy()
    sigma = None if attended.distribution.sigma is None else attended.distribution.sigma.numpy()
    in_units = checkpoint.bounds.denormalise
    return EpisodeView(
        episode=episode,
        steps=steps,
        attention=attended.weights.numpy(),
        tokens_world=tokens_world,
        token_labels=labels,
        has_state_token=config.observation.proprioception,
        chunks=chunks,
        demonstrated_chunks=episode.target[rows].astype(np.float64),
        action_names=config.space.names,
        lower=checkpoint.bounds.lower,
        upper=checkpoint.bounds.upper,
        demonstrated=in_units(demonstrated),
        mode=in_units(np.clip(mu, -1.0, 1.0)),
        mu=in_units(mu),
        sigma=None if sigma is None else 0.5 * sigma * (checkpoint.bounds.upper - checkpoint.bounds.lower),
        quantiles=None if sigma is None else in_units(truncated_normal_quantiles(mu, sigma)),
        grasps=tuple(grasp for _, grasp in predictions) if config.decoder.grasp_query else (),
        demonstrated_grasp=_demonstrated_grasp(episode),
    )


def _demonstrated_grasp(episode: Episode) -> DemonstratedGrasp | None:
    label = grasp_label(episode)
    acting = label.acting[0] > 0
    if label.closed == UNKNOWN or not acting.any():
        return None
    return DemonstratedGrasp(label.closed, key_points(episode.target[label.closed]), acting)


def _run(checkpoint: Checkpoint, views: torch.Tensor, store: FrameStore) -> tuple[Attended, np.ndarray, np.ndarray]:
    """Outputs of the views, demonstrated normalised actions (F, K, 36), places of the point tokens (F, T, 3) [m]."""
    network = checkpoint.network().eval()
    slots = token_points(network)
    world = slice(*(3 * checkpoint.config.observation.frames.index("world") + np.array([0, 3])))
    parts, actions, places = [], [], []
    for some in views.split(_FRAMES_AT_ONCE):
        batch = store.batch(some, checkpoint.bounds)
        parts.append(attend(network, batch.features, batch.proprioception, batch.neighbours_1, batch.neighbours_2))
        actions.append(batch.actions)
        places.append(batch.features[:, slots, world] * WORLD_SCALE_M + torch.tensor(WORLD_ORIGIN))
    sigmas = [part.distribution.sigma for part in parts]
    distribution = ActionDistribution(
        torch.cat([part.distribution.mu for part in parts]),
        None if sigmas[0] is None else torch.cat([sigma for sigma in sigmas if sigma is not None]),
    )
    attended = Attended(distribution, torch.cat([part.weights for part in parts]))
    return attended, torch.cat(actions).numpy(), torch.cat(places).numpy()


def _labels(episode: Episode, step: int, places: np.ndarray) -> np.ndarray:
    """Labels of tokens (T, 3), which are points of the cloud."""
    _, nearest = cKDTree(episode.cloud_xyz[step]).query(places)
    return episode.cloud_label[step][nearest]


def truncated_normal_quantiles(mu: np.ndarray, sigma: np.ndarray) -> np.ndarray:
    """QUANTILES (4, ...) of truncated normals on [-1, 1]."""
    low, high = (-1.0 - mu) / sigma, (1.0 - mu) / sigma
    shares = np.reshape(QUANTILES, (-1, *(1 for _ in mu.shape)))
    return np.clip(truncnorm.ppf(shares, low, high, loc=mu, scale=sigma), -1.0, 1.0)
