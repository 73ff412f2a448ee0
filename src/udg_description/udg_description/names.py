"""File names made from other names: of objects, of mesh files, of tasks."""

from __future__ import annotations

import hashlib
import re
import unicodedata

_PLAIN = re.compile(r"[a-z0-9]+(_[a-z0-9]+)*")
_READABLE = 40  # characters of a name that are kept for the reader
_DIGITS = 8  # of the hash


def safe_name(text: str) -> str:
    """A file name (lower-case ASCII letters, digits, - and _) that no other text has.

    A name like an id of the library (`mug_005`) stays as it is. Of any other one the last part of the path is kept as
    far as it can be read, followed by `--` and a hash of the whole text: `a/My cup.obj@0.1` and `b/My cup.obj@0.1`
    differ, and so do `Cup` and `cup` where the file system takes them for the same.
    """
    if _PLAIN.fullmatch(text) and len(text) <= 2 * _READABLE:
        return text
    last = re.split(r"[/\\]", text.rstrip("/\\"))[-1]
    ascii_only = unicodedata.normalize("NFKD", last).encode("ascii", "ignore").decode().lower()
    readable = re.sub(r"[^a-z0-9]+", "-", ascii_only)[:_READABLE].strip("-")
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGITS]
    return f"{readable or 'x'}--{digest}"
