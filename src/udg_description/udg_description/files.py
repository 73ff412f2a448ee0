"""Files and folders that appear whole or not at all, and what to say when they cannot be written."""

from __future__ import annotations

import errno
import fcntl
import io
import os
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import numpy as np

from udg_description.errors import UdgError, explain

TEMPORARY_PATTERN = ".*.tmp*"
"""Names that a killed process may leave behind."""
_PROBE_BYTES = 1 << 16


class PathError(UdgError):
    """A path of the user's that cannot be read, written or replaced."""


def user_path(text: str) -> Path:
    """A path as a user writes it, `~` expanded: the `type` of options. Raises PathError."""
    try:
        path = Path(text).expanduser()
    except RuntimeError as error:
        raise PathError(f"{text}: this user has no home folder (HOME is not set); give a full path") from error
    if "\0" in text:
        raise PathError(f"{text!r}: a path cannot hold a zero character")
    return path


def optional_path(text: str) -> str:
    """The text of a `user_path`; "" stays "", where that means a default. Raises PathError."""
    return str(user_path(text)) if text else ""


# --- before the work begins -----------------------------------------------------------------------------------------


def check_folder(folder: Path) -> Path:
    """Make sure, before the work begins, that files can be written into a folder, or that it can be made.

    Nothing is left by that. Raises PathError: not permitted, read-only, a file in its place, a full disk.
    """
    made = [parent for parent in (folder, *folder.parents) if not os.path.lexists(parent)]
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = _temporary(folder / "probe")
        try:
            with open(probe, "xb") as stream:
                stream.write(bytes(_PROBE_BYTES))
        finally:
            probe.unlink(missing_ok=True)
    except OSError as error:
        raise PathError(explain(error, folder)) from error
    finally:
        for parent in made:
            with suppress(OSError):  # not made, or another process has put something into it
                parent.rmdir()
    return folder


@contextmanager
def one_writer(folder: Path) -> Iterator[None]:
    """Keep other runs on this machine out of a folder while this one writes there; made, and gone again if left empty.

    The folder itself is locked, so nothing lies in it, and the lock goes with the process and those it has forked.
    Raises PathError where another run has it. A file system without locks keeps nobody out.
    """
    is_new = not folder.exists()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise PathError(explain(error, folder)) from error
    try:
        _lock(handle, folder)
        try:
            yield
        finally:
            if is_new:
                with suppress(OSError):  # not empty
                    folder.rmdir()
    finally:
        os.close(handle)


def _lock(handle: int, folder: Path) -> None:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in (errno.EWOULDBLOCK, errno.EACCES):
            remedy = "wait until it ends, or give another folder"
            raise PathError(f"{folder}: another run is writing there; {remedy}") from error


def check_file(path: Path, force: bool = False) -> Path:
    """Make sure that a new file can be written. Raises PathError, also where it is there already without `force`."""
    if path.is_dir():
        raise PathError(f"{path}: is a folder; a file is needed")
    if path.exists() and not force:
        raise PathError(f"{path}: is there already; give another name, or --force to replace it")
    check_folder(path.parent)
    return path


def next_free(path: Path, *suffixes: str) -> Path:
    """`path`, or the first of path-2, path-3, ... that is not there (or is an empty folder).

    With suffixes `path` is the beginning of files that belong together: none of them may be there. Raises PathError for
    a folder where a file is in its place.
    """
    if not suffixes and path.exists() and not path.is_dir():
        raise PathError(f"{path}: a file is in the place of a folder; give another one")
    number = 1
    candidate = path
    while any(_taken(candidate.with_name(candidate.name + suffix)) for suffix in suffixes or ("",)):
        number += 1
        candidate = path.with_name(f"{path.name}-{number}")
    return candidate


def _taken(path: Path) -> bool:
    try:
        return os.path.lexists(path) and not (path.is_dir() and not any(path.iterdir()))
    except OSError:
        return True


# --- whole or not at all --------------------------------------------------------------------------------------------


def _temporary(path: Path, suffix: str = "") -> Path:
    """A new name beside `path`, never longer than is allowed."""
    return path.with_name(f".{path.name[:30]}.{secrets.token_hex(4)}.tmp{suffix}")


