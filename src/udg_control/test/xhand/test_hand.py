"""The XHand driver against emulated hands in another process."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

from udg_control.device import Fault, Phase
from udg_control.emulators import xhand_sdk
from udg_control.emulators.xhand_bus import BUS_VARIABLE, EmulatedHand, XHandBus
from udg_control.errors import DeviceError, SafetyConfigError
from udg_control.timing import LoopTimer
from udg_control.xhand import XHand, XHandConfig
from udg_control.xhand.config import EMULATED_SDK
from udg_description.layout import HOME_Q, SIDES, part_indices
from udg_description.waiting import wait_until

pytestmark = pytest.mark.real_time
CONFIG = XHandConfig(
    sdk_module=EMULATED_SDK,
    worker_timeout_s=0.5,
    command_timeout_s=0.3,
    connect_timeout_s=120.0,
)
Q_HOME = HOME_Q[part_indices("left_hand")]


@pytest.fixture
def bus(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> XHandBus:
    made = XHandBus(tmp_path)
    monkeypatch.setenv(BUS_VARIABLE, made.environment()[BUS_VARIABLE])
    return made


@pytest.fixture
def hand(bus: XHandBus) -> Iterator[XHand]:
    device = XHand("left", CONFIG)
    device.connect()
    yield device
    device.close()


def wait(condition: Callable[[], bool], device: XHand, longest_s: float = 120.0) -> None:
    wait_until(condition, longest_s, device.status)


def arm(device: XHand) -> None:
    device.rearm()
    assert device.status().phase is not Phase.FAULT  # ARMING at once
    wait(lambda: device.status().phase is Phase.READY, device)


def drive(device: XHand, q: np.ndarray, until: Callable[[], bool], longest_s: float = 30.0) -> bool:
    """Command q every 10 ms until the condition holds; whether it did."""
    timer = LoopTimer(0.01)
    timer.start()
    for _ in range(round(longest_s / 0.01)):
        timer.wait()
        device.write(q, time.monotonic_ns())
        if until():
            return True
        device.status()
    return False


def test_hands_are_told_apart_by_type_and_not_by_port(bus: XHandBus) -> None:
    hands = [XHand("left", CONFIG), XHand("right", CONFIG)]
    for device in hands:
        device.connect()
    ports = [device.status().values["port"] for device in hands]
    for device in hands:
        device.close()
    assert [Path(str(port)).name for port in ports] == ["ttyUSB1", "ttyUSB0"]
    assert hands[0].status().phase is Phase.CLOSED


def test_the_wrong_serial_number_is_refused(bus: XHandBus) -> None:
    device = XHand("left", XHandConfig(sdk_module=EMULATED_SDK, serial_number="2L3999"))
    with pytest.raises(DeviceError, match="2L3999.*2L323000000001"):
        device.connect()
    assert device.status().phase is Phase.CLOSED


def test_the_absent_vendor_library_is_named(bus: XHandBus) -> None:
    with pytest.raises(DeviceError, match="not on PyPI"):
        XHand("left", XHandConfig(sdk_module="xhand_controller_absent.xhand_control")).connect()


def test_moves_measures_and_is_powerless_in_the_end(bus: XHandBus) -> None:
    device = XHand("left", CONFIG)
    device.connect()
    assert device.status().phase is Phase.STOPPED
    device.write(Q_HOME + 0.2, time.monotonic_ns())  # not armed: ignored
    state = device.read()
    assert state is not None and np.allclose(state.q, Q_HOME, atol=1e-6)
    assert abs(time.monotonic_ns() - state.stamp_ns) < 2e9
    arm(device)
    goal = Q_HOME + np.where(np.arange(12) == 3, 0.0, 0.1)

    def there() -> bool:
        state = device.read()
        return state is not None and bool(np.allclose(state.q, goal, atol=1e-3))

    assert drive(device, goal, there)
    state = device.read()
    assert state is not None and state.tactile_force is not None and state.tactile_force.shape == (5, 3)
    assert state.temperature is not None and state.temperature.shape == (12,)
    device.close()
    commands = [entry for entry in bus.log("left") if entry["event"] == "command"]
    assert commands[-1]["mode"] == 0
    assert {tuple(entry["tor_max"]) for entry in commands if entry["mode"] == 3} == {(300.0,) * 12}  # type: ignore[arg-type]
    moving = np.array([entry["q"] for entry in commands if entry["mode"] == 3])
    assert np.abs(moving[0] - Q_HOME).max() < 1e-3  # holds where it is before it moves
    assert bus.log("left")[-1]["event"] == "close"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_its_process_alone_drops_nothing(hand: XHand, bus: XHandBus, number: signal.Signals) -> None:
    """As Ctrl-C in a terminal, which reaches every process: the arms are still braking then."""
    arm(hand)
    goal = Q_HOME + np.where(np.arange(12) == 3, 0.0, 0.1)
    drive(hand, goal, lambda: np.allclose(bus.q("left"), goal, atol=1e-3))
    link = hand._link
    assert link is not None
    link.process.send_signal(number)
    assert link.process.wait(60.0) == 0
    entries = bus.log("left")
    assert entries[-1]["event"] == "close"
    assert [entry["mode"] for entry in entries if entry["event"] == "command"][-1] == 3
    np.testing.assert_allclose(bus.q("left"), goal, atol=1e-2)


def test_stop_holds_the_last_command(hand: XHand, bus: XHandBus) -> None:
    arm(hand)
    goal = Q_HOME + np.where(np.arange(12) == 3, 0.0, 0.1)
    drive(hand, goal, lambda: np.allclose(bus.q("left"), goal, atol=1e-3))
    hand.stop()
    assert hand.status().phase is Phase.STOPPED
    drive(hand, Q_HOME, lambda: False, longest_s=0.2)
    assert np.allclose(bus.q("left"), goal, atol=1e-2)
    assert bus.log("left")[-1]["mode"] == 3


@pytest.mark.parametrize(
    ("happening", "fault"),
    [
        ("unplug", Fault.LINK_LOST),
        ("abort", Fault.WORKER_DIED),
        ("hang", Fault.WORKER_DIED),
        ("crc", Fault.BUS_ERROR),
        ("over_current", Fault.OVER_CURRENT),
        ("blocked", Fault.OVER_CURRENT),
        ("hot", Fault.OVER_TEMPERATURE),
        ("mode_refused", Fault.COMMAND_REFUSED),
    ],
)
def test_faults_are_named_latched_and_left_by_rearm_alone(
    hand: XHand, bus: XHandBus, happening: str, fault: Fault
) -> None:
    arm(hand)
    drive(hand, Q_HOME, lambda: False, longest_s=0.1)
    bus.inject("left", happening)
    assert drive(hand, Q_HOME, lambda: hand.status().phase is Phase.FAULT)
    assert hand.status().fault is fault, hand.status()
    assert hand.status().detail
    bus.restore("left")
    drive(hand, Q_HOME, lambda: False, longest_s=0.3)
    assert hand.status().fault is fault
    arm(hand)
    assert drive(hand, Q_HOME, lambda: hand.status().phase is Phase.FAULT, longest_s=0.3) is False


def test_a_fault_that_lasts_comes_again(hand: XHand, bus: XHandBus) -> None:
    arm(hand)
    bus.inject("left", "unplug")
    wait(lambda: hand.status().phase is Phase.FAULT, hand)
    hand.rearm()
    assert hand.status().phase is Phase.ARMING
    wait(lambda: hand.status().phase is Phase.FAULT, hand)
    assert hand.status().fault is Fault.NOT_CONNECTED


def test_pressing_for_long_and_failing_sensors_are_advisories(hand: XHand, bus: XHandBus) -> None:
    arm(hand)
    bus.inject("left", "stall")
    goal = Q_HOME + np.where(np.arange(12) == 3, 0.0, 0.25)
    assert drive(hand, goal, lambda: "pressed" in hand.status().advisory)
    assert hand.status().phase is Phase.READY
    state = hand.read()
    assert state is not None and state.current is not None and state.tactile_force is not None
    assert np.abs(state.current).max() == pytest.approx(0.6, abs=0.002)
    assert state.tactile_force[:, 2].max() == pytest.approx(30.0)  # the SDK's number
    bus.inject("left", "sensor")
    assert drive(hand, goal, lambda: "tactile" in hand.status().advisory)
    state = hand.read()
    assert state is not None and state.tactile_force is None
    assert hand.status().phase is Phase.READY


def test_a_squeeze_of_34_degrees_is_no_fault(hand: XHand, bus: XHandBus) -> None:
    """1.42 A for half a second, then 16 deg and 0.67 A: the currents of a real hand, though tor_max is 300."""
    arm(hand)
    drive(hand, Q_HOME, lambda: False, longest_s=0.1)
    bus.inject("left", "stall")
    for degrees, seconds, current_a in ((34.0, 0.5, 1.424), (16.0, 0.5, 0.670)):
        goal = Q_HOME + np.where(np.arange(12) == 2, np.deg2rad(degrees), 0.0)
        assert not drive(hand, goal, lambda: hand.status().phase is Phase.FAULT, longest_s=seconds)
        state = hand.read()
        assert state is not None and state.current is not None
        assert np.abs(state.current).max() == pytest.approx(current_a, abs=0.002)
    assert 0.0 < float(str(hand.status().values["motor_heat"])) < 1.0


@pytest.mark.parametrize("happening", ["crc_once", "crc_late", "late_reply"])
def test_a_single_stall_or_garbled_reply_is_counted_and_no_fault(hand: XHand, bus: XHandBus, happening: str) -> None:
    arm(hand)
    drive(hand, Q_HOME, lambda: False, longest_s=0.1)
    crc_errors = hand.status().values["crc_errors"]
    stalls = hand.status().values["stalls"]
    bus.inject("left", happening)
    ages_ms: list[float] = []

    def counted() -> bool:
        values = hand.status().values
        ages_ms.append(float(str(values["state_age_ms"])))
        return (values["crc_errors"], values["stalls"]) != (crc_errors, stalls)

    assert drive(hand, Q_HOME, counted)
    assert not drive(hand, Q_HOME, lambda: hand.status().phase is Phase.FAULT, longest_s=0.3)
    values = hand.status().values
    assert (values["crc_errors"] == crc_errors) == (happening == "late_reply")
    if happening != "crc_once":
        assert values["stalls"] == int(str(stalls)) + 1
        assert len(ages_ms) < 5 or max(ages_ms) > 80.0  # meanwhile, if it was watched, the state got no younger
    assert hand.status().phase is Phase.READY


def test_the_last_joints_are_kept_open_and_the_thumb_inside_its_range(hand: XHand, bus: XHandBus) -> None:
    arm(hand)
    goal = np.where(np.arange(12) == 3, 0.0, 0.01)
    goal[[1, 2]] = 1.74
    for step in np.linspace(Q_HOME, goal, 40)[1:]:
        drive(hand, step, lambda: False, longest_s=0.03)
    assert drive(hand, goal, lambda: bool(bus.q("left")[4] < 0.015 and bus.q("left")[1] > 1.56))
    assert hand.status().phase is Phase.READY
    targets = np.array([entry["q"] for entry in bus.log("left") if entry["event"] == "command" and entry["mode"] == 3])
    np.testing.assert_allclose(targets[:, [5, 7, 9, 11]].min(axis=0), 0.0873, atol=1e-6)
    np.testing.assert_allclose(targets[:, [1, 2]].max(axis=0), [1.5708, 1.5699], atol=1e-6)


def test_a_finger_that_is_straight_already_is_not_moved_by_that(bus: XHandBus) -> None:
    straight = np.where(np.isin(np.arange(12), [5, 7, 9, 11]), 0.0, Q_HOME)
    folder = next(path for path in bus.folders() if "1" in path.name)
    values = np.fromfile(folder / "joints.bin")
    values[:12] = values[12:24] = straight
    values.tofile(folder / "joints.bin")
    device = XHand("left", CONFIG)
    device.connect()
    arm(device)
    drive(device, straight, lambda: False, longest_s=0.2)
    held = bus.q("left")
    drive(device, straight + np.where(np.arange(12) == 5, 0.12, 0.0), lambda: bool(bus.q("left")[5] > 0.1))
    drive(device, straight, lambda: bool(bus.q("left")[5] < 0.09))
    bent = bus.q("left")
    device.close()
    np.testing.assert_allclose(held, straight, atol=1e-4)
    assert bent[5] > 0.087 and bent[7] < 1e-3  # once open it stays open


def test_a_range_that_is_too_wide_stops_no_grasp_but_is_named(hand: XHand, bus: XHandBus) -> None:
    """The hand refuses a target (1501030): the last one that it took is held, and the joint named."""
    arm(hand)
    bus.inject("left", "narrow")
    goal = Q_HOME.copy()
    goal[4] = 1.85
    for step in np.linspace(Q_HOME, goal, 60)[1:]:
        drive(hand, step, lambda: False, longest_s=0.02)
    assert drive(hand, goal, lambda: "1501030" in hand.status().advisory)
    assert "hand_index_joint1" in hand.status().advisory
    assert not drive(hand, goal, lambda: hand.status().phase is Phase.FAULT, longest_s=0.5)
    assert 1.5 < bus.q("left")[4] < 1.75
    assert drive(hand, Q_HOME, lambda: bool(abs(bus.q("left")[4] - Q_HOME[4]) < 0.01))  # and it goes on


def test_adapters_may_be_ttyacm_and_have_a_second_port_without_a_hand(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    kinds = ("", ""), ("L", "2L323000000001"), ("", ""), ("R", "2R323000000001")  # two ports a hand, one without it
    hands = tuple(
        EmulatedHand(port=str(tmp_path / f"ttyACM{k}"), hand_type=kind, serial_number=serial_number)
        for k, (kind, serial_number) in enumerate(kinds)
    )
    made = XHandBus(tmp_path, hands)
    monkeypatch.setenv(BUS_VARIABLE, made.environment()[BUS_VARIABLE])
    ports = []
    for side in SIDES:
        device = XHand(side, CONFIG)
        device.connect()
        ports.append(Path(str(device.status().values["port"])).name)
        device.close()
    assert ports == ["ttyACM1", "ttyACM3"]


def test_silence_of_control_stops(hand: XHand) -> None:
    arm(hand)
    wait(lambda: hand.read() is not None, hand)
    assert hand.status().phase is Phase.READY  # before the first command none is missed
    hand.write(Q_HOME, time.monotonic_ns())
    wait(lambda: hand.status().phase is Phase.FAULT, hand)
    assert hand.status().fault is Fault.COMMAND_TIMEOUT


@pytest.mark.parametrize("command", [np.full(12, np.nan), np.zeros(11), Q_HOME + 3.0, Q_HOME + 0.5])
def test_bad_commands_are_refused(hand: XHand, bus: XHandBus, command: np.ndarray) -> None:
    arm(hand)
    hand.write(command, time.monotonic_ns())
    wait(lambda: hand.status().phase is Phase.FAULT, hand)
    assert hand.status().fault is Fault.COMMAND_REFUSED
    assert np.allclose(bus.q("left"), Q_HOME, atol=1e-3)


def test_over_current_must_lie_above_the_limit() -> None:
    with pytest.raises(SafetyConfigError, match="over_current_ma"):
        XHandConfig(current_limit_ma=400, over_current_ma=300)


# --- the fake itself: what the vendor's library does -----------------------------------------------------------------


def test_the_fake_takes_the_vendors_types_only() -> None:
    finger = xhand_sdk.HandCommand_t().finger_command[0]
    finger.position = 0.5
    with pytest.raises(TypeError):
        finger.kp = 1.5
    with pytest.raises(AttributeError):
        finger.torque = 1


def test_the_fake_behaves_as_the_vendors_library(bus: XHandBus) -> None:
    control = xhand_sdk.XHandControl()
    port = control.enumerate_devices("RS485")[1]
    assert control.open_serial(port, 115_200).error_code == xhand_sdk.OPEN_FAILED
    assert control.open_serial(port, 3_000_000).error_code == 0
    hand_id = control.list_hands_id()[0]
    assert control.get_hand_type(hand_id)[1] == "L"
    assert control.read_state(hand_id, True)[0].error_code == xhand_sdk.CRC_ERROR  # the first ones
    while control.read_state(hand_id, True)[0].error_code:
        pass
    assert bus.log("left")[-1]["mode"] == 0  # a forced read sends the last command, here none
    began_s = time.monotonic()
    control.read_state(hand_id, False)
    assert time.monotonic() - began_s < xhand_sdk.EXCHANGE_S
    control.close_device()
    assert control.read_state(hand_id, True)[0].error_code == xhand_sdk.SERIAL_ERROR
    assert os.environ[BUS_VARIABLE]
