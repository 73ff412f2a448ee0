"""ROS parameters from a frozen dataclass: one place for type, default, description and range."""

from __future__ import annotations

import dataclasses
import difflib
import math
import types
import typing
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rcl_interfaces.msg import FloatingPointRange, IntegerRange, ParameterDescriptor
from rclpy.exceptions import ParameterException
from rclpy.node import Node
from rclpy.parameter import Parameter

from udg_description.errors import UdgError

Config = TypeVar("Config")


class ParameterValueError(UdgError):
    """A ROS parameter has a value that its component can't use."""


def declare(node: Node, config_type: type[Config], *, default: Config | None = None, prefix: str = "") -> Config:
    """Declare each field of the dataclass `config_type` as a parameter of `node`; return the instance they make.

    Field types: bool, int, float, str, Path, Literal, tuple[X, ...] and tuple[X, X, X] of those, `X | None` of str
    and Path (an empty string is None), nested dataclasses (parameters `field.subfield`). An integer is accepted for
    a float. Keys of a field's metadata: `description`, `range` (lowest, highest; None is open), `choices`, `dynamic`.
    `default` replaces the dataclass's own defaults. The parameters are read-only, because the configuration is frozen;
    a `dynamic` one may be set at run time: the node has to listen for it.

    Raises ParameterValueError naming node, parameter, value and what would be valid.
    """
    hints = typing.get_type_hints(config_type)
    values: dict[str, Any] = {}
    for field in dataclasses.fields(config_type):  # type: ignore[arg-type]
        name = prefix + field.name
        start = getattr(default, field.name) if default is not None else _default_of(field)
        hint = hints[field.name]
        if dataclasses.is_dataclass(hint):
            values[field.name] = declare(node, typing.cast(type, hint), default=start, prefix=f"{name}.")
        else:
            values[field.name] = _declare_one(node, name, start, _Rule.of(name, hint, field))
    try:
        return config_type(**values)
    except (UdgError, ValueError) as error:
        raise ParameterValueError(f"node {node.get_name()}: parameters of {config_type.__name__}: {error}") from error


def refuse_unknown(node: Node) -> None:
    """Refuse overrides that `node` has not declared: a misspelt parameter must not be ignored silently.

    Call it when everything is declared. Raises ParameterValueError naming the first one.
    """
    ours = ("use_sim_time", "start_type_description_service")
    for name in sorted(getattr(node, "_parameter_overrides", {})):
        if not node.has_parameter(name) and name not in ours and not name.startswith("qos_overrides."):
            known = sorted(other for other in node.get_parameters_by_prefix("") if other not in ours)
            close = difflib.get_close_matches(name, known, n=3, cutoff=0.4) or known
            raise ParameterValueError(f"node {node.get_name()}: unknown parameter '{name}'; valid: {', '.join(close)}")


@dataclasses.dataclass(frozen=True, kw_only=True)
class _Rule:
    """Which values a parameter may have."""

    convert: Callable[[Any], Any]  # ROS value -> field value; raises TypeError or ValueError
    kind: str
    description: str
    low: float | None
    high: float | None
    choices: tuple[Any, ...]
    dynamic: bool

    @classmethod
    def of(cls, name: str, hint: object, field: dataclasses.Field[Any]) -> _Rule:
        low, high = field.metadata.get("range", (None, None))
        literal = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
        return cls(
            convert=_converter(hint),
            kind=hint.__name__ if isinstance(hint, type) and not typing.get_origin(hint) else str(hint),
            description=field.metadata.get("description", name),
            low=low,
            high=high,
            choices=tuple(field.metadata.get("choices", literal)),
            dynamic=field.metadata.get("dynamic", False),
        )

    @property
    def valid(self) -> str:
        """The valid values in words."""
        if self.choices:
            return "one of " + ", ".join(repr(choice) for choice in self.choices)
        if self.low is None and self.high is None:
            return self.kind
        if self.high is None:
            return f"{self.kind} >= {self.low}"
        if self.low is None:
            return f"{self.kind} <= {self.high}"
        return f"{self.kind} from {self.low} to {self.high}"

    def allows(self, element: object) -> bool:
        """Whether a value, or an element of a tuple, is finite, inside the range and one of the choices."""
        if isinstance(element, (int, float)):
            if not math.isfinite(element):
                return False
            if (self.low is not None and element < self.low) or (self.high is not None and element > self.high):
                return False
        return not self.choices or element in self.choices

    def descriptor(self, parameter: Parameter) -> ParameterDescriptor:
        """What ROS tools show of the parameter."""
        descriptor = ParameterDescriptor(
            name=parameter.name,
            type=parameter.type_.value,
            description=self.description,
            additional_constraints=self.valid,
            read_only=not self.dynamic,
        )
        if self.low is not None and self.high is not None:
            if parameter.type_ is Parameter.Type.INTEGER:
                first, last = math.ceil(self.low), math.floor(self.high)
                descriptor.integer_range = [IntegerRange(from_value=first, to_value=last, step=1)]
            if parameter.type_ is Parameter.Type.DOUBLE:
                low, high = float(self.low), float(self.high)
                descriptor.floating_point_range = [FloatingPointRange(from_value=low, to_value=high, step=0.0)]
        return descriptor


