import math

import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from udg_description import transforms as tf


def random_transforms(n: int, seed: int = 0) -> np.ndarray:
    rng = np.random.default_rng(seed)
    return tf.make_transform(Rotation.random(n, random_state=seed).as_matrix(), rng.normal(size=(n, 3)))


@pytest.mark.parametrize("batch", [(), (5,), (2, 3)])
def test_inverse_undoes_for_every_batch_shape(batch: tuple[int, ...]) -> None:
    T = random_transforms(int(np.prod(batch, dtype=int))).reshape(batch + (4, 4))
    identity = np.broadcast_to(np.eye(4), batch + (4, 4))
    np.testing.assert_allclose(tf.inverse(T) @ T, identity, atol=1e-12)


def test_transform_points_maps_b_to_a() -> None:
    T_a_b = tf.make_transform(tf.rpy_to_matrix(np.array([0, 0, math.pi / 2])), np.array([1.0, 2.0, 3.0]))
    np.testing.assert_allclose(tf.transform_points(T_a_b, np.array([[1.0, 0.0, 0.0]])), [[1.0, 3.0, 3.0]], atol=1e-12)


def test_rotation_vectors_agree_with_scipy_and_come_back() -> None:
    rotvec = np.random.default_rng(1).normal(size=(200, 3))
    rotvec[:20] *= 1e-7
    matrix = tf.rotvec_to_matrix(rotvec)
    np.testing.assert_allclose(matrix, Rotation.from_rotvec(rotvec).as_matrix(), atol=1e-12)
    expected = Rotation.from_matrix(matrix).as_rotvec()
    np.testing.assert_allclose(tf.matrix_to_rotvec(matrix), expected, atol=1e-7)


def test_turn_terms_are_the_rotation_of_a_joint_about_any_axis() -> None:
    rng = np.random.default_rng(2)
    R_parent_joint, axis = Rotation.random(50, random_state=2).as_matrix(), rng.normal(size=(50, 3))
    axis /= np.linalg.norm(axis, axis=-1, keepdims=True)
    constant, sin, cos = tf.turn_terms(R_parent_joint, axis)
    q = rng.uniform(-4.0, 4.0, size=(50, 1, 1))
    expected = R_parent_joint @ Rotation.from_rotvec(q[:, 0] * axis).as_matrix()
    np.testing.assert_allclose(constant + sin * np.sin(q) + cos * np.cos(q), expected, atol=1e-12)


@pytest.mark.parametrize("axis", np.eye(3))
def test_half_turns_keep_their_angle(axis: np.ndarray) -> None:
    rotvec = tf.matrix_to_rotvec(tf.rotvec_to_matrix(math.pi * axis))
    np.testing.assert_allclose(np.abs(rotvec), math.pi * axis, atol=1e-6)


def test_quaternions_are_real_first_and_come_back() -> None:
    rotation = Rotation.random(100, random_state=2)
    quat = tf.matrix_to_quat_wxyz(rotation.as_matrix())
    assert np.all(quat[:, 0] >= 0)
    np.testing.assert_allclose(tf.quat_wxyz_to_matrix(quat), rotation.as_matrix(), atol=1e-12)
    np.testing.assert_allclose(tf.quat_wxyz_to_matrix(np.array([2.0, 0, 0, 0])), np.eye(3))


def test_rpy_comes_back_also_at_the_singularity() -> None:
    for rpy in ([0.1, -0.4, 2.0], [0.7, math.pi / 2, 0.0], [-0.7, -math.pi / 2, 0.0], [math.pi, 0.2, -3.0]):
        matrix = tf.rpy_to_matrix(np.array(rpy))
        np.testing.assert_allclose(matrix, Rotation.from_euler("xyz", rpy).as_matrix(), atol=1e-12)
        np.testing.assert_allclose(tf.rpy_to_matrix(tf.matrix_to_rpy(matrix)), matrix, atol=1e-7)


def test_mirror_of_a_product_is_the_product_of_mirrors() -> None:
    a, b = random_transforms(3, seed=3), random_transforms(3, seed=4)
    np.testing.assert_allclose(tf.mirror_T(a @ b), tf.mirror_T(a) @ tf.mirror_T(b), atol=1e-12)
    np.testing.assert_allclose(tf.mirror_T(tf.mirror_T(a)), a)
    np.testing.assert_allclose(tf.mirror_T(a)[:, 1, 3], -a[:, 1, 3])


def test_se3_distance_adds_metres_and_weighted_radians() -> None:
    T_a = np.eye(4)
    T_b = tf.make_transform(tf.rotvec_to_matrix(np.array([0.0, 0.0, 0.5])), np.array([3.0, 4.0, 0.0]))
    assert tf.se3_distance(T_a, T_b, rotation_weight=0.2) == pytest.approx(5.0 + 0.2 * 0.5)
    assert tf.se3_distance(T_b, T_b) == pytest.approx(0.0, abs=1e-7)
