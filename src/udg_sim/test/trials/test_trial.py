"""The lift rule on hand-made traces, and where objects are placed."""

import numpy as np
import pytest

from udg_description.frames import OBJECT_AREA
from udg_description.layout import HOME_Q
from udg_description.transforms import make_transform
from udg_sim.objects.library import ObjectLibrary, ObjectModel
from udg_sim.physics.world import World, WorldConfig
from udg_sim.trials.trial import LiftRule, LiftTracker, TrialError, place_in, sample_placement, settle_on_table

TIMES = np.arange(0, 5.0001, 0.1)


@pytest.fixture(scope="module")
def library() -> ObjectLibrary:
    return ObjectLibrary()


def _success_s(heights: np.ndarray) -> float | None:
    """When a trial with these heights succeeds; None: never."""
    tracker = LiftTracker()
    return next((t for t, height in zip(TIMES, heights, strict=True) if tracker.update(t, height)), None)


def test_raised_and_held_for_a_second_is_a_success_at_that_second() -> None:
    assert _success_s(np.where(TIMES >= 2.0 - 1e-9, 0.05 + 0.17, 0.05)) == pytest.approx(3.0)


def test_a_millimetre_too_low_or_a_tenth_too_short_is_none() -> None:
    assert _success_s(np.where(TIMES >= 2.0 - 1e-9, 0.05 + 0.169, 0.05)) is None
    held = (TIMES >= 2.0 - 1e-9) & (TIMES <= 2.9 + 1e-9)
    assert _success_s(np.where(held, 0.3, 0.05)) is None


def test_the_hold_must_be_in_one_piece() -> None:
    heights = np.full(len(TIMES), 0.3)
    heights[0] = 0.05
    heights[8::8] = 0.1  # let down every 0.8 s
    assert _success_s(heights) is None
    heights[16::8] = 0.3  # ... but from 0.9 s on no more
    assert _success_s(heights) == pytest.approx(1.9)


def test_the_rise_counts_from_the_first_height() -> None:
    assert _success_s(np.full(len(TIMES), 0.5)) is None


def test_a_success_stays_one_after_the_object_is_dropped() -> None:
    tracker = LiftTracker()
    for time_s, height_m in ((0.0, 0.0), (1.0, 0.2), (2.0, 0.2), (3.0, 0.0)):
        tracker.update(time_s, height_m)
    assert tracker.success


def test_a_height_that_is_not_a_number_is_no_lift() -> None:
    assert _success_s(np.where(TIMES >= 1, np.nan, 0.0)) is None


def test_impossible_rules_are_refused() -> None:
    with pytest.raises(TrialError, match="rise_m"):
        LiftRule(rise_m=0.0)


@pytest.mark.parametrize("name", ["cube_30", "soda_can", "ball_70", "box_300"])
def test_placements_are_at_rest_in_the_area_and_repeatable(library: ObjectLibrary, name: str) -> None:
    model = library.get(name)
    area = OBJECT_AREA["large" if model.size_class == "large" else "small_medium"]
    poses = [sample_placement(model, np.random.default_rng(seed)) for seed in range(5)]
    for T in poses:
        assert area.contains(T[:2, 3])
        lowest = (model.mesh.vertices @ T[2, :3] + T[2, 3]).min()
        assert abs(lowest) < 1e-3
        again = settle_on_table(model, T)
        assert again is not None
        np.testing.assert_allclose(again, T, atol=3e-3)
    np.testing.assert_array_equal(sample_placement(model, np.random.default_rng(0)), poses[0])
    assert len({round(float(T[0, 3]), 6) for T in poses}) == 5


def test_what_the_robot_is_in_the_way_of_is_placed_anew(library: ObjectLibrary) -> None:
    """A box of 30 cm where the left arm stands; in the middle of the table it lies where it is put."""
    world, model = World(WorldConfig()), library.get("box_300")
    T_taken, T_free = (
        make_transform(np.eye(3), np.array([x, y, 0.0])) @ model.stable_poses[0] for x, y in ((0.0, 0.45), (0.6, 0.0))
    )
    draws = iter([T_taken, T_free])
    place_in(world, model, lambda: next(draws), q=HOME_Q)
    np.testing.assert_allclose(world.T_world_object, T_free, atol=3e-3)
    with pytest.raises(TrialError, match="box_300.* no place that the robot leaves free, in 2 draws"):
        place_in(world, model, lambda: T_taken, attempts=2, q=HOME_Q)


def test_what_moves_by_itself_is_not_placed_anew(library: ObjectLibrary) -> None:
    """Let go 3 cm above the table it falls, and nothing touched it."""
    world, model = World(WorldConfig()), library.get("cube_60")
    T_above = make_transform(np.eye(3), np.array([0.6, 0.0, 0.03])) @ model.stable_poses[0]
    place_in(world, model, lambda: T_above, attempts=1, q=HOME_Q)
    assert world.T_world_object[2, 3] < T_above[2, 3] - 0.02


def test_resting_poses_come_with_their_probability(library: ObjectLibrary) -> None:
    model = library.get("tin_can")
    rng = np.random.default_rng(0)
    upright = [abs(sample_placement(model, rng)[2, 2]) > 0.9 for _ in range(60)]
    expected = sum(p.probability for p in model.stable if abs(p.T_table_object[2, 2]) > 0.9)
    assert np.mean(upright) == pytest.approx(expected, abs=3 * np.sqrt(expected * (1 - expected) / 60))


def test_a_chosen_pose_is_taken(library: ObjectLibrary) -> None:
    model: ObjectModel = library.get("carton")
    for index, pose in enumerate(model.stable_poses):
        T = sample_placement(model, np.random.default_rng(1), pose_index=index)
        assert T[2, 3] == pytest.approx(pose[2, 3], abs=1e-3)


def test_what_stands_on_its_edge_does_not_stay(library: ObjectLibrary) -> None:
    model = library.get("tall_can")
    tilted = np.array(model.stable_poses[0])
    angle = 0.5
    turn = np.array([[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]])
    tilted[:3, :3] = turn @ tilted[:3, :3]
    tilted[:3, 3] = [0.6, 0, 0.1]
    settled = settle_on_table(model, tilted)
    assert settled is None or not np.allclose(settled[:3, :3], tilted[:3, :3], atol=0.1)
