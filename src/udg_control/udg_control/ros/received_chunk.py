"""An action chunk as a message brought it: what both control nodes read from /action_chunk."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from trajectory_msgs.msg import JointTrajectory

from udg_control.safety import Reason
from udg_control.streams import Source
from udg_description.errors import UdgError
from udg_description.ros import convert


@dataclass(frozen=True, kw_only=True)
class ReceivedChunk:
    """The chunk, or why it could not be read."""

    source: Source
    stamp_ns: int  # by the publisher's clock
    empty: bool  # "nothing to do"
    points: np.ndarray | None = None  # (K, 36) [rad]
    reason: Reason | None = None  # set exactly where `points` is None
    detail: str = ""


def read_chunk(message: JointTrajectory, publisher: int, step_s: float) -> ReceivedChunk:
    """The chunk of `message`, whose points must be `step_s` [s] apart.

    `publisher` tells streams apart that name no run.
    """
    run = message.header.frame_id
    source = Source(run) if run else Source(publisher=publisher)
    stamp_ns, empty = convert.stamp_to_ns(message.header.stamp), not message.points
    try:
        points = convert.trajectory_to_chunk(message, step_s)
    except convert.JointNamesError as error:
        return ReceivedChunk(
            source=source, stamp_ns=stamp_ns, empty=empty, reason=Reason.JOINT_NAMES, detail=str(error)
        )
    except UdgError as error:
        return ReceivedChunk(source=source, stamp_ns=stamp_ns, empty=empty, reason=Reason.BAD_CHUNK, detail=str(error))
    return ReceivedChunk(source=source, stamp_ns=stamp_ns, empty=empty, points=points)
