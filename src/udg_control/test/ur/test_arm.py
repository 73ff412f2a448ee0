"""The driver over the real ur_rtde against emulated controllers: motion, every fault, and every way out.

What counts is the emulator's own log. One emulator process serves all tests of this file.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from udg_control.device import DeviceStatus, Fault, Phase
from udg_control.emulators.ur_process import UrEmulatorClient, UrEmulators, loopback_pair
from udg_control.errors import DeviceError
from udg_control.ur import UrArm, UrArmConfig
from udg_control.ur.dashboard import Dashboard
from udg_control.ur.receive import Receiver
from udg_description.layout import Side
from udg_description.waiting import wait_until

pytest.importorskip("rtde_control", reason="ur_rtde is not installed")
pytestmark = pytest.mark.real_time

PERIOD_S = 0.01
DEADLINE_S = 120.0  # of waiting; what is measured has limits of its own
DETECTED_S = 0.2
VELOCITY_SCALE = 0.3


@pytest.fixture(scope="module")
def emulators() -> Iterator[UrEmulators]:
    left, right = loopback_pair()
    with UrEmulators(left=left, right=right, arguments=["--real-time"]) as running:  # as little late as a real one
        yield running


def make(emulator: UrEmulatorClient, side: Side = "left", **config: object) -> UrArm:
    """An arm whose control, this process, may be held up for longer than a robot's: it shares its core."""
    patient: dict[str, object] = {"command_timeout_s": 0.6, "worker_timeout_s": 0.3, "watchdog_hz": 4.0}
    patient |= {"connect_timeout_s": DEADLINE_S, "real_time_priority": 40}  # where permitted
    return UrArm(side, UrArmConfig(**{"host": emulator.address, **patient, **config}))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def shared_arm(emulators: UrEmulators) -> Iterator[UrArm]:
    arm = make(emulators.left, tracking_error_rad=0.1, velocity_scale=VELOCITY_SCALE)
    arm.connect()
    yield arm
    arm.close()


@pytest.fixture
def arm(shared_arm: UrArm, emulators: UrEmulators) -> UrArm:
    """The left arm, ready, whatever the test before has done."""
    emulators.left.inject("restore")
    get_ready(shared_arm)
    return shared_arm


def wait_for(condition: Callable[[], bool], what: str) -> None:
    wait_until(condition, DEADLINE_S, what)


def get_ready(*arms: UrArm) -> None:
    for arm in arms:
        arm.rearm()
    for arm in arms:
        wait_for(lambda arm=arm: arm.status().phase is Phase.READY, f"{arm.name} ready")  # type: ignore[misc]


class Mover:
    """Streams a slow swing about where the arms are, at 100 Hz, from a thread of its own."""

    def __init__(self, *arms: UrArm, amplitude_rad: float = 0.1, frequency_hz: float = 0.5) -> None:
        self._arms, self._amplitude_rad, self._omega = arms, amplitude_rad, 2.0 * np.pi * frequency_hz
        self._starts = [arm.read().q for arm in arms]  # type: ignore[union-attr]
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.wanted: list[tuple[float, float]] = []  # when [s], offset [rad]

    def __enter__(self) -> Mover:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        start_s = time.monotonic()
        for cycle in range(100_000):
            due_s = start_s + cycle * PERIOD_S
            if self._end.wait(max(0.0, due_s - time.monotonic())):
                return
            offset = self._amplitude_rad * 0.5 * (1.0 - np.cos(self._omega * cycle * PERIOD_S))
            self.wanted.append((due_s + PERIOD_S, float(offset)))
            for arm, start in zip(self._arms, self._starts, strict=True):
                arm.write(start + offset, int(due_s * 1e9))


def wait_for_motion(emulator: UrEmulatorClient, arm: UrArm) -> None:
    def moves() -> bool:
        status = arm.status()
        assert status.phase is Phase.READY, f"{status.fault}: {status.detail}"
        return float(np.abs(emulator.ask("state")["qd"]).max()) > 0.02

    wait_for(moves, "the emulated arm moves")


def wait_for_rest(emulator: UrEmulatorClient) -> None:
    def rests() -> bool:
        state = emulator.ask("state")
        return not state["program_running"] and float(np.abs(state["qd"]).max()) < 1e-3

    wait_for(rests, "the emulated arm rests and no program runs")


def wait_for_fault(arm: UrArm) -> DeviceStatus:
    wait_for(lambda: arm.status().phase is Phase.FAULT, "a fault")
    return arm.status()


# --- life -----------------------------------------------------------------------------------------------------------


