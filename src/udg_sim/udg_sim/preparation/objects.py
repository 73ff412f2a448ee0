"""`make objects`: fetch sources, prepare objects into the cache, add the user's meshes, report what there is."""

import argparse
import json
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

from udg_description.cache import say_if_not_writable
from udg_description.errors import UdgError
from udg_description.files import check_file, user_path
from udg_sim.objects import sources
from udg_sim.objects.library import HELD_OUT, OWN, ObjectLibrary
from udg_sim.objects.manifest import manifest
from udg_sim.objects.selection import HELP, select
from udg_sim.objects.user_objects import add_folder

PICTURE_COUNT = 120
"""Most objects in a contact sheet."""


class Prepared(NamedTuple):
    """Outcome of one object: "" or the error, and the time that it took [s]."""

    id: str
    error: str
    seconds: float


def prepare(id: str) -> Prepared:
    """Prepare one object into the cache; a refused one does not stop the others."""
    start = time.perf_counter()
    try:
        ObjectLibrary().get(id)
    except UdgError as error:
        return Prepared(id, str(error), time.perf_counter() - start)
    return Prepared(id, "", time.perf_counter() - start)


def prepare_all(ids: Sequence[str], workers: int = 1) -> Iterator[Prepared]:
    """Prepare the objects in `workers` processes, in their order. Raises UdgError if a process dies."""
    if workers == 1:
        yield from map(prepare, ids)
        return
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        try:
            yield from pool.map(prepare, ids, chunksize=4)
        except BrokenProcessPool as error:
            raise UdgError("objects: a worker was killed; run the command again to resume") from error


def report() -> str:
    """Numbers of objects by source, split, size and category."""
    records = manifest().values()
    lines = [
        f"{'source':12s} {'split':6s} {'small':>6s} {'medium':>7s} {'large':>6s} {'seen':>5s} {'unseen':>7s} files"
    ]
    for source, split in dict.fromkeys((r.source, r.split) for r in records):
        mine = [r for r in records if (r.source, r.split) == (source, split)]
        sizes = Counter(r.size_class for r in mine)
        seen = sum(r.seen for r in mine)
        here = "" if source in OWN else "here" if sources.is_present(source) else f"make objects FETCH={source}"
        lines.append(
            f"{source:12s} {split:6s} {sizes['small']:6d} {sizes['medium']:7d} {sizes['large']:6d} "
            f"{seen:5d} {len(mine) - seen:7d} {here}"
        )
    for title, chosen in (
        ("training categories", [r for r in records if r.split == "train"]),
        ("held-out categories, seen", [r for r in records if r.source in HELD_OUT and r.seen]),
        ("held-out categories, unseen", [r for r in records if r.source in HELD_OUT and not r.seen]),
    ):
        counts = Counter(r.category for r in chosen)
        named = ", ".join(f"{name} {n}" for name, n in counts.most_common(60))
        lines.append(f"{title} ({len(counts)}): {named}" + (", ..." if len(counts) > 60 else ""))
    return "\n".join(lines)


