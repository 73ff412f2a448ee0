"""Running a graph: the end of a node ends it, the end of what is apart does not."""

from __future__ import annotations

import pytest

pytest.importorskip("rclpy", reason="needs rclpy")

from udg_bringup.graph import NodeDescription
from udg_bringup.ros.running import ComposedGraph, GraphError, ProcessGraph
from udg_description.waiting import wait_until

pytestmark = pytest.mark.ros
WITHIN_S = 60.0


def short_lived(*, apart: bool) -> NodeDescription:
    """A process that ends at once."""
    return NodeDescription(name="short", package="any", executable="any", module="this", is_node=False, apart=apart)


@pytest.mark.parametrize("kind", [ComposedGraph, ProcessGraph])
def test_a_graph_goes_on_when_what_is_apart_has_ended(kind: type[ComposedGraph] | type[ProcessGraph]) -> None:
    graph = kind([short_lived(apart=True)])
    try:
        process = graph._apart["short"]
        assert graph.pid_apart("short") == process.pid
        wait_until(lambda: process.poll() is not None, WITHIN_S, "the end of the process")
        graph.check()
    finally:
        graph.stop()


def test_a_graph_ends_with_a_process_that_is_part_of_it() -> None:
    graph = ProcessGraph([short_lived(apart=False)])
    try:
        process = graph._processes["short"]
        wait_until(lambda: process.poll() is not None, WITHIN_S, "the end of the process")
        with pytest.raises(GraphError, match="node 'short' ended with exit code 0"):
            graph.check()
    finally:
        graph.stop()
