"""Episodes from third-party recordings: `udg import --from lerobot|bag PATHS --out NEW`."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Sequence
from pathlib import Path

from udg_description.errors import cli
from udg_description.files import user_path, whole_folder
from udg_description.names import safe_name
from udg_policy.episodes.dataset import EpisodeWriter
from udg_policy.episodes.episode import Episode
from udg_policy.errors import DatasetError
from udg_policy.exchange.bag_episodes import episodes_of, read_bag
from udg_policy.exchange.import_lerobot import read_lerobot

KINDS = ("bag", "lerobot")


def import_episodes(kind: str, paths: Sequence[Path], out: Path, *, successes_only: bool = False) -> int:
    """Write the episodes of bags or LeRobot datasets into the new folder `out`; how many. Raises DatasetError."""
    count = 0
    with whole_folder(out) as folder:
        writer = EpisodeWriter(folder)
        for path in paths:
            for name, episode in _episodes(kind, path, alone=len(paths) == 1):
                if successes_only and not episode.meta.get("success"):
                    continue
                writer.write(name, episode)
                count += 1
        if count == 0:
            raise DatasetError(
                f"{', '.join(str(path) for path in paths)}: no episode"
                + (" that was a success" if successes_only else "")
            )
        writer.finish(source=kind)
    return count


def _episodes(kind: str, path: Path, alone: bool) -> Iterator[tuple[str, Episode]]:
    stem = safe_name(path.stem).replace(".", "_")
    if kind == "bag":
        yield from episodes_of(read_bag(path), stem)
    elif kind == "lerobot":
        yield from ((name if alone else f"{stem}_{name}", episode) for name, episode in read_lerobot(path))
    else:
        raise DatasetError(f"import from {kind!r}: valid are {', '.join(KINDS)}")


def run_command(argv: Sequence[str] | None = None) -> int:
    """The command with its arguments; the exit code."""
    parser = argparse.ArgumentParser(description="Import recordings as episodes.")
    parser.add_argument("paths", type=user_path, nargs="+", help="bags (folders, .mcap) or LeRobot datasets (folders)")
    parser.add_argument("--from", dest="kind", choices=KINDS, required=True, help="what they are")
    parser.add_argument("--out", type=user_path, required=True, help="folder that does not exist yet")
    parser.add_argument("--successes-only", action="store_true", help="skip episodes that failed or were not judged")
    arguments = parser.parse_args(argv)
    count = import_episodes(arguments.kind, arguments.paths, arguments.out, successes_only=arguments.successes_only)
    print(f"{count} episodes written into {arguments.out}")
    return 0


def main() -> None:
    """Command line: errors of the user are printed as one line."""
    cli(run_command)


if __name__ == "__main__":
    main()