def _default_of(field: dataclasses.Field[Any]) -> object:
    """The field's own default; a field without one is a mistake in the program."""
    if field.default is not dataclasses.MISSING:
        return field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.default_factory()
    raise TypeError(f"field {field.name!r} has no default: a node's configuration needs one for each field")


def _declare_one(node: Node, name: str, default: object, rule: _Rule) -> object:
    where = f"node {node.get_name()}: parameter '{name}'"
    try:
        parameter = node.declare_parameter(name, _to_ros(default), ParameterDescriptor(dynamic_typing=True))
    except ParameterException as error:
        raise ParameterValueError(f"{where}: {error}; valid: {rule.valid}") from error
    try:
        value = rule.convert(parameter.value)
        allowed = all(rule.allows(element) for element in (value if isinstance(value, tuple) else (value,)))
    except (TypeError, ValueError):
        allowed = False
    if not allowed:
        raise ParameterValueError(f"{where} is {parameter.value!r}; valid: {rule.valid}")
    node.set_descriptor(name, rule.descriptor(parameter))
    return value


def _to_ros(value: Any) -> Any:  # noqa: ANN401 - whatever a field holds
    if value is None:
        return ""
    if isinstance(value, Path):
        return str(value)
    if isinstance(value, tuple):
        return [_to_ros(element) for element in value]
    return value


def _converter(hint: Any) -> Callable[[Any], Any]:  # noqa: ANN401 - type hints have no common type
    """The function from a parameter's value to a field of type `hint`; TypeError where there is none."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        rest = [argument for argument in arguments if argument is not type(None)]
        if len(rest) == 1 and rest[0] in (str, Path):
            convert = _converter(rest[0])
            return lambda value: None if value == "" else convert(value)
    elif origin is typing.Literal:
        return lambda value: value
    elif origin is tuple:
        if len(arguments) == 2 and arguments[1] is Ellipsis:
            convert = _converter(arguments[0])
            return lambda values: tuple(convert(value) for value in _listed(values))
        converters = [_converter(argument) for argument in arguments]
        return lambda values: tuple(c(v) for c, v in zip(converters, _listed(values), strict=True))
    elif hint is float:
        return lambda value: float(_checked(value, (int, float)))
    elif hint is Path:
        return lambda value: Path(_checked(value, (str,)))
    elif hint in (bool, int, str):
        return lambda value: _checked(value, (hint,))
    raise TypeError(f"{hint} has no ROS parameter type")


def _checked(value: Any, kinds: tuple[type, ...]) -> Any:  # noqa: ANN401 - returns what it got
    """The value if it is of one of the types; a bool is no number."""
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        raise TypeError(f"not a {kinds[0].__name__}")
    return value


def _listed(values: Any) -> list[Any]:  # noqa: ANN401 - whatever the parameter holds
    if isinstance(values, str) or not hasattr(values, "__len__"):
        raise TypeError("not a list")
    return list(values)
