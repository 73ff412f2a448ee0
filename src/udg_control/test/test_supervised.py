"""What every device that lives in a process of its own has in common, shown with the least of devices."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from udg_control import shared_memory
from udg_control.device import Fault, Phase
from udg_control.emulators.echo import DIE, HANG, REPORT_AND_DIE, REPORT_AND_HANG, EchoDevice, Memory
from udg_control.errors import DeviceError
from udg_control.worker import Order


def wait_for(condition: Callable[[], bool], what: str) -> None:
    deadline_s = time.monotonic() + 60.0
    while not condition():
        if time.monotonic() > deadline_s:
            raise TimeoutError(what)
        time.sleep(0.002)


@pytest.fixture
def echo() -> Iterator[EchoDevice]:
    device = EchoDevice()
    device.connect()
    yield device
    device.close()


def ready(device: EchoDevice, value: float) -> None:
    device.rearm()
    wait_for(lambda: device.status().phase is Phase.READY, "ready")
    device.write(np.array([value]), 0)
    wait_for(lambda: (state := device.read()) is not None and state.q[0] == value, "its echo")


def test_orders_are_obeyed_and_told_before_they_are_taken_up(echo: EchoDevice) -> None:
    assert echo.status().phase is Phase.STOPPED
    echo.rearm()
    assert echo.status().phase in (Phase.ARMING, Phase.READY)
    ready(echo, 0.5)
    echo.stop()
    assert echo.status().phase is Phase.STOPPED  # whether the process has heard it yet or not
    with pytest.raises(DeviceError, match="already connected"):
        echo.connect()
    echo.close()
    assert echo.status().phase is Phase.CLOSED and echo.read() is None


def test_a_stop_that_is_followed_at_once_by_rearm_is_obeyed_first(echo: EchoDevice) -> None:
    """The process sleeps while both are asked for; it would see the last order alone."""
    ready(echo, 0.5)
    link = echo._link
    assert link is not None
    os.kill(link.process.pid, signal.SIGSTOP)
    echo.stop()
    echo.rearm()
    assert echo.status().phase is Phase.ARMING and link.last_order is Order.STOP
    before = link.orders
    os.kill(link.process.pid, signal.SIGCONT)
    wait_for(lambda: echo.status().phase is Phase.READY, "ready again")
    assert (link.last_order, link.orders) == (Order.ARM, before + 1)
    os.kill(link.process.pid, signal.SIGSTOP)
    echo.stop()
    echo.rearm()
    echo.stop()  # the last word
    os.kill(link.process.pid, signal.SIGCONT)
    wait_for(lambda: link.shared.report().order == link.orders, "the stop is taken up")
    assert echo.status().phase is Phase.STOPPED and link.last_order is Order.STOP


@pytest.mark.parametrize(
    ("command", "fault", "says"),
    [
        (DIE, Fault.WORKER_DIED, "the echo's process ended with code 9"),
        (REPORT_AND_DIE, Fault.TRACKING, "it does not follow"),
        (HANG, Fault.WORKER_DIED, "did nothing for"),
    ],
)
def test_an_end_is_named_once_and_rearm_starts_anew(echo: EchoDevice, command: float, fault: Fault, says: str) -> None:
    ready(echo, 0.5)
    echo.write(np.array([command]), 0)
    wait_for(lambda: echo.status().phase is Phase.FAULT, "the fault")
    wait_for(lambda: echo.status().fault is fault and echo.ends > 0, "what follows the end")
    for _ in range(3):
        status = echo.status()
        assert status.fault is fault and says in status.detail
    assert echo.ends == 1
    ready(echo, 0.7)


def test_a_process_that_hangs_is_ended_though_a_stop_waits_for_it(
    echo: EchoDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    ready(echo, 0.5)
    monkeypatch.setattr(echo, "_connect_timeout_s", 600.0)  # what arming may take, and no stop
    link = echo._link
    assert link is not None
    os.kill(link.process.pid, signal.SIGSTOP)
    echo.stop()  # never taken up
    wait_for(lambda: echo.status().phase is Phase.FAULT, "the hanging process is found")
    assert "did nothing for" in echo.status().detail and link.process.wait(10.0) == -signal.SIGKILL
    ready(echo, 0.7)


def test_a_process_that_hangs_in_its_fault_is_replaced_when_the_device_is_armed(
    echo: EchoDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(echo, "_rearm_needs_new_process", lambda *_: False)  # a living one would do
    monkeypatch.setattr("udg_control.supervised.CLOSE_S", 0.1)
    ready(echo, 0.5)
    link = echo._link
    assert link is not None
    echo.write(np.array([REPORT_AND_HANG]), 0)
    wait_for(lambda: echo.status().phase is Phase.FAULT, "the fault")
    reported_ns = link.shared.report().alive_ns
    wait_for(lambda: time.monotonic_ns() - reported_ns > 2.1e9, "long silence")
    ready(echo, 0.7)
    assert echo._link is not link


def test_a_process_that_can_not_be_started_is_a_fault_and_may_be_tried_again(
    echo: EchoDevice, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: object) -> None:
        raise OSError("too many open files")

    ready(echo, 0.5)
    echo.write(np.array([DIE]), 0)
    wait_for(lambda: echo.status().phase is Phase.FAULT, "the fault")
    with monkeypatch.context() as patch:
        patch.setattr("udg_control.supervised.start_worker", refuse)
        echo.rearm()
        wait_for(lambda: echo.status().phase is Phase.FAULT, "the fault of the start")
        assert echo.status().detail == "the echo's process can't be started: too many open files"
    ready(echo, 0.7)


def test_a_process_that_begins_late_has_all_its_time_to_connect(monkeypatch: pytest.MonkeyPatch) -> None:
    device = EchoDevice()
    monkeypatch.setattr(device, "_connect_timeout_s", 0.1)  # Python alone takes longer to begin
    device.connect()
    ready(device, 0.5)
    device.close()


def test_a_process_that_never_begins_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udg_control.supervised.START_S", 0.0)
    device = EchoDevice()
    with pytest.raises(DeviceError, match="echo: the echo's process has not begun within 0 s"):
        device.connect()
    assert device.status().phase is Phase.CLOSED


def test_who_is_not_there_is_named_with_a_remedy() -> None:
    device = EchoDevice(absent=True)
    with pytest.raises(DeviceError, match="echo: nobody answers; plug it in"):
        device.connect()
    assert device.status().phase is Phase.CLOSED


def test_processors_that_reorder_writes_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shared_memory.platform, "machine", lambda: "aarch64")
    with pytest.raises(DeviceError, match=r"x86_64.*this one is aarch64"):
        Memory.create()
