"""Which objects a command works on: splits, sizes, ids and mesh files as one text."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path

from udg_description.errors import UdgError
from udg_sim.objects import SIZES, ObjectLibrary

SPLITS = ("train", "test")
SOURCES = ("builtin", "generated")
"""Objects that need no download."""
HELP = (
    "comma-separated: ids, path.obj@<longest edge in m>, and sets: train or test, optionally /small, /medium or /large "
    "and :<how many> (train:300, test/large:20); sets take the sizes in turn"
)


def select_objects(text: str, library: ObjectLibrary) -> list[str]:
    """Object ids of a selection (see HELP), each once, in order. Raises UdgError for what is not known."""
    chosen: list[str] = []
    for item in (part.strip() for part in text.split(",")):
        if not item:
            continue
        if item.partition(":")[0].partition("/")[0] in SPLITS:
            chosen += _set(item, library)
        elif "@" in item or Path(item).suffix:
            chosen.append(item)
        else:
            library.get(item)  # raises, with what is near
            chosen.append(item)
    if not chosen:
        raise UdgError(f"no object in {text!r}; valid: {HELP}")
    return list(dict.fromkeys(chosen))


def _set(item: str, library: ObjectLibrary) -> list[str]:
    name, _, count = item.partition(":")
    split, _, size = name.partition("/")
    if count and (not count.isdecimal() or int(count) < 1):
        raise UdgError(f"object set {item!r}: {count!r} is no number of objects; valid: {HELP}")
    by_size = [library.ids(split=split, size=each, source=SOURCES) for each in ((size,) if size else SIZES)]
    every = in_turn(by_size)
    return every[: int(count)] if count else every


def in_turn(groups: list[list[str]]) -> list[str]:
    """One of each group after the other, until all are used up."""
    left = [list(reversed(group)) for group in groups if group]
    mixed: list[str] = []
    for group in cycle(left):
        if group:
            mixed.append(group.pop())
        elif not any(left):
            break
    return mixed
