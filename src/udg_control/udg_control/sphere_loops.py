"""Compiled loops over the robot's spheres, for each command: some 14,000 pairs in 30 us.

Lengths in m. n joints in the order of `JointTables`, S spheres, P pairs of them.
"""

from __future__ import annotations

import numpy as np

from udg_description.compiled import compiled


@compiled(
    "float64[:,:,:,::1](float64[:,::1], float64[:,:,::1], float64[:,:,::1], float64[:,:,::1], int64[::1], int64[::1])"
)
def moving_frames(
    q: np.ndarray, constant: np.ndarray, sin: np.ndarray, cos: np.ndarray, columns: np.ndarray, parents: np.ndarray
) -> np.ndarray:
    """T_root_frame (N, 1 + n, 3, 4) of the root and of what each joint moves, for q (N, n) [rad]."""
    count = len(columns)
    frames = np.empty((len(q), count + 1, 3, 4))
    local = np.empty((3, 4))
    for row in range(len(q)):
        frames[row, 0] = 0.0
        for k in range(3):
            frames[row, 0, k, k] = 1.0
        for i in range(count):
            angle = q[row, columns[i]]
            s, c = np.sin(angle), np.cos(angle)
            for x in range(3):
                for y in range(4):
                    local[x, y] = constant[i, x, y] + s * sin[i, x, y] + c * cos[i, x, y]
            parent, own = frames[row, parents[i]], frames[row, i + 1]
            for x in range(3):
                for y in range(4):
                    own[x, y] = parent[x, 0] * local[0, y] + parent[x, 1] * local[1, y] + parent[x, 2] * local[2, y]
                own[x, 3] += parent[x, 3]
    return frames


@compiled("float64[:,:,::1](float64[:,:,:,::1], int64[::1], float64[:,::1])")
def placed(frames: np.ndarray, frame: np.ndarray, points: np.ndarray) -> np.ndarray:
    """Points (S, 3), each fixed in one of the frames (S,), in the root frame: (N, S, 3)."""
    out = np.empty((len(frames), len(points), 3))
    for row in range(len(frames)):
        for s in range(len(points)):
            T, p = frames[row, frame[s]], points[s]
            for x in range(3):
                out[row, s, x] = T[x, 0] * p[0] + T[x, 1] * p[1] + T[x, 2] * p[2] + T[x, 3]
    return out


@compiled("float64[::1](float64[:,::1], int64[::1], int64[::1], float64[::1])")
def pair_gaps(centers: np.ndarray, first: np.ndarray, second: np.ndarray, least_square: np.ndarray) -> np.ndarray:
    """Squared distance (P,) [m^2] of spheres at centers (S, 3) less the squared allowed one (P,)."""
    out = np.empty(len(first))
    for p in range(len(first)):
        a, b = first[p], second[p]
        x, y, z = centers[a, 0] - centers[b, 0], centers[a, 1] - centers[b, 1], centers[a, 2] - centers[b, 2]
        out[p] = x * x + y * y + z * z - least_square[p]
    return out


@compiled("float64[::1](float64[:,:,::1], int64[::1], int64[::1], float64[::1])")
def least_pair_spare(centers: np.ndarray, first: np.ndarray, second: np.ndarray, least: np.ndarray) -> np.ndarray:
    """Smallest distance less the allowed one (N,) [m] of all pairs, of spheres at centers (N, S, 3)."""
    out = np.empty(len(centers))
    for row in range(len(centers)):
        here, smallest = centers[row], np.inf
        for p in range(len(first)):
            a, b = first[p], second[p]
            x, y, z = here[a, 0] - here[b, 0], here[a, 1] - here[b, 1], here[a, 2] - here[b, 2]
            smallest = min(smallest, np.sqrt(x * x + y * y + z * z) - least[p])
        out[row] = smallest
    return out


@compiled("int64[::1](float64[:,::1], int64[::1], int64[::1], float64[::1], float64)")
def near_pairs(
    centers: np.ndarray, first: np.ndarray, second: np.ndarray, least: np.ndarray, near: float
) -> np.ndarray:
    """Which of the pairs are less than `near` [m] further apart than allowed."""
    found = np.empty(len(first), dtype=np.int64)
    count = 0
    for p in range(len(first)):
        a, b = first[p], second[p]
        x, y, z = centers[a, 0] - centers[b, 0], centers[a, 1] - centers[b, 1], centers[a, 2] - centers[b, 2]
        if np.sqrt(x * x + y * y + z * z) - least[p] < near:
            found[count] = p
            count += 1
    return found[:count].copy()


@compiled(
    "float64[:,::1](float64[:,:,::1], int64[::1], float64[:,::1], float64[:,::1], boolean[:,::1], int64[::1],"
    " float64[:,::1])"
)
def motion(
    frames: np.ndarray,
    columns: np.ndarray,
    axis: np.ndarray,
    centers: np.ndarray,
    moves: np.ndarray,
    spheres: np.ndarray,
    direction: np.ndarray,
) -> np.ndarray:
    """Derivative (R, n) [m/rad] by the joints, in the order of q, of where spheres (R,) are along directions (R, 3).

    axis (n, 3) of each joint in the frame that it moves; moves (n, S): whether a joint, in the order of q, moves a
    sphere.
    """
    count = len(columns)
    axes = np.empty((count, 3))
    for i in range(count):
        for x in range(3):
            R = frames[i + 1, x]
            axes[i, x] = R[0] * axis[i, 0] + R[1] * axis[i, 1] + R[2] * axis[i, 2]
    out = np.zeros((len(spheres), count))
    for row in range(len(spheres)):
        sphere, d = spheres[row], direction[row]
        for i in range(count):
            if moves[columns[i], sphere]:
                x, y, z = (
                    centers[sphere, 0] - frames[i + 1, 0, 3],
                    centers[sphere, 1] - frames[i + 1, 1, 3],
                    centers[sphere, 2] - frames[i + 1, 2, 3],
                )
                out[row, columns[i]] = (
                    axes[i, 0] * (y * d[2] - z * d[1])
                    + axes[i, 1] * (z * d[0] - x * d[2])
                    + axes[i, 2] * (x * d[1] - y * d[0])
                )
    return out
