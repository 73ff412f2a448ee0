"""The table of faults on emulated UR controllers: each row ends in standing arms and a named report, in time.

The arms are driven by the real ur_rtde; what counts is the emulators' own log. Hands are simulated devices. Each fault
is followed by proof that nothing but the operator's enabling clears it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import numpy as np
import pytest

pytest.importorskip("rtde_control", reason="ur_rtde is not installed")

from udg_bringup.watching import Watch, Watched
from udg_control.controller import Controller, ControllerConfig, FaultReport, Mode
from udg_control.device import Fault, Phase
from udg_control.emulators.ur_process import UrEmulators, loopback_pair
from udg_control.errors import RefusedError
from udg_control.robot import Robot
from udg_control.robot_loop import RobotLoop, RobotLoopConfig
from udg_control.safety import Reason, SafetyConfig
from udg_control.simulated_device import SimulatedDevice, SimulatedDeviceConfig
from udg_control.timing import LoopTimer
from udg_control.ur import UrArm, UrArmConfig
from udg_description.layout import HOME_Q, JOINT_NAMES, part_indices
from udg_description.limits import joint_limits

NS_PER_S = 1_000_000_000
STOPPED_WITHIN_S = 0.2
STILL_RAD_S = 0.02  # slower than this an emulated joint counts as standing
DEADLINE_S = 20.0
ATTEMPTS = 3  # of a row whose measurement a busy machine has spoilt
STARVED_CYCLES = 5  # so many missed in the time that is measured spoil it
CAMERAS = ("left camera", "right camera")
_pause = threading.Event()


def wave(q: np.ndarray) -> np.ndarray:
    """A chunk that moves one joint of each arm at 0.4 rad/s, away from everything."""
    chunk = np.tile(q, (8, 1))
    ahead = 0.04 * np.arange(1, 9)
    chunk[:, JOINT_NAMES.index("left_wrist_3_joint")] += ahead
    chunk[:, JOINT_NAMES.index("right_wrist_3_joint")] += ahead
    return chunk


class Cell:
    """Two emulated arms, two simulated hands, the cycle in real time, and all who talk to it."""

    def __init__(self, emulators: UrEmulators) -> None:
        self.emulators = emulators
        hosts = {"left": emulators.left.address, "right": emulators.right.address}
        patient = {"command_timeout_s": 1.0, "worker_timeout_s": 0.6, "state_timeout_s": 0.3}
        self.arms = {side: UrArm(side, UrArmConfig(host=host, **patient)) for side, host in hosts.items()}
        calm = SimulatedDeviceConfig(command_timeout_s=1.0)
        self.hands = {side: SimulatedDevice(f"{side}_hand", calm) for side in hosts}
        self.robot = Robot([*self.arms.values(), *self.hands.values()])
        config = ControllerConfig(
            latch=True,
            heartbeat_timeout_s=0.5,
            max_chunk_age_s=0.5,
            safety=SafetyConfig(velocity_scale=0.5, max_state_age_s=0.3, arm_step_rad=0.3),
        )
        self.loop = RobotLoop(RobotLoopConfig(clock_step_s=0.5), self.robot, Controller(config, joint_limits()))
        self.timer = LoopTimer(0.01)
        self.watch = Watch([Watched(name=name, max_silence_s=0.3, max_delay_s=0.25) for name in CAMERAS])
        self.lock = threading.Lock()
        self.stopping = False
        self.forget()
        self.robot.connect()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def forget(self) -> None:
        """Undo what a fault has changed."""
        self.host_ahead_ns = 0
        self.policy: Callable[[np.ndarray], object] = wave
        self.names = JOINT_NAMES
        self.cameras = dict.fromkeys(CAMERAS, 0.0)  # delay [s] of those that send
        self.beating = True

    def run(self) -> None:
        self.timer.start()
        cycles = 0
        while not self.stopping:
            now_ns = self.timer.wait()
            with self.lock:
                self.loop.watch_clock(now_ns + self.host_ahead_ns, now_ns)
                for name, delay_s in self.cameras.items():
                    self.watch.note(name, now_ns, delay_s)
                if self.beating:
                    self.loop.controller.heartbeat(now_ns, "; ".join(self.watch.complaints(now_ns)))
                if cycles % 10 == 0 and self.loop.state is not None:
                    stamp_ns = self.loop.to_monotonic_ns(now_ns + self.host_ahead_ns)
                    self.loop.controller.set_chunk(self.policy(self.loop.state.q), stamp_ns, self.names)
                self.loop.cycle(now_ns)
                cycles += 1

    def wait(self, condition: Callable[[], bool], what: str) -> None:
        deadline_s = time.monotonic() + DEADLINE_S
        while not condition():
            assert time.monotonic() < deadline_s, f"no {what}: {self.robot.not_ready()}, {self.loop.controller.fault}"
            _pause.wait(0.002)

    def enable(self) -> None:
        """As the operator does, until it succeeds."""
        deadline_s = time.monotonic() + DEADLINE_S
        while True:
            with self.lock, suppress(RefusedError):
                self.loop.enable(time.monotonic_ns())
            self.wait(lambda: self.loop.arming.value != "under_way", "end of arming")
            if self.loop.controller.filter.enabled:
                return
            assert time.monotonic() < deadline_s, self.loop.arming_detail or self.robot.not_ready()
            _pause.wait(0.05)

    def close(self) -> None:
        self.stopping = True
        self.thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def cell() -> Iterator[Cell]:
    left, right = loopback_pair()
    with UrEmulators(left=left, right=right) as emulators:
        made = Cell(emulators)
        yield made
        made.close()


class Row(NamedTuple):
    """A fault: what happens, which reason is told, a word of the report."""

    happen: Callable[[Cell], object]
    reason: Reason | tuple[Reason, ...]
    word: str


def emulator(side: str, what: str) -> Callable[[Cell], object]:
    return lambda cell: getattr(cell.emulators, side).inject(what)


def hand(side: str, fault: Fault) -> Callable[[Cell], object]:
    return lambda cell: cell.hands[side].inject(fault)


def policy(make: Callable[[np.ndarray], object]) -> Callable[[Cell], object]:
    return lambda cell: setattr(cell, "policy", make)


def turn(joint: str, step_rad: float) -> Callable[[np.ndarray], np.ndarray]:
    def act(q: np.ndarray) -> np.ndarray:
        chunk = np.tile(q, (8, 1))
        chunk[:, JOINT_NAMES.index(joint)] += step_rad * np.arange(1, 9)
        return chunk

    return act


def not_a_number(q: np.ndarray) -> np.ndarray:
    chunk = wave(q)
    chunk[2, 4] = np.nan
    return chunk


TABLE: dict[str, Row] = {
    "link drop": Row(emulator("left", "drop_link"), Reason.DEVICE, "link_lost"),
    "silent controller": Row(emulator("right", "silent"), (Reason.STALE_STATE, Reason.DEVICE), "right arm"),
    "protective stop": Row(emulator("left", "protective_stop"), Reason.DEVICE, "protective_stop"),
    "e-stop": Row(emulator("right", "emergency_stop"), Reason.DEVICE, "device_emergency_stop"),
    "reboot": Row(emulator("left", "reboot"), Reason.DEVICE, "left arm"),
    "wrong mode": Row(emulator("right", "local_mode"), Reason.DEVICE, "remote_control_off"),
    "program stopped": Row(emulator("left", "program_stop"), Reason.DEVICE, "program_stopped"),
    "stale state of a hand": Row(
        lambda cell: setattr(cell.hands["left"], "frozen", True), Reason.STALE_STATE, "left hand"
    ),
    "NaN": Row(policy(not_a_number), Reason.NOT_FINITE, ""),
    "jump": Row(policy(turn("right_elbow_joint", 1.5)), (Reason.VELOCITY, Reason.POSITION), "right_elbow"),
    "wrong joint names": Row(lambda cell: setattr(cell, "names", JOINT_NAMES[::-1]), Reason.JOINT_NAMES, "names"),
    "out of workspace": Row(policy(turn("right_shoulder_pan_joint", -0.05)), Reason.WORKSPACE, "edge"),
    "predicted collision": Row(policy(turn("right_shoulder_lift_joint", 0.1)), Reason.COLLISION_TABLE, "table"),
    "hand over-current": Row(hand("right", Fault.OVER_CURRENT), Reason.DEVICE, "over_current"),
    "hand unplugged": Row(hand("left", Fault.LINK_LOST), Reason.DEVICE, "left hand"),
    "camera unplugged": Row(lambda cell: cell.cameras.pop("left camera"), Reason.HEARTBEAT, "left camera: silent"),
    "one camera late": Row(
        lambda cell: cell.cameras.update({"right camera": 0.4}), Reason.HEARTBEAT, "right camera: 0.40 s late"
    ),
    "heartbeat lost": Row(lambda cell: setattr(cell, "beating", False), Reason.HEARTBEAT, "no heartbeat"),
    "clock jump": Row(lambda cell: setattr(cell, "host_ahead_ns", 3 * NS_PER_S), Reason.CLOCK_JUMP, "leap"),
}


def standing_since_s(cell: Cell, side: str) -> float:
    """Since when the emulated joints stand [s, monotonic clock], by the emulator's log."""
    motion = getattr(cell.emulators, side).full_log().motion
    motion = motion[-3000:]
    t, q = motion["t_ns"] * 1e-9, motion["q"]
    speed = np.abs(np.diff(q, axis=0)).max(axis=1) / np.maximum(np.diff(t), 1e-4)
    moving = np.flatnonzero(speed > STILL_RAD_S)
    return float(t[moving[-1] + 1]) if len(moving) else float(t[0])


