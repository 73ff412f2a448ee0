"""What control passes to a hand's process when it starts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from udg_description.layout import Side


@dataclass(frozen=True, kw_only=True)
class Start:
    """What `XHand` tells its new process."""

    side: Side
    descriptor: int  # of the shared memory
    parent: int  # process id
    arm: bool  # get ready at once
    config: dict[str, Any]
