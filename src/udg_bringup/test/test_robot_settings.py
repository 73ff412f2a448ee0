"""Parameters of ROS files as the dataclasses of the core."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from udg_bringup.robot_settings import ControlSettings, RobotSettingsError, read_settings, with_parameters
from udg_control.emulators.lag import SHIPPED

CONFIG = Path(__file__).parents[3] / "config"


def test_dotted_names_reach_nested_fields_and_the_rest_stays() -> None:
    values = {"hardware.left_arm.host": "192.168.1.5", "controller.safety.velocity_scale": 1, "real_time_priority": 20}
    settings = with_parameters(ControlSettings(), values)
    assert settings.hardware.left_arm.host == "192.168.1.5" and settings.real_time_priority == 20
    assert settings.controller.safety.velocity_scale == 1.0
    assert isinstance(settings.controller.safety.velocity_scale, float)
    assert settings.hardware.right_arm == ControlSettings().hardware.right_arm


def test_lists_become_tuples() -> None:
    settings = with_parameters(ControlSettings(), {"hardware.left_hand.ports": ["/dev/xhand_left"]})
    assert settings.hardware.left_hand.ports == ("/dev/xhand_left",)


@pytest.mark.parametrize("name", ["hardwear.left_arm.host", "hardware.left_arm.hots"])
def test_an_unknown_name_is_refused_with_the_valid_ones(name: str) -> None:
    with pytest.raises(RobotSettingsError, match="valid: .*host|valid: .*hardware"):
        with_parameters(ControlSettings(), {name: "x"})


def test_the_shipped_files_are_read_and_emulation_lies_on_top() -> None:
    robot, rehearsal = read_settings(CONFIG), read_settings(CONFIG, emulation=True)
    assert robot.control.controller.latch
    assert robot.control.controller.heartbeat_timeout_s < rehearsal.control.controller.heartbeat_timeout_s
    assert robot.supervisor.camera_silence_s < rehearsal.supervisor.camera_silence_s
    assert robot.control.hardware.left_arm.host == rehearsal.control.hardware.left_arm.host


def test_cameras_have_the_names_of_the_folders_file(tmp_path: Path) -> None:
    folder = shutil.copytree(CONFIG, tmp_path / "cell")
    for name in ("cameras.yaml", "robot.yaml"):
        text = (folder / name).read_text(encoding="utf-8")
        (folder / name).write_text(text.replace("left_camera", "top_camera"), encoding="utf-8")
    assert read_settings(folder) == read_settings(CONFIG)


def test_the_fuzz_of_the_core_has_the_shipped_speeds() -> None:
    shipped = read_settings(CONFIG).control.controller.safety
    for name in ("velocity_scale", "acceleration_scale", "arm_step_rad"):
        assert getattr(SHIPPED, name) == getattr(shipped, name), name
