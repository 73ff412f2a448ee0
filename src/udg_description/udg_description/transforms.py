"""Small pure helpers for rigid transforms. T_a_b maps coordinates in b to a: p_a = T_a_b @ p_b. Batches lead."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

MIRROR = np.diag([1.0, -1.0, 1.0])
"""What the one side of the robot is to the other: y -> -y."""
_MIRROR_T = np.diag([*np.diag(MIRROR), 1.0])


def frozen(values: ArrayLike) -> np.ndarray:
    """A read-only copy of numbers."""
    array = np.array(values, dtype=float)
    array.flags.writeable = False
    return array


def make_transform(rotation: np.ndarray | None = None, translation: np.ndarray | None = None) -> np.ndarray:
    """(..., 4, 4) from rotation (..., 3, 3) and translation (..., 3) [m]; what is missing is the identity."""
    rotation = np.eye(3) if rotation is None else np.asarray(rotation, dtype=float)
    translation = np.zeros(3) if translation is None else np.asarray(translation, dtype=float)
    batch = np.broadcast_shapes(rotation.shape[:-2], translation.shape[:-1])
    T = np.zeros(batch + (4, 4))
    T[..., :3, :3] = rotation
    T[..., :3, 3] = translation
    T[..., 3, 3] = 1.0
    return T


def inverse(T: np.ndarray) -> np.ndarray:
    """Inverse of rigid transforms (..., 4, 4)."""
    T = np.asarray(T, dtype=float)
    rotation = np.swapaxes(T[..., :3, :3], -1, -2)
    return make_transform(rotation, -(rotation @ T[..., :3, 3:])[..., 0])


def transform_points(T: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Apply T (..., 4, 4) to points (..., N, 3) [m]."""
    T = np.asarray(T)
    return np.asarray(points) @ np.swapaxes(T[..., :3, :3], -1, -2) + T[..., None, :3, 3]


def mirror_T(T: np.ndarray) -> np.ndarray:
    """The transform (..., 4, 4) between mirrored frames (y -> -y in both); its own inverse."""
    return _MIRROR_T @ np.asarray(T, dtype=float) @ _MIRROR_T


