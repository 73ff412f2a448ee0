from collections import Counter

import numpy as np
import pytest
import trimesh

from udg_datagen.expert.choice import ChoiceConfig, ChoiceError, Reach, reachable
from udg_datagen.grasp_set import GraspSet
from udg_datagen.grasps.handmade import made_grasps, pressing
from udg_datagen.planning.collision import CollisionScene
from udg_description.arm_kinematics import hand_ik, hand_pose
from udg_description.layout import HOME_Q, SIDES, Side, part_indices
from udg_description.transforms import make_transform, se3_distance
from udg_sim.objects.library import ObjectLibrary, ObjectModel

X, Y, Z = np.eye(3)
SIDES_PRESSED: dict[Side, np.ndarray] = {"left": -Y, "right": Y}  # palms towards each other across the object


@pytest.fixture(scope="module")
def scene() -> CollisionScene:
    return CollisionScene()


@pytest.fixture(scope="module")
def can() -> ObjectModel:
    return ObjectLibrary().get("tall_can")


@pytest.fixture(scope="module")
def box() -> ObjectModel:
    return ObjectLibrary().get("box_300")


def from_the_side(model: ObjectModel, side: Side) -> np.ndarray:
    """T_object_hand (4, 4): fingers forward and down, palm inwards, 5 cm off the surface."""
    T = pressing(model, side, SIDES_PRESSED[side], (X - Z) / np.sqrt(2.0))
    T[:3, 3] -= 0.05 * SIDES_PRESSED[side] - 0.03 * Z
    return T


def at(model: ObjectModel, x: float, y: float) -> np.ndarray:
    return make_transform(translation=np.array([x, y, model.stable_poses[0][2, 3]]))


def choose(
    sets: list[GraspSet],
    model: ObjectModel,
    T: np.ndarray,
    scene: CollisionScene,
    others: list[tuple[trimesh.Trimesh, np.ndarray]] | None = None,
) -> tuple[list[Reach], Counter[str]]:
    scene.set_objects((model.mesh, T), others or [])
    discarded: Counter[str] = Counter()
    return list(reachable(sets, T, HOME_Q, scene, discarded=discarded)), discarded


def one_hand(model: ObjectModel, side: Side) -> GraspSet:
    return made_grasps(model, (side,), from_the_side(model, side)[None, None])


def both_hands(model: ObjectModel) -> GraspSet:
    return made_grasps(model, SIDES, np.stack([from_the_side(model, side) for side in SIDES])[None])


def test_the_arm_follows_straight_lines_to_the_grasp_and_up(can: ObjectModel, scene: CollisionScene) -> None:
    T = at(can, 0.6, -0.15)
    (reach,), discarded = choose([one_hand(can, "right")], can, T, scene)
    assert not discarded and reach.sides == ("right",)
    hands = [hand_pose("right", q) for q in np.concatenate([reach.approach["right"], reach.lift["right"]])]
    T_grasp = T @ from_the_side(can, "right")
    n = ChoiceConfig().line_points
    np.testing.assert_allclose(hands[n - 1], T_grasp, atol=1e-6)
    np.testing.assert_allclose(hands[0][:3, 3] - T_grasp[:3, 3], -0.1 * Y, atol=1e-6)
    np.testing.assert_allclose(hands[-1][:3, 3] - T_grasp[:3, 3], 0.2 * Z, atol=1e-6)
    for T_hand in hands:
        np.testing.assert_allclose(T_hand[:3, :3], T_grasp[:3, :3], atol=1e-6)
        off_line = np.cross(T_hand[:3, 3] - T_grasp[:3, 3], Y if np.isclose(T_hand[2, 3], T_grasp[2, 3]) else Z)
        np.testing.assert_allclose(off_line, 0.0, atol=1e-6)
    assert np.abs(np.diff(reach.approach["right"], axis=0)).max() < ChoiceConfig().max_line_step_rad


def test_the_nearest_free_branch_is_taken(can: ObjectModel, scene: CollisionScene) -> None:
    T = at(can, 0.6, -0.15)
    (reach,), _ = choose([one_hand(can, "right")], can, T, scene)
    chosen = reach.q_pregrasp_arm["right"]
    arm = part_indices("right_arm")
    motion = np.abs(chosen - HOME_Q[arm]).max()
    T_pre = T @ from_the_side(can, "right")
    T_pre[:3, 3] -= 0.1 * Y
    branches = hand_ik("right", T_pre)
    assert len(branches) > 1
    for q in branches:
        near = q - 2.0 * np.pi * np.round((q - HOME_Q[arm]) / (2.0 * np.pi))
        q_all = HOME_Q.copy()
        q_all[arm] = near
        clearance = scene.clearance(q_all[None])
        free = min(clearance.table[0], clearance.robot[0]) > 0.05 and clearance.object[0] > 0.05
        assert not free or np.abs(near - HOME_Q[arm]).max() >= motion - 1e-6


def test_a_start_on_another_branch_keeps_to_that_branch(can: ObjectModel, scene: CollisionScene) -> None:
    T = at(can, 0.6, 0.1) + make_transform(translation=0.1 * Z) - np.eye(4)
    scene.set_objects((can.mesh, T))
    arm = part_indices("right_arm")
    T_pre = T @ from_the_side(can, "right")
    T_pre[:3, 3] -= 0.1 * Y
    kept = []
    for q in hand_ik("right", T_pre):
        q_start = HOME_Q.copy()
        q_start[arm] = q
        found = list(reachable([one_hand(can, "right")], T, q_start, scene))
        kept.append(bool(found) and np.allclose(found[0].q_pregrasp_arm["right"], q, atol=1e-6))
    assert sum(kept) >= 2


