"""Parameters, topics, diagnostics, and the end of a node."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import pytest

pytest.importorskip("rclpy", reason="needs ROS")

import rclpy
from rclpy.context import Context
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.parameter import Parameter
from rclpy.publisher import Publisher
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from sensor_msgs.msg import JointState

from udg_description.errors import UdgError
from udg_description.ros import diagnostics, one_publisher, params, topics
from udg_description.ros.spin import run_node

pytestmark = pytest.mark.ros


@dataclass(frozen=True, kw_only=True)
class Inner:
    """A nested configuration."""

    share: float = field(default=0.5, metadata={"description": "a share", "range": (0.0, 1.0)})


@dataclass(frozen=True, kw_only=True)
class Outer:
    """One field of each kind."""

    rate_hz: float = field(default=10.0, metadata={"description": "rate [1/s]", "range": (0.1, None)})
    count: int = field(default=3, metadata={"range": (0, 9)})
    on: bool = True
    mode: Literal["fast", "slow"] = "fast"
    path: Path | None = None
    names: tuple[str, ...] = ()
    center: tuple[float, float, float] = (0.0, 0.0, 0.0)
    size: int = field(default=10, metadata={"choices": (10, 20)})
    inner: Inner = field(default_factory=Inner)

    def __post_init__(self) -> None:
        if self.count == 7:
            raise ValueError("count may not be 7")


@pytest.fixture
def context(monkeypatch: pytest.MonkeyPatch) -> Iterator[Context]:
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "LOCALHOST")
    context = Context()
    rclpy.init(context=context, domain_id=30 + os.getpid() % 70)
    yield context
    rclpy.shutdown(context=context)


def declare(context: Context, **values: object) -> Outer:
    overrides = [Parameter(name.replace("__", "."), value=value) for name, value in values.items()]
    node = Node("tested", context=context, parameter_overrides=overrides)
    try:
        return params.declare(node, Outer)
    finally:
        node.destroy_node()


def test_without_overrides_the_defaults_come_back(context: Context) -> None:
    assert declare(context) == Outer()


def test_overrides_of_every_kind_arrive(context: Context) -> None:
    config = declare(
        context,
        rate_hz=5,
        count=4,
        on=False,
        mode="slow",
        path="/tmp/a",
        names=["a", "b"],
        center=[1.0, 2.0, 3.0],
        size=20,
        inner__share=1,
    )
    assert config == Outer(
        rate_hz=5.0,
        count=4,
        on=False,
        mode="slow",
        path=Path("/tmp/a"),
        names=("a", "b"),
        center=(1.0, 2.0, 3.0),
        size=20,
        inner=Inner(share=1.0),
    )
    assert isinstance(config.rate_hz, float) and isinstance(config.inner.share, float)


@pytest.mark.parametrize(
    ("name", "value", "valid"),
    [
        ("rate_hz", 0.0, "float >= 0.1"),
        ("rate_hz", float("nan"), "float >= 0.1"),
        ("rate_hz", True, "float >= 0.1"),
        ("count", 10, "int from 0 to 9"),
        ("count", 2.5, "int from 0 to 9"),
        ("on", 1, "bool"),
        ("mode", "medium", "'fast', 'slow'"),
        ("path", 3, "Path"),
        ("names", "a", "str"),
        ("center", [1.0, 2.0], "float"),
        ("size", 15, "10, 20"),
        ("inner.share", 1.5, "from 0.0 to 1.0"),
    ],
)
def test_a_bad_value_is_named_with_what_is_valid(context: Context, name: str, value: object, valid: str) -> None:
    with pytest.raises(params.ParameterValueError) as caught:
        declare(context, **{name.replace(".", "__"): value})
    message = str(caught.value)
    assert "node tested" in message and f"'{name}'" in message and valid in message and "\n" not in message


def test_what_the_dataclass_refuses_becomes_a_user_error(context: Context) -> None:
    with pytest.raises(params.ParameterValueError, match="count may not be 7"):
        declare(context, count=7)


def test_parameters_show_description_and_range_and_are_read_only(context: Context) -> None:
    node = Node("shown", context=context)
    params.declare(node, Outer)
    shown = node.describe_parameter("inner.share")
    assert shown.description == "a share" and shown.floating_point_range[0].to_value == 1.0
    assert not node.set_parameters([Parameter("inner.share", value=0.2)])[0].successful
    node.destroy_node()


def test_an_undeclared_override_is_refused_by_name(context: Context) -> None:
    node = Node("tested", context=context, parameter_overrides=[Parameter("cuont", value=3)])
    params.declare(node, Outer)
    with pytest.raises(params.ParameterValueError, match="node tested: unknown parameter 'cuont'; valid: count"):
        params.refuse_unknown(node)
    node.destroy_node()


def test_each_topic_is_in_the_table_once_and_no_service_has_its_name() -> None:
    services = [entry for entry in vars(topics).values() if isinstance(entry, topics.ServiceName)]
    names = [entry.name for entry in (*topics.TOPICS, *services)]
    assert len(names) == len(set(names)) == 21 + 7


@pytest.mark.parametrize("count", [1, 2])
def test_several_publishers_of_a_topic_are_a_warning_that_names_them(count: int) -> None:
    names = ["/policy", "/rogue"][:count]
    status = diagnostics.with_publishers(diagnostics.Status(), names, topics.ACTION_CHUNK)
    assert status.level is (diagnostics.Level.OK, diagnostics.Level.WARN)[count - 1]
    assert count == 1 or "2 publishers of /action_chunk: /policy, /rogue; only one is followed" in status.message
    silent = diagnostics.Status(level=diagnostics.Level.STALE, message="silent for 3 s")
    assert diagnostics.with_publishers(silent, names, topics.ACTION_CHUNK).level is diagnostics.Level.STALE


def test_of_two_publishers_one_is_followed_until_it_falls_silent(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock, heard = [100.0], list[float]()
    monkeypatch.setattr(one_publisher.time, "monotonic", lambda: clock[0])
    node = Node("listener", context=context)
    one_publisher.subscribe_one(node, topics.JOINT_STATES, lambda message: heard.append(message.position[0]), depth=50)
    first, second = (node.create_publisher(JointState, topics.JOINT_STATES.name, 50) for _ in range(2))
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)

    def exchange(*messages: tuple[Publisher, float]) -> None:
        for publisher, value in messages:
            publisher.publish(JointState(position=[value]))
        clock[0] += 0.1
        for _ in range(20):
            executor.spin_once(timeout_sec=0.02)

    while first.get_subscription_count() + second.get_subscription_count() < 2:
        executor.spin_once(timeout_sec=0.02)
    for _ in range(40):  # its numbers are far ahead of the other's
        exchange((first, 1.0))
    for _ in range(5):
        exchange((first, 1.0), (second, 2.0))
    assert heard == [1.0] * 45
    for _ in range(15):
        exchange((second, 2.0))
    assert heard[-1] == 2.0 and set(heard[:45]) == {1.0}
    executor.shutdown()
    node.destroy_node()


def test_sensor_data_is_best_effort_but_reliable_in_lockstep() -> None:
    image = topics.depth_image("left_camera")
    assert image.qos().reliability is ReliabilityPolicy.BEST_EFFORT
    assert image.qos(lockstep=True).reliability is ReliabilityPolicy.RELIABLE
    assert topics.JOINT_STATES.qos().reliability is ReliabilityPolicy.RELIABLE
    assert topics.EMERGENCY_STOP.qos().durability is DurabilityPolicy.TRANSIENT_LOCAL


def test_an_input_monitor_tells_silence_from_slowness() -> None:
    now = [100.0]
    monitor = diagnostics.InputMonitor("/x", max_age_s=0.5, min_rate_hz=5.0, clock=lambda: now[0])
    assert monitor.stale and monitor.status().level is diagnostics.Level.STALE
    for _ in range(10):
        now[0] += 0.1
        monitor.tick()
    status = monitor.status()
    assert status.level is diagnostics.Level.OK and status.values["rate_hz"] == "10.0"
    now[0] += 0.4
    assert monitor.status().level is diagnostics.Level.WARN
    now[0] += 0.2
    assert monitor.stale and "silent for 0.6 s" in monitor.status().message


def test_a_user_error_ends_a_node_with_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    def make_node() -> Node:
        raise UdgError("the checkpoint is not there")

    assert run_node(make_node) == 2
    assert capsys.readouterr().err == "error: the checkpoint is not there\n"


NODE = """
import sys
from pathlib import Path
from rclpy.node import Node
from udg_description.ros.spin import run_node

