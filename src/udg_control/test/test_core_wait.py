"""Time that a thread waited for a core."""

from __future__ import annotations

import os
import threading
import time

import pytest

from udg_control.core_wait import CoreWait, waited_ns

COUNTED = os.path.exists("/proc/thread-self/schedstat")


@pytest.mark.parametrize(("text", "waited"), [(b"500 70 3\n", 70), (b"", 0), (b"500", 0)])
def test_the_wait_is_the_second_count(text: bytes, waited: int) -> None:
    assert waited_ns(text) == waited


@pytest.mark.parametrize(
    ("from_ns", "to_ns", "longest_ns"), [(0, 100, 40), (0, 9, 0), (10, 20, 7), (12, 18, 7), (19, 21, 40), (30, 40, 0)]
)
def test_the_longest_wait_between_two_notes_that_touch_the_span(from_ns: int, to_ns: int, longest_ns: int) -> None:
    waits = CoreWait(newest=10)
    for now_ns, count in [(10, 100), (20, 107), (30, 147)]:
        waits.note(now_ns, b"9 %d 1" % count)
    assert waits.longest_s(from_ns, to_ns) == pytest.approx(1e-9 * longest_ns)
    waits.close()
    waits.close()


def test_nothing_noted_is_no_wait_and_old_notes_go() -> None:
    waits = CoreWait(newest=2)
    assert waits.longest_s(0, 100) == 0.0
    for now_ns, count in [(10, 100), (20, 150), (30, 157)]:
        waits.note(now_ns, b"9 %d 1" % count)
    assert waits.longest_s(0, 100) == pytest.approx(7e-9)
    waits.close()


@pytest.mark.skipif(not COUNTED, reason="this kernel does not count waits")
def test_a_thread_that_shares_its_core_with_one_that_computes_waits_for_it() -> None:
    core = min(os.sched_getaffinity(0))
    found: list[float] = []
    child = os.fork()
    if child == 0:  # computes on that core until it is killed
        os.sched_setaffinity(0, {core})
        while True:
            pass
    try:

        def share() -> None:
            os.sched_setaffinity(0, {core})  # of this thread
            waits = CoreWait(newest=2)
            began_ns = time.monotonic_ns()
            waits.note(began_ns)
            while time.thread_time() < 0.1:
                pass
            waits.note(time.monotonic_ns())
            found.append(waits.longest_s(began_ns, time.monotonic_ns()))
            waits.close()

        thread = threading.Thread(target=share)
        thread.start()
        thread.join()
    finally:
        os.kill(child, 9)
        os.waitpid(child, 0)
    assert found[0] > 0.02  # two that share a core evenly: about 0.1 s
