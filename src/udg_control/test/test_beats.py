"""Beats tell a busy machine from a slow program."""

from __future__ import annotations

import os
import signal
import time

import numpy as np
import pytest

from udg_control.beats import Beats, BeatsError, latest_s

MS = 1_000_000


@pytest.mark.parametrize(
    ("from_ms", "to_ms", "late_s"),
    [(0, 50, 0.0), (0, 110, 0.02), (115, 116, 0.02), (120, 200, 0.0), (0, 1000, 0.03), (301, 302, 0.03)],
)
def test_a_late_beat_counts_where_it_was_waited_for(from_ms: int, to_ms: int, late_s: float) -> None:
    due, came = np.array([100, 300]) * MS, np.array([120, 330]) * MS
    assert latest_s(due, came, from_ms * MS, to_ms * MS) == late_s


def test_a_process_that_is_kept_from_running_is_noticed() -> None:
    with Beats() as beats:
        before_ns = time.monotonic_ns()
        os.kill(beats.process.pid, signal.SIGSTOP)
        stopped_ns = time.monotonic_ns()
        while time.monotonic_ns() < stopped_ns + 100 * MS:
            pass
        os.kill(beats.process.pid, signal.SIGCONT)
        now_ns = time.monotonic_ns()
        assert beats.latest_s(before_ns, now_ns) > 0.09
        assert beats.latest_s(before_ns - 2000 * MS, before_ns - 1000 * MS) == 0.0  # before it began


def test_beats_that_have_ended_are_no_sign_of_an_idle_machine() -> None:
    with Beats() as beats:
        beats.process.kill()
        beats.process.wait()
        with pytest.raises(BeatsError):
            beats.latest_s(0, time.monotonic_ns())