def test_connecting_measures_and_does_not_move_or_start_anything(emulators: UrEmulators) -> None:
    before = emulators.right.count("events")
    arm = make(emulators.right, "right")
    assert arm.status().phase is Phase.CLOSED and arm.read() is None
    arm.connect()
    try:
        status, state = arm.status(), arm.read()
        assert status.phase is Phase.STOPPED and status.fault is None
        assert status.values["robot_model"] == "UR5e" and status.values["serial_number"] == "20215501234"
        assert state is not None
        np.testing.assert_allclose(state.q, emulators.right.q(), atol=1e-12)
        first_ns = state.stamp_ns
        wait_for(lambda: arm.read().stamp_ns > first_ns, "a fresher state")  # type: ignore[union-attr]
        arm.write(state.q + 0.05, 0)  # ignored: it is not ready
        events = [event["event"] for event in emulators.right.full_log().events[before:]]
        assert "script" not in events and "program_start" not in events
    finally:
        arm.close()
    assert arm.status().phase is Phase.CLOSED
    arm.close()


def test_nobody_there_is_an_error_that_names_the_address() -> None:
    address = loopback_pair(salt=7)[0]
    arm = UrArm("left", UrArmConfig(host=address))
    with pytest.raises(DeviceError, match=address):
        arm.connect()
    assert arm.status().phase is Phase.CLOSED


def test_another_controller_than_the_configured_one_is_refused(emulators: UrEmulators) -> None:
    arm = make(emulators.right, "right", serial_number="20990000000")
    with pytest.raises(DeviceError, match="20215501234"):
        arm.connect()


def test_swapped_addresses_are_named(emulators: UrEmulators) -> None:
    arm = UrArm("left", UrArmConfig(host=emulators.right.address), partner_serial_number="20215501234")
    with pytest.raises(DeviceError, match=f"left arm .*{emulators.right.address}.* addresses of both are swapped"):
        arm.connect()


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("ur10e", "drives a UR10e"),
        ("cb3", "is a CB3"),
        ("polyscope_5.4", ".* 5.6 or newer"),
        ("polyscope_x", "runs PolyScope X"),
    ],
)
def test_another_kind_of_robot_is_refused_by_name_before_it_is_ready(kind: str, words: str) -> None:
    address = loopback_pair(salt=8)[0]
    with UrEmulators(left=address, arguments=["--controller", kind]) as emulators:
        arm = UrArm("left", UrArmConfig(host=address))
        began_s = time.monotonic()
        with pytest.raises(DeviceError, match=f"left arm .*{address} {words}"):
            arm.connect()
        assert time.monotonic() - began_s < 10.0
        assert "script" not in [event["event"] for event in emulators.left.full_log().events]
        assert arm.status().phase is Phase.CLOSED


def test_a_silent_dashboard_is_noticed_within_half_a_second(arm: UrArm, emulators: UrEmulators) -> None:
    with Mover(arm, amplitude_rad=0.3):
        wait_for_motion(emulators.left, arm)
        happened_s = emulators.left.inject("dashboard_silent")
        status = wait_for_fault(arm)
        assert status.fault is Fault.SILENT and "the dashboard has not answered for" in status.detail
        assert status.values["fault_ns"] * 1e-9 - happened_s < 0.5  # type: ignore[operator]
        wait_for_rest(emulators.left)
    emulators.left.inject("restore")
    get_ready(arm)


def test_the_arm_follows_and_stops_and_its_targets_keep_the_limits(arm: UrArm, emulators: UrEmulators) -> None:
    first = emulators.left.count("commands")
    with Mover(arm, amplitude_rad=0.2):
        wait_for_motion(emulators.left, arm)
        wait_for(lambda: emulators.left.count("commands") > first + 300, "300 targets")
        events = emulators.left.count("events")
        arm.stop()
        wait_for(lambda: emulators.left.count("events") > events, "servoStop")
        assert arm.status().phase is Phase.STOPPED
        wait_for(lambda: float(np.abs(emulators.left.ask("state")["qd"]).max()) < 1e-3, "rest")
        sent = emulators.left.count("commands")
        assert emulators.left.ask("state")["program_running"]
    log = emulators.left.full_log()
    assert log.events[events]["event"] == "servo_stop"
    targets = log.commands[first:]["q"]
    assert emulators.left.count("commands") == sent  # commands after the stop had no effect
    velocity = np.diff(targets, axis=0) / 0.002
    assert 0.1 < np.abs(velocity).max() <= VELOCITY_SCALE * np.pi * (1 + 1e-9)
    assert np.abs(np.diff(velocity, axis=0)).max() / 0.002 < 10.0 * (1 + 1e-6)
    assert emulators.left.q()[0] > -np.pi / 2 + 0.01
    get_ready(arm)  # and goes on after an order


