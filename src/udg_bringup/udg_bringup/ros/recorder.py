"""Records the topics of the table, as they come, into a bag."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence
from typing import Any

from rclpy.context import Context
from rclpy.node import Node

from udg_bringup.bag_writer import BagWriter
from udg_control.ros.emergency_stop import heard
from udg_description.camera import DEFAULT_CAMERAS
from udg_description.ros import topics
from udg_sim.ros.sim_node import TRIAL_STATUS

QUEUE = 200  # messages of a topic that may wait while the disk is busy
KNOWN = (*(topic for topic in topics.TOPICS if topic not in topics.image_topics()), TRIAL_STATUS)


def chosen_topics(*, images: bool, cameras: Sequence[str] = DEFAULT_CAMERAS) -> tuple[topics.Topic, ...]:
    """All topics of the table, with or without the depth images of the cameras (7 MB a second each)."""
    return (*KNOWN, *(topics.image_topics(cameras) if images else ()))


class Recorder(Node):
    """Receives raw messages: nothing is deserialised or re-serialised."""

    def __init__(self, writer: BagWriter, wanted: Sequence[topics.Topic], *, context: Context | None = None) -> None:
        super().__init__("recorder", context=context)
        self._writer = writer
        self._stops: deque[tuple[int, bytes]] = deque(maxlen=100)
        for topic in wanted:
            writer.add_topic(
                topic.name, message_type(topic.type), depth=topic.depth, reliable=topic.reliable, latched=topic.latched
            )
            if topic is topics.EMERGENCY_STOP:  # anybody may publish it, with any quality of service
                for options in heard(QUEUE):
                    self.create_subscription(topic.type, topic.name, self._note_stop, raw=True, **options)
                continue
            qos = topic.qos(depth=QUEUE)
            self.create_subscription(topic.type, topic.name, self._noting(topic.name), qos, raw=True)

    def _note_stop(self, data: bytes, info: Any) -> None:  # noqa: ANN401 - rclpy's MessageInfo is a dictionary
        """Write a message that comes over several subscriptions once."""
        key = (int(info["source_timestamp"]), bytes(data))
        if key in self._stops and key[0] > 0:
            return
        self._stops.append(key)
        self._noting(topics.EMERGENCY_STOP.name)(data)

    def _noting(self, name: str) -> Callable[[bytes], None]:
        def note(data: bytes) -> None:
            self._writer.write(name, time.time_ns(), data)

        return note


def message_type(kind: type) -> str:
    """Name of a message class, as "sensor_msgs/msg/JointState"."""
    return f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
