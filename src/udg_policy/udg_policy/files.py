"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

TEMPORARY_PATTERN = ".*.tmp"  # what a killed process may leave behind


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file under a temporary name in its folder, flush it to the disk, then rename it.

    Raises OSError (disk full, no permission, ...); then nothing is left behind and an older file is as it was.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        with open(temporary, "xb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    _flush_folder(path.parent)


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder last through a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