class Tested(Node):
    def __init__(self):
        super().__init__("tested")
        self.timer = self.create_timer(0.01, self.tell)

    def tell(self):
        self.timer.cancel()
        print("ready", flush=True)

    def destroy_node(self):
        Path(sys.argv[1]).write_text("in order")
        super().destroy_node()

sys.exit(run_node(Tested, []))
"""
LAUNCHER = """
import subprocess, sys
subprocess.run([sys.executable, "-c", *sys.argv[1:]])
"""


def _heed_signals() -> None:
    """Tests that run under nohup, or behind an &, have inherited that they ignore SIGHUP or SIGINT."""
    for number in (signal.SIGHUP, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM, signal.SIGINT])
def test_a_node_ends_in_order_on(number: signal.Signals, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", NODE, str(mark)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=_heed_signals) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(number)
            assert process.wait(60.0) == 0
        finally:
            process.kill()
    assert mark.read_text() == "in order"


@pytest.mark.parametrize("threads", [1, 2])
def test_a_shower_of_interrupts_ends_a_node_in_order(threads: int, tmp_path: Path) -> None:
    """A terminal, the launch system and the clean-up of a launcher each send one, at any moment of the node's end."""
    mark = tmp_path / "mark"
    node = NODE.replace("run_node(Tested, [])", f"run_node(Tested, [], {threads})")
    command = [sys.executable, "-c", node, str(mark)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_heed_signals) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            deadline = time.monotonic() + 60.0
            while process.poll() is None and time.monotonic() < deadline:
                process.send_signal(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    process.wait(0.001)
            assert process.wait(60.0) == 0
        finally:
            process.kill()
        assert process.stderr.read() == b""
    assert mark.read_text() == "in order"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_making_of_a_node_ends_in_order_on(number: signal.Signals) -> None:
    slow = "import sys, time\nfrom udg_description.ros.spin import run_node\n"
    slow += "def make():\n    print('making', flush=True)\n    while True:\n        time.sleep(0.01)\n"
    command = [sys.executable, "-c", slow + "sys.exit(run_node(make, []))"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe, preexec_fn=_heed_signals) as process:
        try:
            assert process.stdout.readline() == b"making\n"
            process.send_signal(number)
            assert process.wait(60.0) == 0
        finally:
            process.kill()
        assert process.stderr.read() == b""


def test_the_end_of_a_node_is_not_disturbed_by_signals(tmp_path: Path) -> None:
    """Signals wake a thread of rclpy's that uses guard conditions without a lock, also those being destroyed."""
    end = "import os, signal, rclpy.signals as s\n        os.kill(os.getpid(), signal.SIGTERM)\n"
    end += "        os.kill(os.getpid(), signal.SIGINT)\n"
    end += "        assert s.get_current_signal_handlers_options() == s.SignalHandlerOptions.NO\n        Path("
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", NODE.replace("Path(sys", end + "sys"), str(mark)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, preexec_fn=_heed_signals) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            process.send_signal(signal.SIGINT)
            assert process.wait(60.0) == 0
        finally:
            process.kill()
        assert process.stderr.read() == b""
    assert mark.read_text() == "in order"


DEAF = """
import signal, sys, time
from pathlib import Path
from udg_description.ros.spin import _ending_with_launcher

came = []
signal.signal(signal.SIGTERM, lambda *_: came.append(1))
with _ending_with_launcher():
    print("ready", flush=True)
    deadline = time.monotonic() + 30.0
    while len(came) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
Path(sys.argv[1]).write_text(str(len(came)))
"""


@pytest.mark.parametrize(("program", "left"), [(NODE, "in order"), (DEAF, "2")], ids=["a node", "one signal lost"])
def test_a_program_whose_launcher_is_killed_ends_in_order(program: str, left: str, tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    command = [sys.executable, "-c", LAUNCHER, program, str(mark)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, preexec_fn=_heed_signals) as launcher:
        assert launcher.stdout.readline() == b"ready\n"
        launcher.kill()
        launcher.wait(60.0)
        assert select.select([launcher.stdout], [], [], 60.0)[0]  # the program, which has inherited it, has ended
        assert launcher.stdout.read() == b""
    assert mark.read_text() == left
