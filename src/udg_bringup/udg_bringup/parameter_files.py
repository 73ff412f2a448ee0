"""ROS parameter files (YAML) laid over the parameters that a graph gives its nodes."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from udg_description.errors import UdgError

Value = bool | int | float | str | list[float] | list[str]
"""What a ROS parameter can hold here."""


def read_parameter_file(
    path: Path, known: Sequence[str], error: type[UdgError] = UdgError
) -> dict[str, dict[str, Value]]:
    """Parameters by node, with dotted names.

    Raises `error` for what is no such file and for a node that is not `known`: a misspelt name must not be ignored
    silently. The nodes themselves refuse misspelt parameters.
    """
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8")) or {}
    except (OSError, yaml.YAMLError) as cause:
        raise error(f"{path}: {cause}") from cause
    if not isinstance(content, dict):
        raise error(f"{path}: valid: a mapping of node names")
    found = {}
    for name, section in content.items():
        if name not in known:
            close = difflib.get_close_matches(str(name), known, n=1) or known
            raise error(f"{path}: unknown node '{name}'; valid: {', '.join(close)}")
        if not isinstance(section, dict) or list(section) != ["ros__parameters"]:
            raise error(f"{path}: section '{name}'; valid: the one key ros__parameters")
        found[name] = _flatten(section["ros__parameters"] or {}, "")
    return found


def _flatten(tree: Mapping[str, Any], prefix: str) -> dict[str, Value]:
    flat: dict[str, Value] = {}
    for name, value in tree.items():
        if isinstance(value, Mapping):
            flat.update(_flatten(value, f"{prefix}{name}."))
        else:
            flat[f"{prefix}{name}"] = value
    return flat
