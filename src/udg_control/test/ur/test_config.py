"""An arm's settings."""

from __future__ import annotations

import pytest

from udg_control.errors import SafetyConfigError
from udg_control.ur import UrArmConfig


@pytest.mark.parametrize(
    ("values", "named"),
    [
        ({"gain": 50.0}, "gain"),
        ({"lookahead_s": 0.01}, "lookahead_s"),
        ({"host": ""}, "host"),
        ({"command_period_s": 0.0031}, "command_period_s"),
        ({"payload_centre_m": (0.0, 0.1)}, "payload_centre_m"),
    ],
)
def test_a_bad_parameter_is_named(values: dict[str, object], named: str) -> None:
    with pytest.raises(SafetyConfigError, match=named):
        UrArmConfig(**values)  # type: ignore[arg-type]


def test_by_default_no_real_arm_is_reached() -> None:
    assert UrArmConfig().host == "127.0.0.1"
