"""Test settings of the whole repository."""

from __future__ import annotations

import signal
import time
from collections.abc import Generator
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from udg_control.beats import Beats

BEATS = pytest.StashKey["Beats"]()
HELD_UP_S = 0.05  # a beat later than this: what the test waited for may have been late for no fault of its own
MARKERS_OF_ONE_PROCESS = ("ros", "real_time")


def pytest_configure() -> None:
    """Let Ctrl-C reach the processes that tests start, also where the tests run in the background of a shell."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    settings.register_profile("same_each_time", derandomize=True, database=None, deadline=None)
    settings.load_profile("same_each_time")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run the tests with ROS or in real time in one process of pytest-xdist, so that no two of them meet.

    `make test` runs those in real time after all others, without a neighbour on the other core.
    """
    for item in items:
        if any(item.get_closest_marker(name) is not None for name in MARKERS_OF_ONE_PROCESS):
            item.add_marker(pytest.mark.xdist_group("one_at_a_time"))


@pytest.hookimpl(wrapper=True)
def pytest_pyfunc_call(pyfuncitem: pytest.Function) -> Generator[None, object, object]:
    """Skip a test in real time that failed while the machine held it up, and say so. It is never tried again.

    Held up is what beats measure, each core's, in a process of its own (udg_control.beats). On a machine that keeps up
    the test fails. A test that judges the machine itself, attempt by attempt, says so: real_time(judges_machine=True).
    """
    marker = pyfuncitem.get_closest_marker("real_time")
    if marker is None or marker.kwargs.get("judges_machine"):
        return (yield)
    beats = _beats(pyfuncitem.config)
    began_ns = time.monotonic_ns()
    try:
        return (yield)
    except (Exception, pytest.fail.Exception) as error:
        late_s = beats.latest_s(began_ns, time.monotonic_ns())
        if late_s <= HELD_UP_S:
            raise
        pytest.skip(f"not judged: the machine held the test up by {late_s:.2f} s; it ended with: {error}")


def _beats(config: pytest.Config) -> Beats:
    """The beats of this session, from its first test in real time on."""
    if BEATS not in config.stash:
        from udg_control.beats import Beats

        beats = Beats()
        config.stash[BEATS] = beats.__enter__()
        config.add_cleanup(lambda: beats.__exit__(None, None, None))
    return config.stash[BEATS]
