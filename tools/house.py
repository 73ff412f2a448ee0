"""The house in numbers and as a picture, from its imports: `python tools/house.py [--root CHECKOUT] [--svg FILE]`.

A room is a folder of a package; a module that lies beside the rooms is a room by itself. An arrow is an import from
one room to another, those for annotations alone (under TYPE_CHECKING) excluded. A circle is a set of modules that
import one another.
"""

from __future__ import annotations

import argparse
import ast
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from house_picture import FLOORS, picture

Arrows = dict[str, set[str]]


class Basic(NamedTuple):
    """Something that should stand once, or seldom: what it is, and the text that shows one more of it."""

    what: str
    pattern: str


BASICS = (
    Basic("names for 1e9 ns a second", r"^_?NS\w* = (1_?000_?000_?000|1e9|10\*\*9)"),
    Basic("$UDG_CACHE looked up", r"[\"']UDG_CACHE[\"']"),
    Basic("files synchronised to disk", r"\bos\.fsync\("),
    Basic("gravity as a number", r"\b9\.81\b"),
    Basic("Wilson's z as a number", r"\b1\.96(0|\b)"),
    Basic("options by hand (add_argument)", r"\.add_argument\("),
    Basic("ValueError raised", r"\braise ValueError\("),
    Basic("_require defined", r"\bdef _require\("),
    Basic("settings of several lines", r"field\($|metadata=\{\"description\""),
    Basic("lines kept from the formatter", r"# fmt: (skip|off)"),
)


def modules(root: Path) -> dict[str, Path]:
    """The modules of all packages below root/src by their dotted name, without the folders' __init__."""
    found = {}
    for package in (name for floor in FLOORS for name in floor):
        base = root / "src" / package
        for path in sorted((base / package).rglob("*.py")):
            if path.name != "__init__.py":
                found[".".join(path.relative_to(base).with_suffix("").parts)] = path
    return found


def room_of(module: str) -> str:
    """The room that a module lies in: its folder below the package, or itself."""
    parts = module.split(".")
    return ".".join(parts[:2])


def _imports(tree: ast.AST) -> Iterator[str]:
    """The dotted names that a module imports when it runs, also those inside functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.dump(node.test):
            for other in node.orelse:
                yield from _imports(other)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        else:
            yield from _imports(node)


def module_arrows(files: Mapping[str, Path]) -> Arrows:
    """Module by module, the modules of ours that it imports; of what a folder passes on, those where it is defined."""
    handed = {
        ".".join(name.split(".")[:-1]): path.parent / "__init__.py" for name, path in files.items() if "." in name
    }
    faces = {
        folder: list(_imports(ast.parse(path.read_text(encoding="utf-8"))))
        for folder, path in handed.items()
        if path.is_file()
    }

    def resolve(name: str, seen: frozenset[str] = frozenset()) -> Iterator[str]:
        parts = name.split(".")
        for length in range(len(parts), 1, -1):
            start = ".".join(parts[:length])
            if start in files:
                yield start
                return
        folder, _, what = name.rpartition(".")
        for imported in faces.get(folder, ()):
            if imported.rpartition(".")[2] == what and imported not in seen:
                yield from resolve(imported, seen | {imported})

    arrows: Arrows = {}
    for name, path in files.items():
        targets = {t for i in _imports(ast.parse(path.read_text(encoding="utf-8"))) for t in resolve(i)}
        arrows[name] = targets - {name}
    return arrows


def room_arrows(arrows: Arrows) -> Arrows:
    """The arrows between rooms."""
    found: Arrows = {room_of(name): set() for name in arrows}
    for name, targets in arrows.items():
        found[room_of(name)] |= {room_of(target) for target in targets} - {room_of(name)}
    return found


def circles(arrows: Arrows) -> list[list[str]]:
    """The sets of nodes that reach one another (Tarjan's strongly connected components of two and more)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in sorted(arrows.get(node, ())):
            if target not in index:
                visit(target)
            if target in stack:
                low[node] = min(low[node], low[target])
        if low[node] == index[node]:
            group = stack[stack.index(node) :]
            del stack[-len(group) :]
            if len(group) > 1:
                found.append(sorted(group))

    for node in sorted(arrows):
        if node not in index:
            visit(node)
    return found


def literals(source: str, value: int) -> int:
    """How often a module has this number, texts and comments omitted."""
    nodes = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Constant))
    return sum(type(node.value) is int and node.value == value for node in nodes)


