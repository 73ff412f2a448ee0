"""ROS's variables are checked by name before ROS starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from udg_description.environment import EnvironmentVariableError, prepare_environment

pytestmark = pytest.mark.ros


@pytest.mark.parametrize("value", ["0", "7", "101", "232"])
def test_domains_that_dds_has_are_taken(value: str) -> None:
    prepare_environment({"ROS_DOMAIN_ID": value, "ROS_LOG_DIR": "/tmp"})


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("ROS_DOMAIN_ID", value) for value in ("", "abc", "-1", "233", "1.5", "7 ", "٣")),
        ("ROS_AUTOMATIC_DISCOVERY_RANGE", "localhost"),
        ("ROS_LOCALHOST_ONLY", "yes"),
        ("FASTDDS_DEFAULT_PROFILES_FILE", "/nowhere/profiles.xml"),
        ("FASTRTPS_DEFAULT_PROFILES_FILE", "/nowhere/profiles.xml"),
        ("ROS_SECURITY_ENABLE", "true"),
    ],
)
def test_a_value_that_ros_cannot_use_is_refused_by_name(name: str, value: str) -> None:
    with pytest.raises(EnvironmentVariableError, match=name):
        prepare_environment({name: value, "ROS_LOG_DIR": "/tmp"})


def test_logs_go_elsewhere_where_there_is_no_home(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for home in ({}, {"HOME": ""}, {"HOME": str(tmp_path / "file" / "x")}, {"HOME": str(tmp_path / "file")}):
        variables = dict(home)
        prepare_environment(variables)
        assert "udg-ros-log" in variables["ROS_LOG_DIR"]
    for variables in ({"HOME": str(tmp_path)}, {"HOME": str(tmp_path / "new")}):
        prepare_environment(variables)
        assert "ROS_LOG_DIR" not in variables
    kept = {"ROS_LOG_DIR": "/x"}
    prepare_environment(kept)
    assert kept == {"ROS_LOG_DIR": "/x"}
