"""Test settings of the whole repository."""

from __future__ import annotations

import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from _pytest.runner import runtestprotocol
from hypothesis import settings

ATTEMPTS = int(os.environ.get("UDG_TEST_ATTEMPTS", "4"))  # of a test in real time
LONGEST_S = 120.0  # of all attempts but the last
BEAT_S, LATE_S = 0.005, 0.05


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start, also where the tests run in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("same_each_time", derandomize=True, database=None, deadline=None)
    settings.load_profile("same_each_time")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests with ROS or in real time in one process of pytest-xdist.

    So no two of them meet in a ROS domain, or fight for the cores with their streams of 500 Hz.
    """
    for item in items:
        if needs_the_machine(item):
            item.add_marker(pytest.mark.xdist_group("one_at_a_time"))


def needs_the_machine(item: pytest.Item) -> bool:
    """Whether a test runs processes in real time, or a ROS graph."""
    return item.get_closest_marker("ros") is not None or item.get_closest_marker("real_time") is not None


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Try a test in real time again, with everything set up anew, if it failed while the machine held it up.

    On a machine that keeps up it fails the first time.
    """
    if not needs_the_machine(item):
        return None
    item.ihook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    began_s = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        with machine() as held_up:
            reports = runtestprotocol(item, log=False, nextitem=nextitem)
        is_last = attempt == ATTEMPTS or time.monotonic() - began_s > LONGEST_S
        if is_last or not held_up() or not any(report.failed for report in reports):
            break
        item.session._setupstate.teardown_exact(None)
        item._initrequest()  # type: ignore[attr-defined]
    for report in reports:
        report.user_properties.append(("attempts", attempt))  # in the file of --junitxml
        item.ihook.pytest_runtest_logreport(report=report)
    item.ihook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


@contextmanager
def machine() -> Iterator[Held]:
    """Watch whether the machine keeps up: a beat comes in time, and there are as many cores as want to run."""
    held = Held()
    thread = threading.Thread(target=held.watch, daemon=True)
    thread.start()
    try:
        yield held
    finally:
        held.ended.set()
        thread.join()


class Held:
    """Whether the machine has held this process up."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self._latest_s = 0.0

    def watch(self) -> None:
        """Beat until the end, and note the latest beat."""
        last_s = time.monotonic()
        while not self.ended.wait(BEAT_S):
            now_s = time.monotonic()
            self._latest_s, last_s = max(self._latest_s, now_s - last_s - BEAT_S), now_s

    def __call__(self) -> bool:
        """Whether a beat was late, or more processes wanted to run than there are cores."""
        return self._latest_s > LATE_S or os.getloadavg()[0] > (os.cpu_count() or 1)
