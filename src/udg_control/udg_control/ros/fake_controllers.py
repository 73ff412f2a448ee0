"""A fake of ros2_control, for tests and rehearsals: it is not ros2_control, and shares no code with it.

It plays what the driver of an arm has to do with: the controllers' parameters and topics, a joint_state_broadcaster,
what a controller manager says in /diagnostics, and joints that follow their targets with a lag. As in ros2_control an
inactive controller continues listening and does nothing, and an active one holds its last target for ever.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.context import Context
from rclpy.node import Node
from rclpy.qos import QoSProfile
from sensor_msgs.msg import JointState
from std_msgs.msg import Bool, Float64MultiArray
from trajectory_msgs.msg import JointTrajectory

from udg_control.ros2_control.config import Interface, default_config
from udg_description.layout import HOME_Q, SIDES, part_indices
from udg_description.ros import topics
from udg_description.ros.spin import run_node

RATE_HZ = 125.0
LAG_S = 0.03  # of the joints behind their targets
ACTIVITY_S = 0.2  # between the manager's words; ros2_control: 1 s


@dataclass(frozen=True, kw_only=True)
class FakeArm:
    """One arm: its controller's name, the order of its joints there, where they stand at first [rad]."""

    controller: str
    joints: tuple[str, ...]
    q: np.ndarray
    interface: Interface = "forward_position"
    commands: str = "position"  # what the controller says that it commands


@dataclass
class FakeController:
    """What a controller knows. `active` and `joints` may be changed at any time."""

    arm: FakeArm
    node: Node
    q: np.ndarray
    velocity: np.ndarray
    active: bool = True
    target: np.ndarray | None = None
    received: list[np.ndarray] = field(default_factory=list)  # all targets that came, active or not

    def take(self, target: Sequence[float]) -> None:
        """Take a target, as the controller does it: one of another length is an error, which stops it."""
        if len(target) != len(self.arm.joints):
            self.active = False
            return
        self.received.append(np.array(target))
        if self.active:
            self.target = np.array(target)

    def take_trajectory(self, message: JointTrajectory) -> None:
        """Take the last point; other joints, an end in the past or no end are refused without a word to the sender."""
        if sorted(message.joint_names) != sorted(self.arm.joints) or not message.points:
            return
        point = dict(zip(message.joint_names, message.points[-1].positions, strict=True))
        self.take([point[joint] for joint in self.arm.joints])

    def step(self, dt_s: float) -> None:
        """Follow the target for dt_s [s]."""
        before = self.q
        if self.active and self.target is not None:
            self.q = before + (self.target - before) * (1.0 - np.exp(-dt_s / LAG_S))
        self.velocity = (self.q - before) / dt_s


class FakeControllerManager(Node):
    """The manager with its controllers; `broadcasting`, `telling` and `program_running` may be changed at any time."""

    def __init__(self, arms: Sequence[FakeArm] | None = None, *, context: Context | None = None) -> None:
        """Controllers, active, for the arms; for both arms of `default_config` where none are given."""
        super().__init__("controller_manager", context=context)
        self.broadcasting, self.telling, self.program_running = True, True, True
        self.broadcaster = Node("joint_state_broadcaster", context=context)
        self._states = self.broadcaster.create_publisher(JointState, "~/joint_states", QoSProfile(depth=10))
        self._diagnostics = topics.publish(self, topics.DIAGNOSTICS)
        running = topics.Topic(name="/io_and_status_controller/robot_program_running", type=Bool, latched=True)
        self._program = topics.publish(self, running)
        self.controllers: Mapping[str, FakeController] = {
            arm.controller: self._load(arm, context) for arm in (default_arms() if arms is None else arms)
        }
        self.create_timer(1.0 / RATE_HZ, self._step)
        self.create_timer(ACTIVITY_S, self._tell)

    @property
    def nodes(self) -> list[Node]:
        """All that has to be spun."""
        return [self, self.broadcaster, *(controller.node for controller in self.controllers.values())]

    def _load(self, arm: FakeArm, context: Context | None) -> FakeController:
        node = Node(arm.controller, context=context)
        controller = FakeController(arm, node, np.array(arm.q), np.zeros(len(arm.q)))
        node.declare_parameter("joints", list(arm.joints))
        if arm.interface == "forward_position":
            node.declare_parameter("interface_name", arm.commands)
            node.create_subscription(
                Float64MultiArray, "~/commands", lambda message: controller.take(message.data), QoSProfile(depth=10)
            )
        else:
            node.declare_parameter("command_interfaces", [arm.commands])
            node.create_subscription(
                JointTrajectory, "~/joint_trajectory", controller.take_trajectory, QoSProfile(depth=10)
            )
        return controller

    def _step(self) -> None:
        message = JointState()
        message.header.stamp = self.get_clock().now().to_msg()
        for controller in self.controllers.values():
            controller.step(1.0 / RATE_HZ)
            message.name.extend(controller.arm.joints)
            message.position.extend(controller.q.tolist())
            message.velocity.extend(controller.velocity.tolist())
        if self.broadcasting:
            self._states.publish(message)

    def _tell(self) -> None:
        if not self.telling:
            return
        self._program.publish(Bool(data=self.program_running))
        states = [
            KeyValue(key=f"{name}.state", value="active" if controller.active else "inactive")
            for name, controller in self.controllers.items()
        ]
        status = DiagnosticStatus(name="controller_manager: Controllers Activity", values=states)
        message = DiagnosticArray(status=[status])
        message.header.stamp = self.get_clock().now().to_msg()
        self._diagnostics.publish(message)


def default_arms() -> list[FakeArm]:
    """Both arms at home, with the names of `default_config`; the joints in another order than ours."""
    arms = []
    for side in SIDES:
        config, home = default_config(side), HOME_Q[part_indices(f"{side}_arm")]
        order = [2, 1, 0, 3, 4, 5]  # as in many a joint_states message of a UR
        arms.append(
            FakeArm(controller=config.name, joints=tuple(config.joints[index] for index in order), q=home[order])
        )
    return arms


def main() -> None:
    """Run the fake with both arms at home."""
    raise SystemExit(run_node(lambda: FakeControllerManager().nodes))


if __name__ == "__main__":
    main()
