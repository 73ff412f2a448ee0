"""Closed-form kinematics of one UR5e in the controller's base frame: flange pose, all inverse solutions, Jacobian.

Plain numbers, compiled where there are many: for one pose this is much faster than small numpy arrays. Poses are
T_controller_flange (4, 4); angles in radians.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from udg_description.compiled import compiled

# Denavit-Hartenberg constants [m] of the vendor.
D1, A2, A3, D4, D5, D6 = 0.1625, -0.425, -0.3922, 0.1333, 0.0997, 0.0996
_SINGULAR = 1e-9  # |sin(wrist 2)| below this: wrist 1 and 3 turn about the same axis, wrist 3 is set to 0
_REACH = 1e-9  # rounding allowed beyond the ends of an arc cosine


def forward_kinematics(q: Sequence[float]) -> np.ndarray:
    """Flange pose (4, 4) for the angles q (6) [rad]."""
    q1, q2, q3, q4, q5, q6 = (float(angle) for angle in q)
    s1, c1, s5, c5, s6, c6 = math.sin(q1), math.cos(q1), math.sin(q5), math.cos(q5), math.sin(q6), math.cos(q6)
    s234, c234 = math.sin(q2 + q3 + q4), math.cos(q2 + q3 + q4)
    # in the plane of upper arm and forearm: x away from the base, y up, z out of the plane
    x_axis = (c6 * c5 * c234 - s6 * s234, c6 * c5 * s234 + s6 * c234, c6 * s5)
    y_axis = (-s6 * c5 * c234 - c6 * s234, -s6 * c5 * s234 + c6 * c234, -s6 * s5)
    z_axis = (-s5 * c234, -s5 * s234, c5)
    origin = (
        A2 * math.cos(q2) + A3 * math.cos(q2 + q3) + D5 * s234 + D6 * z_axis[0],
        A2 * math.sin(q2) + A3 * math.sin(q2 + q3) - D5 * c234 + D6 * z_axis[1] + D1,
        D4 + D6 * z_axis[2],
    )
    columns = [(c1 * x + s1 * z, s1 * x - c1 * z, y) for x, y, z in (x_axis, y_axis, z_axis, origin)]
    return np.array([*zip(*columns, strict=True), (0.0, 0.0, 0.0, 1.0)])


def inverse_kinematics(T: np.ndarray) -> np.ndarray:
    """All solutions (K, 6) [rad] in [-pi, pi], K from 0 to 8, for a flange pose (4, 4)."""
    return _solutions(np.array(T, dtype=np.float64))


@compiled("int64(float64, float64, float64[::1])")
def _arc_cosines(adjacent: float, hypotenuse: float, angles: np.ndarray) -> int:
    """Both angles with cosine adjacent / hypotenuse into `angles` (2,); how many: none where there is none."""
    if abs(adjacent) > abs(hypotenuse) * (1.0 + _REACH) or hypotenuse == 0.0:
        return 0
    angles[0] = math.acos(max(-1.0, min(1.0, adjacent / hypotenuse)))
    angles[1] = -angles[0]
    return 2


@compiled("float64[:,::1](float64[:,::1])")
def _solutions(T: np.ndarray) -> np.ndarray:
    found, n = np.empty((8, 6)), 0
    turns, angles_5, angles_3 = np.empty(2), np.empty(2), np.empty(2)
    wx, wy = T[0, 3] - D6 * T[0, 2], T[1, 3] - D6 * T[1, 2]  # the centre of wrist 3's joint
    for i in range(_arc_cosines(D4, math.hypot(wx, wy), turns)):
        q1 = math.atan2(wy, wx) + turns[i] + math.pi / 2.0
        s1, c1 = math.sin(q1), math.cos(q1)
        for j in range(_arc_cosines(T[0, 3] * s1 - T[1, 3] * c1 - D4, D6, angles_5)):
            q5 = angles_5[j]
            s5 = math.sin(q5)
            q6 = 0.0
            if abs(s5) > _SINGULAR:
                q6 = math.atan2((c1 * T[1, 1] - s1 * T[0, 1]) / s5, (s1 * T[0, 0] - c1 * T[1, 0]) / s5)
            s6, c6 = math.sin(q6), math.cos(q6)
            # sine and cosine of q2 + q3 + q4, from the axis that only they turn
            u = (c1 * T[0, 0] + s1 * T[1, 0]) * s6 + (c1 * T[0, 1] + s1 * T[1, 1]) * c6
            v = T[2, 0] * s6 + T[2, 1] * c6
            s234, c234 = -u, v
            # wrist 1 in the plane of upper arm and forearm
            x = c1 * wx + s1 * wy - D5 * s234
            y = T[2, 3] - D6 * T[2, 2] - D1 + D5 * c234
            for k in range(_arc_cosines(x * x + y * y - A2 * A2 - A3 * A3, 2.0 * A2 * A3, angles_3)):
                q3 = angles_3[k]
                q2 = math.atan2(y, x) - math.atan2(A3 * math.sin(q3), A2 + A3 * math.cos(q3))
                found[n] = q1, q2, q3, math.atan2(s234, c234) - q2 - q3, q5, q6
                n += 1
    found = found[:n].copy()
    turn = 2.0 * math.pi
    for i in range(n):
        for j in range(6):
            found[i, j] -= turn * np.rint(found[i, j] / turn)
    return found


class Ur5e:
    """The UR5e as an arm (`udg_description.robot.arm.Arm`); its base is the controller's base frame."""

    n_joints = 6

    def fk(self, q: Sequence[float]) -> np.ndarray:
        """T_base_flange (4, 4) for the angles q (6) [rad]."""
        return forward_kinematics(q)

    def all_ik(self, T_base_flange: np.ndarray) -> np.ndarray:
        """All solutions (K, 6) [rad] in [-pi, pi], K from 0 to 8, for a flange pose (4, 4)."""
        return inverse_kinematics(T_base_flange)

    def jacobian(self, q: np.ndarray, T_root_base: np.ndarray, T_flange_tip: np.ndarray) -> np.ndarray:
        """d[v; w]/d(dq) (6, 6) of the tip's origin, in the axes of the root, by the Denavit-Hartenberg chain."""
        half = math.pi / 2
        rows = [(D1, 0.0, half), (0.0, A2, 0.0), (0.0, A3, 0.0), (D4, 0.0, half), (D5, 0.0, -half), (D6, 0.0, 0.0)]
        T = T_root_base
        axes, origins = np.empty((6, 3)), np.empty((6, 3))
        for index, (d, a, alpha) in enumerate(rows):
            axes[index], origins[index] = T[:3, 2], T[:3, 3]
            s, c, sa, ca = math.sin(q[index]), math.cos(q[index]), math.sin(alpha), math.cos(alpha)
            step = [[c, -s * ca, s * sa, a * c], [s, c * ca, -c * sa, a * s], [0.0, sa, ca, d], [0.0, 0.0, 0.0, 1.0]]
            T = T @ np.array(step)
        position = (T @ T_flange_tip)[:3, 3]
        return np.concatenate([np.cross(axes, position - origins).T, axes.T])
