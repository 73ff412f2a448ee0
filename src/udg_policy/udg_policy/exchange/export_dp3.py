"""The layout of 3D Diffusion Policy's ReplayBuffer: one zarr group of format 2.

data/point_cloud (F, P, 3), data/state (F, 36), data/action (F, 36), all float32, the episodes one after the other;
meta/episode_ends (E,) int64, the frame after the last one of each. Besides: data/point_label (F, P) uint8.
Source: github.com/YanjieZe/3D-Diffusion-Policy, diffusion_policy_3d/common/replay_buffer.py and
scripts/convert_real_robot_data.py.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import zarr
from numcodecs import Blosc
from tqdm import tqdm

from udg_description.layout import N_JOINTS
from udg_policy.episodes.dataset import EpisodeDataset
from udg_policy.exchange.thinning import thinned

_CHUNK_FRAMES = 100  # as DP3's own converter
_COMPRESSOR = Blosc(cname="zstd", clevel=3, shuffle=Blosc.SHUFFLE)


def write_dp3(dataset: EpisodeDataset, folder: Path, points: int) -> None:
    """Write all episodes, with `points` points a cloud, into the empty folder."""
    ends = np.cumsum([dataset.header(i).frames for i in range(len(dataset))]).astype(np.int64)
    root = zarr.open_group(str(folder), mode="w")
    shapes = {
        "point_cloud": ((points, 3), "f4"),
        "point_label": ((points,), "u1"),
        "state": ((N_JOINTS,), "f4"),
        "action": ((N_JOINTS,), "f4"),
    }
    data = root.create_group("data")
    arrays = {
        name: data.create_dataset(
            name, shape=(int(ends[-1]), *shape), chunks=(_CHUNK_FRAMES, *shape), dtype=dtype, compressor=_COMPRESSOR
        )
        for name, (shape, dtype) in shapes.items()
    }
    for index, episode in enumerate(tqdm(dataset, total=len(dataset), unit="episode")):
        rows = slice(int(ends[index]) - len(episode), int(ends[index]))
        arrays["point_cloud"][rows], arrays["point_label"][rows] = thinned(episode, points)
        arrays["state"][rows], arrays["action"][rows] = episode.q, episode.target
    root.create_group("meta").array("episode_ends", ends, chunks=(len(ends),), compressor=None)
