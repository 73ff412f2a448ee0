"""Closed-form kinematics of the arm, against the library of the same purpose and by their own round trip."""

from __future__ import annotations

import math

import numpy as np
import pytest

from udg_description.ur5e import forward_kinematics, inverse_kinematics


def random_angles(n: int) -> np.ndarray:
    """Angles (n, 6) [rad] over the whole turn."""
    return np.random.default_rng(3).uniform(-math.pi, math.pi, size=(n, 6))


def angle_gap(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Largest difference modulo a turn [rad] over the last axis."""
    return np.abs(np.remainder(a - b + math.pi, 2.0 * math.pi) - math.pi).max(axis=-1)


def test_stretched_arm_is_where_the_data_sheet_says() -> None:
    T = forward_kinematics([0.0] * 6)
    np.testing.assert_allclose(T[:3, 3], [-0.425 - 0.3922, -0.1333 - 0.0996, 0.1625 - 0.0997], atol=1e-12)
    np.testing.assert_allclose(T[:3, 2], [0.0, -1.0, 0.0], atol=1e-12)


def test_solutions_reach_the_pose_and_contain_the_angles_it_came_from() -> None:
    for q in random_angles(200):
        T = forward_kinematics(q)
        solutions = inverse_kinematics(T)
        assert 2 <= len(solutions) <= 8
        assert angle_gap(solutions, q).min() < 1e-6
        for solution in solutions:
            np.testing.assert_allclose(forward_kinematics(solution), T, atol=1e-8)


def test_out_of_reach_has_no_solution() -> None:
    T = np.eye(4)
    T[:3, 3] = [1.5, 0.0, 0.3]
    assert inverse_kinematics(T).shape == (0, 6)


def test_aligned_wrist_axes_give_solutions_with_wrist_3_at_zero() -> None:
    T = forward_kinematics([0.4, -1.2, 1.5, -0.3, 0.0, 0.0])
    solutions = inverse_kinematics(T)
    aligned = solutions[np.abs(np.sin(solutions[:, 4])) < 1e-9]
    assert len(aligned) >= 2 and np.all(aligned[:, 5] == 0.0)
    for solution in solutions:
        np.testing.assert_allclose(forward_kinematics(solution), T, atol=1e-7)


def test_the_library_agrees() -> None:
    library = pytest.importorskip("ur_analytic_ik", reason="ur-analytic-ik has no wheel for this Python").ur5e
    for q in random_angles(200):
        T = forward_kinematics(q)
        np.testing.assert_allclose(T, library.forward_kinematics(*(float(angle) for angle in q)), atol=1e-12)
        ours = inverse_kinematics(T)
        theirs = np.array(library.inverse_kinematics(T), dtype=float).reshape(-1, 6)
        assert len(ours) == len(theirs)
        assert all(angle_gap(ours, solution).min() < 1e-5 for solution in theirs)
