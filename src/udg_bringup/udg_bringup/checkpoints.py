"""Which checkpoint runs: the requested or the shipped one."""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path

from udg_description.errors import UdgError

SHIPPED = ("data", "edge")  # folder in udg_policy


class NoCheckpointError(UdgError):
    """No checkpoint was named and none is shipped."""


def checkpoint_folder(asked: str | Path | None) -> Path:
    """The folder that was asked for, by default the shipped one. Its content is judged where it is loaded."""
    if asked:
        return Path(asked)
    shipped = Path(str(files("udg_policy"))).joinpath(*SHIPPED)
    if not shipped.is_dir():
        raise NoCheckpointError(f"no checkpoint is shipped in {shipped}; name the folder of one")
    return shipped
