"""Data sets without their clouds: `udg states --data FOLDER[,FOLDER..] --out FILE.h5`; `udg clouds` makes them again.

The clouds are 95 % of a data set. They follow from joints, object, cameras, a noise seed and which images were whole.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tqdm import tqdm

from udg_datagen.demonstrations.attempt import AttemptConfig, draw, task_rng
from udg_datagen.demonstrations.corrections import CorrectionTask
from udg_datagen.demonstrations.made_with import imaging, settings_of
from udg_datagen.demonstrations.states_file import DataSet, EpisodeStates, States, StatesError, write_states
from udg_description.errors import cli
from udg_description.files import check_file, user_path
from udg_policy.episodes.dataset import EpisodeDataset


def states_of(folders: Sequence[Path]) -> States:
    """The states of data sets. Raises StatesError for episodes whose clouds cannot be imaged again."""
    names = [folder.resolve().name for folder in folders]
    if len(set(names)) < len(names):
        raise StatesError(f"--data {','.join(map(str, folders))}: folders of one name; valid: each its own")
    sets = tuple(DataSet(name=name, settings=settings_of(f)) for name, f in zip(names, folders, strict=True))
    return States(
        sets=sets,
        episodes=tuple(
            episode
            for index, (folder, data_set) in enumerate(zip(folders, sets, strict=True))
            for episode in _episodes(EpisodeDataset(folder), index, imaging(data_set.settings))
        ),
    )


def _episodes(dataset: EpisodeDataset, set_index: int, config: AttemptConfig) -> list[EpisodeStates]:
    found = []
    for index, path in enumerate(tqdm(dataset.paths, desc=dataset.folder.name, unit="episode", mininterval=0.5)):
        episode = dataset[index]
        meta = episode.meta
        lacking = [key for key in ("object", "seed", "cameras") if key not in meta]
        if lacking or episode.T_world_object is None:
            raise StatesError(f"{path}: no clouds follow from it, it has no {', '.join(lacking) or 'T_world_object'}")
        if "draw" in meta:
            raise StatesError(f"{path}: its clouds are another draw; valid: the data set that this was made from")
        found.append(
            EpisodeStates(
                set_index=set_index,
                name=path.stem.removeprefix("episode_"),
                q=episode.q,
                target=episode.target,
                stage=episode.stage,
                T_world_object=episode.T_world_object,
                meta=meta,
                noise_seed=_noise_seed(meta),
                whole_images=draw(config, task_rng(meta["object"], meta["seed"])).whole_images,
                content=dataset.header(index).content,
            )
        )
    return found


def _noise_seed(meta: dict[str, Any]) -> int:
    """The seed of an episode's depth images."""
    if "correction" not in meta:
        return int(meta["seed"])
    return CorrectionTask(meta["object"], meta["seed"], meta["correction"]["draw"]).noise_seed


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="udg states", description="Write data sets without their clouds, in one small file; see udg clouds."
    )
    parser.add_argument("--data", required=True, help="folders of data sets, separated by commas")
    parser.add_argument("--out", type=user_path, required=True, help="file, .h5")
    parser.add_argument("--force", action="store_true", help="replace the file if it is there")
    return parser


def run(arguments: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    options = build_parser().parse_args(arguments)
    folders = [user_path(text) for text in options.data.split(",") if text]
    if not folders:
        raise StatesError(f"--data {options.data!r}: names no folder")
    out = check_file(options.out, options.force)
    states = states_of(folders)
    write_states(out, states)
    frames, size = sum(map(len, states.episodes)), out.stat().st_size
    print(
        json.dumps(
            {
                "out": str(out),
                "episodes": len(states.episodes),
                "frames": frames,
                "megabytes": round(size / 1e6, 2),
                "bytes_a_frame": round(size / frames, 1),
            }
        )
    )


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