def test_the_slider_on_the_pendant_is_reported(arm: UrArm, emulators: UrEmulators) -> None:
    for happening, share in (("slow", 0.1), ("fast", 1.0)):
        emulators.left.inject(happening)
        wait_for(lambda share=share: getattr(arm.read(), "speed_scaling", None) == share, f"{share} of the speed")
    assert arm.status().phase is Phase.READY


def test_a_second_stream_starts_where_the_arm_is(arm: UrArm, emulators: UrEmulators) -> None:
    for _ in range(2):
        with Mover(arm, amplitude_rad=0.05, frequency_hz=1.0):
            wait_for_motion(emulators.left, arm)
        arm.stop()
        wait_for(lambda: float(np.abs(emulators.left.ask("state")["qd"]).max()) < 1e-3, "rest")
        get_ready(arm)


def test_the_library_s_own_receiver_and_dashboard_see_the_same(emulators: UrEmulators) -> None:
    """ur_rtde asks for all 58 fields of its default list, and so checks their types and order in the emulator."""
    from dashboard_client import DashboardClient
    from rtde_receive import RTDEReceiveInterface

    emulators.right.inject("restore")
    library = RTDEReceiveInterface(emulators.right.address)
    receiver = Receiver(emulators.right.address, 500.0)
    try:
        wait_for(lambda: receiver.read() is not None, "a measurement")
        newest = receiver.newest
        np.testing.assert_array_equal(library.getActualQ(), newest.q)
        np.testing.assert_allclose(newest.q, emulators.right.q(), atol=1e-12)
        assert library.getRobotMode() == newest.robot_mode == 7
        assert library.getSafetyStatusBits() == newest.safety_bits == 1
        assert library.getRuntimeState() == newest.runtime_state
        np.testing.assert_array_equal(library.getJointTemperatures(), newest.temperature)
        assert abs(library.getTimestamp() - newest.controller_s) < 1.0
        assert library.getSpeedScaling() == newest.speed_scaling == 1.0
        dashboard = DashboardClient(emulators.right.address)
        dashboard.connect()
        assert dashboard.isInRemoteControl()
        assert "RUNNING" in dashboard.robotmode() and "NORMAL" in dashboard.safetystatus()
        dashboard.disconnect()
    finally:
        receiver.close()
        library.disconnect()


# --- faults ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("happening", "fault"),
    [
        ("protective_stop", Fault.PROTECTIVE_STOP),
        ("emergency_stop", Fault.EMERGENCY_STOP),
        ("safeguard_stop", Fault.SAFEGUARD_STOP),
        ("safety_fault", Fault.SAFETY_FAULT),
        ("program_stop", Fault.PROGRAM_STOPPED),
        ("local_mode", Fault.REMOTE_CONTROL_OFF),
        ("power_off", Fault.NOT_RUNNING),
        ("silent", Fault.SILENT),
        ("drop_link", Fault.LINK_LOST),
        ("unplug", Fault.LINK_LOST),
        ("reboot", Fault.LINK_LOST),
    ],
)
def test_a_fault_is_named_within_200_ms_and_only_rearm_recovers(
    arm: UrArm, emulators: UrEmulators, happening: str, fault: Fault
) -> None:
    with Mover(arm, amplitude_rad=0.3):
        wait_for_motion(emulators.left, arm)
        happened_s = emulators.left.inject(happening)
        status = wait_for_fault(arm)
        reported_s = time.monotonic()
        assert status.fault is fault, status.detail
        assert status.detail
        assert status.values["fault_ns"] * 1e-9 - happened_s < DETECTED_S  # type: ignore[operator]
        assert reported_s - happened_s < 2.0 * DETECTED_S  # by a thread that has to share its core
        wait_for_rest(emulators.left)
        log = emulators.left.full_log()
        assert log.commands["t_ns"][-1] * 1e-9 - happened_s < DETECTED_S
        moving = np.abs(log.motion["qd"]).max(axis=1) > 1e-3
        assert log.motion["t_ns"][moving][-1] * 1e-9 - happened_s < 2.0 * DETECTED_S
        emulators.left.inject("restore")
        q = emulators.left.q()
        cycles = emulators.left.count("cycles")
        wait_for(lambda: emulators.left.count("cycles") > cycles + 50, "0.1 s")
        assert arm.status().phase is Phase.FAULT and arm.status().fault is fault
        np.testing.assert_array_equal(emulators.left.q(), q)
    get_ready(arm)


