"""The cycle of a robot made of devices, and the faults: each stops it and is told, only the operator frees it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from udg_control.controller import Controller, ControllerConfig, Mode
from udg_control.device import Fault, Phase
from udg_control.errors import ControlError, RefusedError
from udg_control.follower import FollowerConfig
from udg_control.robot import Robot
from udg_control.robot_loop import Arming, RobotLoop, RobotLoopConfig
from udg_control.safety import Reason
from udg_control.simulated_device import SimulatedDevice
from udg_control.streams import Source
from udg_description.layout import HOME_Q, JOINT_NAMES, part_indices
from udg_description.limits import joint_limits

PARTS = ("left_arm", "left_hand", "right_arm", "right_hand")
PERIOD_NS, NS_PER_S = 10_000_000, 1_000_000_000
JOINT = 18  # right shoulder pan
STOPPED_WITHIN_S = 0.2
LIMITS = joint_limits()


class Rig:
    """A robot of simulated devices, its loop, a policy that moves one joint, and the clocks of all."""

    def __init__(self, **loop: object) -> None:
        self.now_ns = 5 * NS_PER_S
        self.host_ahead_ns = 1_700_000_000 * NS_PER_S
        self.devices = {part: SimulatedDevice(part, clock_ns=lambda: self.now_ns) for part in PARTS}
        self.robot = Robot(list(self.devices.values()))
        controller = ControllerConfig(latch=True, heartbeat_timeout_s=0.2, follower=FollowerConfig(keep_margins=False))
        self.loop = RobotLoop(RobotLoopConfig(**loop), self.robot, Controller(controller, LIMITS))
        self.robot.connect()
        self.beating = True
        self.complaint = ""
        self.policy: Callable[[np.ndarray], object] | None = self.wave
        self.names = JOINT_NAMES
        self.chunk_age_ns = 0
        self.steps = 0
        self.runs = 0  # of the policy

    def wave(self, q: np.ndarray) -> np.ndarray:
        """A chunk that moves one joint at 0.5 rad/s from where it is."""
        chunk = np.tile(q, (8, 1))
        chunk[:, JOINT] += 0.05 * np.arange(1, 9)
        return chunk

    def step(self) -> None:
        """10 ms: heartbeat and, each 100 ms, a chunk; then the cycle."""
        self.now_ns += PERIOD_NS
        self.loop.watch_clock(self.now_ns + self.host_ahead_ns, self.now_ns)
        if self.beating:
            self.loop.controller.heartbeat(self.now_ns, self.complaint)
        if self.steps % 10 == 0 and self.policy is not None and self.loop.state is not None:
            stamp_ns = self.loop.to_monotonic_ns(self.now_ns + self.host_ahead_ns - self.chunk_age_ns)
            chunk = self.policy(self.loop.state.q)
            self.loop.controller.set_chunk(chunk, stamp_ns, self.names, Source(f"run {self.runs}"))
        self.steps += 1
        self.loop.cycle(self.now_ns)

    def run(self, seconds: float) -> None:
        for _ in range(round(seconds * 100)):
            self.step()

    def enable(self) -> None:
        """Enable, then start the policy."""
        self.loop.enable(self.now_ns)
        self.run(0.03)
        assert self.loop.controller.enabled
        self.runs += 1

    def commands(self, part: str, since_ns: int) -> np.ndarray:
        """Commands (N, n) that a device has followed since then."""
        log = self.devices[part].log
        return np.array([r.q for r in log if r.event == "command" and r.time_ns >= since_ns])

    @property
    def mode(self) -> Mode:
        return self.loop.controller.mode


@pytest.fixture
def rig() -> Rig:
    made = Rig()
    made.step()
    made.enable()
    made.run(0.5)
    assert made.mode is Mode.FOLLOWING
    return made


def test_commands_reach_all_devices_only_after_enable() -> None:
    rig = Rig()
    rig.run(0.2)
    assert all(len(rig.commands(part, 0)) == 0 for part in PARTS)
    rig.enable()
    rig.run(0.5)
    assert all(len(rig.commands(part, 0)) >= 45 for part in PARTS)
    moved = rig.commands("right_arm", 0)[-1] - HOME_Q[part_indices("right_arm")]
    assert 0.1 < moved[0] < 0.3


def test_disable_brakes_then_stops_the_devices(rig: Rig) -> None:
    rig.loop.disable()
    rig.run(0.3)
    for device in rig.devices.values():
        assert device.status().phase is Phase.STOPPED
        assert device.log[-1].event == "stop"
    assert rig.mode is Mode.DISABLED


def test_disable_while_devices_are_arming_stops_them_at_once() -> None:
    rig = Rig()
    rig.step()
    rig.loop.enable(rig.now_ns)
    assert rig.loop.arming is Arming.UNDER_WAY
    rig.loop.disable()
    rig.run(0.3)
    assert all(device.status().phase is Phase.STOPPED for device in rig.devices.values())


def test_the_emergency_stop_stops_the_devices_in_the_same_moment(rig: Rig) -> None:
    rig.loop.emergency_stop()
    assert all(device.status().phase is Phase.STOPPED for device in rig.devices.values())
    at = rig.now_ns
    rig.run(0.3)
    assert all(len(rig.commands(part, at + 1)) == 0 for part in PARTS)
    rig.enable()
    rig.run(0.3)
    assert rig.mode is Mode.FOLLOWING


# What happens to the rig; which reason is told; a word that the report must hold.
Row = tuple[Callable[[Rig], None], Reason, str]


def inject(part: str, fault: Fault) -> Callable[[Rig], None]:
    return lambda rig: rig.devices[part].inject(fault)


def freeze(part: str) -> Callable[[Rig], None]:
    return lambda rig: setattr(rig.devices[part], "frozen", True)


def answer(make: Callable[[np.ndarray], object]) -> Callable[[Rig], None]:
    return lambda rig: setattr(rig, "policy", make)


def jump(q: np.ndarray) -> np.ndarray:
    chunk = np.tile(q, (8, 1))
    chunk[:, JOINT] += 1.5
    return chunk


def reach(joint: int, speed_rad_s: float) -> Callable[[np.ndarray], np.ndarray]:
    """A policy that turns one joint until something is in the way."""

    def act(q: np.ndarray) -> np.ndarray:
        chunk = np.tile(q, (8, 1))
        chunk[:, joint] += speed_rad_s * 0.1 * np.arange(1, 9)
        return chunk

    return act


def not_a_number(q: np.ndarray) -> np.ndarray:
    chunk = np.tile(q, (8, 1))
    chunk[3, 5] = np.nan
    return chunk


def set_attribute(name: str, value: object) -> Callable[[Rig], None]:
    return lambda rig: setattr(rig, name, value)


def host_clock_leaps(rig: Rig) -> None:
    rig.host_ahead_ns += 2 * NS_PER_S


def swing_arms_together(q: np.ndarray) -> np.ndarray:
    """Turn both shoulders inwards."""
    chunk = np.tile(q, (8, 1))
    ahead = 0.05 * np.arange(1, 9)
    chunk[:, JOINT_NAMES.index("left_shoulder_pan_joint")] -= ahead
    chunk[:, JOINT_NAMES.index("right_shoulder_pan_joint")] += ahead
    return chunk


FAULTS: dict[str, Row] = {
    "arm link drop": (inject("left_arm", Fault.LINK_LOST), Reason.DEVICE, "link_lost"),
    "arm controller silent": (freeze("right_arm"), Reason.STALE_STATE, "right arm"),
    "protective stop": (inject("right_arm", Fault.PROTECTIVE_STOP), Reason.DEVICE, "protective_stop"),
    "device emergency stop": (inject("left_arm", Fault.EMERGENCY_STOP), Reason.DEVICE, "device_emergency_stop"),
    "controller reboot": (inject("left_arm", Fault.REBOOTED), Reason.DEVICE, "rebooted"),
    "wrong mode": (inject("right_arm", Fault.REMOTE_CONTROL_OFF), Reason.DEVICE, "remote_control_off"),
    "driver process died": (inject("left_arm", Fault.WORKER_DIED), Reason.DEVICE, "worker_died"),
    "stopped from outside": (lambda rig: rig.devices["left_arm"].stop(), Reason.DEVICE, "left arm"),
    "stale state of a hand": (freeze("left_hand"), Reason.STALE_STATE, "left hand"),
    "hand over-current": (inject("right_hand", Fault.OVER_CURRENT), Reason.DEVICE, "over_current"),
    "hand unplugged": (inject("right_hand", Fault.LINK_LOST), Reason.DEVICE, "right hand"),
    "hand CRC errors": (inject("left_hand", Fault.BUS_ERROR), Reason.DEVICE, "bus_error"),
    "NaN": (answer(not_a_number), Reason.NOT_FINITE, ""),
    "jump": (answer(jump), Reason.VELOCITY, ""),
    "wrong length": (answer(lambda q: np.zeros((8, 35))), Reason.LENGTH, ""),
    "wrong joint names": (set_attribute("names", JOINT_NAMES[::-1]), Reason.JOINT_NAMES, "names"),
    "far outside limits": (answer(lambda q: np.full((8, 36), 50.0)), Reason.POSITION, ""),
    "out of workspace": (answer(reach(JOINT_NAMES.index("right_shoulder_pan_joint"), -0.5)), Reason.WORKSPACE, "edge"),
    "collision with the table": (
        answer(reach(JOINT_NAMES.index("right_shoulder_lift_joint"), 0.5)),
        Reason.COLLISION_TABLE,
        "table",
    ),
    "collision of the arms": (answer(swing_arms_together), Reason.COLLISION_ARMS, "right_"),
    "collision with itself": (
        answer(reach(JOINT_NAMES.index("left_wrist_1_joint"), -0.5)),
        Reason.COLLISION_SELF,
        "left_",
    ),
    "policy silent": (set_attribute("policy", None), Reason.STALE_CHUNK, "chunk"),
    "old chunks": (set_attribute("chunk_age_ns", NS_PER_S), Reason.STALE_CHUNK, ""),
    "heartbeat lost": (set_attribute("beating", False), Reason.HEARTBEAT, "no heartbeat"),
    "camera unplugged": (set_attribute("complaint", "left camera silent"), Reason.HEARTBEAT, "left camera silent"),
    "clock jump": (host_clock_leaps, Reason.CLOCK_JUMP, "leap"),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_stops_the_robot_and_is_told_and_only_the_operator_frees_it(rig: Rig, name: str) -> None:
    happen, reason, word = FAULTS[name]
    happen(rig)
    while rig.mode is not Mode.FAULT:
        assert rig.steps < 1000, f"{name} was never detected"
        rig.step()
    detected_ns = rig.now_ns
    fault = rig.loop.controller.fault
    assert fault.reason is reason and word in fault.detail
    assert rig.loop.controller.counts[reason] >= 1

    rig.run(STOPPED_WITHIN_S)
    at_rest = [device.read().q for device in rig.devices.values()]
    rig.run(0.5)
    for part, q in zip(PARTS, at_rest, strict=True):
        assert rig.devices[part].status().phase in (Phase.STOPPED, Phase.FAULT)
        np.testing.assert_allclose(rig.devices[part].read().q, q, atol=2e-3)
        assert len(rig.commands(part, detected_ns + int(STOPPED_WITHIN_S * NS_PER_S))) == 0
    assert rig.mode is Mode.FAULT and rig.loop.controller.fault == fault  # nothing clears it by itself

    for device in rig.devices.values():
        device.repair()
    rig.policy, rig.names, rig.chunk_age_ns = (lambda q: np.zeros((0, 36))), JOINT_NAMES, 0
    rig.beating, rig.complaint = True, ""
    rig.run(0.2)
    assert rig.mode is Mode.FAULT
    rig.enable()
    rig.run(0.2)
    assert rig.mode is Mode.WAITING and rig.loop.controller.fault is None


def test_commands_keep_their_limits_through_each_fault() -> None:
    for happen, _, _ in FAULTS.values():
        rig = Rig()
        rig.step()
        rig.enable()
        rig.run(0.3)
        happen(rig)
        rig.run(1.0)
        for part in ("left_arm", "right_arm"):
            where = part_indices(part)
            steps = np.diff(rig.commands(part, 0), axis=0) / 0.01
            assert np.all(np.abs(steps) <= LIMITS.velocity[where] + 1e-6)
            assert np.all(np.abs(np.diff(steps, axis=0)) <= LIMITS.acceleration[where] * 0.01 + 1e-6)


def test_enabling_while_the_arms_still_brake_arms_them_after_their_stop(rig: Rig) -> None:
    rig.loop.disable()
    rig.step()
    assert rig.loop.sending  # it brakes
    rig.enable()
    rig.run(0.3)
    assert rig.mode is Mode.FOLLOWING


def test_enabling_is_refused_while_a_device_is_silent() -> None:
    rig = Rig()
    rig.step()
    rig.devices["left_hand"].frozen = True
    rig.run(0.4)
    with pytest.raises(RefusedError, match="left hand .* silent for"):
        rig.loop.enable(rig.now_ns)


def test_enabling_fails_with_the_devices_own_reason_and_nothing_moves() -> None:
    rig = Rig()
    rig.step()
    rig.devices["right_arm"].inject(Fault.REMOTE_CONTROL_OFF)
    rig.loop.enable(rig.now_ns)
    rig.run(0.1)
    assert rig.loop.arming is Arming.FAILED and "remote_control_off" in rig.loop.arming_detail
    assert not rig.loop.controller.enabled
    assert all(len(rig.commands(part, 0)) == 0 for part in PARTS)


def test_arming_that_fails_without_a_state_is_told_and_may_be_tried_again(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A new process that finds nobody has no state; so no joint states go out, of which the heartbeat complains."""
    arm = rig.devices["right_arm"]
    arm.inject(Fault.LINK_LOST)
    monkeypatch.setattr(arm, "read", lambda: None)
    rig.complaint = "joint states: silent for 0.25 s"
    rig.run(0.1)
    for _ in range(2):
        rig.loop.enable(rig.now_ns)
        rig.run(0.1)
        assert rig.loop.arming is Arming.FAILED and "link_lost" in rig.loop.arming_detail
    arm.repair()
    rig.loop.enable(rig.now_ns)
    rig.run(0.1)
    assert rig.loop.arming is Arming.UNDER_WAY and not rig.loop.controller.enabled  # nothing is measured yet
    monkeypatch.undo()
    rig.run(0.1)
    assert rig.loop.arming is Arming.UNDER_WAY and not rig.loop.controller.enabled  # the heartbeat still complains
    rig.complaint = ""
    rig.run(0.1)
    assert rig.loop.controller.enabled


