"""The filter in front of simulated joints."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from udg_control.collision import CollisionConfig
from udg_control.errors import SafetyConfigError
from udg_control.follower import ChunkFollower, FollowerConfig
from udg_control.offline import OfflineFilter, load_safety
from udg_control.safety import SafetyConfig
from udg_description.layout import HOME_Q, JOINT_NAMES
from udg_description.limits import joint_limits

SAFETY = Path(__file__).parents[3] / "config" / "safety.yaml"
LIMITS = joint_limits()
LIFT = JOINT_NAMES.index("right_shoulder_lift_joint")


def test_the_shipped_settings_are_read() -> None:
    shipped, quick = load_safety(SAFETY), load_safety(SAFETY, full_speed=True)
    assert shipped.velocity_scale == 0.3 and shipped.collision.arms_margin_m == 0.03
    assert quick.velocity_scale == SafetyConfig().velocity_scale == 1.0
    assert quick.collision == shipped.collision


@pytest.mark.parametrize("text", ["", "control: {}", "control: {ros__parameters: {controller: {safety: {speed: 1}}}}"])
def test_other_files_are_refused_by_name(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(text)
    with pytest.raises(SafetyConfigError, match=r"mine\.yaml"):
        load_safety(path)
    with pytest.raises(SafetyConfigError, match="nowhere"):
        load_safety(tmp_path / "nowhere.yaml")


def test_commands_of_the_follower_pass_unchanged_and_a_plunge_is_counted() -> None:
    gate = OfflineFilter(load_safety(SAFETY, full_speed=True))
    gate.start(HOME_Q)
    follower = ChunkFollower(
        FollowerConfig(),
        lower=LIMITS.lower,
        upper=LIMITS.upper,
        velocity=LIMITS.velocity,
        acceleration=LIMITS.acceleration,
    )
    follower.sync(HOME_Q)
    q, goal = np.array(HOME_Q), np.array(HOME_Q)
    goal[LIFT] -= 0.3
    follower.follow(np.linspace(HOME_Q, goal, 11)[1:], 0, 0)
    for k in range(130):
        command = follower.advance(k * 10_000_000)
        assert np.array_equal(gate.judge(command, q).command, command)
        q = q + 0.2 * (command - q)
    assert gate.counts == {} and gate.first == ""
    goal[LIFT] += 1.2
    follower.follow(np.linspace(follower.command, goal, 31)[1:], 1_300_000_000, 1_300_000_000)
    for k in range(130, 430):
        gate.judge(follower.advance(k * 10_000_000))
    assert gate.counts["collision_table"] > 0
    assert gate.first.startswith("collision_table") and "table" in gate.first
    gate.start(HOME_Q)
    assert gate.counts == {}


def test_margins_are_judged_as_the_filter_judges_commands() -> None:
    gate = OfflineFilter()
    q = np.stack([HOME_Q, HOME_Q])
    q[1, LIFT] += 1.2  # into the table
    assert gate.keep_margins(q).tolist() == [True, False]
    free = OfflineFilter(SafetyConfig(collision=CollisionConfig(enabled=False)))
    assert free.keep_margins(q).all()
