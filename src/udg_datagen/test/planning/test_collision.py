import numpy as np
import pytest
import trimesh

from udg_control.collision import CollisionCheck, CollisionConfig
from udg_datagen.planning.collision import CollisionScene
from udg_description.layout import HOME_Q, mirror_q, part_indices
from udg_description.model import RobotModel


@pytest.fixture(scope="module")
def scene() -> CollisionScene:
    return CollisionScene()


def test_home_is_free(scene: CollisionScene) -> None:
    scene.set_object(None)
    clearance = scene.clearance(HOME_Q[None])
    assert clearance.table[0] > 0.05
    assert clearance.robot[0] > 0.01 and clearance.workspace[0] > 0.05
    assert np.isinf(clearance.object[0])


def test_clearances_are_those_of_the_mirrored_scene(scene: CollisionScene) -> None:
    q = np.random.default_rng(0).uniform(-0.3, 0.3, (4, 36)) + HOME_Q
    here, mirrored = scene.clearance(q), scene.clearance(mirror_q(q))
    np.testing.assert_allclose(here.table, mirrored.table, atol=1e-3)
    np.testing.assert_allclose(here.robot, mirrored.robot, atol=1e-3)


def test_what_remains_is_what_the_safety_filter_leaves(scene: CollisionScene) -> None:
    """A configuration has room left exactly where the filter, asked for each by itself, finds nothing wrong."""
    q = HOME_Q + np.random.default_rng(1).uniform(-0.9, 0.9, (60, 36))
    check = CollisionCheck(CollisionConfig())
    allowed = [check.worst(check.gaps(one)) is None for one in q]
    assert 5 < sum(allowed) < 55
    np.testing.assert_array_equal(scene.clearance(q).commands >= 0.0, allowed)
    wide = CollisionScene(CollisionConfig(table_margin_m=0.25))
    assert not (wide.clearance(q).table > scene.clearance(q).table).any()


def test_an_arm_lowered_into_the_table_is_seen(scene: CollisionScene) -> None:
    q = HOME_Q.copy()
    q[part_indices("right_arm")][1] += 1.0
    assert scene.clearance(q[None]).table[0] < 0.0


def test_object_clearance_by_hand(scene: CollisionScene) -> None:
    # Far above the robot the clearance grows as the ball is raised.
    hand = RobotModel().link_poses_np(HOME_Q)["left_hand_link"]
    ball = trimesh.creation.icosphere(radius=0.05)
    T = np.eye(4)
    T[:3, 3] = hand[:3, 3]
    scene.set_object(ball, T)
    assert scene.clearance(HOME_Q[None]).object[0] < 0.0
    T[2, 3] += 5.0
    scene.set_object(ball, T)
    far = scene.clearance(HOME_Q[None]).object[0]
    T[2, 3] += 1.0
    scene.set_object(ball, T)
    assert scene.clearance(HOME_Q[None]).object[0] - far == pytest.approx(1.0, abs=0.01)