def picture(path: Path, ids: Sequence[str]) -> None:
    """Write a contact sheet of at most PICTURE_COUNT of the objects, spread evenly."""
    from udg_sim.cameras.video import object_sheet, write_png

    step = max(1, -(-len(ids) // PICTURE_COUNT))
    library = ObjectLibrary()
    write_png(path, object_sheet([library.get(id) for id in ids[::step]], columns=10))
    print(f"picture: {path}")


class _Adding(NamedTuple):
    """What became of a folder: ids, and by path what was refused and what is of a kind that is not read."""

    ids: list[str]
    refused: dict[str, str]
    skipped: list[str]


def _add(folder: Path, size_m: float | None, unit_m: float | None) -> _Adding:
    """Add the meshes of a folder, a line each. Raises UdgError if none could be."""
    found = _Adding([], {}, [])
    for added in add_folder(folder, size_m, unit_m):
        if added.id:
            print(f"{added.id}  {added.path}  {added.note}", flush=True)
            found.ids.append(added.id)
        else:
            print(f"{'skipped' if added.skipped else 'refused'}: {added.error}", flush=True)
            if added.skipped:
                found.skipped.append(str(added.path))
            else:
                found.refused[str(added.path)] = added.error
    if not found.ids:
        print(json.dumps({"objects": 0, "prepared": 0, "refused": list(found.refused), "skipped": found.skipped}))
        raise UdgError(f"objects of {folder}: every mesh was refused, see above")
    return found


def _fetch(names: str, required: bool) -> int:
    """Fetch sources; number of those that could not be."""
    failed = 0
    for name in names.split(","):
        if not sources.is_present(name):
            print(f"fetching {name} ...", flush=True)
        try:
            sources.fetch(name)
        except UdgError as error:
            if required:
                raise
            failed += 1
            print(f"without {name}: {error}")
    return failed


def main(argv: Sequence[str] | None = None) -> int:
    """Prepare objects for simulation; the last line is JSON."""
    parser = argparse.ArgumentParser(prog="udg objects", description=main.__doc__)
    parser.add_argument("--objects", default="quick", help=f"{HELP}; default: quick")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    parser.add_argument("--fetch", help=f"only fetch these sources: {','.join(sources.NAMES)}")
    parser.add_argument("--add", type=user_path, help="folder of your own meshes to add")
    parser.add_argument("--size", type=float, help="with --add: longest edge of every mesh [m]")
    parser.add_argument("--unit", type=float, help="with --add: metres per unit of the files; default: guessed")
    parser.add_argument("--report", action="store_true", help="only print what the library has")
    parser.add_argument("--list", action="store_true", help="only print the ids of --objects")
    parser.add_argument("--picture", type=user_path, help="PNG to write with the objects")
    args = parser.parse_args(argv)
    if args.workers < 1:
        raise UdgError(f"--workers {args.workers}: valid: 1 or more")
    if args.picture is not None:
        check_file(args.picture, force=True)
    if args.add is None and not args.report:
        say_if_not_writable()
    if args.report:
        print(report())
        if args.picture is not None:
            picture(args.picture, select(args.objects, ObjectLibrary()))
        return 0
    if args.fetch:
        _fetch(args.fetch, required=True)
        return 0
    if args.add is not None:
        added = _add(args.add, args.size, args.unit)
        return _run(list(dict.fromkeys(added.ids)), args.workers, args.picture, 0, added)
    ids = select(args.objects, ObjectLibrary(), absent=True)
    if args.list:
        print("\n".join(ids))
        return 0
    needed = {manifest()[id].source for id in ids if id in manifest()} - set(OWN)
    missing = _fetch(",".join(sorted(needed)), required=False) if needed else 0
    return _run(ids, args.workers, args.picture, missing)


def _run(ids: Sequence[str], workers: int, sheet: Path | None, missing: int, added: _Adding | None = None) -> int:
    from tqdm import tqdm

    refused, seconds = [], 0.0
    for done in tqdm(prepare_all(ids, workers), total=len(ids), unit="object", mininterval=1.0):
        seconds += done.seconds
        if done.error:
            refused.append(done.id)
            tqdm.write(f"refused: {done.error}")
    good = [id for id in ids if id not in set(refused)]
    if sheet is not None and good:
        picture(sheet, good)
    summary = {
        "objects": len(ids),
        "prepared": len(good),
        "refused": refused,
        "missing_sources": missing,
        "seconds_an_object": round(seconds / len(ids), 3),
    }
    if added is not None:
        summary |= {"refused": [*added.refused, *refused], "skipped": added.skipped}
    print(json.dumps(summary))
    return 1 if summary["refused"] else 0


if __name__ == "__main__":
    from udg_description.errors import cli

    cli(main)
