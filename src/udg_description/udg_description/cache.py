"""What is expensive to make and cheap to keep, in a folder that may be shared, read-only or absent.

The cache only saves time: where it cannot be read, things are made; where it cannot be written, that is said once and
the work continues.
"""

from __future__ import annotations

import os
import sys
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from udg_description.errors import explain
from udg_description.files import PathError, user_path, write_arrays

VARIABLE = "UDG_CACHE"
_SAID = "UDG_CACHE_NOTE_SAID"  # inherited by worker processes, so that one of them says it for all
_NOWHERE = Path("/dev/null/udg-cache")  # a folder that nobody can make


def cache_dir(*parts: str) -> Path:
    """Folder `$UDG_CACHE/<parts>`, or `~/.cache/udg/<parts>`. It need not be there, nor be writable."""
    root = os.environ.get(VARIABLE)
    if root:
        return user_path(root).joinpath(*parts)
    try:
        return (Path.home() / ".cache" / "udg").joinpath(*parts)
    except RuntimeError:  # neither HOME nor an entry in the list of users
        return _NOWHERE.joinpath(*parts)


def needed_cache_dir(*parts: str) -> Path:
    """The same folder, made, for what must be kept. Raises PathError with what to do."""
    folder = cache_dir(*parts)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise PathError(f"cache folder {explain(error, folder)}; {VARIABLE} names it") from error
    return folder


UNREADABLE = (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile, zlib.error)
"""What numpy.load and its result raise for an .npz that is absent or damaged."""


def cached_arrays(path: Path, make: Callable[[], dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """Arrays stored in the .npz at `path`; made, and stored where that is possible, if it is absent or unreadable."""
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except UNREADABLE:
        pass
    arrays = make()
    keep_arrays(path, arrays)
    return arrays


def keep_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> bool:
    """Store arrays in the cache; whether that was possible. If not, it is said once."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_arrays(path, arrays, durable=False)
    except OSError as error:
        say_once(error)
        return False
    return True


def say_once(error: OSError | PathError) -> None:
    """Tell that the cache cannot be written; once for a command and its workers."""
    if os.environ.get(_SAID):
        return
    os.environ[_SAID] = "1"
    folder = cache_dir()
    reason = explain(error, folder) if isinstance(error, OSError) else str(error)
    what = "folder: this user has no home folder" if folder == _NOWHERE else reason
    print(
        f"note: cache {what}. The work continues, nothing is kept; {VARIABLE}=<folder> names another cache",
        file=sys.stderr,
        flush=True,
    )


def say_if_not_writable() -> None:
    """Tell it before worker processes start, so that it is said once."""
    folder = cache_dir()
    while not folder.exists() and folder != folder.parent:
        folder = folder.parent
    if folder.is_dir() and os.access(folder, os.W_OK | os.X_OK):
        return
    try:
        cache_dir("probe").mkdir(parents=True)
        cache_dir("probe").rmdir()
    except OSError as error:
        say_once(error)
