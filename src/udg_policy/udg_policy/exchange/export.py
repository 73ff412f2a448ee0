"""Export a dataset: `udg export --data FOLDER --to dp3|lerobot --out NEW`."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

from udg_description.errors import cli
from udg_description.files import user_path, whole_folder
from udg_policy.episodes.dataset import EpisodeDataset
from udg_policy.episodes.episode import CLOUD_POINTS
from udg_policy.errors import DatasetError
from udg_policy.exchange.export_dp3 import write_dp3
from udg_policy.exchange.export_lerobot import write_lerobot

LAYOUTS: dict[str, Callable[[EpisodeDataset, Path, int], None]] = {"dp3": write_dp3, "lerobot": write_lerobot}


def export(dataset: EpisodeDataset, layout: str, out: Path, points: int = CLOUD_POINTS) -> None:
    """Write the dataset in another layout into the new folder `out`. Raises DatasetError, PathError."""
    if layout not in LAYOUTS:
        raise DatasetError(f"export to {layout!r}: valid are {', '.join(LAYOUTS)}")
    if not 1 <= points <= CLOUD_POINTS:
        raise DatasetError(f"export of {points} points: valid are 1 to {CLOUD_POINTS}")
    with whole_folder(out) as folder:
        LAYOUTS[layout](dataset, folder, points)


def run_command(argv: Sequence[str] | None = None) -> int:
    """The command with its arguments; the exit code."""
    parser = argparse.ArgumentParser(prog="udg export", description="Export a dataset.")
    parser.add_argument("--data", type=user_path, required=True, help="folder of the dataset")
    parser.add_argument("--to", choices=sorted(LAYOUTS), required=True, help="layout")
    parser.add_argument("--out", type=user_path, required=True, help="folder that does not exist yet")
    parser.add_argument("--points", type=int, default=CLOUD_POINTS, help=f"points a cloud (default: {CLOUD_POINTS})")
    parser.add_argument("--skip-corrupt", action="store_true", help="skip corrupt episodes instead of stopping")
    arguments = parser.parse_args(argv)
    dataset = EpisodeDataset(arguments.data, skip_corrupt=arguments.skip_corrupt)
    export(dataset, arguments.to, arguments.out, arguments.points)
    print(f"{len(dataset)} episodes written into {arguments.out}")
    return 0


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run_command)


if __name__ == "__main__":
    main()
