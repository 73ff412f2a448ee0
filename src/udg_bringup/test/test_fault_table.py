"""The table of faults on emulated devices: each row ends in a standing robot and a named report, in time.

The arms are driven by the real ur_rtde, the hands by their driver; what counts is the emulators' own log. Each fault is
followed by proof that nothing but the operator's enabling clears it.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest

pytest.importorskip("rtde_control", reason="ur_rtde is not installed")

from udg_bringup.fault_table import STOPPED_WITHIN_S, TABLE, Cell, Measured, emulated_cell
from udg_control.controller import FaultReport, Mode
from udg_control.device import Phase
from udg_control.safety import Reason

pytestmark = pytest.mark.real_time


@pytest.fixture(scope="module")
def cell(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    with emulated_cell(tmp_path_factory.mktemp("hands")) as made:
        yield made


@pytest.mark.parametrize("name", TABLE)
def test_each_fault_stops_the_robot_in_time_and_only_the_operator_frees_it(cell: Cell, name: str) -> None:
    measured = cell.play(TABLE[name])
    assert TABLE[name].is_named(measured.fault)
    assert measured.late_s <= STOPPED_WITHIN_S + measured.held_up_s
    controller = cell.loop.controller
    assert controller.mode is Mode.FAULT and controller.fault == measured.fault  # nothing clears it by itself
    for device in cell.robot.devices:
        assert device.status().phase in (Phase.STOPPED, Phase.FAULT)
    cell.go()  # the operator's enabling does
    assert controller.fault is None and cell.moving


def test_the_table_has_each_row_that_was_asked_for() -> None:
    assert {
        "link drop",
        "silent controller",
        "protective stop",
        "reboot",
        "NaN",
        "jump",
        "wrong joint names",
        "out of workspace",
        "predicted collision",
        "hand over-current",
        "hand unplugged",
        "camera unplugged",
        "one camera late",
        "clock jump",
    } < set(TABLE)
    assert any(name.startswith("e-stop") for name in TABLE) and any("mode" in name for name in TABLE)


def test_times_are_counted_from_the_detection() -> None:
    fault = FaultReport(reason=Reason.DEVICE)
    measured = Measured(fault, 1_000_000_000, 1_100_000_000, 1_250_000_000, 0.0)
    assert (measured.detection_s, measured.late_s) == (0.1, 0.15)
    assert measured._replace(stopped_ns=1_050_000_000).late_s == 0.0  # stood before anybody here knew
