"""real.launch.py: what it starts and refuses, where launch is installed; test_rehearsal.py runs it."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

pytest.importorskip("rclpy", reason="needs rclpy")
launch = pytest.importorskip("launch", reason="needs launch, which only a full ROS installation has")
pytest.importorskip("launch_ros.actions", reason="needs launch_ros, of a full ROS installation")

from udg_bringup.graph import ViewChoice  # noqa: E402
from udg_bringup.real_graph import RealGraphConfig, real_graph  # noqa: E402
from udg_description.errors import UdgError  # noqa: E402

pytestmark = pytest.mark.ros
REPOSITORY = Path(__file__).parents[3]
CONFIG = REPOSITORY / "config"


def load() -> ModuleType:
    """Import the launch file."""
    spec = importlib.util.spec_from_file_location("real_launch", REPOSITORY / "launch" / "real.launch.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def context(**values: str) -> object:
    """A launch context in which the arguments have their defaults, or these values."""
    made = launch.LaunchContext()
    for argument in load().ARGUMENTS:
        made.launch_configurations[argument.name] = "".join(part.text for part in argument.default_value)
    made.launch_configurations.update({"config": str(CONFIG), "checkpoint": "some/checkpoint", **values})
    return made


def test_it_starts_the_described_nodes_and_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load()
    monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(REPOSITORY))
    actions = module._actions(context(use_emulators="true"))
    described = real_graph(RealGraphConfig(config=CONFIG, checkpoint="some/checkpoint", use_emulators=True))
    started = [getattr(action, "node_executable", None) for action in actions]
    assert started == [node.executable if node.is_node else None for node in described]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"use_emulator": "true"}, "unknown argument use_emulator:=...; valid: use_emulators"),
        ({"config": "/nowhere"}, "there is no /nowhere"),
        ({"cameras": "webcam"}, "valid: kinect"),
        ({"arms": "ros2_control", "left_host": "10.0.0.5"}, "left_host is given, and arms is 'ros2_control'"),
    ],
)
def test_what_it_does_not_know_is_refused(
    values: dict[str, str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = load()
    monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(REPOSITORY))
    with pytest.raises(UdgError, match=message.replace("...", r"\.\.\.")):
        module._actions(context(**values))


def test_paths_may_begin_with_the_home_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module, seen = load(), []
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / "cell").symlink_to(CONFIG)
    (tmp_path / "recordings").mkdir()
    for name in ("left", "right"):
        (tmp_path / "recordings" / f"{name}.mkv").touch()
    monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(REPOSITORY))
    monkeypatch.setattr(module, "real_graph", lambda config: seen.append(config) or ())
    names = ("checkpoint", "settings", "recordings", "emulator_log")
    module._actions(context(config="~/cell", cameras="playback", **{name: f"~/{name}" for name in names}))
    assert seen[0].config == tmp_path / "cell"
    assert [str(getattr(seen[0], name)) for name in names] == [str(tmp_path / name) for name in names]
    module._actions(context(config="", checkpoint=""))
    assert (seen[1].config, seen[1].checkpoint, seen[1].settings) == (CONFIG, "", None)


def test_it_comes_up_disabled_on_the_hardware_by_default() -> None:
    default = {argument.name: "".join(part.text for part in argument.default_value) for argument in load().ARGUMENTS}
    assert default["use_emulators"] == default["dry_run"] == "false"


def test_what_an_including_file_declares_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load()
    monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(REPOSITORY))
    including = context(site="lab", camera="x", use_emulators="true")
    including.extend_locals({"current_launch_file_path": str(REPOSITORY / "launch" / "real.launch.py")})
    first, *rest = module._actions(including)
    assert "did you mean cameras?" in "".join(part.text for part in first.msg)
    assert len(rest) == len(module._actions(context(use_emulators="true")))


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ({}, False),
        ({"use_emulators": "true"}, True),
        ({"view_commands": "true"}, True),
        ({"use_emulators": "true", "view_commands": "false"}, False),
    ],
)
def test_the_view_commands_a_real_robot_only_if_the_launch_says_so(
    values: dict[str, str], allowed: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, seen = load(), []
    monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(REPOSITORY))
    monkeypatch.setattr(module, "real_graph", lambda config: seen.append(config) or ())
    module._actions(context(view="true", **values))
    assert seen[0].view.show and seen[0].view.allow_commands is allowed


def test_the_end_of_the_view_ends_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    module = load()
    monkeypatch.setattr(module, "get_package_share_directory", lambda _: str(REPOSITORY))
    config = RealGraphConfig(config=CONFIG, checkpoint="some/checkpoint", view=ViewChoice(show=True))
    (view,) = [node for node in real_graph(config) if node.name == "web_view"]
    assert module._action(view)._ExecuteLocal__on_exit is None
