import math

import numpy as np

from udg_description.layout import HOME_Q, JOINT_NAMES, SIDES, part_indices
from udg_description.limits import joint_limits

HAND_LOWER = [0, -0.698, 0, -0.174, 0, 0, 0, 0, 0, 0, 0, 0]
HAND_UPPER = [1.832, 1.745, 1.745, 0.174] + [1.919] * 8
HAND_EFFORT = [1.1, 1.1, 0.4, 0.4, 1.1, 0.4, 1.1, 0.4, 1.1, 0.4, 1.1, 0.4]


def test_hands_have_the_vendors_limits_and_efforts_on_both_sides() -> None:
    limits = joint_limits()
    for side in SIDES:
        part = part_indices(f"{side}_hand")
        np.testing.assert_allclose(limits.lower[part], HAND_LOWER)
        np.testing.assert_allclose(limits.upper[part], HAND_UPPER)
        np.testing.assert_allclose(limits.effort[part], HAND_EFFORT)
        np.testing.assert_allclose(limits.velocity[part], np.where(np.equal(HAND_EFFORT, 1.1), 8.63, 14.38))


def test_arms_have_the_vendors_efforts_and_speed() -> None:
    limits = joint_limits()
    for side in SIDES:
        part = part_indices(f"{side}_arm")
        np.testing.assert_allclose(limits.effort[part], [150, 150, 150, 28, 28, 28])
        np.testing.assert_allclose(limits.velocity[part], math.pi, atol=1e-9)


def test_arm_limits_follow_the_mirror_law() -> None:
    limits = joint_limits()
    left, right = part_indices("left_arm"), part_indices("right_arm")
    offset = np.array([0, -math.pi, 0, math.pi, 0, 0])
    np.testing.assert_allclose(limits.lower[left], offset - limits.upper[right], atol=1e-9)
    np.testing.assert_allclose(limits.upper[left], offset - limits.lower[right], atol=1e-9)


def test_home_is_well_inside_every_limit() -> None:
    limits = joint_limits()
    margin = np.minimum(HOME_Q - limits.lower, limits.upper - HOME_Q)
    assert margin.min() > 0.08, JOINT_NAMES[int(margin.argmin())]
    assert limits.contains(HOME_Q)


def test_clip_and_contains_agree() -> None:
    limits = joint_limits()
    q = np.full(36, 10.0)
    assert not limits.contains(q)
    np.testing.assert_array_equal(limits.clip(q), limits.upper)
    assert limits.contains(limits.clip(q))