def write_atomically(path: Path, data: bytes | str, *, durable: bool = True) -> None:
    """Write a file under a temporary name in its folder, then rename it; its mode follows the umask.

    durable: flushed to the disk first, so that it outlasts a power failure. Raises OSError with the path's name (disk
    full, not permitted, ...); then nothing remains and an older file is as it was.
    """
    temporary = _temporary(path)
    try:
        _write_new(temporary, data.encode() if isinstance(data, str) else data, durable)
        os.replace(temporary, path)
    except OSError as error:
        raise _named(error, path) from error
    finally:
        _remove(temporary)
    if durable:
        _flush_folder(path.parent)


def _write_new(path: Path, data: bytes, durable: bool) -> None:
    with open(path, "xb") as stream:
        stream.write(data)
        stream.flush()
        if durable:
            os.fsync(stream.fileno())


def write_together(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write files of one folder: all are on the disk under temporary names before the first is renamed.

    So what was there stays whole unless the machine stops between two renames. Raises OSError with the path's name.
    """
    temporary = {folder / name: _temporary(folder / name) for name in files}
    path = folder
    try:
        for path, data in zip(temporary, files.values(), strict=True):
            _write_new(temporary[path], data, durable=True)
        for path, written in temporary.items():
            os.replace(written, path)
    except OSError as error:
        raise _named(error, path) from error
    finally:
        for written in temporary.values():
            _remove(written)
    _flush_folder(folder)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray], *, durable: bool = True) -> None:
    """Write a compressed .npz atomically (the name is kept as given); see `write_atomically`."""
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **dict(arrays))  # type: ignore[arg-type]  # numpy's stub knows allow_pickle alone
    write_atomically(path, buffer.getvalue(), durable=durable)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`, of its suffix, for writers that take a name: renamed to `path` when all is well.

    The folder is made. Raises OSError with the path's name; then nothing remains.
    """
    temporary = _temporary(path, path.suffix)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(exist_ok=False)  # its mode follows the umask, whoever writes it
        yield temporary
        os.replace(temporary, path)
    except OSError as error:
        raise _named(error, path) from error
    finally:
        _remove(temporary)


@contextmanager
def whole_folder(path: Path, *, replace: str = "") -> Iterator[Path]:
    """A temporary folder that becomes `path` when the block ends without an error, and vanishes otherwise.

    `path` must be absent or empty (it may be where a disk is mounted); with `replace`, the name of a file that marks an
    earlier output, a folder that holds such a file is replaced. Raises PathError before the block for anything else
    there, or if it cannot be made, and OSError at the end if another process has made it meanwhile.
    """
    if _taken(path) and not (replace and (path / replace).is_file()):
        remedy = "give a new or an empty folder"
        raise PathError(
            f"{path}: is there and is not an earlier output; {remedy}"
            if replace
            else f"{path}: is there already; {remedy}"
        )
    check_folder(path if path.exists() else path.parent)
    mounted = path.is_dir() and os.path.ismount(path)  # cannot be renamed, nor what is beside it be moved there
    work = _temporary(path / path.name if mounted else path)
    try:
        work.mkdir(parents=True)
        yield work
        if mounted:
            for child in work.iterdir():
                os.replace(child, path / child.name)
        else:
            _put_in_place(work, path, bool(replace))
    except OSError as error:
        raise _named(error, path) from error
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _put_in_place(work: Path, path: Path, replace: bool) -> None:
    old = _temporary(path)
    if replace and path.exists():
        os.rename(path, old)
    try:
        os.rename(work, path)
    except OSError:
        if old.exists():
            os.rename(old, path)
        raise
    shutil.rmtree(old, ignore_errors=True)


def _named(error: OSError, path: Path) -> OSError:
    """The error with the name that the user knows, in place of none or of a temporary one."""
    named = error.filename is not None and ".tmp" not in os.path.basename(os.fsdecode(error.filename))
    return error if named or error.errno is None else OSError(error.errno, error.strerror, str(path))


def _remove(path: Path) -> None:
    try:
        path.unlink(missing_ok=True)
    except OSError:
        return  # its folder cannot be read either: the first error tells


def _flush_folder(folder: Path) -> None:
    """Make a rename in the folder last through a power failure."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
