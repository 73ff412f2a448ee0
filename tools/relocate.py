"""Let the Python scripts of some folders start this Python, wherever they were made and whatever its path is.

    .venv/bin/python tools/relocate.py FOLDER ...

A script names its Python in the first line, in full: after a checkout has been moved that is another place, and a path
with a space is cut at it. So the shell is named there, which takes any path.
"""

from __future__ import annotations

import shlex
import sys
from pathlib import Path

_SHELL = b"#!/bin/sh\n'''exec' "


def relocate(script: Path, python: str) -> bool:
    """Rewrite the beginning of a script; whether it was one of Python and named another one."""
    try:
        text = script.read_bytes()
    except OSError:
        return False
    if not text.startswith(b"#!"):
        return False
    first, _, body = text.partition(b"\n")
    if text.startswith(_SHELL):
        body = text.split(b"\n", 3)[3]
    elif b"python" not in first.rpartition(b"/")[2]:
        return False
    head = _SHELL + f"{shlex.quote(python)} \"$0\" \"$@\"\n' '''\n".encode()
    if text == head + body:
        return False
    mode = script.stat().st_mode
    new = script.with_name(f".{script.name}.new")
    new.write_bytes(head + body)
    new.chmod(mode)
    new.replace(script)
    return True


def main(folders: list[str]) -> None:
    """Go through the files of each folder."""
    python = str(Path(sys.prefix).resolve() / "bin" / "python")  # not through a link that may go
    for folder in folders:
        for script in sorted(Path(folder).iterdir()):
            if script.is_file() and not script.is_symlink():
                relocate(script, python)


if __name__ == "__main__":
    main(sys.argv[1:])
