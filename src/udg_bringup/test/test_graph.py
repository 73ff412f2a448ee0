"""The description of the graph."""

from __future__ import annotations

import dataclasses
import importlib.util
from pathlib import Path
from xml.etree import ElementTree

import pytest

from udg_bringup.checkpoints import NoCheckpointError, checkpoint_folder
from udg_bringup.graph import SimGraphConfig, ViewChoice, frames_graph, parameter_file, process_environment, sim_graph
from udg_description.errors import UdgError

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


SETTINGS = {
    "control: {ros__parameters: {controller: {home_speed: 0.1}}}": "",
    "contrl: {ros__parameters: {}}": "unknown node 'contrl'; valid: control",
    "control: {controller: {home_speed: 0.1}}": "valid: the one key ros__parameters",
    "control: {ros__parameters: {lockstep: false}}": "control: lockstep is set by the graph; valid: its argument",
}


@pytest.mark.parametrize("content", SETTINGS)
def test_a_settings_file_reaches_its_node_or_is_refused(content: str, tmp_path: Path) -> None:
    path = tmp_path / "settings.yaml"
    path.write_text(content)
    config = dataclasses.replace(CONFIG, settings=str(path))
    if SETTINGS[content]:
        with pytest.raises(UdgError, match=f"settings.yaml: .*{SETTINGS[content]}"):
            sim_graph(config)
        return
    changed = {node.name: node.parameters for node in sim_graph(config)}
    assert changed["control"]["controller.home_speed"] == 0.1
    assert changed["sim"] == {node.name: node.parameters for node in sim_graph(CONFIG)}["sim"]


def test_a_description_cannot_be_changed() -> None:
    node = sim_graph(CONFIG)[0]
    with pytest.raises(TypeError):
        node.parameters["lockstep"] = False  # type: ignore[index]


def test_the_robots_frames_have_one_publisher_and_the_cameras_come_with_them() -> None:
    (ours,) = frames_graph("cameras.yaml")
    assert ours.parameters == {"camera_config": "cameras.yaml", "robot": True}
    theirs, cameras = frames_graph("cameras.yaml", with_publisher=True)
    assert theirs.name == "robot_state_publisher" and "<robot" in str(theirs.parameters["robot_description"])
    assert cameras.parameters == {"camera_config": "cameras.yaml", "robot": False}


def test_the_simulated_cameras_are_those_of_the_frames() -> None:
    nodes = {node.name: node for node in sim_graph(dataclasses.replace(CONFIG, camera_config="cameras.yaml"))}
    assert {nodes[name].parameters["camera_config"] for name in ("frames", "perception", "sim")} == {"cameras.yaml"}


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


def test_the_view_is_a_process_of_its_own_with_the_choices_of_the_graph() -> None:
    assert "web_view" not in {node.name for node in sim_graph(CONFIG)}
    shown = dataclasses.replace(CONFIG, view=ViewChoice(show=True, port=0, allow_commands=True))
    view = {node.name: node for node in sim_graph(shown)}["web_view"]
    assert view.apart
    assert view.parameters == {
        "port": 0,
        "simulated": True,
        "allow_commands": True,
        "camera_config": "",
        "object": "mug",
        "seed": 7,
    }