def test_the_nearer_grasp_comes_first_by_equation_10(can: ObjectModel, scene: CollisionScene) -> None:
    sets = [one_hand(can, "right"), one_hand(can, "left")]
    for y, nearer in zip((0.15, -0.15), SIDES, strict=True):
        T = at(can, 0.6, y)
        found, _ = choose(sets, can, T, scene)
        assert found[0].sides == (nearer,)
        assert [reach.distance for reach in found] == sorted(reach.distance for reach in found)
        now = hand_pose(nearer, HOME_Q[part_indices(f"{nearer}_arm")])
        expected = float(se3_distance(now, T @ from_the_side(can, nearer), 0.1))
        assert found[0].distance == pytest.approx(expected)


def test_an_object_in_the_way_discards_the_grasp(can: ObjectModel, scene: CollisionScene) -> None:
    T = at(can, 0.6, -0.15)
    wall = trimesh.creation.box((0.1, 0.02, 0.2))
    beside = T @ from_the_side(can, "right")
    beside = make_transform(translation=beside[:3, 3] - 0.12 * Y)
    found, discarded = choose([one_hand(can, "right")], can, T, scene, [(wall, beside)])
    assert not found and discarded == {"others": 1}
    beside[0, 3] += 0.6
    found, discarded = choose([one_hand(can, "right")], can, T, scene, [(wall, beside)])
    assert len(found) == 1 and not discarded


def test_a_grasp_out_of_reach_or_in_the_table_says_so(can: ObjectModel, scene: CollisionScene) -> None:
    assert choose([one_hand(can, "right")], can, at(can, 3.0, 0.0), scene)[1] == {"ik": 1}
    sunk = at(can, 0.6, -0.15)
    sunk[2, 3] -= 0.12
    assert choose([one_hand(can, "right")], can, sunk, scene)[1] == {"table": 1}


def test_a_grasping_hand_may_come_close_to_the_table_and_an_arm_may_not(
    can: ObjectModel, scene: CollisionScene
) -> None:
    T = at(can, 0.6, -0.15)
    (reach,), _ = choose([one_hand(can, "right")], can, T, scene)
    q = HOME_Q.copy()
    q[part_indices("right_arm")] = reach.approach["right"][-1]
    q[part_indices("right_hand")] = one_hand(can, "right").q_pregrasp[0, 0]
    apart = scene.clearance(q[None], low=["right"])
    whole = scene.clearance(q[None])
    assert apart.table[0] == whole.table[0] and np.isinf(whole.hand_table[0])
    assert -0.02 < apart.hand_table[0] - apart.table[0] < 0.021  # the one by distance, the other beyond a margin
    sunk = T - make_transform(translation=(apart.hand_table[0] + 0.003) * Z) + np.eye(4)
    assert len(choose([one_hand(can, "right")], can, sunk, scene)[0]) == 1  # 3 mm below by its spheres
    sunk[2, 3] -= 0.002
    assert choose([one_hand(can, "right")], can, sunk, scene)[1] == {"table": 1}


def test_both_hands_reach_together_and_their_distances_add(box: ObjectModel, scene: CollisionScene) -> None:
    T = at(box, 0.6, 0.0)
    pair = both_hands(box)
    (reach,), discarded = choose([pair], box, T, scene)
    assert reach.sides == SIDES and not discarded
    for side in SIDES:
        np.testing.assert_allclose(hand_pose(side, reach.approach[side][-1]), reach.Ts_world_hand[side], atol=1e-6)
    alone = [choose([one_hand(box, side)], box, T, scene)[0][0].distance for side in SIDES]
    assert reach.distance == pytest.approx(sum(alone))


def test_arms_that_would_meet_are_discarded(can: ObjectModel, scene: CollisionScene) -> None:
    # Both hands on the same side of the object: each alone can, both cannot.
    poses = np.stack([pressing(can, side, Y, (X - Z) / np.sqrt(2.0)) for side in SIDES])
    poses[:, :3, 3] += 0.03 * Z - 0.05 * Y
    T = at(can, 0.55, 0.0)
    alone = [choose([made_grasps(can, (side,), poses[None, [h]])], can, T, scene)[0] for h, side in enumerate(SIDES)]
    assert alone[0] and alone[1]
    found, discarded = choose([made_grasps(can, SIDES, poses[None])], can, T, scene)
    assert not found and discarded == {"arms": 1}


def test_settings_without_sense_are_refused() -> None:
    with pytest.raises(ChoiceError, match="line_points"):
        ChoiceConfig(line_points=1)
    with pytest.raises(ChoiceError, match="lift_m"):
        ChoiceConfig(lift_m=-0.1)


def test_a_raised_grasp_is_taken_that_much_higher_from_the_pregrasp_on(can: ObjectModel, scene: CollisionScene) -> None:
    T = at(can, 0.6, -0.15)
    scene.set_objects((can.mesh, T), [])
    as_made, raised = (
        next(reachable([one_hand(can, "right")], T, HOME_Q, scene, ChoiceConfig(raise_m=raise_m)))
        for raise_m in (0.0, 0.005)
    )
    higher = np.array([0.0, 0.0, 0.005])
    for low, high in zip(as_made.approach["right"], raised.approach["right"], strict=True):
        assert np.allclose(hand_pose("right", high)[:3, 3], hand_pose("right", low)[:3, 3] + higher, atol=1e-6)
    assert np.allclose(raised.Ts_world_hand["right"][:3, 3], as_made.Ts_world_hand["right"][:3, 3] + higher)
