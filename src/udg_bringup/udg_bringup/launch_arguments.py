"""Arguments of the launch files: misspelt ones are refused, those of an including file pass."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path

from udg_description.errors import UdgError

BOOLEANS = ["true", "false"]
"""Valid values of an argument that is on or off."""
PACKAGES = ("udg_bringup", "udg_sim")
"""Both install the folder of the launch files."""


class LaunchArgumentError(UdgError):
    """An argument that a launch file does not have."""


def check_arguments(given: Iterable[str], known: Sequence[str], *, included: bool) -> list[str]:
    """Warnings about arguments that may be misspelt. Raises LaunchArgumentError unless `included`.

    Included from another launch file, a file sees the arguments of that one, too: they are none of its business.
    """
    warnings = []
    for name in given:
        if name in known:
            continue
        close = difflib.get_close_matches(name, known, n=1)
        if not included:
            raise LaunchArgumentError(f"unknown argument {name}:=...; valid: {', '.join(close or known)}")
        if close:
            warnings.append(f"argument {name}:=... is not one of the included launch file; did you mean {close[0]}?")
    return warnings


def view_port(text: str) -> int:
    """The port of the view. Raises LaunchArgumentError."""
    if not text.isdecimal() or int(text) > 65535:
        raise LaunchArgumentError(f"argument view_port:={text}; valid: 0 (any free one) to 65535")
    return int(text)


def is_included(file: Path, packages: Sequence[str], command: Sequence[str]) -> bool:
    """Whether a launch file runs from another one: `ros2 launch` was given another file by `command` (sys.argv).

    `packages` are those that install the file. Without `ros2 launch` it runs from a program: included.
    """
    words = [word for word in command[1:] if ":=" not in word]
    if "launch" not in words:
        return True
    words = words[words.index("launch") + 1 :]
    for before, word in zip(["", *words], words, strict=False):
        path = Path(word)
        if path.name == file.name and (before in packages or (path.is_file() and path.samefile(file))):
            return False
    return True
