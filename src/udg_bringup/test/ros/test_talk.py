"""The small tool that looks into a graph, in a graph of its own."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numpy as np
import pytest

rclpy = pytest.importorskip("rclpy", reason="needs ROS 2")

from rclpy.executors import SingleThreadedExecutor  # noqa: E402
from std_srvs.srv import Trigger  # noqa: E402

from udg_bringup.ros.talk import TalkError, main, text_of  # noqa: E402
from udg_description.layout import HOME_Q  # noqa: E402
from udg_description.ros import convert, topics  # noqa: E402

pytestmark = pytest.mark.ros


@pytest.fixture
def graph(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A node with joint states and a service that refuses, in a context and a thread of its own."""
    domain = 20 + os.getpid() % 80
    monkeypatch.setenv("ROS_DOMAIN_ID", str(domain))
    context = rclpy.Context()
    rclpy.init(args=[], context=context, domain_id=domain)
    node = rclpy.create_node("partner", context=context)
    publisher = topics.publish(node, topics.JOINT_STATES)
    node.create_timer(0.02, lambda: publisher.publish(convert.q_to_joint_state(np.array(HOME_Q), 5)))

    def refuse(_request: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        response.success, response.message = False, "not yet"
        return response

    node.create_service(Trigger, "/control/enable", refuse)
    executor = SingleThreadedExecutor(context=context)
    executor.add_node(node)
    thread = threading.Thread(target=executor.spin, daemon=True)
    thread.start()
    yield
    executor.shutdown()
    thread.join(timeout=10.0)
    node.destroy_node()
    rclpy.shutdown(context=context)


def test_what_a_graph_has_is_told(graph: None, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["topics"]) == 0
    told = capsys.readouterr().out
    assert "/joint_states" in told and "sensor_msgs/msg/JointState" in told
    assert main(["echo", "/joint_states", "--once", "--timeout", "15"]) == 0
    told = capsys.readouterr().out
    assert "nanosec: 5" in told and "... (36)]" in told and told.count("---") == 1
    assert main(["services"]) == 0
    assert "/control/enable" in capsys.readouterr().out.split()
    assert main(["call", "/control/enable", "--timeout", "15"]) == 1
    assert capsys.readouterr().out == "refused: not yet\n"


def test_what_is_not_there_is_an_error_with_its_name_and_the_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROS_DOMAIN_ID", str(20 + os.getpid() % 80))
    for what in ("echo", "call"):
        with pytest.raises(TalkError, match=r"/nobody: .* in ROS domain \d+"):
            main([what, "/nobody", "--timeout", "0.3"])


def test_messages_are_lines_and_long_arrays_are_cut() -> None:
    lines = text_of(convert.q_to_joint_state(np.zeros(36), 1_000_000_002)).splitlines()
    assert lines[:3] == ["header:", "  stamp:", "    sec: 1"]
    assert lines[-2:] == ["velocity: []", "effort: []"]
    assert "position: [0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, ... (36)]" in lines
