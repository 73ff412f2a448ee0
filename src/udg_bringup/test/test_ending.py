"""What asks a command to end."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator

import pytest

from udg_bringup.ending import asked_to_end

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@pytest.fixture(autouse=True)
def handlers_restored() -> Iterator[None]:
    before = {number: signal.getsignal(number) for number in SIGNALS}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


@pytest.mark.parametrize("number", SIGNALS)
def test_each_of_the_signals_asks(number: signal.Signals) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_DFL)  # the tests may run under nohup
    asked = asked_to_end()
    os.kill(os.getpid(), number)
    assert asked.wait(10.0)


def test_a_terminal_that_is_closed_does_not_ask_under_nohup() -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    asked = asked_to_end()
    os.kill(os.getpid(), signal.SIGHUP)
    assert not asked.is_set() and signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
