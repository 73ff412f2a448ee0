"""Arms behind ros2_control, played by the fake of it (`fake_controllers`): real topics, real processes."""

from __future__ import annotations

import dataclasses
import itertools
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from sensor_msgs.msg import JointState
from std_msgs.msg import Float64MultiArray

from udg_control.device import Device, Fault, Phase
from udg_control.errors import DeviceError
from udg_control.hardware import HardwareConfig, make_devices
from udg_control.ros.fake_controllers import FakeArm, FakeControllerManager, default_arms
from udg_control.ros2_control import ControllerArm, ControllerArmConfig
from udg_control.ros2_control.config import default_config
from udg_description.clock import NS_PER_S
from udg_description.layout import HOME_Q, SIDES, Side, part_indices
from udg_description.limits import joint_limits
from udg_description.ros.spin import BackgroundSpin
from udg_description.waiting import wait_until

pytestmark = [pytest.mark.ros, pytest.mark.real_time]
DEADLINE_S = 60.0
PATIENT = dict(command_timeout_s=0.5, state_timeout_s=0.5, worker_timeout_s=2.0, rate_hz=100.0, connect_timeout_s=60.0)
PERIOD_S = 0.01
_counter = itertools.count()


@contextmanager
def fake(arms: list[FakeArm] | None = None) -> Iterator[FakeControllerManager]:
    """The fake in a ROS domain of its own, which the arms' processes share."""
    domain = 30 + (os.getpid() + 17 + next(_counter)) % 70
    before = {name: os.environ.get(name) for name in ("ROS_DOMAIN_ID", "ROS_AUTOMATIC_DISCOVERY_RANGE")}
    os.environ.update(ROS_DOMAIN_ID=str(domain), ROS_AUTOMATIC_DISCOVERY_RANGE="LOCALHOST")
    context = Context()
    rclpy.init(context=context, domain_id=domain)
    manager = FakeControllerManager(arms, context=context)
    nodes = manager.nodes
    spin = BackgroundSpin(nodes, SingleThreadedExecutor(context=context))
    try:
        yield manager
        spin.check()
    finally:
        spin.shutdown()
        for node in nodes:
            node.destroy_node()
        rclpy.try_shutdown(context=context)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def config_of(side: Side, **changes: object) -> ControllerArmConfig:
    return dataclasses.replace(default_config(side), **{**PATIENT, **changes})  # type: ignore[arg-type]


@contextmanager
def connected(*arms: ControllerArm) -> Iterator[None]:
    try:
        for arm in arms:
            arm.connect()
        yield
    finally:
        for arm in arms:
            arm.close()


def until(condition: Callable[[], bool], arm: Device) -> None:
    wait_until(condition, DEADLINE_S, lambda: arm.status())


def get_ready(arm: ControllerArm) -> None:
    arm.rearm()
    until(lambda: arm.status().phase is not Phase.ARMING, arm)
    assert arm.status().phase is Phase.READY, arm.status()


def home(side: Side) -> np.ndarray:
    return HOME_Q[part_indices(f"{side}_arm")].copy()


def swing(arms: dict[ControllerArm, Side], cycles: int, speed_rad_s: float = 0.2) -> dict[ControllerArm, np.ndarray]:
    """Command the last joint of each arm 100 times a second, on a stamp that no late cycle bends; return the last."""
    q = {arm: home(side) for arm, side in arms.items()}
    began_ns = time.monotonic_ns()
    for cycle in range(cycles):
        due_ns = began_ns + round(cycle * PERIOD_S * NS_PER_S)
        time.sleep(max(0.0, (due_ns - time.monotonic_ns()) / NS_PER_S))
        for arm in arms:
            q[arm][5] += speed_rad_s * PERIOD_S
            arm.write(q[arm], due_ns)
    return q


@pytest.mark.parametrize("interface", ["forward_position", "joint_trajectory"])
def test_both_arms_follow_in_the_controllers_own_order_of_joints(interface: str) -> None:
    arms = [dataclasses.replace(arm, interface=interface) for arm in default_arms()]
    left, right = (ControllerArm(side, config_of(side, interface=interface)) for side in SIDES)
    with fake(arms) as manager, connected(left, right):
        assert left.status().phase is Phase.STOPPED
        np.testing.assert_allclose(left.read().q, home("left"))
        for arm in (left, right):
            get_ready(arm)
        last = swing({left: "left", right: "right"}, 60)

        def arrived() -> bool:
            for arm in (left, right):
                arm.write(last[arm], time.monotonic_ns())
            return all(np.abs(arm.read().q - last[arm]).max() < 1e-3 for arm in (left, right))

        until(arrived, left)
        for arm in (left, right):
            arm.stop()
            until(lambda arm=arm: arm.status().phase is Phase.STOPPED, arm)
            assert arm.status().fault is None
            controller = manager.controllers[f"{arm.part.partition('_')[0]}_forward_position_controller"]
            assert all(np.abs(target - controller.received[0]).max() < 0.2 for target in controller.received)