def test_a_complaint_that_follows_from_a_dead_device_does_not_keep_it_from_being_armed(rig: Rig) -> None:
    """Its last state stands still: no cloud matches it, of which the heartbeat complains until it is armed again."""
    arm = rig.devices["right_arm"]
    arm.inject(Fault.LINK_LOST)
    arm.frozen = True
    rig.complaint = "perception (cloud): silent for 1.00 s"
    rig.run(0.5)
    rig.loop.enable(rig.now_ns)
    arm.repair()
    arm.rearm()
    arm.frozen = False
    rig.run(0.1)
    assert rig.loop.arming is Arming.UNDER_WAY and not rig.loop.controller.enabled  # the heartbeat still complains
    rig.complaint = ""
    rig.run(0.1)
    assert rig.loop.controller.enabled


def test_arming_without_a_state_has_its_time_limit(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    arm = rig.devices["right_arm"]
    arm.inject(Fault.LINK_LOST)
    monkeypatch.setattr(arm, "read", lambda: None)
    rig.step()
    rig.loop.enable(rig.now_ns)
    arm.repair()
    arm.rearm()
    rig.run(rig.loop.config.arm_timeout_s + 0.1)
    assert rig.loop.arming is Arming.FAILED and "no state yet" in rig.loop.arming_detail


def test_devices_are_watched_at_rest_too(monkeypatch: pytest.MonkeyPatch) -> None:
    rig = Rig()
    asked = []
    hand = rig.devices["left_hand"]
    status = hand.status
    monkeypatch.setattr(hand, "status", lambda: (asked.append(rig.now_ns), status())[1])
    rig.run(0.1)
    assert len(set(asked)) == 10  # each cycle


def test_a_dry_run_arms_nothing_and_sends_nothing() -> None:
    rig = Rig(dry_run=True)
    rig.step()
    rig.enable()
    rig.run(1.0)
    assert rig.mode is Mode.FOLLOWING
    assert np.abs(rig.loop.controller.filter.command - HOME_Q).max() > 0.01
    for device in rig.devices.values():
        assert {record.event for record in device.log} == {"connect"}


def test_an_unknown_error_stops_the_devices(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rig.robot, "silent", lambda *_: 1 / 0)
    rig.step()
    assert rig.loop.controller.fault.reason is Reason.INTERNAL_ERROR
    assert all(device.status().phase is Phase.STOPPED for device in rig.devices.values())


def test_a_slower_speed_scale_moves_less_and_is_refused_while_enabled(rig: Rig) -> None:
    with pytest.raises(RefusedError, match="disable"):
        rig.loop.controller.set_speed_scale(0.1)
    ways = []
    for scale in (1.0, 0.25):
        slow = Rig()
        slow.step()
        slow.loop.controller.set_speed_scale(scale)
        slow.enable()
        slow.run(1.0)
        ways.append(slow.devices["right_arm"].read().q[0] - HOME_Q[JOINT])
    assert 0.15 < ways[1] / ways[0] < 0.3


def test_a_robot_needs_a_device_for_each_joint_once() -> None:
    with pytest.raises(ControlError, match="one for each of the 36 joints"):
        Robot([SimulatedDevice("left_arm"), SimulatedDevice("left")])
