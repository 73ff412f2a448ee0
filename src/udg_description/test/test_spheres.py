from pathlib import Path

import numpy as np
import pytest
import torch

from udg_description.errors import RobotModelError
from udg_description.layout import HOME_Q, N_HAND_JOINTS, mirror_q
from udg_description.limits import joint_limits
from udg_description.model import RobotModel
from udg_description.robot import current_robot
from udg_description.shapes import merge_capsules, sample_union, union_distance
from udg_description.spheres import CollisionSpheres
from udg_description.transforms import transform_points


@pytest.fixture(scope="module")
def model() -> RobotModel:
    return RobotModel(dtype=torch.float64)


@pytest.fixture(scope="module")
def spheres(model: RobotModel) -> CollisionSpheres:
    return CollisionSpheres(model)


def test_centers_follow_the_links_in_batches(model: RobotModel, spheres: CollisionSpheres) -> None:
    limits = joint_limits()
    q = np.random.default_rng(0).uniform(limits.lower, limits.upper, size=(2, 36))
    centers = spheres.centers_world(torch.tensor(q))
    assert centers.shape == (2, len(spheres), 3)
    for row, got in zip(q, centers.numpy(), strict=True):
        poses = model.link_poses_np(row)
        for index in (0, 50, len(spheres) - 1):
            T = poses[spheres.link_of_sphere[index]]
            expected = transform_points(T, spheres.centers_link[index : index + 1].numpy())[0]
            np.testing.assert_allclose(got[index], expected, atol=1e-9)


def test_the_two_sides_mirror_each_other(spheres: CollisionSpheres) -> None:
    n = len(spheres) // 2
    limits = joint_limits()
    q = np.random.default_rng(1).uniform(limits.lower, limits.upper)
    here, there = (spheres.centers_world(torch.tensor(angles)).numpy() for angles in (q, mirror_q(q)))
    # Arm spheres are fitted to mirror-symmetric links without being so themselves: the hands' are exact.
    hand = np.array(["_hand_" in name for name in spheres.link_of_sphere[n:]])
    np.testing.assert_allclose(there[:n][hand], here[n:][hand] * [1, -1, 1], atol=1e-8)
    np.testing.assert_allclose(spheres.radii[:n], spheres.radii[n:])


@pytest.mark.parametrize(
    ("part", "uncovered_p95", "excess_mean"), [("_hand_", 0.0015, 0.0035), ("_arm_", 0.006, 0.009)]
)  # [m] the figures reached are 0.9 and 2.3 mm (hand), 4.5 and 6.8 mm (arm)
def test_spheres_cover_the_primitives_tightly(
    model: RobotModel, spheres: CollisionSpheres, part: str, uncovered_p95: float, excess_mean: float
) -> None:
    rng = np.random.default_rng(2)
    gaps, excesses = [], []
    links = [name for name in spheres.links if name.startswith("right_") and ("_hand_" in name) == (part == "_hand_")]
    for name in links:
        primitives = merge_capsules(model.geometry(name))
        mine = [index for index, link in enumerate(spheres.link_of_sphere) if link == name]
        centers, radii = spheres.centers_link[mine].numpy(), spheres.radii[mine].numpy()
        surface = sample_union(primitives, 800, rng)
        gaps.append((np.linalg.norm(surface[:, None] - centers, axis=2) - radii).min(axis=1))
        directions = rng.normal(size=(200, 3))
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
        shell = (centers[:, None] + radii[:, None, None] * directions).reshape(-1, 3)
        excess = union_distance(primitives, shell)
        excesses.append(excess[excess > 0])
    assert np.percentile(np.concatenate(gaps), 95) < uncovered_p95
    assert np.concatenate(excesses).mean() < excess_mean


def clearance_m(spheres: CollisionSpheres, q: np.ndarray) -> float:
    """Smallest gap of all checked pairs."""
    centers = spheres.centers_world(torch.tensor(q))
    a, b = spheres.checked_pairs.T
    return float(((centers[a] - centers[b]).norm(dim=-1) - spheres.radii[a] - spheres.radii[b]).min())


def test_home_and_the_open_hand_are_free_of_self_collision(model: RobotModel, spheres: CollisionSpheres) -> None:
    assert clearance_m(spheres, HOME_Q) > 0.002
    for side in ("left", "right"):
        hand = CollisionSpheres(model.hand(side))
        assert clearance_m(hand, np.zeros(N_HAND_JOINTS)) > 0


def test_arms_through_one_another_are_a_collision(spheres: CollisionSpheres) -> None:
    q = HOME_Q.copy()
    q[0] -= 0.7
    q[18] += 0.7  # both arms swing to the middle
    assert clearance_m(spheres, q) < -0.02


def test_neighbours_may_touch_and_thumb_and_index_may_not(spheres: CollisionSpheres) -> None:
    assert frozenset(("left_forearm_link", "left_wrist_1_link")) in spheres.ignored_link_pairs
    assert frozenset(("left_hand_thumb_rota_link2", "left_hand_index_rota_link2")) not in spheres.ignored_link_pairs
    assert frozenset(("left_hand_link", "right_hand_link")) not in spheres.ignored_link_pairs
    pairs = spheres.checked_pairs.numpy()
    links = {frozenset((spheres.link_of_sphere[a], spheres.link_of_sphere[b])) for a, b in pairs}
    assert not links & spheres.ignored_link_pairs and len(pairs) > 10000


def test_fingertip_spheres_hold_the_pads(model: RobotModel) -> None:
    for side in ("left", "right"):
        hand = model.hand(side)
        spheres = CollisionSpheres(hand)
        for pad in current_robot().hands[side].contacts.values():
            mine = [index for index, link in enumerate(spheres.link_of_sphere) if link == pad.link]
            contact = np.array(pad.center) + pad.radius * pad.normal
            gap = np.linalg.norm(spheres.centers_link[mine].numpy() - contact, axis=1) - spheres.radii[mine].numpy()
            assert -0.004 < gap.min() < 0.0


def test_a_model_without_spheres_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "other.urdf"
    path.write_text('<robot name="other"><link name="trunk"/></robot>')
    with pytest.raises(RobotModelError, match="no link with collision spheres"):
        CollisionSpheres(RobotModel(path, root="trunk", joint_names=()))
