"""How different the grasps of a set are.

Three views, all without units of choice hidden:
- shares of variance of the first principal components of (hand position / 0.1 m, rotation matrix, joints [rad]): a set
  whose first component explains much lies along a line (DexGraspBench reports the first share; lower is more diverse);
- approach directions (palm normals in the object frame): mean angle of pairs, and entropy over cells of the sphere;
- grasp points (mean of a hand's contact points): root mean square distance from their mean.
Two hands: components over both, directions and points each hand for itself and then the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from udg_datagen.grasp_set import GraspSet

POSITION_SCALE_M = 0.1
"""Position that counts like one radian: the weight of eq. 10."""
CELLS = 48
"""Cells of the sphere (nearest points of a Fibonacci lattice)."""
_COMPONENTS = (1, 2, 5)


@dataclass(frozen=True, kw_only=True)
class Diversity:
    """Spread of a set of grasps; nan where there are fewer than two."""

    count: int
    pca_share_1: float  # of the variance, first principal component
    pca_share_2: float  # first two
    pca_share_5: float  # first five
    approach_angle_deg: float  # mean over pairs; 90 for directions uniform over the sphere
    approach_entropy: float  # over CELLS cells, over its largest value log(min(CELLS, N)); 1 = spread evenly
    point_spread_mm: float  # root mean square distance of grasp points from their mean


def diversity(grasps: GraspSet) -> Diversity:
    """Spread of `grasps` as they are given: pass `grasps.take(...)` for a part of them."""
    n = len(grasps)
    T = np.asarray(grasps.T_object_hand)
    if n < 2:
        nan = math.nan
        return Diversity(
            count=n,
            pca_share_1=nan,
            pca_share_2=nan,
            pca_share_5=nan,
            approach_angle_deg=nan,
            approach_entropy=nan,
            point_spread_mm=nan,
        )
    hands = range(T.shape[1])
    approach = np.einsum("nhij,hj->nhi", T[..., :3, :3], grasps.palm_normal_hand)
    points = [grasps.contact_points_object[:, grasps.contact_hand == h].mean(axis=1) for h in hands]
    features = np.concatenate(
        [
            (T[..., :3, 3] / POSITION_SCALE_M).reshape(n, -1),
            T[..., :3, :3].reshape(n, -1),
            np.asarray(grasps.q_grasp).reshape(n, -1),
        ],
        axis=1,
    )
    shares = pca_shares(features)
    return Diversity(
        count=n,
        pca_share_1=shares[0],
        pca_share_2=shares[1],
        pca_share_5=shares[2],
        approach_angle_deg=float(np.mean([mean_pair_angle_deg(approach[:, h]) for h in hands])),
        approach_entropy=float(np.mean([sphere_entropy(approach[:, h]) for h in hands])),
        point_spread_mm=float(np.mean([1e3 * np.sqrt(p.var(axis=0).sum()) for p in points])),
    )


def pca_shares(features: np.ndarray) -> tuple[float, float, float]:
    """Shares of the variance of `features` (N, d) in the first 1, 2 and 5 principal components."""
    values = np.linalg.svd(features - features.mean(axis=0), compute_uv=False) ** 2
    total = values.sum()
    if total <= 1e-18:
        return 1.0, 1.0, 1.0
    first, second, fifth = (float(values[:k].sum() / total) for k in _COMPONENTS)
    return first, second, fifth


def mean_pair_angle_deg(directions: np.ndarray) -> float:
    """Mean angle [deg] of all pairs of unit vectors (N, 3), N >= 2."""
    cosine = np.clip(directions @ directions.T, -1.0, 1.0)
    pairs = np.triu_indices(len(directions), 1)
    return float(np.rad2deg(np.arccos(cosine[pairs])).mean())


def sphere_entropy(directions: np.ndarray, cells: int = CELLS) -> float:
    """Entropy of directions (N, 3) over equal cells of the sphere, over its largest possible value; in [0, 1]."""
    nearest = (directions @ fibonacci_sphere(cells).T).argmax(axis=1)
    share = np.bincount(nearest, minlength=cells) / len(directions)
    share = share[share > 0.0]
    return float(-(share * np.log(share)).sum() / math.log(max(2, min(cells, len(directions)))))


def fibonacci_sphere(count: int) -> np.ndarray:
    """Unit vectors (count, 3), spread about evenly."""
    k = np.arange(count) + 0.5
    z = 1.0 - 2.0 * k / count
    angle = math.pi * (1.0 + math.sqrt(5.0)) * k
    radius = np.sqrt(1.0 - z * z)
    return np.column_stack([radius * np.cos(angle), radius * np.sin(angle), z])
