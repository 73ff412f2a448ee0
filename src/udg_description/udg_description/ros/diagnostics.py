"""What a node says about itself on /diagnostics once a second: rate and age of its inputs, counters, state."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.clock import Clock, ClockType  # type: ignore[attr-defined]  # its place in Humble and Jazzy
from rclpy.node import Node

from udg_description.ros import topics
from udg_description.ros.one_publisher import names_of_publishers


class Level(IntEnum):
    """Severity of a status, as diagnostic_msgs numbers it."""

    OK = 0
    WARN = 1
    ERROR = 2
    STALE = 3


@dataclass(frozen=True, kw_only=True)
class Status:
    """One line of diagnosis."""

    level: Level = Level.OK
    message: str = "ok"
    values: Mapping[str, object] | None = None


class InputMonitor:
    """Counts the messages of one input; knows their rate and the age of the newest (monotonic clock)."""

    def __init__(
        self, name: str, max_age_s: float, min_rate_hz: float = 0.0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.name = name
        self.max_age_s = max_age_s
        self.min_rate_hz = min_rate_hz
        self.count = 0
        self.bad_count = 0
        self.problem = ""  # what is wrong with the newest message; "" if nothing
        self._clock = clock
        self._last_s: float | None = None
        self._window = (clock(), 0)
        self._rate_hz = 0.0

    def tick(self) -> None:
        """Note that a message has come."""
        self.count += 1
        self.problem = ""
        self._last_s = self._clock()

    def reject(self, problem: object) -> None:
        """Note that the message that has just come cannot be used; told until one comes that can be."""
        self.bad_count += 1
        self.problem = str(problem)

    @property
    def age_s(self) -> float | None:
        """Time since the newest message [s], None before the first."""
        return None if self._last_s is None else self._clock() - self._last_s

    @property
    def stale(self) -> bool:
        """Whether the newest message is older than allowed, or none has come."""
        age_s = self.age_s
        return age_s is None or age_s > self.max_age_s

    def status(self) -> Status:
        """Take the status since the last call and start a new window for the rate."""
        now = self._clock()
        start_s, start_count = self._window
        if now > start_s:
            self._rate_hz = (self.count - start_count) / (now - start_s)
        self._window = (now, self.count)
        age_s = self.age_s
        values = {
            "rate_hz": f"{self._rate_hz:.1f}",
            "age_s": "never" if age_s is None else f"{age_s:.3f}",
            "count": self.count,
            "bad": self.bad_count,
        }
        if age_s is None:
            return Status(level=Level.STALE, message=f"nothing on {self.name} yet", values=values)
        if age_s > self.max_age_s:
            message = f"silent for {age_s:.1f} s (allowed {self.max_age_s:.1f} s)"
            return Status(level=Level.STALE, message=message, values=values)
        if self.problem:
            return Status(level=Level.ERROR, message=self.problem, values=values)
        if self._rate_hz < self.min_rate_hz:
            message = f"{self._rate_hz:.1f} Hz, below {self.min_rate_hz:.1f} Hz"
            return Status(level=Level.WARN, message=message, values=values)
        return Status(values=values)


def with_publishers(status: Status, names: list[str], topic: topics.Topic) -> Status:
    """The status of an input, as a warning when more than one node publishes it."""
    if len(names) < 2:
        return status
    values = {**(status.values or {}), "publishers": ", ".join(names)}
    message = f"{len(names)} publishers of {topic.name}: {', '.join(names)}"
    if topic in (topics.ACTION_CHUNK, topics.JOINT_STATES):
        message += "; only one is followed"
    if status.level is not Level.OK:
        message = f"{status.message}; {message}"
    return Status(level=max(status.level, Level.WARN), message=message, values=values)


class Diagnostics:
    """Publishes the statuses of one node on /diagnostics at 1 Hz (wall clock, so that a stopped sim shows)."""

    def __init__(self, node: Node, hardware_id: str = "") -> None:
        self._node = node
        self._hardware_id = hardware_id
        self._sources: dict[str, Callable[[], Status]] = {}
        self._publisher = topics.publish(node, topics.DIAGNOSTICS)
        node.create_timer(1.0, self.publish, clock=Clock(clock_type=ClockType.STEADY_TIME))

    def watch(self, topic: topics.Topic, *, max_age_s: float, min_rate_hz: float = 0.0) -> InputMonitor:
        """Watch an input; call `.tick()` of what is returned with each message. Several publishers are a warning."""
        monitor = InputMonitor(topic.name, max_age_s, min_rate_hz)
        self.add(topic.name, lambda: with_publishers(monitor.status(), names_of_publishers(self._node, topic), topic))
        return monitor

    def add(self, name: str, source: Callable[[], Status]) -> None:
        """Add a status that is asked for at each publication."""
        self._sources[name] = source

    def publish(self) -> None:
        """Ask every source and publish."""
        message = DiagnosticArray()
        message.header.stamp = self._node.get_clock().now().to_msg()
        for name, source in self._sources.items():
            status = source()
            message.status.append(
                DiagnosticStatus(
                    level=bytes([status.level]),
                    name=f"{self._node.get_name()}: {name}",
                    message=status.message,
                    hardware_id=self._hardware_id,
                    values=[KeyValue(key=key, value=str(value)) for key, value in (status.values or {}).items()],
                )
            )
        self._publisher.publish(message)
