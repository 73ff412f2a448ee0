"""A look into a running graph without a full ROS installation, instead of `ros2 topic` and `ros2 service`.

    python -m udg_bringup.ros.talk topics                    names, types, publishers and subscribers
    python -m udg_bringup.ros.talk echo /diagnostics         messages as they come; --once: the first alone
    python -m udg_bringup.ros.talk services                  those that `call` can call
    python -m udg_bringup.ros.talk call /control/enable      its answer

The graph must be in the same ROS_DOMAIN_ID (`make sim` takes a free one where the variable is not set).
"""

from __future__ import annotations

import argparse
import importlib
import os
import time
from collections.abc import Callable, Sequence

import rclpy
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy
from std_srvs.srv import Trigger

from udg_description.environment import prepare_environment
from udg_description.errors import UdgError, cli

_TRIGGER = "std_srvs/srv/Trigger"
_SHOWN = 8  # elements of an array


class TalkError(UdgError):
    """A topic or service that is not there, or does not answer."""


def text_of(message: object, indent: str = "") -> str:
    """A message as lines `field: value`; of long arrays the beginning and the number of elements."""
    lines = []
    for name in message.get_fields_and_field_types():  # type: ignore[attr-defined]  # of every message class
        value = getattr(message, name)
        if hasattr(value, "get_fields_and_field_types"):
            lines.append(f"{indent}{name}:\n{text_of(value, indent + '  ')}")
        elif hasattr(value, "__len__") and not isinstance(value, (str, bytes)):
            lines.append(_array(name, list(value[:_SHOWN]), len(value), indent))
        else:
            lines.append(f"{indent}{name}: {value}")
    return "\n".join(lines)


def _array(name: str, first: list[object], count: int, indent: str) -> str:
    if first and hasattr(first[0], "get_fields_and_field_types"):
        parts = "\n".join(f"{indent}-\n{text_of(one, indent + '  ')}" for one in first)
        return f"{indent}{name}: ({count})\n{parts}"
    more = f", ... ({count})" if count > len(first) else ""
    return f"{indent}{name}: [{', '.join(str(one) for one in first)}{more}]"


def _until(node: Node, condition: Callable[[], bool], seconds: float) -> bool:
    end_s = time.monotonic() + seconds
    while not condition() and time.monotonic() < end_s and rclpy.ok():
        rclpy.spin_once(node, timeout_sec=0.05)
    return condition()


def _where() -> str:
    return f"in ROS domain {os.environ.get('ROS_DOMAIN_ID', '0')}; is the graph running there?"


def topics(node: Node, seconds: float) -> None:
    """Print the topics with their types and numbers of publishers and subscribers."""
    _see_graph(node, lambda: len(node.get_topic_names_and_types()), seconds)
    for name, types in sorted(node.get_topic_names_and_types()):
        print(f"{name:32s} {', '.join(types):36s} {node.count_publishers(name)} -> {node.count_subscribers(name)}")


def services(node: Node, seconds: float) -> None:
    """Print the services that `call` can call."""

    def callable_ones() -> list[str]:
        return sorted(name for name, types in node.get_service_names_and_types() if _TRIGGER in types)

    _see_graph(node, lambda: len(callable_ones()), seconds)
    for name in callable_ones():
        print(name)


def _see_graph(node: Node, count: Callable[[], int], seconds: float) -> None:
    """Look until something is there and nothing new has come for 1.5 s, `seconds` at most."""
    seen, since_s = 0, time.monotonic()

    def settled() -> bool:
        nonlocal seen, since_s
        if count() != seen:
            seen, since_s = count(), time.monotonic()
        return seen > 0 and time.monotonic() - since_s > 1.5

    _until(node, settled, seconds)


def echo(node: Node, topic: str, seconds: float, once: bool) -> None:
    """Print the messages of a topic as they come. Raises TalkError if nobody publishes it."""
    if not _until(node, lambda: node.count_publishers(topic) > 0, seconds):
        raise TalkError(f"topic {topic}: has no publisher {_where()}")
    info = node.get_publishers_info_by_topic(topic)[0]
    package, _, name = info.topic_type.split("/")
    heard: list[object] = []

    def show(message: object) -> None:
        if once and heard:
            return
        heard.append(message)
        print(f"{text_of(message)}\n---", flush=True)

    transient = info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
    profile = QoSProfile(
        depth=10,
        reliability=ReliabilityPolicy.BEST_EFFORT,
        durability=DurabilityPolicy.TRANSIENT_LOCAL if transient else DurabilityPolicy.VOLATILE,
    )
    node.create_subscription(getattr(importlib.import_module(f"{package}.msg"), name), topic, show, profile)
    while rclpy.ok() and not (once and heard):
        rclpy.spin_once(node, timeout_sec=0.2)


def call(node: Node, service: str, seconds: float) -> int:
    """Call a service of type Trigger and print its answer; 1 if it refuses. Raises TalkError."""
    client = node.create_client(Trigger, service)
    if not _until(node, client.service_is_ready, seconds):
        raise TalkError(f"service {service}: is not available {_where()}")
    future = client.call_async(Trigger.Request())
    if not _until(node, future.done, seconds):
        raise TalkError(f"service {service}: no answer within {seconds:g} s")
    response = future.result()
    assert response is not None
    print(f"{'done' if response.success else 'refused'}: {response.message}")
    return 0 if response.success else 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(description="A look into a running graph without a full ROS installation.")
    parser.add_argument("what", choices=("topics", "services", "echo", "call"))
    parser.add_argument("name", nargs="?", help="topic or service")
    parser.add_argument("--once", action="store_true", help="echo: a single message")
    parser.add_argument("--timeout", type=float, default=5.0, help="timeout for discovery and for the answer [s]")
    options = parser.parse_args(argv)
    if (options.name is None) == (options.what in ("echo", "call")):
        parser.error(f"{options.what} {'needs a name' if options.name is None else 'takes no name'}")
    prepare_environment()
    rclpy.init(args=[])
    node = rclpy.create_node(f"udg_talk_{os.getpid()}")
    try:
        if options.what == "call":
            return call(node, options.name, options.timeout)
        if options.what == "echo":
            echo(node, options.name, options.timeout, options.once)
        else:
            (topics if options.what == "topics" else services)(node, options.timeout)
    except ExternalShutdownException:
        return 0
    finally:
        node.destroy_node()
        rclpy.try_shutdown()
    return 0


if __name__ == "__main__":
    cli(main)
