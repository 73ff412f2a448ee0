"""The core of the process of an arm behind ros2_control, on a link and a clock of the test's own."""

from __future__ import annotations

import dataclasses
import os
from dataclasses import dataclass, field

import numpy as np
import pytest

from udg_control.device import Fault, Phase
from udg_control.errors import ControlError, SafetyConfigError
from udg_control.hardware import HardwareConfig, keep_limits, make_devices
from udg_control.ros2_control import ControllerArm, ControllerArmConfig
from udg_control.ros2_control.config import default_config
from udg_control.ros2_control.link import Complaint, Measured
from udg_control.ros2_control.process import ControllerArmProcess
from udg_control.ros2_control.shared import Command, ControllerMemory, Start
from udg_control.safety import SafetyConfig
from udg_control.shared_memory import FAULTS, PHASES
from udg_control.worker import Order
from udg_description.clock import NS_PER_S
from udg_description.layout import HOME_Q, JOINT_NAMES, part_indices
from udg_description.limits import joint_limits

HOME = HOME_Q[part_indices("left_arm")]
LIMITS = joint_limits()
ARM = part_indices("left_arm")
CONFIG = dataclasses.replace(default_config("left"), rate_hz=100.0, velocity_scale=0.3, acceleration_scale=0.8)


@dataclass
class ArmOfTheTest:
    """A link to joints that are where they are sent, `obeying`; it says what the test wants it to."""

    q: np.ndarray
    lack: Complaint | None = None
    wrong: Complaint | None = None
    obeying: bool = True
    measured: Measured | None = None
    sent: list[np.ndarray] = field(default_factory=list)
    reason: str = ""

    def lacks(self) -> Complaint | None:
        return self.lack

    def complaint(self) -> Complaint | None:
        return self.wrong

    def newest(self) -> Measured | None:
        return self.measured

    def why_silent(self) -> str:
        return self.reason

    def speed_scaling(self) -> float:
        return 1.0

    def send(self, q: np.ndarray) -> None:
        self.sent.append(q)
        if self.obeying:
            self.q = q

    def close(self) -> None:
        pass


class Rig:
    """The process with its memory, link and clock."""

    def __init__(self, config: ControllerArmConfig = CONFIG) -> None:
        descriptor = ControllerMemory.create()
        self.shared = ControllerMemory(descriptor)
        self.now_ns = NS_PER_S
        self.link = ArmOfTheTest(HOME.copy())
        start = Start(side="left", descriptor=descriptor, parent=os.getppid(), arm=False, config={})
        self.process = ControllerArmProcess(start, config, self.shared, lambda: self.link, lambda: self.now_ns)
        self.period_ns = round(NS_PER_S / config.rate_hz)
        self.measure()

    def measure(self) -> None:
        velocity = np.zeros(6) if len(self.link.sent) < 2 else (self.link.sent[-1] - self.link.sent[-2]) * 1e2
        self.link.measured = Measured(self.now_ns, self.link.q, velocity if self.link.obeying else np.zeros(6))

    def cycle(self, q: np.ndarray | None = None, *, measured: bool = True) -> None:
        self.now_ns += self.period_ns
        if measured:
            self.measure()
        if q is not None:
            self.shared.put_command(Command(self.now_ns, self.now_ns, tuple(q.tolist())))
        self.process.cycle(self.link, self.now_ns / NS_PER_S)
        self.process.take_order(self.link)

    def give(self, order: Order) -> None:
        self.shared.give(order)
        self.process.take_order(self.link)

    def ready(self) -> None:
        assert self.process.connect(self.link)
        self.cycle()
        self.give(Order.ARM)
        assert self.phase is Phase.READY

    def swing(self, cycles: int, speed_rad_s: float = 0.5) -> np.ndarray:
        """Command a constant speed of the last joint; return the last command."""
        q = HOME.copy()
        for _ in range(cycles):
            q[5] += speed_rad_s * 0.01
            self.cycle(q)
        return q

    @property
    def phase(self) -> Phase:
        return PHASES[self.shared.report().phase]

    @property
    def fault(self) -> Fault | None:
        number = self.shared.report().fault
        return None if number < 0 else FAULTS[number]

    @property
    def detail(self) -> str:
        return self.shared.detail.get()


def test_nothing_is_sent_before_the_first_command_and_then_the_commands_are_followed() -> None:
    rig = Rig()
    rig.ready()
    for _ in range(20):
        rig.cycle()
    assert rig.link.sent == [] and rig.phase is Phase.READY
    last = rig.swing(60)
    for _ in range(40):
        rig.cycle(last)
    np.testing.assert_allclose(rig.link.sent[-1], last, atol=1e-9)
    assert rig.phase is Phase.READY


@pytest.mark.parametrize("end", ["control dies", "stop", "silence", "complaint"])
def test_whatever_ends_the_motion_the_targets_brake_within_the_limits(end: str) -> None:
    rig = Rig()
    rig.ready()
    last = rig.swing(40)
    if end == "stop":
        rig.give(Order.STOP)
    if end == "complaint":
        rig.link.wrong = Complaint(Fault.NOT_RUNNING, "inactive")
    for _ in range(60):
        rig.cycle(last if end in ("silence", "complaint") else None, measured=end != "silence")
    sent = np.array(rig.link.sent)
    velocity = np.diff(sent, axis=0) / 0.01
    acceleration = np.diff(velocity, axis=0) / 0.01
    assert (np.abs(velocity) <= LIMITS.velocity[ARM] * 0.3 + 1e-9).all()
    assert (np.abs(acceleration) <= LIMITS.acceleration[ARM] * 0.8 + 1e-6).all()
    assert np.abs(velocity[:30]).max() > 0.4 and np.abs(sent[-1] - sent[-2]).max() == 0.0
    expected = {
        "control dies": Fault.COMMAND_TIMEOUT,
        "stop": None,
        "silence": Fault.SILENT,
        "complaint": Fault.NOT_RUNNING,
    }
    assert rig.fault is expected[end]
    assert rig.phase is (Phase.STOPPED if end == "stop" else Phase.FAULT)