def go(cell: Cell) -> None:
    """Everything well, home, enabled, moving."""
    cell.forget()
    for side in ("left", "right"):
        getattr(cell.emulators, side).inject("restore")
        cell.hands[side].repair()
    cell.policy = lambda q: np.zeros((0, 36))
    _pause.wait(0.35)
    cell.enable()
    if np.abs(cell.loop.state.q - HOME_Q).max() > 0.3:
        with cell.lock:
            cell.loop.home()
        cell.wait(lambda: cell.loop.controller.mode is not Mode.HOMING, "home")
    assert cell.loop.controller.filter.enabled, cell.loop.controller.fault
    cell.policy = wave
    where = part_indices("left_arm")
    start = cell.loop.state.q[where].copy()
    cell.wait(lambda: np.abs(cell.loop.state.q[where] - start).max() > 0.03, "motion")


class Measured(NamedTuple):
    """What came of a fault."""

    fault: FaultReport
    late_s: float  # from the detection until both arms stood
    starved: bool  # the cycle itself did not run: no measurement


def measure(cell: Cell, row: Row) -> Measured:
    """Let the fault happen, wait for its detection and look when the arms stood."""
    go(cell)
    row.happen(cell)
    cell.wait(lambda: cell.loop.controller.mode is Mode.FAULT, "detection")
    detected_s, missed = time.monotonic(), cell.timer.missed
    fault = cell.loop.controller.fault
    _pause.wait(0.5)
    late_s = max(standing_since_s(cell, side) for side in ("left", "right")) - detected_s
    assert cell.loop.controller.mode is Mode.FAULT and cell.loop.controller.fault == fault
    return Measured(fault, late_s, cell.timer.missed - missed > STARVED_CYCLES)


@pytest.mark.parametrize("name", TABLE)
def test_each_fault_stops_both_arms_in_time_and_only_the_operator_frees_them(cell: Cell, name: str) -> None:
    row = TABLE[name]
    reasons = row.reason if isinstance(row.reason, tuple) else (row.reason,)
    for _ in range(ATTEMPTS):  # a busy machine can make emulators, drivers and this cycle late: a fault of its own
        measured = measure(cell, row)
        named = measured.fault.reason in reasons and row.word in measured.fault.detail
        if named and measured.late_s <= STOPPED_WITHIN_S and not measured.starved:
            break
    assert named, measured.fault
    assert measured.late_s <= STOPPED_WITHIN_S
    for device in cell.robot.devices:
        assert device.status().phase in (Phase.STOPPED, Phase.FAULT)
    go(cell)  # the operator's enabling does free it
