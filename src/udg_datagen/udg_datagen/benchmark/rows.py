"""The table of a benchmark: one row a trial, in a CSV file that survives the death of its writer."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Iterable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

from udg_datagen.evaluation.policy import NOT_RUN
from udg_description.errors import UdgError
from udg_description.files import write_atomically

ROWS_NAME = "rows.csv"


class Key(NamedTuple):
    """What a trial is of."""

    policy: str
    object: str
    seed: int


@dataclass(frozen=True, kw_only=True)
class Row:
    """One trial."""

    policy: str
    object: str
    seen: str  # one of protocol.SEEN
    category: str
    size: str
    seed: int
    mass_kg: float
    success: bool
    cause: str  # trial_cause.Cause, one of policy.py or the policy's own; empty after a success
    phase: str  # the last of phases.PHASES that it got to; empty for none
    time_s: float  # simulated, until it was decided
    frames: int  # clouds that the policy looked at
    refused: int  # commands that the safety filter held back
    raised_m: float
    final_m: float
    x: float  # [m] where the object lay
    y: float
    note: str = ""  # what a policy that failed said

    @property
    def key(self) -> Key:
        """What it is of."""
        return Key(self.policy, self.object, self.seed)


NAMES = tuple(field.name for field in fields(Row))
_PARSE: dict[str, Any] = {"bool": lambda text: {"1": True, "0": False}[text], "int": int, "float": float, "str": str}


def to_line(row: Row) -> str:
    """The row as a line of the file."""
    out = io.StringIO()
    cells = [getattr(row, name) for name in NAMES]
    csv.writer(out, lineterminator="\n").writerow([int(cell) if isinstance(cell, bool) else cell for cell in cells])
    return out.getvalue()


def header() -> str:
    """The first line of the file."""
    return ",".join(NAMES) + "\n"


def parse(text: str, where: str = "rows") -> list[Row]:
    """Rows of a file's text; a last line that was cut short does not count. Raises UdgError for another file."""
    whole = text[: text.rfind("\n") + 1]
    if not whole.startswith(header()):
        raise UdgError(f"{where}: no rows of a benchmark; its first line must be {header().strip()}")
    found = []
    for number, cells in enumerate(csv.DictReader(io.StringIO(whole)), start=2):
        try:
            found.append(Row(**{field.name: _PARSE[str(field.type)](cells[field.name]) for field in fields(Row)}))
        except (KeyError, ValueError, TypeError) as error:
            raise UdgError(f"{where}:{number}: no row of a benchmark: {error!r}") from error
    return found


def read(path: Path) -> list[Row]:
    """Rows of a file. Raises UdgError."""
    try:
        return parse(path.read_text(encoding="utf-8"), str(path))
    except (OSError, UnicodeDecodeError) as error:
        raise UdgError(f"{path}: cannot be read: {error}") from error


def write(path: Path, rows: Iterable[Row]) -> None:
    """Write a file whole, rows in an order that does not depend on who was first."""
    write_atomically(path, header() + "".join(to_line(row) for row in sorted(rows, key=lambda row: row.key)))


class Rows:
    """The rows of a folder, to be added to: each is on the disk when `add` returns."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / ROWS_NAME
        earlier = read(self._path) if self._path.exists() else []
        self._rows = {row.key: row for row in earlier}
        write(self._path, self._rows.values())  # without what an interruption cut short
        self._file = os.open(self._path, os.O_WRONLY | os.O_APPEND)

    def __contains__(self, key: Key) -> bool:
        return key in self._rows and self._rows[key].cause != NOT_RUN

    def add(self, row: Row) -> None:
        """Append a row, by one call to the system unless the disk takes less."""
        line = to_line(row).encode()
        while line:
            line = line[os.write(self._file, line) :]
        self._rows[row.key] = row

    def finish(self) -> list[Row]:
        """All rows, which are put in order in the file too."""
        os.close(self._file)
        write(self._path, self._rows.values())
        return sorted(self._rows.values(), key=lambda row: row.key)
