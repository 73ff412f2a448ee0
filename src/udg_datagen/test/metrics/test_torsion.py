"""Torsion that a grasp asks of its pads: levers computed by hand."""

import dataclasses

import numpy as np
import pytest

from udg_datagen.grasp_set import GraspSet
from udg_datagen.grasps.handmade import made_grasps
from udg_datagen.metrics.torsion import FRICTION, line_levers, torsion
from udg_sim.objects.library import ObjectLibrary, ObjectModel

DOWN = np.array([0.0, 0.0, -1.0])


def test_a_line_through_the_centre_of_mass_needs_no_torsion() -> None:
    points = np.array([[0.0, 0.03, 0.0], [0.0, -0.02, 0.0]])
    np.testing.assert_allclose(line_levers(points, np.array([5.0, 5.0]), DOWN, 1.0), 0.0, atol=1e-15)


@pytest.mark.parametrize(
    ("offset", "gravity_m", "worst_m"),
    [((0.01, 0.0, 0.0), 0.01, 0.01), ((0.0, 0.0, 0.01), 0.0, 0.01), ((0.006, 0.0, 0.008), 0.006, 0.01)],
)
def test_a_line_beside_it_needs_weight_times_lever(offset: tuple[float, ...], gravity_m: float, worst_m: float) -> None:
    """A line along y: gravity turns about it by the offset in x alone, the worst pull by the distance."""
    points = np.array([[0.0, 0.03, 0.0], [0.0, -0.02, 0.0]]) + offset
    np.testing.assert_allclose(line_levers(points, np.array([8.0, 8.0]), DOWN, 1.0), [gravity_m, worst_m], atol=1e-12)


def test_a_hanging_object_needs_none_under_gravity() -> None:
    points = np.array([[0.03, 0.0, 0.05], [-0.03, 0.0, 0.05]])
    assert line_levers(points, np.ones(2), DOWN, 1.0) == pytest.approx((0.0, 0.05))


def test_contacts_beside_the_line_hold_by_friction() -> None:
    """Thumb with 4 N, two fingers 2 N each, 10 mm above and below: 0.6 * (2 + 2) * 0.01 = 24 mNm, for 2 N 12 mm."""
    points = np.array([[0.02, -0.03, 0.0], [0.02, 0.03, 0.01], [0.02, 0.03, -0.01]])
    gravity_m, worst_m = line_levers(points, np.array([4.0, 2.0, 2.0]), DOWN, 2.0)
    held_m = FRICTION * 4.0 * 0.01 / 2.0
    assert held_m == pytest.approx(0.012)
    assert gravity_m == pytest.approx(0.02 - held_m) and worst_m == pytest.approx(0.02 - held_m)
    assert line_levers(points, np.array([4.0, 2.0, 2.0]), DOWN, 1.0) == (0.0, 0.0)


def test_contacts_without_force_do_not_count() -> None:
    points = np.array([[0.01, -0.03, 0.0], [0.01, 0.03, 0.0], [0.01, 0.03, 0.02]])
    assert line_levers(points, np.array([4.0, 4.0, 0.1]), DOWN, 1.0)[0] == pytest.approx(0.01)
    assert np.isnan(line_levers(points[:1], np.array([4.0]), DOWN, 1.0)).all()
    assert np.isnan(line_levers(points[:0], np.array([]), DOWN, 1.0)).all()


def _pinches(model: ObjectModel, offsets: list[list[float]]) -> GraspSet:
    n = len(offsets)
    made = made_grasps(model, ("right",), np.tile(np.eye(4), (n, 1, 1, 1)))
    return dataclasses.replace(
        made,
        contact_names=("right_thumb", "right_index"),
        contact_hand=np.zeros(2, dtype=np.int64),
        tip_distance=np.zeros((n, 2)),
        contact_points_object=np.array(offsets)[:, None] + np.array([[0.0, 0.02, 0.0], [0.0, -0.02, 0.0]]),
        contact_forces_object=np.tile(np.array([[0.0, -5.0, 0.0], [0.0, 5.0, 0.0]]), (n, 1, 1)),
    )


def test_gravity_is_that_of_the_resting_pose() -> None:
    cube = ObjectLibrary().get("cube_40")
    T = np.eye(4)
    T[:3, :3] = [[0, 0, 1], [0, 1, 0], [-1, 0, 0]]  # the object's -x is up: gravity along its +x
    offsets = [[0.0, 0.0, 0.0], [0.004, 0.0, 0.0], [0.0, 0.0, 0.004]]
    grasps = dataclasses.replace(_pinches(cube, offsets), T_table_object=T)
    found = torsion(grasps, cube)
    np.testing.assert_allclose(found.gravity_m, [0.0, 0.0, 0.004], atol=1e-12)
    np.testing.assert_allclose(found.worst_m, [0.0, 0.004, 0.004], atol=1e-12)


def test_an_empty_set_has_empty_measures() -> None:
    cube = ObjectLibrary().get("cube_40")
    assert torsion(_pinches(cube, [[0.0, 0.0, 0.0]]).take([]), cube).worst_m.shape == (0,)
