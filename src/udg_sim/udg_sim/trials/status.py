"""What the sim node reports about the running trial, as JSON on /sim/trial_status."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, field

MAY_BE_UNKNOWN = ("image_sent_s", "tick_ms")


@dataclass(frozen=True, kw_only=True)
class TrialStatus:
    """State of one trial at one tick."""

    object: str  # library id or file specification
    seed: int
    trial: int
    start_s: float  # simulated time at which the trial began
    time_s: float  # since the start
    object_z_m: float  # height of the object's centre of mass in world
    raised_m: float  # above its place at the start
    success: bool
    done: bool  # success, fallen from the table or time over: in lockstep the world then stands still
    q: list[float]  # (36,) measured [rad]
    T_world_object: list[list[float]]  # (4, 4)
    image_sent_s: float  # monotonic clock at which the depth images of this time left, NaN without images
    tick_ms: float  # images -> command of the previous tick, NaN before the first one
    contacts: list[list[float]] = field(default_factory=list)  # of hands and object: x, y, z [m, world], force [N]

    def to_json(self) -> str:
        """One line of JSON; a time that is not known becomes null."""
        record = asdict(self)
        for name in MAY_BE_UNKNOWN:
            record[name] = None if math.isnan(record[name]) else record[name]
        return json.dumps(record)

    @classmethod
    def from_json(cls, text: str) -> TrialStatus:
        """Read what `to_json` wrote."""
        record = json.loads(text)
        for name in MAY_BE_UNKNOWN:
            record[name] = math.nan if record[name] is None else record[name]
        return cls(**record)
