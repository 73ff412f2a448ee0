"""Output folders that appear whole or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from udg_description.errors import UdgError


class OutputError(UdgError):
    """An output folder that can't be written."""


@contextmanager
def whole_folder(path: Path, marker: str) -> Iterator[Path]:
    """Give a temporary folder that becomes `path` when the block ends without an error, and vanishes otherwise.

    An older folder at `path` is replaced if it holds a file `marker` (so it is an earlier output) or nothing.
    Raises OutputError before the block if `path` is something else or can't be made.
    """
    if path.exists() and not (path.is_dir() and (not any(path.iterdir()) or (path / marker).is_file())):
        raise OutputError(f"output {path}: is there and is not an earlier output; valid: a new or an empty folder")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        work = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
    except OSError as error:
        raise OutputError(f"output {path}: {error.strerror}; valid: a folder that can be written") from error
    try:
        yield work
        if path.exists():
            shutil.rmtree(path)
        work.chmod(0o755)
        work.rename(path)
    finally:
        shutil.rmtree(work, ignore_errors=True)
