"""The simulated robot on the wire: all 36 joints over two topics. Not a `Device`: it has no phases, faults or stop."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState

from udg_control.device import DeviceState
from udg_description.errors import UdgError
from udg_description.ros import convert, topics


class SimTopics:
    """Passes on states from /sim/joint_states and publishes commands on /sim/joint_command."""

    def __init__(
        self, node: Node, on_state: Callable[[DeviceState], None], on_bad_state: Callable[[str, int], None]
    ) -> None:
        """`on_state` is called with each state, `on_bad_state` with what is wrong with one and its stamp [ns]."""
        self._on_state, self._on_bad_state = on_state, on_bad_state
        self._publisher = topics.publish(node, topics.SIM_JOINT_COMMAND)
        topics.subscribe(node, topics.SIM_JOINT_STATES, self._receive)

    def _receive(self, message: JointState) -> None:
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        try:
            state = DeviceState(
                q=convert.joint_state_to_q(message),
                stamp_ns=stamp_ns,
                velocity=convert.joint_state_to_velocity(message),
            )
        except UdgError as error:
            self._on_bad_state(str(error), stamp_ns)
            return
        self._on_state(state)

    def write(self, q_command: np.ndarray, stamp_ns: int) -> None:
        """Command positions (36,) [rad] in answer to the state of `stamp_ns`."""
        self._publisher.publish(convert.q_to_joint_state(q_command, stamp_ns))
