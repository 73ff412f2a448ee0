import numpy as np
import pytest

from udg_datagen.metrics.q1 import q1, wrench_hull_radius

AXES = np.concatenate([np.eye(3), -np.eye(3)])
A = 0.04  # [m] half an edge of the cube
MU = 0.5


def _cube_faces(faces: np.ndarray, *, edges: int = 4, torque_scale: float = A, friction: float = MU) -> float:
    """Q1 of contacts in the middle of the cube's faces with these outward normals."""
    points = A * faces[None]
    return float(q1(points, faces[None], np.zeros(3), friction=friction, torque_scale=torque_scale, edges=edges)[0])


def test_two_opposite_points_cannot_hold_the_turn_about_their_line() -> None:
    assert _cube_faces(AXES[[0, 3]], edges=8) == 0.0


def test_contacts_on_all_faces_of_a_cube() -> None:
    # Pyramid edges along the cube's axes: the weakest direction is the torque about a space diagonal, in which one
    # contact's edge (moment arm A, tangential force MU) has the component MU * A / torque_scale / sqrt(3).
    assert _cube_faces(AXES) == pytest.approx(MU / np.sqrt(3.0), rel=1e-6)


def test_four_contacts_on_the_sides_of_a_cube() -> None:
    # The same diagonal torque is the weakest: top and bottom add nothing to it.
    assert _cube_faces(AXES[[0, 1, 3, 4]]) == pytest.approx(MU / np.sqrt(3.0), rel=1e-6)
    assert _cube_faces(AXES[[0, 1, 3, 4]], torque_scale=2.0 * A) == pytest.approx(MU / 2.0 / np.sqrt(3.0), rel=1e-6)


def test_without_force_closure_quality_is_zero() -> None:
    assert _cube_faces(AXES[:3], edges=8) == 0.0  # three faces that meet in a corner: all push the same way


def test_quality_equals_the_support_function_of_the_hull() -> None:
    rng = np.random.default_rng(0)
    wrenches = rng.normal(size=(40, 6))
    wrenches -= wrenches.mean(axis=0)
    radius = wrench_hull_radius(wrenches)
    directions = rng.normal(size=(20000, 6))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    support = (directions @ wrenches.T).max(axis=1)
    assert 0.0 < radius <= support.min() < 1.5 * radius


def test_quality_does_not_change_with_a_rotation_of_the_object() -> None:
    rng = np.random.default_rng(1)
    R = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    normals = AXES + 0.2 * rng.normal(size=(6, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points, com = A * AXES[None], np.array([0.002, 0.001, 0.0])
    settings = {"friction": MU, "torque_scale": A, "edges": 24}
    straight = q1(points, normals[None], com, **settings)  # type: ignore[arg-type]
    turned = q1(points @ R.T, normals[None] @ R.T, R @ com, **settings)  # type: ignore[arg-type]
    assert straight[0] == pytest.approx(turned[0], rel=0.02)


def test_a_contact_that_is_not_finite_costs_one_grasp_alone() -> None:
    points = np.stack([A * AXES, A * AXES])
    points[0, 0, 0] = np.nan
    quality = q1(points, np.stack([AXES, AXES]), np.zeros(3), friction=MU, torque_scale=A)
    assert quality[0] == 0.0 and quality[1] > 0.2
