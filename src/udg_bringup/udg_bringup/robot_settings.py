"""What config/*.yaml says to the real robot's control and supervisor, as the dataclasses of the core. Knows no ROS."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

from udg_bringup.parameter_files import Value
from udg_bringup.real_graph import CAMERA_FILE, EMULATION_FILE, PARAMETER_FILES, read_parameters
from udg_bringup.watching import SupervisorConfig
from udg_control.controller import ControllerConfig
from udg_control.hardware import HardwareConfig
from udg_control.robot_loop import RobotLoopConfig
from udg_description.camera import cameras_of
from udg_description.errors import UdgError

Config = TypeVar("Config")


class RobotSettingsError(UdgError):
    """A parameter of a file that no component has."""


@dataclass(frozen=True, kw_only=True)
class ControlSettings:
    """The control node's parameters."""

    real_time_priority: int = 0
    hardware: HardwareConfig = field(default_factory=HardwareConfig)
    loop: RobotLoopConfig = field(default_factory=RobotLoopConfig)
    controller: ControllerConfig = field(default_factory=ControllerConfig)


@dataclass(frozen=True, kw_only=True)
class RobotSettings:
    """The parameters of control and supervisor."""

    control: ControlSettings
    supervisor: SupervisorConfig


def read_settings(folder: Path, *, emulation: bool = False) -> RobotSettings:
    """Read robot.yaml and safety.yaml of the folder, and emulation.yaml on top if wanted. Raises UdgError.

    Its cameras.yaml says which cameras' sections they may have.
    """
    cameras = [camera.name for camera in cameras_of(folder / CAMERA_FILE)]
    names = (*PARAMETER_FILES, EMULATION_FILE) if emulation else PARAMETER_FILES
    sections: dict[str, dict[str, Value]] = {}
    for name in names:
        for node, values in read_parameters(folder / name, cameras).items():
            sections.setdefault(node, {}).update(values)
    return RobotSettings(
        control=with_parameters(ControlSettings(), sections.get("control", {})),
        supervisor=with_parameters(SupervisorConfig(), sections.get("supervisor", {})),
    )


def with_parameters(config: Config, values: Mapping[str, Value]) -> Config:
    """The dataclass with values by dotted names, as in ROS. Raises RobotSettingsError for an unknown one."""
    names = {field.name for field in dataclasses.fields(config)}  # type: ignore[arg-type]
    changes: dict[str, object] = {}
    for name in dict.fromkeys(dotted.partition(".")[0] for dotted in values):
        if name not in names:
            raise RobotSettingsError(f"{type(config).__name__} has no '{name}'; valid: {', '.join(sorted(names))}")
        old = getattr(config, name)
        if dataclasses.is_dataclass(old):
            inner = {key.partition(".")[2]: value for key, value in values.items() if key.startswith(f"{name}.")}
            changes[name] = with_parameters(old, inner)
        else:
            changes[name] = _as(old, values[name])
    return dataclasses.replace(config, **changes)  # type: ignore[type-var]


def _as(old: object, value: Value) -> object:
    """The value with the type of the one that it replaces, where YAML has another."""
    if isinstance(old, tuple) and isinstance(value, list):
        return tuple(value)
    return float(value) if isinstance(old, float) and isinstance(value, int) else value
