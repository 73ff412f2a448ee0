"""How fast a dataset is written and read: `udg bench-dataset --data FOLDER`. Last line: JSON.

All rates are per second of CPU time of one core.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from udg_description.errors import cli
from udg_description.files import user_path
from udg_policy.config import preset, preset_names
from udg_policy.episodes.dataset import Episode, EpisodeDataset, EpisodeWriter
from udg_policy.frames.frame_cache import Preparer
from udg_policy.frames.frame_store import FrameStore, frames_of
from udg_policy.frames.sampling import ViewSampler, step_generator

_BATCHES = 100


def rate(work: Callable[[], int]) -> float:
    """What `work` counts, a second of CPU time."""
    began = time.process_time()
    count = work()
    return round(count / (time.process_time() - began), 1)


def write_all(writer: EpisodeWriter, episodes: Sequence[Episode]) -> int:
    """Write the episodes; the number of their frames."""
    for index, episode in enumerate(episodes):
        writer.write(str(index), episode)
    return sum(len(episode) for episode in episodes)


def read_batches(store: FrameStore) -> int:
    """Make shuffled, augmented batches as training does; the number of samples."""
    views = torch.arange(2 * store.n_frames)
    bounds, batch = store.bounds(views), store.config.train.batch
    sampler = ViewSampler(views, batch, seed=0)
    for step in range(_BATCHES):
        store.batch(sampler(step), bounds, step_generator(0, 2, step))
    return _BATCHES * batch


def measure(folder: Path, name: str, most: int) -> dict[str, float]:
    """Rates with at most `most` episodes of a dataset."""
    dataset, config = EpisodeDataset(folder), preset(name)
    chosen = list(range(0, len(dataset), -(-len(dataset) // most)))
    frames = sum(dataset.header(i).frames for i in chosen)
    episodes = [dataset[i] for i in chosen]
    result: dict[str, float] = {
        "episodes": len(chosen),
        "frames": frames,
        "bytes_a_frame": round(sum(dataset.paths[i].stat().st_size for i in chosen) / frames),
    }
    with tempfile.TemporaryDirectory() as temporary:
        result["write_frames_per_s"] = rate(lambda: write_all(EpisodeWriter(temporary), episodes))
    result["read_frames_per_s"] = rate(lambda: sum(len(dataset[i]) for i in chosen))
    result["prepare_frames_per_s"] = rate(lambda: sum(len(Preparer(config)(e).frames) for e in episodes))
    store = frames_of(episodes, config)
    read_batches(store)
    result["training_samples_per_s"] = rate(lambda: read_batches(store))
    return result


def run_command(argv: Sequence[str] | None = None) -> int:
    """The command with its arguments; the exit code."""
    parser = argparse.ArgumentParser(prog="udg bench-dataset", description="Measure a dataset.")
    parser.add_argument("--data", type=user_path, required=True, help="folder of the dataset")
    parser.add_argument("--preset", default="edge", help=f"one of {', '.join(preset_names())}")
    parser.add_argument("--episodes", type=int, default=30, help="episodes to measure with (default: 30)")
    arguments = parser.parse_args(argv)
    torch.set_num_threads(1)
    print(json.dumps(measure(arguments.data, arguments.preset, max(1, arguments.episodes))))
    return 0


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run_command)


if __name__ == "__main__":
    main()