def test_joints_that_do_not_follow_are_a_fault(arm: UrArm, emulators: UrEmulators) -> None:
    with Mover(arm, amplitude_rad=0.5):
        wait_for_motion(emulators.left, arm)
        emulators.left.inject("jam")
        assert wait_for_fault(arm).fault is Fault.TRACKING
    wait_for_rest(emulators.left)


def test_control_that_falls_silent_stops_the_arm(emulators: UrEmulators) -> None:
    emulators.right.inject("restore")
    arm = make(emulators.right, "right", command_timeout_s=0.15)
    arm.connect()
    try:
        get_ready(arm)
        arm.write(arm.read().q, time.monotonic_ns())  # type: ignore[union-attr]
        ended_s = time.monotonic()
        status = wait_for_fault(arm)
        assert status.fault is Fault.COMMAND_TIMEOUT
        assert 0.14 < status.values["fault_ns"] * 1e-9 - ended_s < DETECTED_S  # type: ignore[operator]
        wait_for_rest(emulators.right)
    finally:
        arm.close()


@pytest.mark.parametrize(
    "command",
    [np.full(6, np.nan), np.full(6, 7.0), np.zeros(5), np.full(6, np.inf)],
    ids=["nan", "outside", "five", "infinite"],
)
def test_a_command_that_is_none_stops_the_arm(arm: UrArm, emulators: UrEmulators, command: np.ndarray) -> None:
    q = arm.read().q  # type: ignore[union-attr]
    arm.write(q, time.monotonic_ns())
    arm.write(command, time.monotonic_ns() + 10_000_000)
    assert wait_for_fault(arm).fault is Fault.COMMAND_REFUSED
    wait_for_rest(emulators.left)
    np.testing.assert_allclose(emulators.left.q(), q, atol=1e-3)


def test_a_stream_that_starts_elsewhere_is_refused(arm: UrArm, emulators: UrEmulators) -> None:
    sent = emulators.left.count("commands")
    arm.write(arm.read().q + 0.2, time.monotonic_ns())  # type: ignore[union-attr]
    status = wait_for_fault(arm)
    assert status.fault is Fault.COMMAND_REFUSED and "0.200 rad" in status.detail
    assert emulators.left.count("commands") == sent


def test_a_rebooted_controller_is_named_as_such(arm: UrArm, emulators: UrEmulators) -> None:
    with Mover(arm):
        wait_for_motion(emulators.left, arm)
        emulators.left.inject("reboot", seconds=0.1)
        wait_for_fault(arm)
    wait_for(lambda: answers(emulators.left.address), "the controller is back")
    arm.rearm()
    wait_for(lambda: arm.status().phase is Phase.FAULT, "a refusal")
    status = arm.status()
    assert status.fault is Fault.REBOOTED and "power off" in status.detail


def answers(address: str) -> bool:
    try:
        Dashboard(address, 0.2).close()
    except Exception:
        return False
    return True


def test_a_protective_stop_that_is_too_young_to_be_released_is_told() -> None:
    address = loopback_pair(salt=11)[0]
    with UrEmulators(left=address, arguments=["--unlock-delay", "60"]) as emulators:
        arm = make(emulators.left)
        arm.connect()
        try:
            emulators.left.inject("protective_stop")
            wait_for_fault(arm)
            arm.rearm()
            wait_for(lambda: "Cannot unlock" in arm.status().detail, "the controller's words")
            assert arm.status().fault is Fault.PROTECTIVE_STOP
        finally:
            arm.close()


def test_without_permission_a_protective_stop_needs_the_pendant(emulators: UrEmulators) -> None:
    emulators.right.inject("restore")
    arm = make(emulators.right, "right", unlock_protective_stop=False)
    arm.connect()
    try:
        emulators.right.inject("protective_stop")
        assert wait_for_fault(arm).fault is Fault.PROTECTIVE_STOP
        arm.rearm()
        wait_for(lambda: arm.status().phase is Phase.FAULT, "a refusal")
        assert arm.status().fault is Fault.PROTECTIVE_STOP
        emulators.right.inject("restore")
        get_ready(arm)
    finally:
        arm.close()