def test_an_arm_that_does_not_follow_is_a_fault_that_lets_go_of_the_target() -> None:
    rig = Rig()
    rig.ready()
    rig.link.obeying = False
    for _ in range(100):
        q = rig.swing(1, 0.0) if not rig.link.sent else rig.link.sent[-1]
        rig.cycle(q + np.array([0, 0, 0, 0, 0, 0.01]))
    assert rig.fault is Fault.TRACKING and "does /left_forward_position_controller move it?" in rig.detail
    np.testing.assert_array_equal(rig.link.sent[-1], HOME)  # where the joints stand: nothing springs up later
    sent = len(rig.link.sent)
    rig.cycle()
    assert len(rig.link.sent) == sent


def test_silence_is_told_with_its_reason() -> None:
    rig = Rig()
    rig.ready()
    rig.link.reason = "their stamps stand still"
    for _ in range(30):
        rig.cycle(HOME, measured=False)
    assert rig.fault is Fault.SILENT
    assert "/joint_state_broadcaster/joint_states" in rig.detail and rig.detail.endswith("their stamps stand still")


@pytest.mark.parametrize(
    ("command", "says"),
    [
        (np.full(6, np.nan), "not 6 finite numbers"),
        (HOME + 0.2, "the first command is 0.200 rad from the joints"),
        (HOME + 20.0, "outside the position limits"),
    ],
)
def test_commands_that_may_not_be_are_refused(command: np.ndarray, says: str) -> None:
    rig = Rig()
    rig.ready()
    rig.cycle(command)
    assert rig.fault is Fault.COMMAND_REFUSED and says in rig.detail and rig.link.sent == []


def test_commands_from_before_the_arming_do_not_count() -> None:
    rig = Rig()
    assert rig.process.connect(rig.link)
    rig.cycle(HOME + 0.01)
    rig.give(Order.ARM)
    for _ in range(30):
        rig.cycle()
    assert rig.phase is Phase.READY and rig.link.sent == []


def test_what_is_wrong_while_stopped_is_told_and_keeps_it_from_getting_ready() -> None:
    rig = Rig()
    assert rig.process.connect(rig.link)
    rig.link.wrong = Complaint(Fault.NOT_RUNNING, "it is 'inactive'")
    for _ in range(10):
        rig.cycle()
    assert rig.phase is Phase.STOPPED and rig.shared.advisory.get() == "it is 'inactive'"
    rig.give(Order.ARM)
    assert rig.phase is Phase.FAULT and rig.fault is Fault.NOT_RUNNING and rig.link.sent == []


def test_arming_waits_until_the_braking_has_ended() -> None:
    rig = Rig()
    rig.ready()
    rig.swing(40)
    rig.give(Order.STOP)
    rig.give(Order.ARM)
    assert rig.phase is Phase.STOPPED
    for _ in range(30):
        rig.cycle()
    assert rig.phase is Phase.READY


def test_a_controller_of_other_joints_is_refused_at_once() -> None:
    rig = Rig()
    rig.link.lack = Complaint(Fault.WRONG_DEVICE, "moves others")
    assert not rig.process.connect(rig.link)
    assert rig.phase is Phase.FAULT and rig.fault is Fault.WRONG_DEVICE


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"joint_states_topic": "/joint_states"}, "where control itself publishes"),
        ({"controller": "forward_position_controller"}, "begins with '/'"),
        ({"joints": ("a", "b")}, "valid: 6 different names"),
        ({"joints": ("a", "a", "b", "c", "d", "e")}, "valid: 6 different names"),
        ({"rate_hz": 130.0}, "multiple of 1/rate_hz"),
        ({"tracking_error_rad": 9.0}, "tracking_error_rad is 9.0"),
    ],
)
def test_settings_that_make_no_sense_are_refused(change: dict[str, object], says: str) -> None:
    with pytest.raises(SafetyConfigError, match=says.replace("(", r"\(")):
        dataclasses.replace(CONFIG, **change)  # type: ignore[arg-type]


def test_the_arms_of_ros2_control_are_made_side_by_side_and_keep_the_filter_s_limits() -> None:
    config = HardwareConfig(arms="ros2_control", hands="simulated")
    devices = make_devices(keep_limits(config, SafetyConfig(velocity_scale=0.3, acceleration_scale=0.8)))
    left, right = (device for device in devices if isinstance(device, ControllerArm))
    assert (left.part, right.part) == ("left_arm", "right_arm")
    assert left.config.joints == JOINT_NAMES[ARM] and right.config.joints == JOINT_NAMES[part_indices("right_arm")]
    assert (left.config.velocity_scale, right.config.acceleration_scale) == (0.3, 0.8)
    assert "/left_forward_position_controller" in left.name


def test_one_controller_or_joint_for_both_arms_is_refused() -> None:
    left = default_config("left")
    with pytest.raises(ControlError, match="both arms have the controller /left_forward_position_controller"):
        make_devices(HardwareConfig(arms="ros2_control", hands="simulated", right_arm_controller=left))
    other = dataclasses.replace(left, controller="/right_forward_position_controller")
    with pytest.raises(ControlError, match="both arms have the joint left_elbow_joint"):
        make_devices(HardwareConfig(arms="ros2_control", hands="simulated", right_arm_controller=other))
