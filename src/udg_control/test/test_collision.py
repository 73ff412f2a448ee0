"""Predicted collisions: what is free, what is not, and that a robot which is too close may leave."""

from __future__ import annotations

import time

import numpy as np
import pytest
import torch

from udg_control.collision import CollisionCheck, CollisionConfig, Hazard
from udg_control.errors import SafetyConfigError
from udg_description.layout import HOME_Q, JOINT_NAMES, mirror_q
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.spheres import CollisionSpheres

CHECK = CollisionCheck(CollisionConfig())
LIMITS = joint_limits()


def moved(name: str, by: float) -> np.ndarray:
    """Home with one joint turned."""
    q = np.array(HOME_Q)
    q[JOINT_NAMES.index(name)] += by
    return q


def hazard(q: np.ndarray) -> Hazard | None:
    violation = CHECK.worst(CHECK.gaps(q))
    return None if violation is None else violation.hazard


def test_home_is_free() -> None:
    assert hazard(HOME_Q) is None


@pytest.mark.parametrize(
    ("joint", "by", "expected"),
    [
        ("right_shoulder_lift_joint", 0.6, Hazard.TABLE),
        ("left_shoulder_lift_joint", -0.6, Hazard.TABLE),
        ("left_wrist_1_joint", -2.0, Hazard.SELF),
        ("left_shoulder_lift_joint", 1.1, Hazard.WORKSPACE),
    ],
)
def test_a_joint_turned_too_far_is_told_by_its_hazard(joint: str, by: float, expected: Hazard) -> None:
    assert hazard(moved(joint, by)) is expected


def test_arms_turned_together_collide() -> None:
    q = moved("left_shoulder_pan_joint", -0.6)
    q[JOINT_NAMES.index("right_shoulder_pan_joint")] += 0.6
    violation = CHECK.worst(CHECK.gaps(q))
    assert violation.hazard is Hazard.ARMS
    assert {violation.first.split("_")[0], violation.second.split("_")[0]} == {"left", "right"}


def test_the_verdict_is_the_same_for_the_mirrored_robot() -> None:
    rng = np.random.default_rng(0)
    for _ in range(40):
        q = np.clip(HOME_Q + rng.uniform(-0.7, 0.7, 36), LIMITS.lower, LIMITS.upper)
        assert (hazard(q) is None) == (hazard(mirror_q(q)) is None)


def test_centers_are_those_of_the_description() -> None:
    model = RobotModel(dtype=torch.float64)
    q = moved("left_elbow_joint", 0.3)
    reference = CollisionSpheres(model).centers_world(torch.tensor(q)).numpy()
    np.testing.assert_allclose(CHECK.centers_world(q), reference, atol=1e-6)


def test_gaps_are_those_of_all_pairs_looked_at_one_by_one() -> None:
    rng = np.random.default_rng(1)
    spheres = CollisionSpheres(RobotModel(dtype=torch.float64))
    links, radii = spheres.link_of_sphere, spheres.radii.numpy()
    free = CollisionCheck(
        CollisionConfig(self_margin_m=0.0, arms_margin_m=0.0, workspace_min_m=(-9, -9, -9), workspace_max_m=(9, 9, 9))
    )
    for _ in range(20):
        q = np.clip(HOME_Q + rng.uniform(-1.2, 1.2, 36), LIMITS.lower, LIMITS.upper)
        centers = spheres.centers_world(torch.tensor(q)).numpy()
        touches = False
        for a, b in spheres.checked_pairs.numpy():
            one, other = links[a], links[b]
            same_hand = one.split("_")[:2] == other.split("_")[:2] and one.split("_")[1] == "hand"
            if not same_hand and np.linalg.norm(centers[a] - centers[b]) < radii[a] + radii[b]:
                touches = True
        found = free.gaps(q)
        assert touches == bool((found.pairs_m < 0).any())


def test_who_is_too_close_may_leave_but_not_come_closer() -> None:
    inside, deeper, outwards = (CHECK.gaps(moved("right_shoulder_lift_joint", by)) for by in (0.6, 0.61, 0.59))
    assert CHECK.worst(inside).hazard is Hazard.TABLE
    assert CHECK.worst(deeper, before=inside).hazard is Hazard.TABLE
    assert CHECK.worst(outwards, before=inside) is None
    assert CHECK.worst(inside, before=inside) is None  # it may stand, too


def test_fingers_may_be_commanded_a_little_into_the_table_but_palms_may_not() -> None:
    config = CollisionConfig()
    assert config.table_finger_margin_m < 0.0 <= config.table_palm_margin_m


@pytest.mark.parametrize(
    "values",
    [
        {"workspace_min_m": (0.0, 0.0, 0.0), "workspace_max_m": (1.0, 0.0, 1.0)},
        {"workspace_min_m": (0.0, 0.0)},
        {"workspace_max_m": (1.0, np.nan, 1.0)},
    ],
)
def test_a_workspace_that_is_no_box_is_refused(values: dict[str, tuple[float, ...]]) -> None:
    with pytest.raises(SafetyConfigError, match="workspace_min_m"):
        CollisionConfig(**values)


def test_it_is_quick_enough_for_each_command() -> None:
    began_s = time.process_time()
    for _ in range(100):
        CHECK.worst(CHECK.gaps(HOME_Q))
    assert (time.process_time() - began_s) / 100 < 2e-3  # 0.2 ms on an idle core; a command needs two
