"""Hostile chunks through filter, driver and the real ur_rtde: what emulated controllers receive keeps the limits."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("rtde_control", reason="ur_rtde is not installed")

from udg_control.emulators.fuzz import FuzzError, check_targets, fuzz, fuzz_offline
from udg_control.emulators.ur_log import COMMANDS
from udg_control.emulators.ur_process import UrEmulators, loopback_pair
from udg_control.safety import SafetyConfig
from udg_description.layout import HOME_Q, part_indices

CHUNKS = 300


@pytest.mark.real_time
def test_the_controllers_never_receive_a_target_outside_the_limits() -> None:
    left, right = loopback_pair()
    with UrEmulators(left=left, right=right, arguments=["--real-time"]) as emulators:
        result = fuzz(emulators, CHUNKS, seed=CHUNKS)
    assert result.targets > 500
    assert result.furthest_rad > 0.02  # some of it was harmless, and was followed
    assert {"not_finite", "wrong_joint_names", "wrong_length"} <= set(result.rejections)


@pytest.mark.parametrize("seed", range(2))
def test_what_the_drivers_would_send_keeps_the_limits_however_control_is_held_up(seed: int) -> None:
    """A share of what `python -m udg_control.emulators.fuzz --offline --chunks 20000` plays."""
    result = fuzz_offline(200, seed)
    assert result.targets > 5000 and result.furthest_rad > 0.02
    assert {"not_finite", "position_limit", "velocity_limit", "wrong_length"} <= set(result.rejections)


@pytest.mark.parametrize(
    ("change", "word"),
    [((5, 0, np.nan), "not finite"), ((5, 1, 7.0), "position"), ((5, 2, 0.01), "velocity"), ((5, 2, 1e-4), "acc")],
)
def test_the_judge_finds_what_is_outside(change: tuple[int, int, float], word: str) -> None:
    commands = np.zeros(20, COMMANDS)
    commands["t_ns"] = np.arange(20) * 2_000_000
    commands["q"] = HOME_Q[part_indices("left_arm")]
    assert check_targets("left", commands, SafetyConfig()) == 0.0
    row, joint, by = change
    commands["q"][row, joint] += by
    with pytest.raises(FuzzError, match=word):
        check_targets("left", commands, SafetyConfig())
