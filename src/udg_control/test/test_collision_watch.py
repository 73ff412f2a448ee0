"""What the watch lets pass keeps the arms apart, however each joint lags between its place and its stop."""

from __future__ import annotations

import numpy as np

from udg_control.collision import CollisionCheck, CollisionConfig
from udg_control.collision_watch import CollisionWatch
from udg_control.emulators.lag import ArmGaps, close_starts
from udg_description.layout import part_indices
from udg_description.limits import joint_limits

ARMS = np.r_[part_indices("left_arm"), part_indices("right_arm")]
CORNERS = 48


def test_joints_that_go_at_rates_of_their_own_meet_nothing() -> None:
    """Corners of the box that measured joints and stop span; the straight way between both is one of its diagonals."""
    rng, limits, gaps = np.random.default_rng(4), joint_limits(), ArmGaps()
    watch = CollisionWatch(CollisionConfig())
    starts = close_starts(rng, CollisionCheck(watch.check.config, watch.check.model))
    passed = refused = 0
    while passed < 80:
        q = next(starts)
        stop = np.array(q)
        stop[ARMS] += rng.uniform(-0.12, 0.12, 12)
        stop = limits.clip(stop)
        watch.start()
        if watch.judge(np.stack([q, q]), np.stack([0.6 * stop + 0.4 * q, stop]), q) is not None:
            refused += 1
            continue
        passed += 1
        share = np.zeros((CORNERS, 36))
        share[:, ARMS] = rng.integers(0, 2, (CORNERS, 12))
        assert gaps(q + share * (stop - q)).min() > 0.0
    assert refused > 20
