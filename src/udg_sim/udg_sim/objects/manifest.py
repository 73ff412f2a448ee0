"""The committed list of all objects: what each is, where it comes from, how large, under which licence.

One row an object (CSV): lengths in metres, mass in kg, `key` the hash of the prepared mesh. The meshes of other
people are not in the repository: `source` and `path` say where they are read.
"""

import csv
import io
from collections.abc import Iterable
from dataclasses import dataclass, fields
from functools import cache
from importlib import resources
from pathlib import Path

from udg_description.errors import UdgError
from udg_description.files import write_atomically

FILE = "objects.csv"


@dataclass(frozen=True, kw_only=True)
class Record:
    """One object of the library."""

    id: str
    source: str
    category: str
    seen: bool  # whether training objects have this category
    split: str  # "train" | "test"
    size_class: str  # "small" | "medium" | "large"
    quick: bool  # in the balanced subset for daily measurement
    longest_edge_m: float
    volume_m3: float
    mass_kg: float
    licence: str
    author: str
    path: str  # "archive:path in it"; "" for our own
    key: str  # hash of the prepared mesh, as ObjectModel.key

    def __post_init__(self) -> None:
        if self.split not in ("train", "test") or self.size_class not in ("small", "medium", "large"):
            raise UdgError(f"object manifest: {self.id}: split {self.split!r} or size {self.size_class!r} is unknown")
        if not (0 < self.longest_edge_m < 1 and 0 < self.mass_kg <= 2 and self.volume_m3 > 0):
            raise UdgError(f"object manifest: {self.id}: longest edge, volume and mass must be > 0 and plausible")


def parse(text: str) -> dict[str, Record]:
    """The records of a manifest by id, in its order. Raises UdgError."""
    names = [field.name for field in fields(Record)]
    reader = csv.DictReader(io.StringIO(text))
    if reader.fieldnames != names:
        raise UdgError(f"object manifest: columns {reader.fieldnames}; valid: {names}")
    found = {}
    for row in reader:
        values: dict[str, object] = dict(row)
        try:
            values |= {name: row[name] == "1" for name in ("seen", "quick")}
            values |= {name: float(row[name]) for name in ("longest_edge_m", "volume_m3", "mass_kg")}
        except (TypeError, ValueError) as error:
            raise UdgError(f"object manifest: row {row.get('id')}: {error}") from error
        found[str(row["id"])] = Record(**values)  # type: ignore[arg-type]
    return found


def text(records: Iterable[Record]) -> str:
    """The manifest of the records."""
    out = io.StringIO()
    names = [field.name for field in fields(Record)]
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(names)
    for record in records:
        cells = [getattr(record, name) for name in names]
        writer.writerow([int(c) if isinstance(c, bool) else f"{c:.5g}" if isinstance(c, float) else c for c in cells])
    return out.getvalue()


@cache
def manifest() -> dict[str, Record]:
    """The records of the manifest that comes with this package, by id."""
    return parse((resources.files("udg_sim") / "data" / FILE).read_text(encoding="utf-8"))


def write(path: Path, records: Iterable[Record]) -> None:
    """Write a manifest, atomically."""
    write_atomically(path, text(records))
