"""Which objects a command works on, as one string: sets, ids and mesh files. Every OBJECTS is read here.

A text is a comma-separated list of

    soda_can, bottle_017                an id
    path/to/mesh.obj@0.1                a mesh file, scaled to a longest edge of 0.1 m
    train  test/small  held_out/quick   a set, narrowed by sizes or to its quick part
    train/large:20                      the first 20 of it
"""

from collections.abc import Sequence
from itertools import cycle
from pathlib import Path

from udg_description.errors import UdgError
from udg_description.files import user_path
from udg_sim.families.compositions import COUNT, compositions
from udg_sim.families.flats import flats
from udg_sim.geometry.mesh_io import SUFFIXES
from udg_sim.objects import sources
from udg_sim.objects.library import HELD_OUT, OWN, SIZES, USUAL, ObjectLibrary, UnknownObjectError
from udg_sim.objects.manifest import manifest
from udg_sim.objects.sources import SourceError

SETS = {
    "train": "our training objects",
    "test": "our test objects",
    "held_out": "the 600 third-party ones",
    "all": "train, test and held_out",
    "compositions": "random training objects, as many as are asked for",
    "flat": "low, flat training objects, small and medium, as many as are asked for",
    "train+": "train and 300 compositions, mixed",
    "user": "meshes that you added",
}
"""Names of the sets and what they hold."""
QUICK = "quick"
HELP = (
    "comma-separated: ids, path.obj@<longest edge in m>, and sets: "
    + ", ".join(f"{name} ({what})" for name, what in SETS.items())
    + ", each also with /small, /medium, /large or /quick (a small balanced part) and :<how many>, as train:300 or "
    "held_out/quick; sets take the sizes in turn"
)


def select(text: str, library: ObjectLibrary, absent: bool = False) -> list[str]:
    """Object ids of a selection (see HELP), each once, in order.

    With `absent` objects may be named whose source is not on this machine. Raises UdgError for what is not known or,
    SourceError, not here.
    """
    chosen: list[str] = []
    for item in (part.strip() for part in text.split(",")):
        if "@" in item or Path(item).suffix.lower() in SUFFIXES:
            chosen.append(item)
        elif _set_name(item) in (*SETS, QUICK):
            chosen += _set(item, library)
        elif item:
            try:
                library.check(item)
            except UnknownObjectError as error:
                raise UnknownObjectError(f"{error}; sets are {', '.join((*SETS, QUICK))}") from None
            chosen.append(item)
    if not chosen:
        raise UdgError(f"no object in {text!r}; valid: {HELP}")
    if not absent:
        check_present(chosen)
    return list(dict.fromkeys(chosen))


def check_present(ids: Sequence[str]) -> None:
    """Raise SourceError, with the command that fetches them, if files of the objects' sources are missing.

    Raises UdgError for a mesh file that is not there: better before the work begins than in the midst of it.
    """
    for id in ids:
        path, at, _ = id.rpartition("@")
        if at and not user_path(path).is_file():
            raise UdgError(f"object {id!r}: {path} is no file")
    needed = {manifest()[id].source for id in ids if id in manifest()} - set(OWN)
    missing = [name for name in sources.NAMES if name in needed and not sources.is_present(name)]
    if missing:
        count = sum(id in manifest() and manifest()[id].source in missing for id in ids)
        raise SourceError(
            f"{count} of the {len(ids)} objects are from {' and '.join(missing)}, not on this machine; "
            f"`make objects FETCH={','.join(missing)}` fetches their sources"
        )


def _set_name(item: str) -> str:
    return item.partition(":")[0].partition("/")[0].strip()


def _set(item: str, library: ObjectLibrary) -> list[str]:
    """Ids of one set, the sizes in turn. Raises UdgError."""
    path, colon, count = (part.strip() for part in item.partition(":"))
    name, *narrowed = (part.strip() for part in path.split("/"))
    if colon and not (count.isascii() and count.isdecimal() and int(count) >= 1):
        raise UdgError(f"objects {item!r}: {count!r} is no number of objects; valid: {HELP}")
    if name == QUICK:
        name, narrowed = "all", [QUICK, *narrowed]
    unknown = [part for part in narrowed if part not in (*SIZES, QUICK)]
    if unknown:
        raise UdgError(f"objects {item!r}: unknown part {unknown[0]!r}; valid: {', '.join((*SIZES, QUICK))}")
    sizes = [part for part in narrowed if part in SIZES]
    if len(sizes) > 1:
        raise UdgError(f"objects {item!r}: at most one size; several sets: {name}/{sizes[0]},{name}/{sizes[1]}")
    number = int(count) if colon else 0
    by_size = [_ids(name, size, QUICK in narrowed, library, number) for size in (sizes or SIZES)]
    every = in_turn(by_size)
    if not every and name == "user":
        raise UdgError(f"objects {item!r}: none was added yet; `make objects ADD=folder` adds meshes")
    if not every:
        raise UdgError(f"objects {item!r}: there is none; valid: {HELP}")
    return every[:number] if colon else every


def _ids(name: str, size: str, quick: bool, library: ObjectLibrary, number: int) -> list[str]:
    """Ids of one size; of the compositions and flat things at least `number` a size."""
    if name in ("compositions", "flat"):
        several = (compositions if name == "compositions" else flats)(max(number * len(SIZES), COUNT))
        return [one.id for one in several if one.size_class == size and not quick]
    if name == "train+":
        usual, more = (_ids(of, size, quick, library, 0) for of in ("train", "compositions"))
        return evenly(usual, more)
    if name == "held_out":
        return library.ids(size=size, source=HELD_OUT, quick=quick)
    if name == "user":
        return library.ids(size=size, source="user", quick=quick)
    if name == "all":
        return library.ids(size=size, source=(*USUAL, *HELD_OUT), quick=quick)
    return library.ids(split=name, size=size, source=USUAL, quick=quick)


def evenly(one: Sequence[str], other: Sequence[str]) -> list[str]:
    """Both lists mixed so that any beginning has about the same share of each; each keeps its order."""
    places = [((k + 0.5) / len(names), id) for names in (one, other) for k, id in enumerate(names)]
    return [id for _, id in sorted(places, key=lambda place: place[0])]


def in_turn(groups: Sequence[Sequence[str]]) -> list[str]:
    """One of each group after the other, until all are used up."""
    pending = [list(reversed(group)) for group in groups if group]
    mixed: list[str] = []
    for group in cycle(pending):
        if group:
            mixed.append(group.pop())
        elif not any(pending):
            break
    return mixed