def atomic_writes(source: str) -> int:
    """How many files a module puts in place itself: os.replace, os.rename, Path.replace, Path.rename."""
    calls = (node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call))
    count = 0
    for call in calls:
        if isinstance(call.func, ast.Attribute) and call.func.attr in ("replace", "rename") and not call.keywords:
            of_os = isinstance(call.func.value, ast.Name) and call.func.value.id == "os"
            count += len(call.args) == (2 if of_os else 1)
    return count


def constants(source: str) -> set[tuple[str, str]]:
    """Name, without leading underscores, and value of a module's constants whose values are literals.

    Those that are 0 or 1 say nothing and are left out, type variables too.
    """
    found = set()
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        for target in targets:
            if not isinstance(target, ast.Name) or not target.id.isupper() or value is None:
                continue
            numbers = [part.value for part in ast.walk(value) if isinstance(part, ast.Constant)]
            if numbers and numbers not in ([0], [1]) and "TypeVar" not in ast.dump(value):
                found.add((target.id.lstrip("_"), ast.unparse(value)))
    return found


def constants_again(sources: Iterable[str]) -> tuple[int, int]:
    """Constants whose name and value stand in more than one module: how many, and the most modules of one."""
    times = Counter(one for source in sources for one in constants(source))
    again = [count for count in times.values() if count > 1]
    return len(again), max(again, default=0)


def basics(files: Mapping[str, Path]) -> dict[str, tuple[int, int]]:
    """By what is repeated: how often, and in how many modules."""
    texts = [path.read_text(encoding="utf-8") for path in files.values()]
    counts = {
        "files put in place by hand": [atomic_writes(text) for text in texts],
        "36 as a number": [literals(text, 36) for text in texts],
    }
    for basic in BASICS:
        counts[basic.what] = [len(re.findall(basic.pattern, text, re.MULTILINE)) for text in texts]
    found = {what: (sum(each), sum(map(bool, each))) for what, each in counts.items()}
    return {**found, "constants of one name and value in several modules, most modules of one": constants_again(texts)}


def report(root: Path) -> str:
    """All numbers as a text."""
    files = modules(root)
    arrows = module_arrows(files)
    rooms = room_arrows(arrows)
    folders = Counter(name.rpartition(".")[0] for name in files)
    lines = [f"{len(files)} modules in {len(folders)} folders; the fullest:"]
    lines += [f"  {count:3d}  {folder}" for folder, count in folders.most_common(12)]
    lines.append("a package: modules beside its rooms, rooms, arrows between them")
    for package in (name for floor in FLOORS for name in floor):
        own = [room for room in rooms if room.split(".")[0] == package]
        beside = sum(room in files for room in own)
        inner = sum(target.split(".")[0] == package for room in own for target in rooms[room])
        lines.append(f"  {package:16s} {beside:3d} {len(own) - beside:3d} {inner:4d}")
    for what, found in (("modules", circles(arrows)), ("rooms", circles(rooms))):
        lines.append(f"circles of {what}: {len(found)}")
        lines += [f"  {' '.join(circle)}" for circle in found]
    lines.append("repeated: how often, in how many modules")
    lines += [f"  {count:4d} {places:4d}  {what}" for what, (count, places) in basics(files).items()]
    return "\n".join(lines)


def main() -> None:
    """Print the numbers; with --svg draw the picture too."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--root", type=Path, default=Path(__file__).resolve().parent.parent, help="a checkout")
    parser.add_argument("--svg", type=Path, help="picture to write")
    arguments = parser.parse_args()
    print(report(arguments.root))
    if arguments.svg is not None:
        files = modules(arguments.root)
        arguments.svg.write_text(picture(files, room_arrows(module_arrows(files))), encoding="utf-8")


if __name__ == "__main__":
    main()
