"""The grasp viewer as a node, in its own ROS context and domain."""

from __future__ import annotations

import itertools
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("rclpy", reason="needs ROS")

import rclpy
from rclpy.context import Context
from rclpy.node import Node
from rclpy.parameter import Parameter
from visualization_msgs.msg import Marker, MarkerArray

from udg_datagen.grasp_set import GraspFileError, GraspSet
from udg_datagen.grasps.grasp_scene import GraspScene
from udg_datagen.grasps.handmade import made_grasps, pressing
from udg_datagen.ros.grasp_viewer_node import GraspViewerNode, grasp_markers
from udg_description.layout import SIDES
from udg_description.ros import topics
from udg_description.ros.spin import background_spin
from udg_sim.objects.library import ObjectLibrary, ObjectModel

pytestmark = pytest.mark.ros

DEADLINE_S = 20.0
_counter = itertools.count()


@pytest.fixture(scope="module")
def box() -> ObjectModel:
    return ObjectLibrary().get("box_300")


@pytest.fixture(scope="module")
def grasps(box: ObjectModel) -> GraspSet:
    x, y = np.eye(3)[:2]
    pair = np.stack([pressing(box, "left", -x, y), pressing(box, "right", x, y)])
    return made_grasps(box, SIDES, np.stack([pair, pair]))


@contextmanager
def context() -> Iterator[Context]:
    made = Context()
    rclpy.init(context=made, domain_id=60 + (os.getpid() * 7 + next(_counter)) % 100)
    try:
        yield made
    finally:
        made.try_shutdown()


def viewer(context: Context, **parameters: object) -> GraspViewerNode:
    overrides = [Parameter(name, value=value) for name, value in parameters.items()]
    return GraspViewerNode(context=context, parameter_overrides=overrides)


def corners(marker: Marker) -> np.ndarray:
    """The points of a marker (N, 3) in the world."""
    offset = marker.pose.position
    return np.array([[p.x, p.y, p.z] for p in marker.points]) + [offset.x, offset.y, offset.z]


def test_the_object_stands_where_it_is_asked_to_between_the_hands(grasps: GraspSet, box: ObjectModel) -> None:
    shown = grasp_markers(GraspScene(grasps, box.mesh), 0, (0.6, 0.1, 0.0), 5)
    markers = {marker.ns: marker for marker in shown.markers}
    assert set(markers) == {"object", "left_hand", "right_hand", "text"}
    stands = corners(markers["object"])
    np.testing.assert_allclose((stands.min(axis=0) + stands.max(axis=0))[:2] / 2.0, [0.6, 0.1], atol=1e-6)
    assert stands[:, 2].min() == pytest.approx(0.0, abs=1e-3)
    for name in ("object", "left_hand", "right_hand"):
        assert len(markers[name].points) == len(markers[name].colors) and len(markers[name].points) % 3 == 0
        assert markers[name].header.frame_id == "world"
    middle = [corners(markers[f"{side}_hand"]).mean(axis=0) for side in SIDES]
    axis = (grasps.T_table_object @ [1.0, 0.0, 0.0, 0.0])[:3]
    assert (middle[0] - stands.mean(axis=0)) @ axis > 0.1 and (middle[1] - stands.mean(axis=0)) @ axis < -0.1


def test_the_node_shows_the_grasp_that_the_parameter_names(grasps: GraspSet, tmp_path: Path) -> None:
    grasps.save(tmp_path / "pair.npz")
    with context() as ros:
        node = viewer(ros, file=str(tmp_path / "pair.npz"), period_s=0.1)
        listener = Node("listener", context=ros)
        news = threading.Condition()
        texts: list[str] = []

        def keep(message: MarkerArray) -> None:
            with news:
                texts.append(message.markers[-1].text)
                news.notify_all()

        topics.subscribe(listener, topics.GRASP_MARKERS, keep)
        with background_spin(node, listener, context=ros):
            for number in (1, 2):
                node.set_parameters([Parameter("grasp", value=number - 1)])
                with news:
                    texts.clear()
                    assert news.wait_for(partial(mentioned, texts, f" {number}/2 "), DEADLINE_S)


def mentioned(texts: list[str], what: str) -> bool:
    return any(what in text for text in texts)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with context() as ros:
        with pytest.raises(GraspFileError, match="file:="):
            viewer(ros)
        with pytest.raises(GraspFileError, match=r"none\.npz"):
            viewer(ros, file=str(tmp_path / "none.npz"))
