"""sim.launch.py, where launch is installed."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
launch = pytest.importorskip("launch", reason="needs launch, which only a full ROS installation has")
launch_ros = pytest.importorskip("launch_ros.actions", reason="needs launch_ros, of a full ROS installation")

from udg_bringup.graph import SimGraphConfig, sim_graph  # noqa: E402
from udg_description.errors import UdgError  # noqa: E402

pytestmark = pytest.mark.ros
LAUNCH_FILE = Path(__file__).parents[3] / "launch" / "sim.launch.py"


def load() -> ModuleType:
    """Import the launch file."""
    spec = importlib.util.spec_from_file_location("sim_launch", LAUNCH_FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def context(**values: str) -> object:
    """A launch context in which the arguments have their defaults, or these values."""
    made = launch.LaunchContext()
    for entity in load().generate_launch_description().entities:
        if isinstance(entity, launch.actions.DeclareLaunchArgument):
            made.launch_configurations[entity.name] = "".join(part.text for part in entity.default_value)
    made.launch_configurations.update(values)
    return made


def test_the_launch_file_starts_the_described_nodes_with_their_parameters() -> None:
    actions = load()._nodes(context(checkpoint="some/checkpoint", object="mug", lockstep="true"))
    described = sim_graph(SimGraphConfig(checkpoint="some/checkpoint", object="mug", lockstep=True))
    assert [(a.node_package, a.node_executable) for a in actions] == [(n.package, n.executable) for n in described]


def test_paths_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen = load(), []
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setattr(module, "sim_graph", lambda config: seen.append(config) or ())
    names = ("checkpoint", "camera_config", "settings")
    module._nodes(context(**{name: f"~/{name}" for name in names}))
    assert [getattr(seen[0], name) for name in names] == [str(tmp_path / name) for name in names]
    module._nodes(context())
    assert (seen[1].checkpoint, seen[1].settings) == ("", "") and seen[1].camera_config.endswith("cameras.yaml")


def test_a_misspelt_argument_is_refused_and_the_nodes_have_time_to_stop() -> None:
    with pytest.raises(UdgError, match="unknown argument objct:=...; valid: object"):
        load()._nodes(context(checkpoint="some/checkpoint", objct="mug"))
    for action in load()._nodes(context(checkpoint="some/checkpoint")):
        assert "".join(part.text for part in action.sigterm_timeout) == "15.0"


def test_a_seed_that_is_no_number_is_refused_by_name() -> None:
    with pytest.raises(UdgError, match="seed"):
        load()._nodes(context(checkpoint="some/checkpoint", seed="-1"))


def test_wrong_choices_are_refused() -> None:
    for entity in load().generate_launch_description().entities:
        if isinstance(entity, launch.actions.DeclareLaunchArgument) and entity.name in ("lockstep", "noise", "rviz"):
            assert set(entity.choices) == {"true", "false"}
