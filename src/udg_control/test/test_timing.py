"""The rhythm of the cycle."""

from __future__ import annotations

import gc

from udg_control.timing import LoopTimer, keep_collections_short

PERIOD_NS = 10_000_000


class Clock:
    """A clock that sleeping moves on; each sleep may oversleep."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000_000
        self.oversleep_ns = 0

    def read(self) -> int:
        return self.now_ns

    def sleep(self, seconds: float) -> None:
        self.now_ns += round(seconds * 1e9) + self.oversleep_ns
        self.oversleep_ns = 0


def started() -> tuple[Clock, LoopTimer]:
    clock = Clock()
    timer = LoopTimer(0.01, clock.read, clock.sleep)
    timer.start()
    return clock, timer


def test_it_wakes_at_multiples_of_the_period_whatever_the_work_takes() -> None:
    clock, timer = started()
    due = []
    for work_ns in (0, 3_000_000, 9_000_000, 1_000_000):
        due.append(timer.wait())
        clock.now_ns += work_ns
    assert [time_ns - due[0] for time_ns in due] == [0, PERIOD_NS, 2 * PERIOD_NS, 3 * PERIOD_NS]
    assert timer.missed == 0


def test_a_wake_that_is_missed_is_left_out_and_counted() -> None:
    clock, timer = started()
    first = timer.wait()
    clock.now_ns += 35_000_000
    assert timer.wait() - first == 3 * PERIOD_NS
    assert timer.missed == 2
    assert timer.wait() - first == 4 * PERIOD_NS


def test_the_report_is_about_the_time_since_the_last_one() -> None:
    clock, timer = started()
    timer.wait()
    clock.now_ns += 25_000_000
    timer.wait()
    report = timer.take()
    assert (report["cycles"], report["missed"]) == (2, 1)
    assert float(report["late_ms_p99"]) > 4.0
    assert timer.take()["cycles"] == 0


def test_a_late_wake_is_measured() -> None:
    clock, timer = started()
    timer.wait()
    clock.oversleep_ns = 4_000_000
    timer.wait()
    assert float(timer.take()["late_ms_p99"]) > 3.9


def test_what_is_in_memory_is_not_collected_again() -> None:
    gc.unfreeze()
    try:
        before = len(gc.get_objects())
        keep_collections_short()
        assert len(gc.get_objects()) < 0.01 * before
    finally:
        gc.unfreeze()
