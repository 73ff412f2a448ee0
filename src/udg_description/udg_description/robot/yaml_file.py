"""Dataclasses from YAML files, with what is wrong said by file and field."""

from __future__ import annotations

from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import yaml

from udg_description.errors import RobotModelError, UdgError

Kind = TypeVar("Kind")


def read_yaml(path: Path, what: str, error: type[UdgError] = RobotModelError) -> dict[str, Any]:
    """The mapping of a file. Raises `error`: missing, no YAML, no mapping."""
    try:
        data = yaml.load(path.read_text(encoding="utf-8"), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except OSError as problem:
        raise error(f"cannot read the {what} description {path}: {problem.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as problem:
        raise error(f"{what} description {path} is not valid YAML: {problem}") from None
    if not isinstance(data, dict):
        raise error(f"{what} description {path}: a mapping is needed")
    return data


def checked(kind: type[Kind], values: object, what: str, error: type[UdgError] = RobotModelError) -> Kind:
    """`kind(**values)`. Raises `error`: no mapping, unknown or missing fields; or what `kind` raises."""
    if not isinstance(values, dict):
        raise error(f"{what}: a mapping is needed, got {values!r}")
    valid = list(kind.__dataclass_fields__)  # type: ignore[attr-defined]
    for name in sorted(set(values) - set(valid), key=str):
        near = get_close_matches(str(name), valid, n=1)
        meant = f"; did you mean '{near[0]}'?" if near else ""
        raise error(f"{what}: unknown fields ['{name}']; valid: {', '.join(valid)}{meant}")
    try:
        return kind(**values)
    except TypeError as problem:
        raise error(f"{what}: {problem}") from None


def vector(values: Sequence[float], size: int, what: str, error: type[UdgError] = RobotModelError) -> np.ndarray:
    """The finite numbers (size,). Raises `error`."""
    try:
        array = np.asarray(values, dtype=float)
    except (TypeError, ValueError):
        raise error(f"{what} is {values!r}, {size} numbers are needed") from None
    if array.shape != (size,) or not np.isfinite(array).all():
        raise error(f"{what} is {values!r}, {size} finite numbers are needed")
    return array
