"""The table of states: a walk through all of it, and what it promises."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from udg_control.controller import Controller, ControllerConfig
from udg_control.errors import RefusedError
from udg_control.safety import Reason
from udg_control.states import ENABLED, TABLE, Event, Mode, StateMachine
from udg_control.streams import Source
from udg_description.layout import HOME_Q
from udg_description.limits import joint_limits

LIMITS = joint_limits()
PERIOD_NS = 10_000_000


class Robot:
    """A latching controller that can be brought into each mode, by what operators, policy and faults do."""

    def __init__(self) -> None:
        self.controller = Controller(ControllerConfig(latch=True, home_speed=1.0), LIMITS)
        self.cycles = self.runs = 0
        self.q = HOME_Q + 0.05
        self.cycle()

    def cycle(self, count: int = 1) -> None:
        for _ in range(count):
            self.cycles += 1
            command = self.controller.cycle(self.q, self.cycles * PERIOD_NS).command
            assert command is not None
            self.q = command

    def chunk(self, points: int) -> None:
        goal = np.tile(self.q, (points, 1))
        goal[:, 18] += 0.02 * np.arange(1, points + 1)
        self.controller.set_chunk(goal, self.cycles * PERIOD_NS, source=Source(f"run {self.runs}"))
        self.cycle()

    def begin(self) -> None:
        self.runs += 1
        self.chunk(8)

    def happen(self, event: Event) -> None:
        """Let the event happen as it does in operation."""
        controller = self.controller
        {
            Event.ENABLE: controller.enable,
            Event.DISABLE: controller.disable,
            Event.STOP: controller.emergency_stop,
            Event.HOLD_STOP: lambda: controller.emergency_stop(held=True),
            Event.RELEASE: controller.release_stop,
            Event.FAULT: lambda: controller.trip(Reason.DEVICE, "a fault"),
            Event.CHUNK: self.begin,
            Event.NOTHING: lambda: self.chunk(0),
            Event.HOME: controller.home,
            Event.HOME_ENDED: lambda: self.cycle(400 if controller.mode is Mode.HOMING else 5),
        }[event]()

    def bring_to(self, mode: Mode) -> None:
        """From the beginning."""
        way = {
            Mode.DISABLED: [],
            Mode.STOPPED: [Event.STOP],
            Mode.HELD: [Event.HOLD_STOP],
            Mode.FAULT: [Event.ENABLE, Event.FAULT],
            Mode.WAITING: [Event.ENABLE],
            Mode.HOLDING: [Event.ENABLE, Event.CHUNK, Event.NOTHING],
            Mode.FOLLOWING: [Event.ENABLE, Event.CHUNK],
            Mode.HOMING: [Event.ENABLE, Event.HOME],
        }[mode]
        for event in way:
            self.happen(event)
        assert self.controller.mode is mode


@pytest.mark.parametrize("mode", Mode)
@pytest.mark.parametrize("event", Event)
def test_each_event_in_each_mode_does_what_the_table_says(mode: Mode, event: Event) -> None:
    robot = Robot()
    robot.bring_to(mode)
    refusable = event in (Event.ENABLE, Event.HOME) and event not in TABLE[mode]
    if refusable:
        with pytest.raises(RefusedError):
            robot.happen(event)
    else:
        robot.happen(event)
    assert robot.controller.mode is TABLE[mode].get(event, mode)
    assert robot.controller.filter.enabled == (robot.controller.mode in ENABLED)
    assert (robot.controller.fault is not None) == (robot.controller.mode is Mode.FAULT)


@pytest.mark.parametrize("mode", Mode)
def test_after_enable_nothing_moves_before_a_start(mode: Mode) -> None:
    robot = Robot()
    robot.bring_to(mode)
    robot.chunk(8)  # of the run of before
    if mode is Mode.HELD:
        robot.happen(Event.RELEASE)
    robot.happen(Event.DISABLE)
    robot.cycle(50)
    robot.happen(Event.ENABLE)
    stood = robot.q
    for _ in range(20):
        robot.chunk(8)  # and it goes on
        robot.cycle(9)
    np.testing.assert_array_equal(robot.q, stood)
    assert robot.controller.mode is Mode.WAITING
    robot.begin()
    robot.cycle(9)
    assert robot.controller.mode is Mode.FOLLOWING and robot.q[18] > stood[18]


def test_every_way_into_motion_begins_with_enable() -> None:
    moving = {Mode.FOLLOWING, Mode.HOMING}
    for mode, row in TABLE.items():
        for event, to in row.items():
            if to in moving:
                assert mode in ENABLED and event in (Event.CHUNK, Event.HOME)
            if to in ENABLED and mode not in ENABLED:
                assert event is Event.ENABLE and to is Mode.WAITING


def test_a_held_stop_can_only_be_released() -> None:
    assert {to for event, to in TABLE[Mode.HELD].items() if event is not Event.RELEASE} == {Mode.HELD}
    for row in TABLE.values():
        assert row[Event.HOLD_STOP] is Mode.HELD and row[Event.STOP] in (Mode.STOPPED, Mode.HELD)


def test_a_machine_ignores_what_is_not_in_the_table() -> None:
    machine = StateMachine()
    assert not machine.fire(Event.CHUNK) and machine.mode is Mode.DISABLED
    assert machine.fire(Event.ENABLE) and machine.enabled


def test_the_refusal_names_the_stop_and_what_to_do() -> None:
    robot = Robot()
    robot.bring_to(Mode.HELD)
    with pytest.raises(RefusedError, match="/emergency_stop is true; .* publish false"):
        robot.controller.enable()


def table_markdown() -> str:
    """The table of docs/safety.md: a row a mode, a column an event, "." where nothing changes."""
    lines = ["| mode | " + " | ".join(event.value for event in Event) + " |", "|---" * (len(Event) + 1) + "|"]
    for mode in Mode:
        cells = [TABLE[mode][event].value if event in TABLE[mode] else "." for event in Event]
        lines.append(f"| `{mode.value}` | " + " | ".join("=" if cell == mode.value else cell for cell in cells) + " |")
    return "\n".join(lines)


def test_the_docs_show_the_table_as_it_is() -> None:
    page = Path(__file__).parents[3] / "docs" / "safety.md"
    assert table_markdown() in page.read_text(encoding="utf-8")
