"""A policy node without a network: closes the fingers of the left hand step by step."""

from __future__ import annotations

import numpy as np
from rclpy.node import Node
from sensor_msgs.msg import JointState, PointCloud2
from std_srvs.srv import Trigger

from udg_description.layout import HOME_Q, part_indices
from udg_description.ros import convert, topics
from udg_description.ros.spin import run_node

CHUNK = 8
STEP_RAD = 0.02


class StubPolicy(Node):
    """Answers each cloud with a chunk while started, with an empty one otherwise."""

    def __init__(self) -> None:
        super().__init__("policy")
        self.declare_parameter("checkpoint", "")
        self._started = False
        self._q = np.array(HOME_Q)
        self._chunk = topics.publish(self, topics.ACTION_CHUNK)
        topics.subscribe(self, topics.SCENE_CLOUD, self._on_cloud)
        topics.subscribe(self, topics.JOINT_STATES, self._on_joint_state)
        self.create_service(Trigger, topics.POLICY_START.name, lambda _, response: self._switch(True, response))
        self.create_service(Trigger, topics.POLICY_STOP.name, lambda _, response: self._switch(False, response))

    def _switch(self, started: bool, response: Trigger.Response) -> Trigger.Response:
        self._started = started
        response.success = True
        return response

    def _on_joint_state(self, message: JointState) -> None:
        self._q = convert.joint_state_to_q(message)

    def _on_cloud(self, message: PointCloud2) -> None:
        assert message.width == 2048
        chunk = None
        if self._started:
            chunk = np.tile(self._q, (CHUNK, 1))
            chunk[:, part_indices("left_hand")] += STEP_RAD * np.arange(1, CHUNK + 1)[:, None]
        stamp_ns = convert.stamp_to_ns(message.header.stamp)
        self._chunk.publish(convert.chunk_to_trajectory(chunk, stamp_ns))


def main() -> int:
    """Run the node until it is stopped."""
    return run_node(StubPolicy)


if __name__ == "__main__":
    raise SystemExit(main())
