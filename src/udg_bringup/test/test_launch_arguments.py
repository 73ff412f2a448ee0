"""Arguments of launch files: refused, or passed because they belong to an including file."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from udg_bringup.launch_arguments import LaunchArgumentError, check_arguments, is_included

FILE = Path(__file__).parents[3] / "launch" / "real.launch.py"
PACKAGES = ("udg_bringup", "udg_sim")
KNOWN = ("use_emulators", "cameras", "policy")


def test_a_misspelt_argument_is_refused_with_what_it_may_have_meant() -> None:
    assert check_arguments(["use_emulators", "policy"], KNOWN, included=False) == []
    with pytest.raises(LaunchArgumentError, match="unknown argument use_emulator:=...; valid: use_emulators$"):
        check_arguments(["use_emulator"], KNOWN, included=False)
    with pytest.raises(LaunchArgumentError, match="valid: use_emulators, cameras, policy"):
        check_arguments(["site"], KNOWN, included=False)


def test_included_an_argument_of_another_file_passes_and_a_likely_slip_is_told() -> None:
    assert check_arguments(["site", "policy"], KNOWN, included=True) == []
    (warning,) = check_arguments(["camera"], KNOWN, included=True)
    assert "camera:=... is not one of the included launch file; did you mean cameras?" in warning


@pytest.mark.parametrize(
    ("command", "included"),
    [
        ("ros2 launch udg_bringup real.launch.py policy:=false", False),
        ("ros2 launch -n udg_bringup real.launch.py", False),
        ("ros2 launch udg_sim real.launch.py", False),
        (f"/usr/bin/ros2 launch {shlex.quote(str(FILE))} cameras:=none", False),
        ("ros2 launch my_cell real.launch.py site:=lab", True),
        ("ros2 launch my_cell cell.launch.py config:=real.launch.py", True),
        ("python my_program.py", True),
    ],
)
def test_the_command_tells_whether_a_file_was_launched_or_included(command: str, included: bool) -> None:
    assert is_included(FILE, PACKAGES, shlex.split(command)) is included
