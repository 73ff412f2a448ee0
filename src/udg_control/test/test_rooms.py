"""What is called surely free is free, however the joints move within their rooms."""

from __future__ import annotations

import numpy as np

from udg_control.collision import CollisionCheck, CollisionConfig
from udg_control.collision_watch import CollisionWatch
from udg_control.rooms import Rooms
from udg_description.layout import HOME_Q, part_indices
from udg_description.limits import joint_limits

LIMITS = joint_limits()
CHECK = CollisionCheck(CollisionConfig())
ARMS = np.r_[part_indices("left_arm"), part_indices("right_arm")]


def known(q: np.ndarray) -> Rooms:
    rooms = Rooms(CHECK, CHECK.pairs)
    gaps = CHECK.gaps(q)
    rooms.take(q[None], CHECK.spare_m(gaps), gaps)
    return rooms


def test_nothing_is_known_at_first() -> None:
    assert not Rooms(CHECK, CHECK.pairs).surely_free(HOME_Q[None])


def test_the_known_configuration_is_free_exactly_if_it_is() -> None:
    rng = np.random.default_rng(0)
    verdicts = []
    for _ in range(60):
        q = np.array(HOME_Q)
        q[ARMS] += rng.uniform(-0.9, 0.9, 12)
        verdicts.append(known(q).surely_free(q[None]))
        assert verdicts[-1] == (CHECK.worst(CHECK.gaps(q)) is None)
    assert 10 < sum(verdicts) < 50


def test_what_is_surely_free_is_free() -> None:
    rng = np.random.default_rng(1)
    free = 0
    for _ in range(60):
        q = np.clip(HOME_Q + 0.3 * rng.standard_normal(36), LIMITS.lower, LIMITS.upper)
        rooms = known(q)
        for scale in 10.0 ** rng.uniform(-4, -0.5, 12):
            near = np.clip(q + scale * rng.standard_normal(36), LIMITS.lower, LIMITS.upper)
            if rooms.surely_free(near[None]):
                free += 1
                assert CHECK.worst(CHECK.gaps(near)) is None
    assert free > 100


def test_a_joint_cannot_shift_a_sphere_further_than_it_is_said_to() -> None:
    """From far inside a room that one joint alone uses up: the sphere has moved by at most that."""
    rng = np.random.default_rng(2)
    rooms = known(HOME_Q)
    names = np.array(CHECK.links)
    for joint in rng.permutation(36):
        q = np.array(HOME_Q)
        q[joint] += 0.01
        before, after = CHECK.gaps(HOME_Q), CHECK.gaps(q)
        shift = CHECK.spare_m(after) - CHECK.spare_m(before)
        moved = np.linalg.norm(CHECK.centers_world(q) - CHECK.centers_world(HOME_Q), axis=1)
        assert np.abs(shift).max() <= moved.max() + 1e-9
        lost = np.zeros(36)
        lost[joint] = 0.01
        assert rooms.sway_m(lost).max() >= moved.max() - 1e-9, names[int(moved.argmax())]


def test_the_watch_says_what_a_plain_look_says() -> None:
    """A walk of commands without lag: the same verdicts as looking at each command and stop afresh."""
    rng = np.random.default_rng(3)
    watch, q, refused = CollisionWatch(CollisionConfig()), np.array(HOME_Q), 0
    for _ in range(6):
        q = np.array(HOME_Q)
        watch.start()
        direction = np.zeros(36)
        direction[ARMS] = 0.02 * rng.standard_normal(12)
        for _ in range(60):
            now = np.stack([q + direction, q + 1.5 * direction])
            found = watch.judge(np.stack([q, q]), now, q)
            gaps = [CHECK.gaps(part) for part in now]
            plain = CHECK.worst(gaps[0], CHECK.gaps(q)) or CHECK.worst(gaps[1], CHECK.gaps(q))
            assert (found is None) == (plain is None), (found, plain)
            if found is not None:
                refused += 1
                break
            q = now[0]
    assert refused >= 3
