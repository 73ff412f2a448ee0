"""What the factory's workers are asked for, and what they give."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from udg_description.names import safe_name


@dataclass(frozen=True)
class Task:
    """One attempt."""

    object: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its files: letters, digits, - and _; of no other task."""
        return f"{safe_name(self.object).replace('_', '-')}_{self.seed:06d}"


@dataclass(frozen=True)
class Preparation:
    """The grasps of one resting pose of an object."""

    object: str
    pose: int


@dataclass(frozen=True, kw_only=True)
class Made:
    """What a worker made of a task: the account, and the file of the episode if there is one."""

    account: dict[str, Any]
    episode: bytes | None = None


def mesh_digest(object_id: str) -> str:
    """Hash of the file of an object that is given as path.obj@size: the path alone does not tell what is in it.

    Empty for objects of the library, and where the file cannot be read (the attempt says why).
    """
    path, at, _ = object_id.rpartition("@")
    try:
        return hashlib.sha256(Path(path).expanduser().read_bytes()).hexdigest()[:16] if at else ""
    except (OSError, RuntimeError):
        return ""


def tasks_of(objects: Sequence[str], attempts: int, seed: int) -> list[Task]:
    """Attempts spread evenly over the objects: every object once with the first seed, then with the next, ..."""
    return [Task(objects[k % len(objects)], seed + k // len(objects)) for k in range(attempts)]
