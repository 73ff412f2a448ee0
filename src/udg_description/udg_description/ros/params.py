"""ROS parameters from a frozen dataclass: one place for type, default, description and range."""

from __future__ import annotations

import dataclasses
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node

from udg_description.errors import UdgError

Config = TypeVar("Config")


class ParameterValueError(UdgError):
    """A ROS parameter has a value that its component can't use."""


def declare(node: Node, config_type: type[Config], *, default: Config | None = None, prefix: str = "") -> Config:
    """Declare each field of the dataclass `config_type` as a parameter of `node`; return the instance they make.

    Field types: bool, int, float, str, Path, Literal, tuple[X, ...] and tuple[X, X, X] of those, `X | None` of str
    and Path (an empty string is None), nested dataclasses (parameters `field.subfield`). An integer is accepted for
    a float. Keys of a field's metadata: `description`, `range` (lowest, highest; None is open), `choices`.
    `default` replaces the dataclass's own defaults. The parameters are read-only: the configuration is frozen.

    Raises ParameterValueError naming node, parameter, value and what would be valid.
    """
    hints = typing.get_type_hints(config_type)
    values: dict[str, object] = {}
    for field in dataclasses.fields(config_type):
        name = prefix + field.name
        start = _default_of(field) if default is None else getattr(default, field.name)
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            values[field.name] = declare(node, hint, default=start, prefix=f"{name}.")
        else:
            values[field.name] = _declare_one(node, name, hint, start, field.metadata)
    try:
        return config_type(**values)
    except (UdgError, ValueError) as error:
        raise ParameterValueError(f"node {node.get_name()}: parameters of {config_type.__name__}: {error}") from error


def _default_of(field: dataclasses.Field[object]) -> object:
    """Return the field's own default; a field without one is a mistake in the program."""
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise TypeError(f"field {field.name!r} has no default: a node's configuration needs one for each field")


def _declare_one(node: Node, name: str, hint: object, default: object, metadata: Mapping[str, object]) -> object:
    base, optional = _without_none(hint)
    low, high = metadata.get("range", (None, None))
    choices = metadata.get("choices", typing.get_args(base) if typing.get_origin(base) is typing.Literal else ())
    valid = _valid_text(base, low, high, choices)

    def fail(value: object) -> ParameterValueError:
        return ParameterValueError(f"node {node.get_name()}: parameter '{name}' is {value!r}; valid: {valid}")

    try:
        raw = node.declare_parameter(name, _to_ros(default), ParameterDescriptor(dynamic_typing=True)).value
    except ParameterException as error:
        raise ParameterValueError(f"node {node.get_name()}: parameter '{name}': {error}; valid: {valid}") from error
    try:
        value = _from_ros(raw, base, optional)
    except (TypeError, ValueError) as error:
        raise fail(raw) from error
    for number in value if isinstance(value, tuple) else (value,):
        if isinstance(number, float) and not math.isfinite(number):
            raise fail(value)
        if (low is not None and number < low) or (high is not None and number > high):
            raise fail(value)
        if choices and number not in choices:
            raise fail(value)
    description = ParameterDescriptor(
        name=name,
        type=node.get_parameter(name).type_.value,
        description=metadata.get("description", name),
        additional_constraints=valid,
        read_only=True,
    )
    if base is int and low is not None and high is not None:
        description.integer_range = [IntegerRange(from_value=int(low), to_value=int(high), step=1)]
    if isinstance(raw, float) and low is not None and high is not None:
        description.floating_point_range = [FloatingPointRange(from_value=float(low), to_value=float(high), step=0.0)]
    node.set_descriptor(name, description)
    return value


def _without_none(hint: object) -> tuple[object, bool]:
    """Return the type without `| None`, and whether None is allowed."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        if len(rest) == 1 and rest[0] in (str, Path):
            return rest[0], True
        raise TypeError(f"type {hint} has no ROS parameter type; `str | None` and `Path | None` have")
    return hint, False


def _to_ros(value: object) -> object:
    if value is None:
        return ""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_to_ros(element) for element in value]
    return value


def _from_ros(value: Any, hint: Any, optional: bool = False) -> object:
    """Return the parameter's value as the field's type; raise TypeError or ValueError where it isn't one."""
    if optional and value == "":
        return None
    origin = typing.get_origin(hint)
    if origin is tuple:
        if isinstance(value, str) or not hasattr(value, "__len__"):
            raise TypeError("not a list")
        element_types = typing.get_args(hint)
        if len(element_types) == 2 and element_types[1] is Ellipsis:
            element_types = (element_types[0],) * len(value)
        return tuple(_from_ros(v, t) for v, t in zip(value, element_types, strict=True))
    if origin is typing.Literal:
        return value
    if hint is float and isinstance(value, (int, float)) and not isinstance(value, bool):
        return float(value)
    if hint is int and isinstance(value, int) and not isinstance(value, bool):
        return value
    if hint is Path and isinstance(value, str):
        return Path(value)
    if hint in (bool, str) and isinstance(value, hint):
        return value
    raise TypeError(f"not a {getattr(hint, '__name__', hint)}")


def _valid_text(base: object, low: float | None, high: float | None, choices: tuple[object, ...]) -> str:
    """Say in words which values are valid."""
    if choices:
        return "one of " + ", ".join(repr(choice) for choice in choices)
    kind = str(base) if typing.get_origin(base) is not None else base.__name__
    if low is None and high is None:
        return kind
    if high is None:
        return f"{kind} >= {low}"
    if low is None:
        return f"{kind} <= {high}"
    return f"{kind} from {low} to {high}"
