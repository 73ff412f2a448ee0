"""Data sets from their states, with clouds imaged again: `udg clouds --states FILE.h5 --out FOLDER --workers N`.

Draw 0 gives the original episodes, bit for bit; another one other noise of the depth images, in files of other names,
so that draws may share a folder. Run again, it continues.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Hashable, Sequence
from contextlib import closing, nullcontext
from functools import partial
from pathlib import Path
from typing import Any

from tqdm import tqdm

from udg_datagen.demonstrations.demos import SETTINGS_NAME
from udg_datagen.demonstrations.imaging import Imager, meta_of
from udg_datagen.demonstrations.states_file import EpisodeStates, States, StatesError, read_states
from udg_datagen.workers import Pool, add_workers, open_pool, outcomes
from udg_description.errors import cli, explain
from udg_description.files import check_folder, user_path, write_atomically
from udg_description.settings import override
from udg_perception.scene_cloud import SceneCloudConfig
from udg_policy.episodes.dataset import EpisodeWriter
from udg_policy.episodes.episode import canonical_json
from udg_policy.episodes.episode_file import decode_meta
from udg_policy.errors import DatasetError


def name_of(states: EpisodeStates, draw: int) -> str:
    """The name of an episode's file, without `episode_` and suffix."""
    return f"{states.name}-draw{draw}" if draw else states.name


def folders_of(states: States, out: Path) -> list[Path]:
    """The folder of each data set: `out` itself, or a folder in it for each of several."""
    return [out] if len(states.sets) == 1 else [out / data_set.name for data_set in states.sets]


def prepare_folders(states: States, out: Path) -> list[EpisodeWriter]:
    """Make the folders, with the settings of their data sets. Raises StatesError for one that is of something else."""
    writers = []
    for folder, data_set in zip(folders_of(states, out), states.sets, strict=True):
        check_folder(folder)
        path = folder / SETTINGS_NAME
        if path.exists():
            try:
                before = json.loads(path.read_bytes())
            except ValueError:
                before = None
            if before != data_set.settings:
                raise StatesError(f"{folder}: holds a data set of other settings ({path.name}); valid: another folder")
        elif any(folder.glob("episode_*")):
            raise StatesError(f"{folder}: holds episodes of something else (no {path.name}); valid: another folder")
        writers.append(EpisodeWriter(folder))
        if not path.exists():
            write_atomically(path, json.dumps(data_set.settings, indent=1) + "\n")
    return writers


def is_there(path: Path, meta: dict[str, Any]) -> bool:
    """Whether a sound file of the episode is there; a damaged one is not. Raises StatesError for another episode's."""
    try:
        found = decode_meta(path.read_bytes(), str(path))[1]
    except (FileNotFoundError, DatasetError):
        return False
    if canonical_json(found) != canonical_json(meta):
        raise StatesError(f"{path}: is of another episode; valid: another folder")
    return True


def image_all(states: States, chosen: range, out: Path, draw: int, start_pool: Callable[[], Pool]) -> dict[str, Any]:
    """Image the chosen episodes that are not there yet; the summary. Raises StatesError where one fails."""
    began = time.monotonic()
    writers = prepare_folders(states, out)
    missing: dict[Hashable, EpisodeStates] = {}
    for episode in states.episodes[chosen.start : chosen.stop]:
        path = writers[episode.set_index].path(name_of(episode, draw))
        if not is_there(path, meta_of(episode, draw)):
            missing[path] = episode
    frames, differ = 0, []
    bar = tqdm(
        total=len(missing),
        desc="clouds",
        unit="episode",
        smoothing=0.02,
        mininterval=0.5 if sys.stderr.isatty() else 30.0,
    )
    with bar, closing(start_pool()) if missing else nullcontext() as pool:
        for key, outcome in outcomes(pool, missing.items()) if pool else ():
            if outcome.failure:
                raise StatesError(
                    f"{key}: {outcome.message}; what is written is whole, the same command continues from there"
                )
            write_atomically(Path(str(key)), outcome.value.data, durable=False)
            frames += len(missing[key])
            if draw == 0 and not outcome.value.same:
                differ.append(str(key))
            bar.set_postfix_str(f"{frames / (time.monotonic() - began):.1f} frames/s", refresh=False)
            bar.update()
    wall_s = time.monotonic() - began
    return {
        "out": [str(folder) for folder in folders_of(states, out)],
        "draw": draw,
        "episodes": len(chosen),
        "made": len(missing),
        "frames_made": frames,
        "differ": sorted(differ),
        "wall_s": round(wall_s, 1),
        "frames_per_s": round(frames / wall_s, 2),
    }


def build_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="udg clouds", description="Make data sets from their states (udg states), with clouds imaged again."
    )
    parser.add_argument("--states", type=user_path, required=True, help="file of `udg states`")
    parser.add_argument(
        "--out", type=user_path, required=True, help="folder of the data set (of several: a folder each); resumed"
    )
    add_workers(parser)
    parser.add_argument(
        "--draw", type=int, default=0, help="of the depth noise; 0: the original, bit for bit (default: 0)"
    )
    parser.add_argument("--first", type=int, default=0, help="first episode of the file, counted from 0 (default: 0)")
    parser.add_argument("--last", type=int, help="last episode (default: the last of the file)")
    parser.add_argument("--timeout", type=float, default=900.0, help="time limit per episode [s] (default: 900)")
    return parser


def run(arguments: Sequence[str] | None = None) -> None:
    """The command with its arguments."""
    options = build_parser().parse_args(arguments)
    if options.draw < 0 or (options.workers is not None and options.workers < 1) or options.timeout <= 0:
        raise StatesError(
            f"--draw {options.draw}, --workers {options.workers}, --timeout {options.timeout}: the draw must be at "
            "least 0, the others positive"
        )
    states = read_states(options.states)
    end = len(states.episodes) - 1
    last = end if options.last is None else options.last
    if not 0 <= options.first <= last <= end:
        raise StatesError(f"--first {options.first} --last {last}: valid: 0 to {end}, the first before the last")
    clouds = [override(SceneCloudConfig(), s.settings["cloud"], "cloud", StatesError) for s in states.sets]
    try:
        summary = image_all(
            states,
            range(options.first, last + 1),
            options.out,
            options.draw,
            lambda: open_pool(partial(Imager, clouds, options.draw), options.workers, options.timeout),
        )
    except OSError as error:
        raise StatesError(explain(error, options.out)) from error
    except KeyboardInterrupt:
        print(f"\ninterrupted; the same command continues with what is in {options.out}", file=sys.stderr)
        raise
    if summary["differ"]:
        print(
            f"{len(summary['differ'])} episodes differ from the original: another version, mesh or processor",
            file=sys.stderr,
        )
    print(json.dumps(summary))


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run)


if __name__ == "__main__":
    main()
