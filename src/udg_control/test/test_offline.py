"""The filter in front of simulated joints."""

from __future__ import annotations

import numpy as np

from udg_control.collision import CollisionConfig
from udg_control.follower import ChunkFollower, FollowerConfig
from udg_control.offline import OfflineFilter
from udg_control.safety import SafetyConfig
from udg_description.layout import HOME_Q, JOINT_NAMES
from udg_description.limits import joint_limits

LIMITS = joint_limits()
LIFT = JOINT_NAMES.index("right_shoulder_lift_joint")


def test_commands_of_the_follower_pass_unchanged_and_a_plunge_is_counted() -> None:
    gate = OfflineFilter()
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
