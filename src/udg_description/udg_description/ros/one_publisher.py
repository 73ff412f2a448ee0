"""Subscriptions that know which publisher a message is from, and follow one publisher alone."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from rclpy.callback_groups import CallbackGroup
from rclpy.node import Node

from udg_description.publishers import Publishers
from udg_description.ros import topics

SILENCE_S = 1.0  # after so long a silence of the followed publisher another one may take its place


def subscribe_apart(
    node: Node,
    topic: topics.Topic,
    callback: Callable[[Any, int], None],
    *,
    lockstep: bool = False,
    depth: int | None = None,
    group: CallbackGroup | None = None,
) -> None:
    """Subscribe; `callback` gets each message and the index of its publisher."""
    publishers = Publishers()

    def on_message(message: Any, info: Any) -> None:  # noqa: ANN401 - any message, and rclpy's dictionary
        number = info["publication_sequence_number"]
        callback(message, 0 if number is None else publishers.identify(int(number), time.monotonic(), alone))

    def alone() -> bool:
        return node.count_publishers(topic.name) <= 1

    qos = topic.qos(lockstep, depth)
    node.create_subscription(topic.type, topic.name, on_message, qos, callback_group=group)


def subscribe_one(
    node: Node,
    topic: topics.Topic,
    callback: Callable[[Any], None],
    *,
    lockstep: bool = False,
    depth: int | None = None,
    group: CallbackGroup | None = None,
) -> None:
    """Subscribe; `callback` gets the messages of the publisher that was heard first, as long as that one is heard."""
    followed: tuple[int, float] | None = None

    def on_message(message: Any, publisher: int) -> None:  # noqa: ANN401
        nonlocal followed
        now_s = time.monotonic()
        if followed is not None and publisher != followed[0] and now_s - followed[1] < SILENCE_S:
            return
        followed = publisher, now_s
        callback(message)

    subscribe_apart(node, topic, on_message, lockstep=lockstep, depth=depth, group=group)


def names_of_publishers(node: Node, topic: topics.Topic) -> list[str]:
    """Names of the nodes that publish a topic if there are several, sorted; a node stands there once a publisher."""
    if node.count_publishers(topic.name) < 2:
        return []
    found = node.get_publishers_info_by_topic(topic.name)
    return sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in found)
