"""The description of the graph."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from udg_bringup.checkpoints import NoCheckpointError, checkpoint_folder
from udg_bringup.graph import SimGraphConfig, parameter_file, process_environment, rviz_graph, sim_graph
from udg_description.camera import default_cameras, write_cameras

CONFIG = SimGraphConfig(checkpoint="some/checkpoint", object="mug", seed=7)


def test_every_node_of_the_simulation_exists_as_a_module() -> None:
    for node in sim_graph(CONFIG):
        assert importlib.util.find_spec(node.module) is not None, node.module
        assert node.module.startswith(f"{node.package}.ros.")


def test_the_parameter_file_carries_the_choices_to_the_nodes() -> None:
    parameters = parameter_file(sim_graph(CONFIG))
    assert parameters["sim"]["ros__parameters"]["object"] == "mug"
    assert parameters["sim"]["ros__parameters"]["seed"] == 7
    assert parameters["policy"]["ros__parameters"]["checkpoint"] == "some/checkpoint"
    lockstep = {name: section["ros__parameters"].get("lockstep") for name, section in parameters.items()}
    assert lockstep["sim"] is lockstep["perception"] is lockstep["control"] is True


def test_a_description_cannot_be_changed() -> None:
    node = sim_graph(CONFIG)[0]
    with pytest.raises(TypeError):
        node.parameters["lockstep"] = False  # type: ignore[index]


def test_rviz_comes_with_the_frames_of_both_cameras() -> None:
    nodes = {node.name: node for node in rviz_graph("udg.rviz")}
    assert {"left_camera_frame", "right_camera_frame", "robot_state_publisher", "rviz"} == set(nodes)
    assert "<robot" in str(nodes["robot_state_publisher"].parameters["robot_description"])
    words = nodes["left_camera_frame"].arguments
    place = {name: words[words.index(name) + 1] for name in ("--x", "--y", "--z")}
    assert {name: float(value) for name, value in place.items()} == {"--x": 1.2, "--y": 1.2, "--z": 0.6}


def test_an_asked_checkpoint_goes_before_the_shipped_one() -> None:
    assert str(checkpoint_folder("some/where")) == "some/where"


def test_without_a_shipped_checkpoint_the_error_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("udg_bringup.checkpoints.SHIPPED", ("data", "none"))
    with pytest.raises(NoCheckpointError, match="none"):
        checkpoint_folder("")


def test_processes_get_the_transport_settings_unless_the_user_has_others(monkeypatch: pytest.MonkeyPatch) -> None:
    name = "FASTRTPS_DEFAULT_PROFILES_FILE"
    monkeypatch.delenv(name, raising=False)
    root = ElementTree.parse(process_environment()[name]).getroot()
    segment = root.find(".//{*}segment_size")
    assert segment is not None and int(segment.text or 0) >= 4 * 640 * 576 * 2 * 2  # two images, several times
    monkeypatch.setenv(name, "mine.xml")
    assert name not in process_environment()


def test_discovery_and_sockets_stay_on_this_host_unless_the_user_says_else(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("FASTRTPS_DEFAULT_PROFILES_FILE", "ROS_AUTOMATIC_DISCOVERY_RANGE", "ROS_LOCALHOST_ONLY", "ROS_DISTRO"):
        monkeypatch.delenv(name, raising=False)
    here = process_environment()
    assert here["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST"
    root = ElementTree.parse(here["FASTRTPS_DEFAULT_PROFILES_FILE"]).getroot()
    assert [address.text for address in root.iterfind(".//{*}interfaceWhiteList/{*}address")] == ["127.0.0.1"]
    monkeypatch.setenv("ROS_AUTOMATIC_DISCOVERY_RANGE", "SUBNET")
    wide = process_environment()
    assert set(wide) == {"FASTRTPS_DEFAULT_PROFILES_FILE"}
    assert ElementTree.parse(wide["FASTRTPS_DEFAULT_PROFILES_FILE"]).getroot().find(".//{*}interfaceWhiteList") is None
    monkeypatch.delenv("ROS_AUTOMATIC_DISCOVERY_RANGE")
    monkeypatch.setenv("ROS_DISTRO", "humble")
    assert process_environment()["ROS_LOCALHOST_ONLY"] == "1"


def test_the_frames_in_rviz_are_those_of_the_camera_file(tmp_path: Path) -> None:
    left, right = default_cameras()
    moved = np.array(left.T_world_camera)
    moved[:3, 3] = 0.25, 0.5, 0.75
    path = tmp_path / "cameras.yaml"
    write_cameras(path, (right, dataclasses.replace(left, T_world_camera=moved)))
    frames = {node.name: node.arguments for node in rviz_graph("some.rviz", path)}
    assert frames["left_camera_frame"][:6] == ("--x", "0.25", "--y", "0.5", "--z", "0.75")
    assert frames["right_camera_frame"] == {n.name: n for n in rviz_graph("some.rviz")}["right_camera_frame"].arguments
