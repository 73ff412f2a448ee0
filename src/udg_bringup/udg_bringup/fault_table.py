"""The table of faults, played on emulated devices in real time: `python -m udg_bringup.fault_table`.

Two emulated UR controllers driven by the real ur_rtde, two emulated hands driven through the driver of the XHand, the
control cycle, and who watches the cameras. Each fault happens while all of them move. What counts is the emulators'
own log: how long after the detection the arms still moved and the hands were still commanded.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from udg_bringup.watching import Watch, Watched
from udg_control.controller import Controller, ControllerConfig, FaultReport, Mode
from udg_control.device import Phase
from udg_control.emulators.ur_process import UrEmulatorClient, UrEmulators, loopback_pair
from udg_control.emulators.xhand_bus import XHandBus
from udg_control.errors import RefusedError
from udg_control.robot import Robot
from udg_control.robot_loop import Arming, RobotLoop, RobotLoopConfig
from udg_control.safety import Reason, SafetyConfig
from udg_control.timing import LoopTimer
from udg_control.ur import UrArm, UrArmConfig
from udg_control.worker import ask_for_real_time
from udg_control.xhand import XHand, XHandConfig
from udg_control.xhand.config import EMULATED_SDK
from udg_description.errors import UdgError, cli
from udg_description.layout import HOME_Q, JOINT_NAMES, SIDES
from udg_description.limits import joint_limits

NS_PER_S = 1_000_000_000
STOPPED_WITHIN_S = 0.2  # of the detection
STILL_RAD_S = 0.02  # slower than this an emulated joint counts as standing
HELD_UP_S = 0.01  # a pause of an emulator or of the cycle beyond this was the machine's, not ours
CAMERAS = ("left camera", "right camera")
CYCLE_PRIORITY, HAND_PRIORITY, ARM_PRIORITY = 30, 35, 40  # SCHED_FIFO, where permitted
MOVED_RAD = 0.03
FAR_FROM_HOME_RAD = 0.3
MOVING = ("left_wrist_3_joint", "right_wrist_3_joint", "left_hand_index_joint1", "right_hand_index_joint1")
KEPT_CYCLES = 1000
LOG_ROWS = 2000  # 4 s
_pause = threading.Event()


class FaultTableError(UdgError):
    """The emulated robot does not come to what was waited for."""


@dataclass(frozen=True, kw_only=True)
class FaultTableConfig:
    """How patient everybody is: a machine that does other things, too, must not look like a broken robot."""

    deadline_s: float = 60.0  # longest wait for anything
    attempts: int = 6  # of a fault until it is the one that was meant, and measured in time
    real_time: bool = True  # ask for real-time priority, as on the robot


@dataclass
class World:
    """What a fault can change outside of the devices."""

    host_ahead_ns: int = 0  # clock of the host against the monotonic one
    policy: Callable[[np.ndarray], np.ndarray] | None = None  # from joints to chunk; None: nothing to do
    names: tuple[str, ...] = JOINT_NAMES
    cameras: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAMERAS, 0.0))  # delay [s] of who sends
    beating: bool = True


class Measured(NamedTuple):
    """What came of a fault; times by time.monotonic_ns()."""

    fault: FaultReport
    happened_ns: int
    detected_ns: int  # by the device's process or the control cycle, whoever was first
    stopped_ns: int  # when both arms stood and no hand was commanded any more
    held_up_s: float  # how long emulators and cycle were kept from running between the last two

    @property
    def detection_s(self) -> float:
        """From what happened to its detection."""
        return (self.detected_ns - self.happened_ns) / NS_PER_S

    @property
    def late_s(self) -> float:
        """From the detection until everything stood."""
        return max(0, self.stopped_ns - self.detected_ns) / NS_PER_S


class Cell:
    """Emulated arms and hands, the cycle in real time, and all who talk to it."""

    def __init__(self, emulators: UrEmulators, bus: XHandBus, config: FaultTableConfig) -> None:
        """Connect the devices and start the cycle, disabled. The bus must be the one that the environment names."""
        self.emulators: dict[str, UrEmulatorClient] = {"left": emulators.left, "right": emulators.right}
        self.bus, self.config = bus, config
        arm = {"command_timeout_s": 1.0, "worker_timeout_s": 0.6, "state_timeout_s": 0.3, "watchdog_hz": 4.0}
        arm |= {"connect_timeout_s": config.deadline_s, "real_time_priority": ARM_PRIORITY if config.real_time else 0}
        hand = {"command_timeout_s": 1.0, "worker_timeout_s": 0.6, "state_timeout_s": 0.3}
        hand |= {"connect_timeout_s": config.deadline_s, "real_time_priority": HAND_PRIORITY if config.real_time else 0}
        self.arms = {
            side: UrArm(side, UrArmConfig(host=client.address, **arm))  # type: ignore[arg-type]
            for side, client in zip(SIDES, self.emulators.values(), strict=True)
        }
        self.hands = {side: XHand(side, XHandConfig(sdk_module=EMULATED_SDK, **hand)) for side in SIDES}  # type: ignore[arg-type]
        self.robot = Robot([*self.arms.values(), *self.hands.values()])
        controller = ControllerConfig(
            latch=True,
            heartbeat_timeout_s=0.5,
            max_chunk_age_s=0.5,
            home_speed=0.4,
            safety=SafetyConfig(velocity_scale=0.5, max_state_age_s=0.3, arm_step_rad=0.3),
        )
        loop_config = RobotLoopConfig(clock_step_s=0.5, arm_timeout_s=config.deadline_s)
        self.loop = RobotLoop(loop_config, self.robot, Controller(controller, joint_limits()))
        self.world = World()
        self.detected_ns = 0  # by the cycle, since it was enabled last
        self._timer = LoopTimer(0.01)
        self._cycles: deque[int] = deque(maxlen=KEPT_CYCLES)  # when they ended [ns]
        self._watch = Watch([Watched(name=name, max_silence_s=0.3, max_delay_s=0.25) for name in CAMERAS])
        self._lock = threading.Lock()
        self._ending = False
        self._direction = 1.0
        self.robot.connect()
        self._thread = threading.Thread(target=self._run, name="control cycle", daemon=True)
        self._thread.start()

    # --- the cycle --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        ask_for_real_time(CYCLE_PRIORITY if self.config.real_time else 0)
        self._timer.start()
        while not self._ending:
            now_ns = self._timer.wait()
            with self._lock:
                self._cycle(now_ns)
            self._cycles.append(time.monotonic_ns())

    def _cycle(self, now_ns: int) -> None:
        world, controller = self.world, self.loop.controller
        began_ns = time.monotonic_ns()
        self.loop.watch_clock(now_ns + world.host_ahead_ns, now_ns)
        for name, delay_s in world.cameras.items():
            self._watch.note(name, now_ns, delay_s)
        if world.beating:
            controller.heartbeat(now_ns, "; ".join(self._watch.complaints(now_ns)))
        if self._timer.cycles % 10 == 0 and self.loop.state is not None:
            q = self.loop.state.q
            chunk = np.zeros((0, len(q))) if world.policy is None else world.policy(q)
            controller.set_chunk(chunk, self.loop.to_monotonic_ns(now_ns + world.host_ahead_ns), world.names)
        self.loop.cycle(now_ns)
        if controller.mode is not Mode.FAULT:
            self.detected_ns = 0
        elif not self.detected_ns:
            self.detected_ns = began_ns

    def close(self) -> None:
        """Stop and release everything."""
        self._ending = True
        self._thread.join()
        self.loop.close()

    # --- what tests and operators do --------------------------------------------------------------------------------

    def _happens(self, condition: Callable[[], bool]) -> bool:
        """Wait for the condition, at most as long as the configuration says; whether it holds."""
        deadline_s = time.monotonic() + self.config.deadline_s
        while not condition():
            if time.monotonic() > deadline_s:
                return False
            _pause.wait(0.002)
        return True

    def wave(self, q: np.ndarray) -> np.ndarray:
        """A chunk that turns a wrist of each arm at 0.4 rad/s and bends a finger of each hand."""
        chunk = np.tile(q, (8, 1))
        ahead = self._direction * 0.04 * np.arange(1, 9)
        for name in MOVING:
            chunk[:, JOINT_NAMES.index(name)] += ahead
        return chunk

    @property
    def moving(self) -> bool:
        """Whether the policy's chunks are being followed."""
        return self.loop.controller.mode is Mode.FOLLOWING and self.world.policy == self.wave

    def go(self) -> None:
        """Remove all causes, enable as the operator does, and move: again and again until it does.

        Raises FaultTableError when it does not within ten times the deadline.
        """
        deadline_s = time.monotonic() + 10.0 * self.config.deadline_s
        while not self._get_moving():
            if time.monotonic() > deadline_s:
                fault = self.loop.controller.fault
                raise FaultTableError(f"does not move: {self.robot.not_ready()}, {fault}, {self.loop.arming_detail}")

    def _get_moving(self) -> bool:
        """Try once; whether the robot moves."""
        for side in SIDES:
            self.emulators[side].inject("restore")
            self.bus.restore(side)
        with self._lock:
            self.world = World()
        if not self._enable():
            return False
        assert self.loop.state is not None
        if np.abs(self.loop.state.q - HOME_Q).max() > FAR_FROM_HOME_RAD:
            with self._lock, suppress(RefusedError):
                self.loop.home()
            self._happens(lambda: self.loop.controller.mode is not Mode.HOMING)
        where = JOINT_NAMES.index(MOVING[0])
        start = float(self.loop.state.q[where])
        self._direction = 1.0 if start < HOME_Q[where] else -1.0
        self.world.policy = self.wave

        def moved() -> bool:
            return self.loop.state is not None and abs(float(self.loop.state.q[where]) - start) > MOVED_RAD

        self._happens(lambda: moved() or not self.loop.controller.filter.enabled)
        return self.moving

    def _enable(self) -> bool:
        """As the operator does; whether it succeeded."""
        if self.loop.controller.filter.enabled:
            return True
        with self._lock:
            try:
                self.loop.enable(time.monotonic_ns())
            except RefusedError:  # a camera or a state is not there yet
                _pause.wait(0.02)
                return False
        self._happens(lambda: self.loop.arming is not Arming.UNDER_WAY)
        return self.loop.controller.filter.enabled

    def measure(self, row: Row) -> Measured:
        """Let a fault happen while all move, wait for its detection, and look when everything stood."""
        self.go()
        happened_ns = time.monotonic_ns()
        row.happen(self)
        if not self._happens(lambda: self.loop.controller.mode is Mode.FAULT):
            raise FaultTableError(f"not detected within {self.config.deadline_s} s: {self.robot.not_ready()}")
        fault = self.loop.controller.fault
        assert fault is not None
        self._happens(lambda: all(not np.any(np.abs(c.ask("state")["qd"]) > 1e-3) for c in self.emulators.values()))
        _pause.wait(0.2)  # nothing starts again by itself
        found = [
            int(status.values["fault_ns"])  # type: ignore[call-overload]
            for status in self.robot.statuses().values()
            if status.phase is Phase.FAULT
        ]
        detected_ns = min([self.detected_ns, *(ns for ns in found if ns > happened_ns)])
        stopped_ns = max(self._stopped_ns(side) for side in SIDES)
        held_up_s = self._held_up_s(detected_ns, max(stopped_ns, detected_ns))
        return Measured(fault, happened_ns, detected_ns, stopped_ns, held_up_s)

    def _motion(self, side: str) -> np.ndarray:
        return self.emulators[side].full_log(newest=LOG_ROWS).motion

    def _stopped_ns(self, side: str) -> int:
        """When the last movement of the arm and the last new command to the hand were, by the emulators' logs."""
        motion = self._motion(side)
        moving = np.flatnonzero(np.abs(motion["qd"]).max(axis=1) > STILL_RAD_S)
        arm_ns = int(motion["t_ns"][moving[-1]]) if len(moving) else 0
        commands = [float(line["t"]) for line in self.bus.log(side) if line["event"] == "command"]  # type: ignore[arg-type]
        return max(arm_ns, round(commands[-1] * NS_PER_S) if commands else 0)

    def _held_up_s(self, from_ns: int, to_ns: int) -> float:
        """How long emulators and cycle were kept from running in this time: no controller and no robot PC pauses so."""
        stamps = [self._motion(side)["t_ns"] for side in SIDES]
        stamps.append(np.array(self._cycles))
        held_up_s = 0.0
        for stamp_ns, period_s in zip(stamps, (0.002, 0.002, 0.01), strict=True):
            inside = stamp_ns[(stamp_ns > from_ns - NS_PER_S) & (stamp_ns < to_ns)]
            gaps_s = np.diff(np.append(inside, to_ns)) * 1e-9 - period_s
            ends_inside = np.append(inside[1:], to_ns) > from_ns
            held_up_s = max(held_up_s, float(gaps_s[(gaps_s > HELD_UP_S) & ends_inside].sum()))
        return held_up_s

    def play(self, row: Row) -> Measured:
        """Measure a fault until it is the one that was meant and nobody was held up, or give the best attempt.

        On a busy machine an arm's process can be kept waiting until a watchdog fires: a fault of its own, which is
        cleared by the operator like any other. Raises FaultTableError when the meant one never came.
        """
        best: Measured | None = None
        other = ""
        for _ in range(self.config.attempts):
            measured = self.measure(row)
            if not row.is_named(measured.fault):
                other = f"{measured.fault.reason.value}: {measured.fault.detail}"
                continue
            if best is None or measured.late_s - measured.held_up_s < best.late_s - best.held_up_s:
                best = measured
            if measured.late_s <= STOPPED_WITHIN_S:
                return measured
        if best is None:
            raise FaultTableError(f"'{row.word}' was never told; the last fault was {other}")
        return best


