"""What the watch lets pass keeps the arms apart, however each joint lags between its place and its stop."""

from __future__ import annotations

import numpy as np

from udg_control.collision import CollisionCheck, CollisionConfig, Gaps
from udg_control.collision_watch import CollisionWatch
from udg_control.emulators.lag import ArmGaps, close_starts
from udg_description.layout import HOME_Q, JOINT_NAMES, part_indices
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


def test_joints_that_creep_into_the_table_are_noticed_and_may_leave_it() -> None:
    """In steps that each are small enough to be let pass, as trembling is."""
    watch = CollisionWatch(CollisionConfig())
    lift, step_rad = JOINT_NAMES.index("right_shoulder_lift_joint"), 5e-5

    def lowered(angle_rad: float) -> np.ndarray:
        q = HOME_Q.copy()
        q[lift] += angle_rad
        return q

    def table_mm(angle_rad: float) -> float:
        return 1e3 * float(watch._joints.gaps(lowered(angle_rad)).table_m.min())

    touches = next(angle for angle in np.arange(0.0, 2.0, step_rad) if table_mm(angle) < 0.0)
    assert table_mm(touches) - table_mm(touches + step_rad) < 0.2  # each step is let pass
    watch.start()
    found, angle = None, touches - step_rad
    while found is None and table_mm(angle) > -10.0:
        q = lowered(angle)
        found = watch.judge(np.stack([HOME_Q, HOME_Q]), np.stack([HOME_Q, HOME_Q]), q)
        angle += step_rad
    assert found is not None and found.second == "the table"
    assert -2.5 < table_mm(angle) < -1.9
    watch.start()  # enabled again
    for back in np.arange(angle - step_rad, touches, -3 * step_rad):
        assert watch.judge(np.stack([HOME_Q, HOME_Q]), np.stack([HOME_Q, HOME_Q]), lowered(back)) is None


def test_what_creeps_is_measured_in_metres_each_pair_by_itself() -> None:
    """Not by squares, which say less of thin fingers than of upper arms; and what begins to touch has its allowance."""
    check = CollisionWatch(CollisionConfig())._joints
    free = check.gaps(HOME_Q)

    def at(spare_mm: float, pair: int) -> Gaps:
        pairs = free.pairs_m.copy()
        pairs[pair] = (check._pair_least[pair] + 1e-3 * spare_mm) ** 2 - check._pair_square[pair]
        return Gaps(pairs, free.table_m, free.box_m)

    thin, thick = int(np.argmin(check._pair_least)), int(np.argmax(check._pair_least))
    assert check._pair_least[thick] > 4.0 * check._pair_least[thin]
    for pair in (thin, thick):
        apart = at(20.0, pair)
        assert check.worst_since(at(-1.9, pair), apart, 2e-3) is None
        found = check.worst_since(at(-2.1, pair), apart, 2e-3)
        assert found is not None and found.first == check._links[check.pairs[pair][0]]
        assert check.worst_since(at(-5.9, pair), at(-4.0, pair), 2e-3) is None
        assert check.worst_since(at(-6.1, pair), at(-4.0, pair), 2e-3) is not None
