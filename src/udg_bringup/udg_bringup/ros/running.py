"""Run the nodes of a graph description: all in this process, one thread each, or one process per node."""

from __future__ import annotations

import importlib
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Protocol

import rclpy
import yaml
from rclpy.executors import MultiThreadedExecutor, SingleThreadedExecutor
from rclpy.node import Node
from rclpy.signals import SignalHandlerOptions

from udg_bringup.ending import TIME_TO_STOP_S
from udg_bringup.graph import NodeDescription, parameter_file, process_environment
from udg_description.blas import one_blas_thread
from udg_description.environment import prepare_environment
from udg_description.errors import UdgError
from udg_description.ros.spin import BackgroundSpin

FIRST_DOMAIN, LAST_DOMAIN = 30, 101  # ROS domains whose ports lie below Linux's ephemeral ones


class GraphError(UdgError):
    """A node could not be loaded or has died."""


class RunningGraph(Protocol):
    """Nodes that run until `stop`."""

    def check(self) -> None:
        """Raise what has ended a node, if one has ended."""

    def stop(self) -> None:
        """End all nodes and wait for them."""

    def pids(self) -> list[int]:
        """Processes in which the nodes run."""

    def pid_apart(self, name: str) -> int:
        """Process of a node that is apart."""


def isolate() -> None:
    """Keep this graph to itself: local discovery, and a ROS domain that no other graph of this machine uses.

    Does nothing where ROS_DOMAIN_ID is set: then the user has chosen. A simulation must not talk to a real robot.
    """
    prepare_environment()
    os.environ.setdefault("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    if "ROS_DOMAIN_ID" not in os.environ:
        os.environ["ROS_DOMAIN_ID"] = str(free_domain(os.getpid()))


def free_domain(start: int) -> int:
    """A domain in which no participant of this machine has its port, searched from `start` on."""
    count = LAST_DOMAIN - FIRST_DOMAIN + 1
    for offset in range(count):
        domain = FIRST_DOMAIN + (start + offset) % count
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            try:
                probe.bind(("", 7410 + 250 * domain))  # DDS: unicast discovery port of the first participant
            except OSError:
                continue
        return domain
    raise GraphError(f"all ROS domains from {FIRST_DOMAIN} to {LAST_DOMAIN} are in use; set ROS_DOMAIN_ID")


def load_node(description: NodeDescription) -> Node:
    """Import the node's class and make the node; its parameters come from the context's parameter file."""
    try:
        node_class = getattr(importlib.import_module(description.module), description.class_name)
    except (ImportError, AttributeError) as error:
        place = f"{description.module}:{description.class_name}"
        raise GraphError(f"node '{description.name}': {place}: {error}") from error
    return node_class()


@contextmanager
def _parameter_yaml(nodes: Sequence[NodeDescription]) -> Iterator[str]:
    with tempfile.TemporaryDirectory(prefix="udg_graph_") as folder:
        path = Path(folder) / "parameters.yaml"
        path.write_text(yaml.safe_dump(parameter_file(tuple(nodes))), encoding="utf-8")
        yield str(path)


def _remap_arguments(nodes: Sequence[NodeDescription]) -> list[str]:
    return [text for node in nodes for old, new in node.remaps.items() for text in ("-r", f"{node.name}:{old}:={new}")]


class ComposedGraph:
    """All nodes but those apart in this process; each is spun by its own thread."""

    def __init__(self, nodes: Sequence[NodeDescription]) -> None:
        one_blas_thread()
        self._stack = ExitStack()
        with self._stack:
            parameters = self._stack.enter_context(_parameter_yaml(nodes))
            arguments = ["--ros-args", "--params-file", parameters, *_remap_arguments(nodes)]
            rclpy.init(args=arguments, signal_handler_options=SignalHandlerOptions.NO)
            self._stack.callback(rclpy.try_shutdown)
            self._spins: list[BackgroundSpin] = []
            self._apart: dict[str, subprocess.Popen[bytes]] = {}
            environment = {**os.environ, **process_environment()}
            for description in nodes:
                if description.apart:
                    self._apart[description.name] = _start_process(description, parameters, environment)
                    self._stack.callback(_end_process, self._apart[description.name])
                    continue
                if not description.is_node:
                    raise GraphError(f"{description.name} runs in its own process; run the graph with processes")
                node = load_node(description)
                self._stack.callback(node.destroy_node)
                one = description.threads == 1
                spin = BackgroundSpin(
                    [node], SingleThreadedExecutor() if one else MultiThreadedExecutor(description.threads)
                )
                self._stack.callback(spin.shutdown)
                self._spins.append(spin)
            self._stack = self._stack.pop_all()

    def check(self) -> None:
        """Raise the error that ended a node's thread, if any."""
        for spin in self._spins:
            spin.check()

    def stop(self) -> None:
        """Stop the threads, destroy the nodes, shut ROS down."""
        self._stack.close()

    def pids(self) -> list[int]:
        """This process."""
        return [os.getpid()]

    def pid_apart(self, name: str) -> int:
        """The process of a node that is apart."""
        return self._apart[name].pid


class ProcessGraph:
    """Each node in its own process, as `ros2 launch` would run them."""

    def __init__(self, nodes: Sequence[NodeDescription]) -> None:
        self._stack = ExitStack()
        with self._stack:
            parameters = self._stack.enter_context(_parameter_yaml(nodes))
            environment = {**os.environ, **process_environment()}
            rclpy.init(args=[], signal_handler_options=SignalHandlerOptions.NO)
            self._stack.callback(rclpy.try_shutdown)
            self._processes: dict[str, subprocess.Popen[bytes]] = {}
            self._apart: dict[str, subprocess.Popen[bytes]] = {}
            self._asked: set[int] = set()
            for node in nodes:
                process = _start_process(node, parameters, environment)
                self._stack.callback(_wait_for_end, process)
                self._stack.callback(self._ask_to_end, process)
                (self._apart if node.apart else self._processes)[node.name] = process
            self._stack = self._stack.pop_all()

    def check(self) -> None:
        """Raise if a node's process has ended."""
        for name, process in self._processes.items():
            if process.poll() is not None:
                raise GraphError(f"node '{name}' ended with exit code {process.returncode}; its own message is above")

    def stop(self) -> None:
        """End the processes, shut ROS down.

        All are asked at once, as by `ros2 launch`: the arms do not wait for other nodes to end.
        """
        for process in (*self._processes.values(), *self._apart.values()):
            self._ask_to_end(process)
        self._stack.close()

    def _ask_to_end(self, process: subprocess.Popen[bytes]) -> None:
        if process.pid not in self._asked:  # once: a process that is ending may not expect a second one
            self._asked.add(process.pid)
            process.send_signal(signal.SIGINT)

    def pids(self) -> list[int]:
        """The nodes' processes."""
        return [process.pid for process in self._processes.values()]

    def pid_apart(self, name: str) -> int:
        """The process of a node that is apart."""
        return self._apart[name].pid


def _start_process(node: NodeDescription, parameters: str, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
    ros = ["--ros-args", "-r", f"__node:={node.name}", "--params-file", parameters, *_remap_arguments([node])]
    command = [sys.executable, "-m", node.module, *node.arguments, *(ros if node.is_node else [])]
    return subprocess.Popen(command, env=dict(environment))


def _end_process(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGINT)
    _wait_for_end(process)


def _wait_for_end(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(timeout=TIME_TO_STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@contextmanager
def running(nodes: Sequence[NodeDescription], *, processes: bool = False) -> Iterator[RunningGraph]:
    """Run the nodes while the block runs."""
    prepare_environment()
    graph: RunningGraph = ProcessGraph(nodes) if processes else ComposedGraph(nodes)
    try:
        yield graph
    finally:
        graph.stop()
