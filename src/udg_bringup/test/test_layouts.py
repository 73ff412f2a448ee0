"""The layouts of RViz and Foxglove show topics of the table, with a quality of service that is offered."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

pytest.importorskip("rclpy", reason="needs ROS")

from udg_description.camera import default_cameras
from udg_description.frame_tree import camera_frame
from udg_description.robot import current_robot
from udg_description.ros import topics
from udg_description.urdf import load_urdf

pytestmark = pytest.mark.ros
CONFIG = Path(__file__).parents[3] / "config"
TABLE = {topic.name: topic for topic in topics.TOPICS}
SERVICES = {entry.name for entry in vars(topics).values() if isinstance(entry, topics.ServiceName)}
FRAMES = {*load_urdf(current_robot().urdf).links, *map(camera_frame, default_cameras())}


def mappings(tree: Any) -> Iterator[dict[str, Any]]:  # noqa: ANN401 - nested YAML or JSON
    """Every mapping of a tree."""
    inner = tree.values() if isinstance(tree, dict) else tree if isinstance(tree, list) else ()
    if isinstance(tree, dict):
        yield tree
    for child in inner:
        yield from mappings(child)


def texts(tree: Any) -> Iterator[str]:  # noqa: ANN401
    """Every key and every text of a tree."""
    if isinstance(tree, str):
        yield tree
    elif isinstance(tree, dict):
        for key, value in tree.items():
            yield str(key)
            yield from texts(value)
    elif isinstance(tree, list):
        for child in tree:
            yield from texts(child)


def test_rviz_shows_topics_of_the_table_and_asks_for_no_more_than_they_offer() -> None:
    shown = yaml.safe_load((CONFIG / "udg.rviz").read_text(encoding="utf-8"))
    asked = [entry for entry in mappings(shown) if "Durability Policy" in entry]
    assert len(asked) > 5
    for entry in asked:
        topic = TABLE[entry["Value"]]
        assert entry["Durability Policy"] == "Volatile" or topic.latched, topic.name
        assert entry["Reliability Policy"] == "Best Effort" or topic.reliable, topic.name


def test_foxglove_shows_and_calls_what_is_in_the_tables() -> None:
    layout = json.loads((CONFIG / "udg.foxglove.json").read_text(encoding="utf-8"))
    names = {re.split(r"[.\[{]", text)[0] for text in texts(layout) if text.startswith("/")}
    assert {"/scene_cloud", "/robot_description", "/joint_states", "/diagnostics"} <= names
    assert names - set(TABLE) - SERVICES == set()
    assert names & SERVICES == {"/control/emergency_stop"}  # it commands nothing else


def test_each_panel_of_foxglove_is_placed_once_and_its_frames_exist() -> None:
    layout = json.loads((CONFIG / "udg.foxglove.json").read_text(encoding="utf-8"))
    placed = [text for text in texts(layout["layout"]) if "!" in text]
    assert sorted(placed) == sorted(layout["configById"])
    frames = {text.removeprefix("frame:") for text in texts(layout) if text.startswith("frame:")}
    assert frames and frames <= FRAMES
    assert layout["configById"]["3D!robot"]["followTf"] in FRAMES


def test_rviz_is_fixed_to_a_frame_that_exists() -> None:
    shown = yaml.safe_load((CONFIG / "udg.rviz").read_text(encoding="utf-8"))
    assert shown["Visualization Manager"]["Global Options"]["Fixed Frame"] in FRAMES