def rpy_to_matrix(rpy: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) from URDF's roll, pitch, yaw (..., 3) [rad]: Rz(yaw) Ry(pitch) Rx(roll)."""
    rpy = np.asarray(rpy, dtype=float)
    (sr, sp, sy), (cr, cp, cy) = np.moveaxis(np.sin(rpy), -1, 0), np.moveaxis(np.cos(rpy), -1, 0)
    rows = [
        [cy * cp, cy * sp * sr - sy * cr, cy * sp * cr + sy * sr],
        [sy * cp, sy * sp * sr + cy * cr, sy * sp * cr - cy * sr],
        [-sp, cp * sr, cp * cr],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def matrix_to_rpy(rotation: np.ndarray) -> np.ndarray:
    """URDF's roll, pitch, yaw (3,) [rad] of one rotation (3, 3); yaw is 0 at the singularity."""
    rotation = np.asarray(rotation, dtype=float)
    sin_pitch = -rotation[2, 0]
    if abs(sin_pitch) > 1 - 1e-12:
        pitch = math.copysign(math.pi / 2, sin_pitch)
        return np.array([math.atan2(sin_pitch * rotation[0, 1], rotation[1, 1]), pitch, 0.0])
    roll = math.atan2(rotation[2, 1], rotation[2, 2])
    yaw = math.atan2(rotation[1, 0], rotation[0, 0])
    return np.array([roll, math.asin(sin_pitch), yaw])


def skew(vector: np.ndarray) -> np.ndarray:
    """Cross-product matrices (..., 3, 3) of vectors (..., 3)."""
    vector = np.asarray(vector, dtype=float)
    out = np.zeros(vector.shape + (3,))
    x, y, z = vector[..., 0], vector[..., 1], vector[..., 2]
    out[..., 0, 1], out[..., 0, 2], out[..., 1, 2] = -z, y, -x
    out[..., 1, 0], out[..., 2, 0], out[..., 2, 1] = z, -y, x
    return out


def turn_terms(R_parent_joint: np.ndarray, axis: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Rotation (..., 3, 3) of what a revolute joint moves is the first term + sin(q) * the second + cos(q) * the third.

    R_parent_joint exp(q K), K the cross-product matrix of the unit axis (..., 3) in the joint's frame: Rodrigues'
    formula, the constant parts multiplied out.
    """
    K = skew(axis)
    square = K @ K
    return R_parent_joint @ (np.eye(3) + square), R_parent_joint @ K, -R_parent_joint @ square


def rotvec_to_matrix(rotvec: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) from rotation vectors (..., 3) [rad]."""
    rotvec = np.asarray(rotvec, dtype=float)
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    K = skew(rotvec)
    first = np.sinc(angle / math.pi)  # sin(angle) / angle
    second = 0.5 * np.sinc(angle / (2 * math.pi)) ** 2  # (1 - cos(angle)) / angle^2
    return np.eye(3) + first * K + second * (K @ K)


def matrix_to_rotvec(rotation: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) [rad], angle in [0, pi], of rotations (..., 3, 3)."""
    quat = matrix_to_quat_wxyz(rotation)
    norm = np.linalg.norm(quat[..., 1:], axis=-1)
    angle = 2.0 * np.arctan2(norm, quat[..., 0])
    scale = np.where(norm > 1e-9, angle / np.maximum(norm, 1e-9), 2.0)
    return quat[..., 1:] * scale[..., None]


def quat_wxyz_to_matrix(quat_wxyz: np.ndarray) -> np.ndarray:
    """Rotation (..., 3, 3) from quaternions (..., 4), real part first; normalised here."""
    quat = np.asarray(quat_wxyz, dtype=float)
    quat = quat / np.linalg.norm(quat, axis=-1, keepdims=True)
    w, vector = quat[..., 0], quat[..., 1:]
    K = skew(vector)
    return np.eye(3) + 2.0 * w[..., None, None] * K + 2.0 * (K @ K)


def matrix_to_quat_wxyz(rotation: np.ndarray) -> np.ndarray:
    """Quaternions (..., 4), real part first and >= 0, of rotations (..., 3, 3); well conditioned for every angle."""
    R = np.asarray(rotation, dtype=float)
    xx, yy, zz = R[..., 0, 0], R[..., 1, 1], R[..., 2, 2]
    xy, xz, yz = R[..., 0, 1] + R[..., 1, 0], R[..., 0, 2] + R[..., 2, 0], R[..., 1, 2] + R[..., 2, 1]
    wx, wy, wz = R[..., 2, 1] - R[..., 1, 2], R[..., 0, 2] - R[..., 2, 0], R[..., 1, 0] - R[..., 0, 1]
    # 4 * q q^T: each row is the quaternion times one of its components; the row of the largest is the best conditioned.
    rows = [
        [1 + xx + yy + zz, wx, wy, wz],
        [wx, 1 + xx - yy - zz, xy, xz],
        [wy, xy, 1 - xx + yy - zz, yz],
        [wz, xz, yz, 1 - xx - yy + zz],
    ]
    outer = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    best = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    quat = np.take_along_axis(outer, best[..., None, None], axis=-2)[..., 0, :]
    quat = quat / np.linalg.norm(quat, axis=-1, keepdims=True)
    return np.where(quat[..., :1] < 0, -quat, quat)


def rotation_angle(rotation_a: np.ndarray, rotation_b: np.ndarray) -> np.ndarray:
    """Angle (...) [rad] between rotations (..., 3, 3)."""
    relative = np.swapaxes(np.asarray(rotation_a), -1, -2) @ np.asarray(rotation_b)
    return np.linalg.norm(matrix_to_rotvec(relative), axis=-1)


def se3_distance(T_a: np.ndarray, T_b: np.ndarray, rotation_weight: float = 0.1) -> np.ndarray:
    """Distance (...) [m] of poses (..., 4, 4): |t_a - t_b| + weight [m/rad] * angle (paper, equations 10, 11)."""
    T_a, T_b = np.asarray(T_a, dtype=float), np.asarray(T_b, dtype=float)
    translation = np.linalg.norm(T_a[..., :3, 3] - T_b[..., :3, 3], axis=-1)
    return translation + rotation_weight * rotation_angle(T_a[..., :3, :3], T_b[..., :3, :3])
