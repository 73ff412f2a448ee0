"""Waiting for what another process or a ROS graph does, where no event tells of it."""

from __future__ import annotations

import time
from collections.abc import Callable

LOOK_EVERY_S = 0.002


def wait_until(condition: Callable[[], bool], within_s: float, what: Callable[[], object] | str = "") -> None:
    """Wait until the condition holds. Raises TimeoutError after `within_s`, with `what` was waited for."""
    deadline_s = time.monotonic() + within_s
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(f"not within {within_s:g} s: {what() if callable(what) else what}")
        time.sleep(LOOK_EVERY_S)
