"""The table of faults on emulated devices, on the shipped settings: each row ends in a standing, named stop.

The arms are driven by the real ur_rtde, the hands by their driver; what counts is the emulators' own log. Each fault is
followed by proof that nothing but the operator's enabling clears it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rtde_control", reason="ur_rtde is not installed")

from udg_bringup.fault_cell import (
    STOPPED,
    Cell,
    FaultCellConfig,
    Measured,
    Motion,
    cell_settings,
    differences,
    emulated_cell,
)
from udg_bringup.fault_table import HEADER, STANDS_WITHIN_S, TABLE, Attempt, Played, Verdict, as_json, markdown, play
from udg_bringup.robot_settings import read_settings
from udg_control.controller import FaultReport
from udg_control.device import Phase
from udg_control.safety import Reason
from udg_description.layout import HOME_Q

ATTEMPTS = 2  # `make fault-table` plays more
CONFIG = FaultCellConfig(config=Path(__file__).parents[3] / "config")
MS = 1_000_000


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    with emulated_cell(tmp_path_factory.mktemp("hands"), CONFIG) as made:
        yield made


@pytest.mark.real_time(judges_machine=True)
@pytest.mark.parametrize("name", TABLE)
def test_each_fault_stops_the_robot_in_time_and_only_the_operator_frees_it(cell: Cell, name: str) -> None:
    played = play(cell, name, ATTEMPTS)
    controller = cell.loop.controller
    assert controller.mode in STOPPED  # nothing clears it by itself
    for device in cell.robot.devices:
        assert device.status().phase in (Phase.STOPPED, Phase.FAULT)
    if played.verdict is Verdict.NOT_JUDGED:
        pytest.skip(f"not judged: {played.reason}")
    assert played.verdict is Verdict.KEPT, as_json(played)
    cell.go()  # the operator's enabling frees it
    assert controller.fault is None and cell.moving


@pytest.mark.real_time
def test_a_cell_that_moves_starts_again_without_a_stop(cell: Cell) -> None:
    cell.go()
    policy, enabled, needless = cell.world.policy, cell.runs, len(cell.needless)
    cell.go()
    assert cell.moving and cell.world.policy is not policy  # a motion of its own, with all its way ahead
    assert (cell.runs, len(cell.needless)) == (enabled, needless)  # nothing stopped it meanwhile


# --- the settings -----------------------------------------------------------------------------------------------------


def test_the_cell_has_the_shipped_settings_but_for_what_emulated_devices_need() -> None:
    named = {text.split()[0].rpartition(".")[2] for text in differences(cell_settings(CONFIG), shipped())}
    assert named == {"host", "connect_timeout_s", "sdk_module", "ports", "real_time_priority", "arm_timeout_s"}


def shipped() -> object:
    return read_settings(CONFIG.config)


def test_the_docs_show_each_row() -> None:
    page = (CONFIG.config.parent / "docs" / "measured" / "safety.md").read_text(encoding="utf-8")
    shown = [line.split(" | ")[0].removeprefix("| ") for line in page.partition(HEADER)[2].split("\n\n")[0].split("\n")]
    assert [name for name in shown if name] == list(TABLE)


def test_limits_of_detection_follow_from_the_settings() -> None:
    settings = cell_settings(CONFIG)
    control = settings.control
    assert TABLE["heartbeat lost"].detected_within_s(settings) == control.controller.heartbeat_timeout_s + 0.05
    assert TABLE["protective stop"].detected_within_s(settings) == 0.05
    assert TABLE["out of workspace"].detected_within_s(settings) is None


# --- the arithmetic ---------------------------------------------------------------------------------------------------


def attempt(late_s: float, held_up_s: float = 0.0, problem: str = "", stolen_s: float = 0.0) -> Attempt:
    """Detected 100 ms after it happened, stood `late_s` after that."""
    stood_ns = 1_100 * MS + round(late_s * 1e9)
    stood = {"left_arm": 1_050 * MS, "right_arm": stood_ns, "hands": 1_000 * MS}
    measured = Measured(FaultReport(reason=Reason.DEVICE), 900 * MS, 1_000 * MS, 1_100 * MS, stood)
    return Attempt(measured=measured, held_up_s=held_up_s, problem=problem, stolen_s=stolen_s)


def played(*attempts: Attempt) -> Played:
    return Played(name="link drop", attempts=attempts)


def test_times_are_counted_from_the_detection() -> None:
    measured = attempt(0.15).measured
    assert measured is not None
    assert (measured.detection_s, measured.late_s) == (0.1, 0.15)
    assert measured.standstill_s("left_arm") == 0.05 and measured.standstill_s("right_arm") == 0.25
    early = measured._replace(stood_ns=dict.fromkeys(measured.stood_ns, 1_050 * MS))
    assert early.late_s == 0.0  # stood before anybody here knew


@pytest.mark.parametrize(
    ("attempts", "verdict"),
    [
        ([attempt(0.1)] * 5, Verdict.KEPT),
        ([attempt(0.1)] * 4 + [attempt(0.21)], Verdict.FAILED),  # one late attempt, though the median is in time
        ([attempt(0.1)] * 4 + [attempt(0.21, held_up_s=0.02)], Verdict.KEPT),
        ([attempt(0.21, held_up_s=0.02)] * 3 + [attempt(0.1)] * 2, Verdict.NOT_JUDGED),
        ([attempt(0.1, held_up_s=0.02)] * 5, Verdict.NOT_JUDGED),  # in time or not: it says nothing
        ([attempt(0.21, held_up_s=0.02)] * 3 + [attempt(0.21)] * 2, Verdict.FAILED),
        ([attempt(0.1)] * 4 + [attempt(0.1, problem="told as another")], Verdict.FAILED),
        ([attempt(0.1), attempt(0.1, held_up_s=0.02)], Verdict.KEPT),
        ([attempt(0.21, stolen_s=0.02)] * 5, Verdict.KEPT),  # 190 ms of its own
        ([attempt(0.1)] * 4 + [attempt(0.23, stolen_s=0.02)], Verdict.FAILED),
        ([Attempt(measured=None, problem="does not move")], Verdict.FAILED),
        ([Attempt(measured=None, problem="does not move", held_up_s=1.0)], Verdict.NOT_JUDGED),
    ],
)
def test_a_late_attempt_fails_the_row_unless_the_machine_was_held_up(attempts: list[Attempt], verdict: Verdict) -> None:
    assert played(*attempts).verdict is verdict
    assert bool(played(*attempts).reason) or verdict is Verdict.KEPT


def test_the_line_of_the_table_has_limits_medians_and_worst() -> None:
    row = played(attempt(0.1), attempt(0.11), attempt(0.15), attempt(0.19, held_up_s=0.1))
    line = markdown(row, cell_settings(CONFIG))
    assert "| 50, 100, 100 | 200, 110, 150 | 50, 210 | 3 of 4 |" in line
    assert STANDS_WITHIN_S == 0.2


def test_a_motion_goes_at_its_speed_and_stays_at_its_goal() -> None:
    goal, speed = HOME_Q.copy(), np.full(36, 0.5)
    goal[5] += 0.4
    goal[11] -= 0.1
    motion = Motion(HOME_Q, goal, speed, point_s=0.2, lead_s=0.05)
    motion(1_000 * MS, HOME_Q)
    chunk = motion(1_100 * MS, HOME_Q)
    # 0.05 s later than called for, and the ramp to 0.5 rad/s at 4 rad/s^2 costs 0.5 * 0.125 s.
    way = 0.5 * (np.array([0.3, 0.5, 0.7, 0.9]) - 0.05 - 0.0625)
    np.testing.assert_allclose(chunk[:, 5] - HOME_Q[5], [*way, *[0.4] * 4])
    np.testing.assert_allclose(chunk[:, 11] - HOME_Q[11], [-way[0], *[-0.1] * 7])
    np.testing.assert_array_equal(np.delete(chunk, [5, 11], axis=1), np.tile(np.delete(HOME_Q, [5, 11]), (8, 1)))
