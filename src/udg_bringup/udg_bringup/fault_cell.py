"""A cell of emulated arms and hands for the table of faults, with the cycle of the real robot, in real time.

Two emulated UR controllers driven by the real ur_rtde, two emulated hands driven through the driver of the XHand, the
control cycle, and who watches the cameras: all with the settings of config/*.yaml.
"""

from __future__ import annotations

import dataclasses
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np

from udg_bringup.robot_settings import RobotSettings, read_settings
from udg_bringup.watching import Watch, Watched
from udg_control.beats import Beats
from udg_control.controller import Controller, FaultReport
from udg_control.core_wait import CoreWait
from udg_control.device import Phase
from udg_control.emulators.ur_process import UrEmulatorClient, UrEmulators, loopback_pair
from udg_control.emulators.xhand_bus import XHandBus
from udg_control.errors import RefusedError
from udg_control.hardware import check_hands, keep_limits
from udg_control.robot import Robot
from udg_control.robot_loop import Arming, RobotLoop
from udg_control.safety import Reason
from udg_control.states import Mode
from udg_control.stolen import StolenTime
from udg_control.streams import Source
from udg_control.timing import LoopTimer, keep_collections_short
from udg_control.ur import UrArm
from udg_control.worker import ask_for_real_time
from udg_control.xhand import XHand
from udg_control.xhand.config import EMULATED_SDK
from udg_description.blas import one_blas_thread
from udg_description.clock import NS_PER_S
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q, JOINT_NAMES, SIDES
from udg_description.limits import joint_limits

check_hands("xhand")  # what is emulated here
STILL_RAD_S = 0.02  # slower than this an emulated joint counts as standing
NOTED_S = 0.006  # a beat later than this was held up by others or by the hypervisor; that can cost a control cycle
WAITED_CYCLES = 1.0  # in a cycle, of control's thread ready to run but without a core: longer, and it was held up
SWITCH_S = 5e-4  # between Python threads, as in the control node
CAMERAS = tuple(f"{side} camera" for side in SIDES)
EMULATOR_PERIOD_NS = 2_000_000
HAND_PRIORITY = 35  # SCHED_FIFO of an emulated hand, which shares the cores with all else
FINGER_RAD_S = 0.4
RAMP_RAD_S2 = 4.0
SWING_RAD = 1.0  # of the wrists about home
HOME_TOLERANCE_RAD = 0.05
WRISTS = [JOINT_NAMES.index(f"{side}_wrist_3_joint") for side in SIDES]
FINGERS = [JOINT_NAMES.index(f"{side}_hand_index_joint1") for side in SIDES]
FINGER_RANGE_RAD = (0.2, 1.2)
POINTS = 8  # of a chunk
CHUNK_CYCLES = 10
QUIET_CYCLES = 100  # of an emulator, 0.2 s: nothing starts again by itself
LOG_ROWS = 5000  # 10 s
KEPT_S = 10.0  # of what is noted in each cycle
STOPPED = (Mode.FAULT, Mode.STOPPED, Mode.HELD)

Policy = Callable[[int, np.ndarray], np.ndarray]
"""From a time [ns] and the measured joints (36,) [rad] to a chunk (K, 36) [rad]."""


class FaultCellError(UdgError):
    """The emulated robot does not come to what was waited for."""


@dataclass(frozen=True, kw_only=True)
class FaultCellConfig:
    """Where the settings come from, and how patient the one who plays the faults is."""

    config: Path  # folder of robot.yaml, safety.yaml and cameras.yaml
    emulation: bool = False  # emulation.yaml on top: what the rehearsal runs with
    deadline_s: float = 60.0  # longest wait for anything
    real_time: bool = True  # ask for real-time priority, as on the robot
    speed_share: float = 0.7  # of the velocity that the filter lets pass: how fast the arms move when a fault happens


def cell_settings(config: FaultCellConfig) -> RobotSettings:
    """The settings of the files, but for what only emulated devices need: `differences` are all there are."""
    settings = read_settings(config.config, emulation=config.emulation)
    hardware, left, right = settings.control.hardware, *loopback_pair()
    arm = {"connect_timeout_s": config.deadline_s, "serial_number": ""}
    hand = {"connect_timeout_s": config.deadline_s, "serial_number": "", "ports": ("",), "sdk_module": EMULATED_SDK}
    arm |= {} if config.real_time else {"real_time_priority": 0}
    hand |= {"real_time_priority": HAND_PRIORITY if config.real_time else 0}
    hardware = dataclasses.replace(
        hardware,
        left_arm=dataclasses.replace(hardware.left_arm, host=left, **arm),  # type: ignore[arg-type]
        right_arm=dataclasses.replace(hardware.right_arm, host=right, **arm),  # type: ignore[arg-type]
        left_hand=dataclasses.replace(hardware.left_hand, **hand),  # type: ignore[arg-type]
        right_hand=dataclasses.replace(hardware.right_hand, **hand),  # type: ignore[arg-type]
    )
    control = dataclasses.replace(
        settings.control,
        hardware=hardware,
        loop=dataclasses.replace(settings.control.loop, arm_timeout_s=config.deadline_s),
        real_time_priority=settings.control.real_time_priority if config.real_time else 0,
    )
    return dataclasses.replace(settings, control=control)


