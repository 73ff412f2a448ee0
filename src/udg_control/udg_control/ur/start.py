"""What control passes to an arm's process when it starts it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, kw_only=True)
class Start:
    """What `UrArm` tells its new process."""

    side: str
    descriptor: int  # of the shared memory
    parent: int  # process id
    arm: bool  # get ready at once
    seen_controller_s: float  # the controller's clock when it was last seen, below 0: never
    seen_ns: int
    config: dict[str, Any]
    partner_serial_number: str = ""  # configured one of the other arm, to tell swapped addresses
