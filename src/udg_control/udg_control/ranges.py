"""Checks that a configuration keeps to the ranges that its own fields state."""

from __future__ import annotations

import dataclasses

from udg_control.errors import SafetyConfigError


def check_ranges(config: object) -> None:
    """Raise SafetyConfigError naming the first field of the dataclass that lies outside its metadata's `range`."""
    for field in dataclasses.fields(config):  # type: ignore[arg-type]
        value = getattr(config, field.name)
        low, high = field.metadata.get("range", (None, None))
        if low is not None and not low <= value <= high:
            raise SafetyConfigError(f"{type(config).__name__}: {field.name} is {value}; valid: {low} to {high}")