class Row(NamedTuple):
    """A fault: what happens, which reason is told, a word of the report."""

    happen: Callable[[Cell], object]
    reasons: tuple[Reason, ...]
    word: str

    def is_named(self, fault: FaultReport) -> bool:
        """Whether this is the report of this fault."""
        return fault.reason in self.reasons and self.word in fault.detail


def _arm(side: str, what: str) -> Callable[[Cell], object]:
    return lambda cell: cell.emulators[side].inject(what)


def _hand(side: str, what: str) -> Callable[[Cell], object]:
    return lambda cell: cell.bus.inject(side, what)


def _world(**changes: object) -> Callable[[Cell], object]:
    def change(cell: Cell) -> None:
        for name, value in changes.items():
            setattr(cell.world, name, value)

    return change


def _turn(joint: str, step_rad: float) -> Callable[[np.ndarray], np.ndarray]:
    def act(q: np.ndarray) -> np.ndarray:
        chunk = np.tile(q, (8, 1))
        chunk[:, JOINT_NAMES.index(joint)] += step_rad * np.arange(1, 9)
        return chunk

    return act


def _not_a_number(q: np.ndarray) -> np.ndarray:
    chunk = np.tile(q, (8, 1))
    chunk[2, 4] = np.nan
    return chunk


DEVICE, STALE, HEARTBEAT = (Reason.DEVICE,), (Reason.STALE_STATE, Reason.DEVICE), (Reason.HEARTBEAT,)
TABLE: dict[str, Row] = {
    "link drop": Row(_arm("left", "drop_link"), DEVICE, "link_lost"),
    "network cable out": Row(_arm("right", "unplug"), DEVICE, "link_lost"),
    "silent controller": Row(_arm("right", "silent"), STALE, "right arm"),
    "protective stop": Row(_arm("left", "protective_stop"), DEVICE, "protective_stop"),
    "e-stop at the pendant": Row(_arm("right", "emergency_stop"), DEVICE, "device_emergency_stop"),
    "reboot": Row(_arm("left", "reboot"), DEVICE, "left arm"),
    "wrong mode (local)": Row(_arm("right", "local_mode"), DEVICE, "remote_control_off"),
    "program stopped": Row(_arm("left", "program_stop"), DEVICE, "program_stopped"),
    "stale state (a hand hangs)": Row(_hand("left", "hang"), STALE, "left hand"),
    "NaN": Row(_world(policy=_not_a_number), (Reason.NOT_FINITE,), "point 2"),
    "jump": Row(_world(policy=_turn("right_elbow_joint", 1.5)), (Reason.VELOCITY, Reason.POSITION), "right_elbow"),
    "wrong joint names": Row(_world(names=JOINT_NAMES[::-1]), (Reason.JOINT_NAMES,), "names"),
    "out of workspace": Row(_world(policy=_turn("right_shoulder_pan_joint", -0.05)), (Reason.WORKSPACE,), "edge"),
    "predicted collision": Row(
        _world(policy=_turn("right_shoulder_lift_joint", 0.1)), (Reason.COLLISION_TABLE,), "table"
    ),
    "hand over-current": Row(_hand("right", "over_current"), DEVICE, "over_current"),
    "hand unplugged": Row(_hand("left", "unplug"), DEVICE, "left hand"),
    "hand's library aborts": Row(_hand("right", "abort"), DEVICE, "worker_died"),
    "CRC errors of a hand": Row(_hand("left", "crc"), STALE, "left hand"),
    "camera unplugged": Row(_world(cameras={"right camera": 0.0}), HEARTBEAT, "left camera: silent"),
    "one camera late": Row(
        _world(cameras={"left camera": 0.0, "right camera": 0.4}), HEARTBEAT, "right camera: 0.40 s late"
    ),
    "heartbeat lost": Row(_world(beating=False), HEARTBEAT, "no heartbeat"),
    "clock jump": Row(_world(host_ahead_ns=3 * NS_PER_S), (Reason.CLOCK_JUMP,), "leap"),
}


