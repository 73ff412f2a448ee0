"""Thinned clouds, for programs that need another number of points."""

from __future__ import annotations

import numpy as np

from udg_policy.episodes.episode import CLOUD_POINTS, Episode
from udg_policy.network.point_set import farthest_order


def thinned(episode: Episode, points: int) -> tuple[np.ndarray, np.ndarray]:
    """Clouds (T, points, 3) [m] and labels (T, points) of an episode, by farthest-point sampling where fewer."""
    if points == CLOUD_POINTS:
        return episode.cloud_xyz, episode.cloud_label
    chosen = np.stack([np.resize(farthest_order(cloud, points), points) for cloud in episode.cloud_xyz])
    xyz = np.take_along_axis(episode.cloud_xyz, chosen[..., None], axis=1)
    return xyz, np.take_along_axis(episode.cloud_label, chosen, axis=1)
