"""Settings of a component: a frozen dataclass of `setting`s, their ranges, and what a YAML file overrides.

One description and range for each, next to its default; ROS parameters (`udg_description.ros.params`) show the same.
"""

from __future__ import annotations

import argparse
import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml

from udg_description.errors import UdgError
from udg_description.files import user_path

C = TypeVar("C")
T = TypeVar("T")


def setting(
    default: T,
    description: str,
    low: float | None = None,
    high: float | None = None,
    *,
    choices: Sequence[object] | None = None,
    dynamic: bool = False,
) -> T:
    """A field of a dataclass of settings: what it is, with its unit, and what is valid.

    `low` and `high` are both valid; `choices` are all that is; `dynamic`: a running node takes another value.
    """
    metadata: dict[str, Any] = {"description": description}
    if low is not None or high is not None:
        metadata["range"] = (low, high)
    if choices is not None:
        metadata["choices"] = tuple(choices)
    if dynamic:
        metadata["dynamic"] = True
    return dataclasses.field(default=default, metadata=metadata)


def check_ranges(settings: object, error: type[UdgError] = UdgError) -> None:
    """Raise `error` that names the first setting outside its range; NaN is outside each."""
    for field in dataclasses.fields(settings):  # type: ignore[arg-type]
        value = getattr(settings, field.name)
        low, high = field.metadata.get("range", (None, None))
        if low is not None and not low <= value <= high:
            raise error(f"{type(settings).__name__}: {field.name} is {value}; valid: {low} to {high}")


def add_config(parser: argparse.ArgumentParser, base: object, example: str = "") -> None:
    """Add --config, a YAML file with what differs from the settings `base`; `configured` reads it."""
    parser.add_argument(
        "--config",
        type=user_path,
        default=None,
        help=f"YAML file that overrides {type(base).__name__}"
        f"{', e.g. ' + example if example else ''}; an option takes precedence",
    )


def configured(path: Path | None, base: C, name: str, error: type[UdgError] = UdgError) -> C:
    """The settings of `base` with what the file of --config says, if there is one. Raises as `load_overrides`."""
    return base if path is None else load_overrides(path, base, name, error)


def load_overrides(path: str | Path, base: C, name: str, error: type[UdgError] = UdgError) -> C:
    """`base`, a dataclass, with what the YAML file says; `name` is what its keys are called in errors.

    Raises `error` for a file that cannot be read and for what `override` refuses.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except OSError as problem:
        raise error(f"{path}: cannot be read: {problem.strerror}") from problem
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise error(f"{path}: not valid YAML: {problem}") from problem
    if not isinstance(values, dict):
        raise error(f"{path}: expected a mapping at the top")
    return override(base, values, name, error)


def override(base: C, values: Mapping[str, Any], name: str, error: type[UdgError] = UdgError) -> C:
    """`base`, a dataclass, with the values of a nested mapping; the types are those of the values that are replaced.

    Raises `error` for unknown keys and values of another type, and whatever the dataclass itself refuses.
    """
    fields = {f.name: f for f in dataclasses.fields(base)}  # type: ignore[arg-type]
    unknown = sorted(set(values) - set(fields), key=str)
    if unknown:
        raise error(f"{name}: unknown key {unknown[0]!r}; valid are {', '.join(sorted(fields)) or 'none'}")
    changes = {key: _value(getattr(base, key), value, f"{name}.{key}", error) for key, value in values.items()}
    return dataclasses.replace(base, **changes)  # type: ignore[type-var]


def seed_number(text: str) -> int:
    """A seed as a user writes it: the `type` of options. Raises ArgumentTypeError."""
    try:
        value = int(text)
    except ValueError:
        value = -1
    if value < 0:
        raise argparse.ArgumentTypeError(f"{text!r}; valid: a whole number from 0 on")
    return value


def _value(old: Any, value: Any, place: str, error: type[UdgError]) -> Any:  # noqa: ANN401 - of any type
    if dataclasses.is_dataclass(old) or isinstance(old, dict):
        if not isinstance(value, dict):
            raise error(f"{place}: expected a mapping, got {value!r}")
        if isinstance(old, dict):
            return {**old, **value} if value else {}  # an empty one clears
        return override(old, value, place, error)
    if isinstance(old, tuple):
        if not isinstance(value, list | tuple):
            raise error(f"{place}: expected a list, got {value!r}")
        numbers = bool(old) and all(isinstance(one, int | float) and not isinstance(one, bool) for one in old)
        if numbers and not all(isinstance(one, int | float) and not isinstance(one, bool) for one in value):
            raise error(f"{place}: expected a list of numbers, got {value!r}")
        return tuple(value)
    if isinstance(old, bool) or isinstance(value, bool):
        if not (isinstance(old, bool) and isinstance(value, bool)):
            raise error(f"{place}: expected {type(old).__name__}, got {value!r}")
        return value
    if isinstance(old, float):
        if not isinstance(value, int | float):
            raise error(f"{place}: expected a number, got {value!r}")
        return float(value)
    if old is not None and not isinstance(value, type(old)):
        raise error(f"{place}: expected {type(old).__name__}, got {value!r}")
    return value