def test_joint_states_that_fall_silent_stop_it_by_name() -> None:
    arm = ControllerArm("left", config_of("left", connect_timeout_s=10.0))
    with fake() as manager, connected(arm):
        get_ready(arm)
        swing({arm: "left"}, 20)
        manager.broadcasting = False
        q = arm.read().q
        until(lambda: (arm.write(q, time.monotonic_ns()), arm.status().phase is Phase.FAULT)[1], arm)
        status = arm.status()
        assert status.fault is Fault.SILENT
        assert "no fresh joint states on /joint_state_broadcaster/joint_states for" in status.detail
        arm.rearm()
        until(lambda: arm.status().phase is Phase.FAULT, arm)
        assert "no joint states on" in arm.status().detail  # a new process, which does not find them either
        manager.broadcasting = True
        get_ready(arm)


@pytest.mark.parametrize(
    ("happens", "fault", "says"),
    [
        ("inactive", Fault.NOT_RUNNING, "the controller left_forward_position_controller is 'inactive'; valid: active"),
        ("program", Fault.PROGRAM_STOPPED, "the program on the controller does not run"),
        ("two", Fault.WRONG_DEVICE, "several publishers of left_shoulder_pan_joint"),
        ("rival", Fault.WRONG_DEVICE, "joint_state_broadcaster publishes on /left_forward"),
        ("gone", Fault.LINK_LOST, "nobody listens on /left_forward_position_controller/commands any more"),
    ],
)
def test_what_ros2_control_says_of_itself_stops_an_arm_that_is_ready(happens: str, fault: Fault, says: str) -> None:
    running = "/io_and_status_controller/robot_program_running"
    arm = ControllerArm("left", config_of("left", program_running_topic=running))
    with fake() as manager, connected(arm):
        get_ready(arm)
        controller = manager.controllers["left_forward_position_controller"]
        if happens == "inactive":
            controller.active = False
        elif happens == "program":
            manager.program_running = False
        elif happens == "rival":
            manager.broadcaster.create_publisher(Float64MultiArray, "/left_forward_position_controller/commands", 1)
        elif happens == "gone":
            for subscription in list(controller.node.subscriptions):
                controller.node.destroy_subscription(subscription)
        else:
            double = manager.create_publisher(JointState, "/joint_state_broadcaster/joint_states", 1)
            message = JointState(name=list(arm.config.joints), position=home("left").tolist())

            def publish() -> None:
                message.header.stamp = manager.get_clock().now().to_msg()
                double.publish(message)

            manager.create_timer(0.02, publish)
        q = home("left")
        until(lambda: (arm.write(q, time.monotonic_ns()), arm.status().phase is Phase.FAULT)[1], arm)
        assert arm.status().fault is fault and says in arm.status().detail


def _named(**changes: object) -> list[FakeArm]:
    return [dataclasses.replace(arm, **changes) for arm in default_arms()[:1]]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("arms", "changes", "says"),
    [
        ([], {}, "the controller /left_forward_position_controller does not answer"),
        (
            _named(joints=tuple(f"alice_{joint[5:]}" for joint in default_arms()[0].joints)),
            {},
            "moves alice_elbow_joint, .*it has no left_shoulder_pan_joint",
        ),
        (_named(commands="velocity"), {}, "commands velocity; valid: position"),
        (_named(interface="joint_trajectory"), {}, "no parameters joints and interface_name; valid: a forward_command"),
        (_named(), {"joint_states_topic": "/elsewhere"}, "no joint states on /elsewhere"),
        (_named(), {"program_running_topic": "/nowhere"}, "nothing on /nowhere"),
    ],
)
def test_what_is_not_there_or_not_the_right_one_is_named_before_it_can_get_ready(
    arms: list[FakeArm], changes: dict[str, object], says: str
) -> None:
    arm = ControllerArm("left", config_of("left", connect_timeout_s=6.0, **changes))
    with fake(arms), pytest.raises(DeviceError, match=says):
        arm.connect()
    assert arm.status().phase is Phase.CLOSED


def test_an_inactive_controller_is_told_and_refuses_to_get_ready_until_it_is_active() -> None:
    arm = ControllerArm("left", config_of("left"))
    with fake() as manager:
        controller = manager.controllers["left_forward_position_controller"]
        controller.active = False
        with connected(arm):
            until(lambda: "is 'inactive'; valid: active" in arm.status().advisory, arm)
            arm.rearm()
            until(lambda: arm.status().phase is Phase.FAULT, arm)
            assert arm.status().fault is Fault.NOT_RUNNING
            assert controller.received == []
            controller.active = True
            get_ready(arm)


def test_when_control_hangs_the_arm_s_own_process_brakes_it() -> None:
    arm = ControllerArm("left", config_of("left", acceleration_scale=0.2))
    with fake() as manager, connected(arm):
        get_ready(arm)
        swing({arm: "left"}, 40)
        until(lambda: arm.status().phase is Phase.FAULT, arm)
        assert arm.status().fault is Fault.COMMAND_TIMEOUT
        until(lambda: np.abs(arm.read().velocity).max() < 1e-3, arm)
        received = np.array(manager.controllers["left_forward_position_controller"].received)
        leaps = np.abs(np.diff(received[:-1], n=2, axis=0))  # the last target lets go of what was not reached
        most = 0.2 * joint_limits().acceleration[part_indices("left_arm")] * PERIOD_S**2
        assert (leaps <= most + 1e-9).all()


def test_the_hardware_is_made_of_both() -> None:
    devices = make_devices(HardwareConfig(arms="ros2_control", hands="simulated"))
    assert [device.part for device in devices] == ["left_arm", "left_hand", "right_arm", "right_hand"]