def differences(ours: object, files: object, prefix: str = "") -> list[str]:
    """Name each value of one dataclass that another has otherwise."""
    found = []
    for entry in dataclasses.fields(ours):  # type: ignore[arg-type]
        mine, theirs = getattr(ours, entry.name), getattr(files, entry.name)
        if dataclasses.is_dataclass(mine):
            found += differences(mine, theirs, f"{prefix}{entry.name}.")
        elif mine != theirs:
            found.append(f"{prefix}{entry.name} {mine!r} ({theirs!r})")
    return found


class Motion:
    """From where the commands stand to a goal, each joint at its own speed, as a policy would ask for it."""

    def __init__(
        self, start: np.ndarray, goal: np.ndarray, speed_rad_s: np.ndarray, point_s: float, lead_s: float
    ) -> None:
        """All (36,). Begins with the first chunk.

        Between two points lie `point_s` when the chunk is followed at the speed scale in force [s]; the arms follow it
        earlier by `lead_s` [s], so it begins later, for no joint to have to catch up faster than its speed.
        """
        limits = joint_limits()
        self._start, self._speed_rad_s, self._lead_s = start, speed_rad_s, lead_s
        self._start_ns: int | None = None
        self._way = np.clip(goal, limits.lower, limits.upper) - start
        self._ahead_s = point_s * np.arange(1, POINTS + 1)[:, None]

    def __call__(self, now_ns: int, q: np.ndarray) -> np.ndarray:
        """The chunk (8, 36) [rad] of now."""
        del q  # it goes by its own clock
        self._start_ns = now_ns if self._start_ns is None else self._start_ns
        elapsed_s = np.maximum((now_ns - self._start_ns) / NS_PER_S - self._lead_s + self._ahead_s, 0.0)
        ramp_s = self._speed_rad_s / RAMP_RAD_S2
        most = np.where(
            elapsed_s < ramp_s, 0.5 * RAMP_RAD_S2 * elapsed_s**2, self._speed_rad_s * (elapsed_s - 0.5 * ramp_s)
        )
        return self._start + np.clip(self._way, -most, most)


@dataclass
class World:
    """What a fault can change outside of the devices."""

    host_ahead_ns: int = 0  # clock of the host against the monotonic one
    policy: Policy | None = None  # None: sends nothing
    names: tuple[str, ...] = JOINT_NAMES
    cameras: dict[str, float] = field(default_factory=lambda: dict.fromkeys(CAMERAS, 0.0))  # delay [s] of who sends
    beating: bool = True


class Measured(NamedTuple):
    """What came of a fault; times by time.monotonic_ns()."""

    fault: FaultReport
    moving_ns: int  # since when all moved as they should
    happened_ns: int
    detected_ns: int  # by the device's process or the control cycle, whichever came first
    stood_ns: dict[str, int]  # "left_arm", "right_arm", "hands": when its last motion or new command was

    @property
    def detection_s(self) -> float:
        """From what happened to its detection."""
        return (self.detected_ns - self.happened_ns) / NS_PER_S

    @property
    def late_s(self) -> float:
        """From the detection until everything stood."""
        return max(0, max(self.stood_ns.values()) - self.detected_ns) / NS_PER_S

    def standstill_s(self, part: str) -> float:
        """From what happened until this part stood."""
        return max(0, self.stood_ns[part] - self.happened_ns) / NS_PER_S


