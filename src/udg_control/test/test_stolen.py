"""Time that the hypervisor took."""

from __future__ import annotations

import os

import pytest

from udg_control.stolen import STAT, StolenTime, stolen_ticks

TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")


def stat(ticks: int) -> bytes:
    return f"cpu  100 20 30 4000 5 0 6 {ticks} 0 0\ncpu0 50 10 15 2000 2 0 3 99999 0 0\n".encode()


@pytest.mark.parametrize(
    ("text", "ticks"), [(stat(7), 7), (b"", 0), (b"cpu  1 2 3 4 5 6 7", 0), (b"intr 1 2 3 4 5 6 7 8 9", 0)]
)
def test_stolen_ticks_are_the_eighth_count_of_all_cores(text: bytes, ticks: int) -> None:
    assert stolen_ticks(text) == ticks


@pytest.mark.parametrize(
    ("from_ns", "to_ns", "ticks"),
    [(10, 20, 3), (12, 18, 3), (12, 22, 8), (0, 5, 0), (0, 100, 8), (20, 30, 5), (30, 40, 0)],
)
def test_what_was_stolen_between_two_times_is_taken_from_the_notes_around_them(
    from_ns: int, to_ns: int, ticks: int
) -> None:
    stolen = StolenTime(newest=10)
    for now_ns, count in [(10, 100), (20, 103), (30, 108)]:
        stolen.note(now_ns, stat(count))
    assert stolen.between_s(from_ns, to_ns) == pytest.approx(ticks * TICK_S)
    stolen.close()


def test_nothing_noted_is_nothing_stolen_and_old_notes_go() -> None:
    stolen = StolenTime(newest=2)
    assert stolen.between_s(0, 100) == 0.0
    for now_ns, count in [(10, 100), (20, 103), (30, 108)]:
        stolen.note(now_ns, stat(count))
    assert stolen.between_s(0, 100) == pytest.approx(5 * TICK_S)
    stolen.close()


@pytest.mark.skipif(not os.path.exists(STAT), reason=f"no {STAT}")
def test_the_count_of_this_machine_can_be_read() -> None:
    stolen = StolenTime(newest=2)
    stolen.note(1)
    stolen.note(2)
    assert 0.0 <= stolen.between_s(1, 2) < 60.0
    stolen.close()
    stolen.close()
