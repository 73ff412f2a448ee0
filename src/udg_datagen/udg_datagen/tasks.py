"""What the factory's workers are asked for, and what they give."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Task:
    """One attempt."""

    object: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its files: letters, digits, - and _."""
        safe = "".join(c if c.isascii() and c.isalnum() else "-" for c in self.object)
        return f"{safe}_{self.seed:06d}"


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


def tasks_of(objects: Sequence[str], attempts: int, seed: int) -> list[Task]:
    """Attempts spread evenly over the objects: every object once with the first seed, then with the next, ..."""
    return [Task(objects[k % len(objects)], seed + k // len(objects)) for k in range(attempts)]