class Cell:
    """Emulated arms and hands, the cycle in real time, and all who talk to it."""

    def __init__(self, emulators: UrEmulators, bus: XHandBus, beats: Beats, config: FaultCellConfig) -> None:
        """Connect the devices and start the cycle, disabled. The bus must be the one that the environment names."""
        self.emulators: dict[str, UrEmulatorClient] = {"left": emulators.left, "right": emulators.right}
        self.bus, self.beats, self.config = bus, beats, config
        self.settings = settings = cell_settings(config)
        control = settings.control
        hardware = keep_limits(control.hardware, control.controller.safety)
        arms = [UrArm(side, getattr(hardware, f"{side}_arm")) for side in SIDES]
        hands = [XHand(side, getattr(hardware, f"{side}_hand")) for side in SIDES]
        self.robot = Robot([*arms, *hands])
        keep_collections_short()
        one_blas_thread()
        self.loop = RobotLoop(control.loop, self.robot, Controller(control.controller, joint_limits()))
        self.world = World()
        self.runs = 0  # of the policy: how often it was enabled
        self.detected_ns = 0  # by the cycle, since it was enabled last
        self.needless: list[tuple[FaultReport, float]] = []  # stops without a cause, and how late a beat was meanwhile
        self._period_s = control.controller.follower.period_s
        self._timer = LoopTimer(self._period_s)
        kept = round(KEPT_S / self._period_s)
        self._cycles: deque[int] = deque(maxlen=kept)  # when they ended [ns]
        watched = settings.supervisor
        self._stolen, self._core_wait = StolenTime(newest=kept), CoreWait(newest=kept)
        self._watch = Watch(
            [
                Watched(name=name, max_silence_s=watched.camera_silence_s, max_delay_s=watched.camera_delay_s)
                for name in CAMERAS
            ]
        )
        self._beat_cycles = max(1, round(watched.period_s / self._period_s))
        self._lock = threading.Lock()
        self._cycled = threading.Condition()
        self._ending = self._has_priority = False
        self.robot.connect()
        self._thread = threading.Thread(target=self._run, name="control cycle", daemon=True)
        self._thread.start()

    # --- the cycle --------------------------------------------------------------------------------------------------

    def _run(self) -> None:
        self._has_priority = ask_for_real_time(self.settings.control.real_time_priority)
        self._timer.start()
        while not self._ending:
            now_ns = self._timer.wait()
            with self._lock:
                self._cycle(now_ns)
            self._cycles.append(time.monotonic_ns())
            self._stolen.note(self._cycles[-1])
            self._core_wait.note(self._cycles[-1])
            with self._cycled:
                self._cycled.notify_all()

    def _cycle(self, now_ns: int) -> None:
        world, controller = self.world, self.loop.controller
        began_ns = time.monotonic_ns()
        self.loop.watch_clock(now_ns + world.host_ahead_ns, now_ns)
        for name, delay_s in world.cameras.items():
            self._watch.note(name, now_ns, delay_s)
        if world.beating and self._timer.cycles % self._beat_cycles == 0:
            controller.heartbeat(now_ns, "; ".join(self._watch.complaints(now_ns)))
        if self._timer.cycles % CHUNK_CYCLES == 0 and self.loop.state is not None and world.policy is not None:
            chunk = world.policy(now_ns, self.loop.state.q)
            stamp_ns = self.loop.to_monotonic_ns(now_ns + world.host_ahead_ns)
            controller.set_chunk(chunk, stamp_ns, world.names, Source(f"run {self.runs}"))
        self.loop.cycle(now_ns)
        if controller.mode not in STOPPED:
            self.detected_ns = 0
        elif not self.detected_ns:
            self.detected_ns = began_ns

    def close(self) -> None:
        """Stop and release everything."""
        self._ending = True
        self._thread.join()
        self.loop.close()
        self._stolen.close()
        self._core_wait.close()

    # --- what tests and operators do --------------------------------------------------------------------------------

    @property
    def speed_rad_s(self) -> float:
        """How fast the wrists move when a fault happens."""
        return self.config.speed_share * float(self.loop.controller.filter.velocity[WRISTS].min())

    def happens(self, condition: Callable[[], bool]) -> bool:
        """Look once a cycle, at most as long as the configuration says; whether the condition came to hold."""
        deadline_s = time.monotonic() + self.config.deadline_s
        while not condition():
            if time.monotonic() > deadline_s:
                return False
            with self._cycled:
                self._cycled.wait(self.config.deadline_s)
        return True

    def motion(self, goal: np.ndarray) -> Motion:
        """A policy from where the commands stand now to the goal (36,) [rad]."""
        controller = self.loop.controller
        assert controller.filter.command is not None
        speed_rad_s = np.full(len(JOINT_NAMES), self.speed_rad_s)
        speed_rad_s[FINGERS] = FINGER_RAD_S
        follower = controller.config.follower
        point_s = follower.step_s / controller.speed_scale
        return Motion(controller.filter.command.copy(), goal, speed_rad_s, point_s, follower.arm_lead_s)

    def emergency_stop(self) -> None:
        """What the control node does when somebody's word on /emergency_stop is true."""
        with self._lock:
            self.loop.emergency_stop(held=True)

    def _hold(self) -> Motion:
        """A policy that stays where the commands stand now."""
        command = self.loop.controller.filter.command
        assert command is not None
        return self.motion(command)

    def wave(self) -> Motion:
        """A policy that turns a wrist of each arm and bends a finger of each hand, away from where they are."""
        assert self.loop.state is not None
        q, goal = self.loop.state.q, HOME_Q.copy()
        goal[WRISTS] = HOME_Q[WRISTS] + np.where(q[WRISTS] < HOME_Q[WRISTS], SWING_RAD, -SWING_RAD)
        low, high = FINGER_RANGE_RAD
        goal[FINGERS] = np.where(q[FINGERS] < 0.5 * (low + high), high, low)
        return self.motion(goal)

    @property
    def has_priority(self) -> bool:
        """Whether the cycle has its real-time priority."""
        return self._has_priority

    @property
    def moving(self) -> bool:
        """Whether the policy's chunks are being followed."""
        return self.loop.controller.mode is Mode.FOLLOWING and self.world.policy is not None

    def go(self) -> int:
        """Remove all causes, enable as the operator does, and move: again and again until it does. Returns since when.

        Raises FaultCellError when it does not within the deadline.
        """
        deadline_s = time.monotonic() + self.config.deadline_s
        while not self._get_moving():
            if time.monotonic() > deadline_s:
                fault = self.loop.controller.fault
                raise FaultCellError(f"does not move: {self.robot.not_ready()}, {fault}, {self.loop.arming_detail}")
        return time.monotonic_ns()

    def _get_moving(self) -> bool:
        """Try once; whether the robot moves at full speed."""
        began_ns = time.monotonic_ns()
        for side in SIDES:
            self.emulators[side].inject("restore")
            self.bus.restore(side)
        with self._lock:
            self.world = World()
            self.loop.release_stop()
        if not self._enable():
            return False
        others = np.setdiff1d(np.arange(len(JOINT_NAMES)), [*WRISTS, *FINGERS])

        def at_home() -> bool:
            return float(np.abs(self._q[others] - HOME_Q[others]).max()) < HOME_TOLERANCE_RAD

        def fast() -> bool:
            assert self.loop.state is not None
            return float(np.abs(self.loop.state.velocity[WRISTS]).min()) > 0.95 * self.speed_rad_s

        def at_rest() -> bool:
            assert self.loop.state is not None
            return float(np.abs(self.loop.state.velocity[WRISTS]).max()) < STILL_RAD_S

        # A motion that is still under way, or that went with the causes, would be taken for the one that begins here.
        started = (
            self._move_until(lambda: self.motion(HOME_Q), at_home)
            and self._move_until(self._hold, at_rest)
            and self._move_until(self.wave, fast)
        )
        if not started and self.loop.controller.fault is not None:
            self.needless.append((self.loop.controller.fault, self.held_up_s(began_ns, time.monotonic_ns())))
        return started and self.moving

    def _move_until(self, policy: Callable[[], Policy], condition: Callable[[], bool]) -> bool:
        """Follow a policy until the condition holds; False if something stopped the robot, or it took too long."""
        if condition():
            return True
        self.world.policy = policy()
        return self.happens(lambda: condition() or not self._enabled) and self._enabled

    @property
    def _q(self) -> np.ndarray:
        assert self.loop.state is not None
        return self.loop.state.q

    @property
    def _enabled(self) -> bool:
        return self.loop.controller.enabled

    def _enable(self) -> bool:
        """As the operator does; whether it succeeded."""
        if self._enabled:
            return True

        def accepted() -> bool:
            with self._lock:
                try:
                    self.loop.enable(time.monotonic_ns())
                except RefusedError:  # a camera or a state is not there yet
                    return False
            return True

        self.happens(accepted)
        self.happens(lambda: self.loop.arming is not Arming.UNDER_WAY)
        self.runs += 1  # of the policy, which starts after it
        return self._enabled

    # --- measuring --------------------------------------------------------------------------------------------------

    def measure(self, happen: Callable[[Cell], object]) -> Measured:
        """Let a fault happen while all move, wait for its detection, and look when everything stood.

        Raises FaultCellError when all does not move, or the fault is not detected within the deadline.
        """
        moving_ns = self.go()
        happened_ns = time.monotonic_ns()
        happen(self)
        if not self.happens(lambda: self.loop.controller.mode in STOPPED and self.detected_ns != 0):
            raise FaultCellError(f"not detected within {self.config.deadline_s} s: {self.robot.not_ready()}")
        controller = self.loop.controller  # which tells an emergency stop by its mode alone
        fault = controller.fault or FaultReport(reason=Reason.EMERGENCY_STOP, detail=controller.mode.value)
        clients = self.emulators.values()
        self.happens(lambda: all(not np.any(np.abs(client.ask("state")["qd"]) > 1e-3) for client in clients))
        quiet = [client.count("cycles") + QUIET_CYCLES for client in clients]
        self.happens(lambda: all(client.count("cycles") > n for client, n in zip(clients, quiet, strict=True)))
        found = [
            int(status.values["fault_ns"])  # type: ignore[call-overload]
            for status in self.robot.statuses().values()
            if status.phase is Phase.FAULT
        ]
        detected_ns = min([self.detected_ns, *(ns for ns in found if ns > happened_ns)])
        stood_ns = {f"{side}_arm": self._arm_stood_ns(side) for side in SIDES}
        stood_ns["hands"] = max(self._hand_stood_ns(side) for side in SIDES)
        return Measured(fault, moving_ns, happened_ns, detected_ns, stood_ns)

    def _motion(self, side: str) -> np.ndarray:
        return self.emulators[side].full_log(newest=LOG_ROWS).motion

    def _arm_stood_ns(self, side: str) -> int:
        """When the last movement of the arm was, by the emulator's log."""
        motion = self._motion(side)
        moving = np.flatnonzero(np.abs(motion["qd"]).max(axis=1) > STILL_RAD_S)
        return int(motion["t_ns"][moving[-1]]) if len(moving) else 0

    def _hand_stood_ns(self, side: str) -> int:
        """When the last new command to the hand was, by its log."""
        commands = [float(line["t"]) for line in self.bus.log(side) if line["event"] == "command"]  # type: ignore[arg-type]
        return round(commands[-1] * NS_PER_S) if commands else 0

    def held_up_s(self, from_ns: int, to_ns: int) -> float:
        """How late the latest beat was [s] between two times if it was later than NOTED_S, else 0.

        Beats are those of `Beats` and the cycles of the emulated controllers, which on the robot keep their own time.
        What our own cycle waited for a core, ready to run, counts from WAITED_CYCLES on: emulators share the cores
        here. How punctual our own cycle was does not count: being slow is no excuse.
        """
        latest_s = [self.beats.latest_s(from_ns, to_ns)]
        for side in SIDES:
            came_ns = self._motion(side)["t_ns"]
            due_ns = came_ns[:-1] + EMULATOR_PERIOD_NS
            inside = (due_ns < to_ns) & (came_ns[1:] > from_ns)
            latest_s.append(float((came_ns[1:] - due_ns)[inside].max(initial=0)) / NS_PER_S)
        held_up_s = max(latest_s) if max(latest_s) > NOTED_S else 0.0
        waited_s = self._core_wait.longest_s(from_ns, to_ns)
        return max(held_up_s, waited_s) if waited_s > WAITED_CYCLES * self._period_s else held_up_s

    def stolen_s(self, from_ns: int, to_ns: int) -> float:
        """What the hypervisor took of all cores together [s] between two times of the last 10 s."""
        return self._stolen.between_s(from_ns, to_ns)

    def cycle_late_s(self, from_ns: int, to_ns: int) -> float:
        """How late the latest end of a control cycle was [s] between two times."""
        ended_ns = np.array(self._cycles)
        ended_ns = ended_ns[(ended_ns > from_ns) & (ended_ns < to_ns)]
        return max(0.0, float(np.diff(ended_ns).max(initial=0)) / NS_PER_S - self._period_s)


@contextmanager
def emulated_cell(folder: Path, config: FaultCellConfig) -> Iterator[Cell]:
    """A cell with emulators of its own; the folder holds the emulated hands."""
    left, right = loopback_pair()
    words = ["--real-time"] if config.real_time else []
    # Who asks and waits shares the interpreter with the cycle, so it must not be kept waiting while it holds the lock.
    before, switch_s = (os.sched_getscheduler(0), os.sched_getparam(0)), sys.getswitchinterval()
    priority = cell_settings(config).control.real_time_priority
    with (
        XHandBus(folder).in_environment() as bus,
        UrEmulators(left=left, right=right, arguments=words) as emulators,
        Beats(priority) as beats,
    ):
        cell = Cell(emulators, bus, beats, config)
        sys.setswitchinterval(SWITCH_S)
        ask_for_real_time(priority, children=False)
        try:
            yield cell
        finally:
            os.sched_setscheduler(0, *before)
            sys.setswitchinterval(switch_s)
            cell.close()
