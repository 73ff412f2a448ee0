"""Convert a dataset of schema 1 (one .npz per episode): `udg convert OLD NEW`."""

from __future__ import annotations

import argparse
import json
import shutil
import zipfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from udg_description.errors import cli
from udg_description.files import check_folder, user_path
from udg_description.layout import JOINT_NAMES
from udg_policy.episodes.dataset import Episode, EpisodeWriter
from udg_policy.errors import DatasetError

_ARRAYS = ("cloud_xyz", "cloud_label", "q", "target", "stage")
_NOT_META = ("schema", "joint_names", "step_s", "side")


def read_old_episode(path: Path) -> Episode:
    """The episode of a file of schema 1. Raises DatasetError."""
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {name: file[name] for name in _ARRAYS}
            meta = json.loads(str(file["meta"]))
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{path}: not a readable episode of schema 1: {error}") from error
    if meta.get("schema") != 1 or tuple(meta.get("joint_names", ())) != JOINT_NAMES:
        raise DatasetError(f"{path}: not of schema 1 with the joint names of udg_description")
    sides = {"sides": [meta["side"]]} if "side" in meta else {}
    return Episode(**arrays, meta={**{k: v for k, v in meta.items() if k not in _NOT_META}, **sides})


def convert(old: Path, new: Path) -> int:
    """Write the episodes of the folder `old`, and the accounts of its attempts, into `new`; how many there are."""
    paths = sorted(old.glob("episode_*.npz"))
    if not paths:
        raise DatasetError(f"{old}: holds no episode_*.npz")
    if new.exists() and any(new.glob("episode_*")):
        raise DatasetError(f"{new}: holds episodes already; give a folder without any")
    check_folder(new)
    writer = EpisodeWriter(new)
    for path in tqdm(paths, unit="episode"):
        writer.write(path.stem.removeprefix("episode_"), read_old_episode(path))
    if (old / "attempts").is_dir():
        shutil.copytree(old / "attempts", new / "attempts", dirs_exist_ok=True)
    writer.finish(converted_from_schema=1)
    return len(paths)


def run_command(argv: Sequence[str] | None = None) -> int:
    """The command with its arguments; the exit code."""
    parser = argparse.ArgumentParser(prog="udg convert", description="Convert a dataset of schema 1.")
    parser.add_argument("old", type=user_path)
    parser.add_argument("new", type=user_path)
    arguments = parser.parse_args(argv)
    print(f"{convert(arguments.old, arguments.new)} episodes written into {arguments.new}")
    return 0


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run_command)


if __name__ == "__main__":
    main()