@pytest.mark.parametrize(
    ("end", "fault"),
    [
        (signal.SIGKILL, Fault.WORKER_DIED),
        (signal.SIGSTOP, Fault.WORKER_DIED),
        (signal.SIGSEGV, Fault.LINK_LOST),  # as ur_rtde crashes where it and its caller reconnect at the same time
        (signal.SIGABRT, Fault.LINK_LOST),
    ],
    ids=["killed", "hangs", "segmentation fault", "aborted"],
)
def test_when_the_process_of_an_arm_dies_it_stops_and_can_be_armed_again(
    emulators: UrEmulators, end: signal.Signals, fault: Fault
) -> None:
    clients = (emulators.left, emulators.right)
    for client in clients:
        client.inject("restore")
    arms = (make(emulators.left, "left"), make(emulators.right, "right"))
    try:
        for arm in arms:
            arm.connect()
        get_ready(*arms)
        with Mover(*arms):
            for client, arm in zip(clients, arms, strict=True):
                wait_for_motion(client, arm)
            assert arms[0]._link is not None
            happened_s = time.monotonic()
            os.kill(arms[0]._link.process.pid, end)
            status = wait_for_fault(arms[0])
            assert status.fault is fault, status.detail
            assert happened_s < status.values["fault_ns"] * 1e-9 < happened_s + 3.0 * DETECTED_S  # type: ignore[operator]
            arms[1].stop()  # as the control cycle does
            for client in clients:
                wait_for(lambda c=client: float(np.abs(c.ask("state")["qd"]).max()) < 1e-3, "rest")  # type: ignore[misc]
                log = client.full_log()
                moving = np.abs(log.motion["qd"]).max(axis=1) > 1e-3
                assert log.motion["t_ns"][moving][-1] * 1e-9 - happened_s < 3.0 * DETECTED_S
                assert log.commands["t_ns"][-1] * 1e-9 - happened_s < 3.0 * DETECTED_S
        wait_for_rest(clients[0])
        get_ready(*arms)
    finally:
        for arm in arms:
            arm.close()


# --- ways out -------------------------------------------------------------------------------------------------------

PARENT = """
import signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
import sys, time
from udg_control.device import Phase
from udg_control.ur import UrArm, UrArmConfig
patient = dict(command_timeout_s=0.6, connect_timeout_s=120.0, real_time_priority=40)
arm = UrArm("right", UrArmConfig(host=sys.argv[1], **patient))
arm.connect()
arm.rearm()
while arm.status().phase is not Phase.READY:
    time.sleep(0.002)
q = arm.read().q
k = 0
while True:
    arm.write(q + min(0.0005 * k, 0.4), k * 10_000_000)
    k += 1
    if k == 20:
        print(arm._link.process.pid, flush=True)
    time.sleep(0.01)
"""


@pytest.mark.parametrize("to", ["parent", "worker"])
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL], ids=["int", "term", "kill"])
def test_whoever_ends_the_arm_is_stopped(emulators: UrEmulators, how: signal.Signals, to: str) -> None:
    emulators.right.inject("restore")
    command = [sys.executable, "-c", PARENT, emulators.right.address]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=env) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        before = emulators.right.count("events")
        happened_s = time.monotonic()
        try:
            os.kill(parent.pid if to == "parent" else worker, how)
            wait_for_rest(emulators.right)
            log = emulators.right.full_log()
        finally:
            parent.kill()
    assert log.commands["t_ns"][-1] * 1e-9 - happened_s < 4.0 * DETECTED_S
    events = [event["event"] for event in log.events[before:]]
    if (to, how) == ("worker", signal.SIGKILL):  # nobody is left to say anything: the controller's own watchdog
        assert "watchdog" in events
    else:
        assert events.index("servo_stop") < events.index("stop_script")


def test_close_stops_and_ends_the_program(emulators: UrEmulators) -> None:
    emulators.right.inject("restore")
    arm = make(emulators.right, "right")
    arm.connect()
    get_ready(arm)
    before = emulators.right.count("events")
    with Mover(arm):
        wait_for_motion(emulators.right, arm)
        arm.close()
    wait_for_rest(emulators.right)
    events = [event["event"] for event in emulators.right.full_log().events[before:]]
    assert events.index("servo_stop") < events.index("stop_script")
    assert arm.read() is None


def test_a_dry_run_sends_nothing(emulators: UrEmulators) -> None:
    emulators.right.inject("restore")
    log = emulators.right.full_log()
    q = emulators.right.q()
    arm = make(emulators.right, "right", dry_run=True)
    arm.connect()
    try:
        get_ready(arm)
        with Mover(arm) as mover:
            wait_for(lambda: len(mover.wanted) > 20, "some commands")
        assert wait_for_fault(arm).fault is Fault.COMMAND_TIMEOUT
    finally:
        arm.close()
    after = emulators.right.full_log()
    assert len(after.commands) == len(log.commands)
    assert "script" not in [event["event"] for event in after.events[len(log.events) :]]
    np.testing.assert_array_equal(emulators.right.q(), q)