@contextmanager
def emulated_cell(folder: Path, config: FaultTableConfig | None = None) -> Iterator[Cell]:
    """A cell with emulators of its own; the folder holds the emulated hands."""
    config = config or FaultTableConfig()
    left, right = loopback_pair()
    words = ["--real-time"] if config.real_time else []
    with XHandBus(folder).in_environment() as bus, UrEmulators(left=left, right=right, arguments=words) as emulators:
        cell = Cell(emulators, bus, config)
        try:
            yield cell
        finally:
            cell.close()


def main() -> None:
    """Play the faults and print what was measured, as a table of docs/safety.md."""
    cli(_main)


def _main() -> None:
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("--rows", nargs="*", default=list(TABLE), choices=list(TABLE), metavar="ROW")
    parser.add_argument(
        "--real-time", action=argparse.BooleanOptionalAction, default=True, help="real-time priority where permitted"
    )
    options = parser.parse_args()
    print("| fault | report | detected after | everything stands after that | held up |\n|---|---|---|---|---|")
    config = FaultTableConfig(real_time=options.real_time)
    with tempfile.TemporaryDirectory(prefix="udg_hands_") as folder, emulated_cell(Path(folder), config) as cell:
        for name in options.rows:
            got = cell.play(TABLE[name])
            times = f"{1e3 * got.detection_s:.0f} ms | {1e3 * got.late_s:.0f} ms | {1e3 * got.held_up_s:.0f} ms"
            print(f"| {name} | `{got.fault.reason.value}`: {got.fault.detail} | {times} |", flush=True)


if __name__ == "__main__":
    main()
