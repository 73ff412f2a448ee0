"""Variables of the environment: ours that names the robot, and ROS's, checked before ROS starts.

ROS's own messages do not name them.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import MutableMapping
from pathlib import Path

from udg_description.errors import UdgError

ROBOT_VARIABLE = "UDG_ROBOT"
"""The robot of a process and of those that it starts: a name of data/robots or a file."""
MAX_DOMAIN = 232
"""Greatest ROS_DOMAIN_ID whose DDS ports are below 65536."""
RANGES = ("LOCALHOST", "SUBNET", "OFF", "SYSTEM_DEFAULT")
_FILES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


class EnvironmentVariableError(UdgError):
    """A variable of the environment that ROS could not use."""


def prepare_environment(environment: MutableMapping[str, str] | None = None) -> None:
    """Check ROS's variables, and give its logs a folder where there is no home. Raises EnvironmentVariableError."""
    variables = os.environ if environment is None else environment
    _check_choice(variables, "ROS_AUTOMATIC_DISCOVERY_RANGE", RANGES)
    _check_choice(variables, "ROS_LOCALHOST_ONLY", ("0", "1"))
    _check_domain(variables)
    for name in _FILES:
        path = variables.get(name)
        if path and not Path(path).is_file():
            raise EnvironmentVariableError(f"{name}={path}: no such file; valid: a file of profiles, or unset")
    keys = variables.get("ROS_SECURITY_KEYSTORE", "")
    if variables.get("ROS_SECURITY_ENABLE", "").lower() == "true" and not (keys and Path(keys).is_dir()):
        raise EnvironmentVariableError(
            f"ROS_SECURITY_ENABLE is true and ROS_SECURITY_KEYSTORE={keys} is no folder; see docs/security.md"
        )
    _give_logs_a_folder(variables)


def _check_choice(variables: MutableMapping[str, str], name: str, valid: tuple[str, ...]) -> None:
    value = variables.get(name, "")
    if value and value not in valid:
        raise EnvironmentVariableError(f"{name}={value}; valid: {', '.join(valid)}, or unset")


def _check_domain(variables: MutableMapping[str, str]) -> None:
    text = variables.get("ROS_DOMAIN_ID")
    if text is None:
        return
    if not (text.isascii() and text.isdecimal() and int(text) <= MAX_DOMAIN):
        raise EnvironmentVariableError(f"ROS_DOMAIN_ID={text!r}; valid: a number from 0 to {MAX_DOMAIN}, or unset")


def _give_logs_a_folder(variables: MutableMapping[str, str]) -> None:
    if variables.get("ROS_LOG_DIR"):
        return
    home = variables.get("ROS_HOME") or (f"{variables['HOME']}/.ros" if variables.get("HOME") else "")
    place = Path(home)
    while home and not place.exists() and place != place.parent:
        place = place.parent
    if not home or not place.is_dir() or not os.access(place, os.W_OK | os.X_OK):
        variables["ROS_LOG_DIR"] = str(Path(tempfile.gettempdir()) / f"udg-ros-log-{os.getuid()}")
