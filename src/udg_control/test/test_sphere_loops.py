"""The compiled loops give what plain numpy gives, on many random configurations."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.collision import CollisionCheck, CollisionConfig
from udg_control.sphere_loops import pair_gaps
from udg_description.errors import RobotModelError
from udg_description.layout import HOME_Q
from udg_description.limits import joint_limits

CHECK = CollisionCheck(CollisionConfig())
RNG = np.random.default_rng(5)
LIMITS = joint_limits()
ANYWHERE = RNG.uniform(LIMITS.lower, LIMITS.upper, (300, 36))
NEAR_HOME = LIMITS.clip(HOME_Q + 0.4 * RNG.standard_normal((300, 36)))
Q = np.concatenate([ANYWHERE, NEAR_HOME])


def plain_centers(q: np.ndarray) -> np.ndarray:
    """(N, S, 3) by the model's own forward kinematics."""
    T = np.stack([CHECK.model.link_pose_array(one) for one in q])[:, CHECK.link_of_sphere]
    return np.einsum("nsij,sj->nsi", T[..., :3, :3], CHECK.centers_link) + T[..., :3, 3]


def plain_rooms(centers: np.ndarray) -> np.ndarray:
    """Distances less the allowed ones (N, P) [m] of the checked pairs."""
    a, b = CHECK.pairs.T
    return np.linalg.norm(centers[:, a] - centers[:, b], axis=-1) - CHECK.least_m[a, b]


def test_spheres_are_where_the_model_has_their_links() -> None:
    np.testing.assert_allclose(CHECK.centers_world(Q), plain_centers(Q), atol=1e-12)
    np.testing.assert_allclose(CHECK.centers_world(Q[7]), plain_centers(Q[7:8])[0], atol=1e-12)
    with pytest.raises(RobotModelError, match="35"):
        CHECK.centers_world(Q[:, :35])


def test_pairs_are_the_checked_ones_by_links() -> None:
    assert sorted(map(tuple, CHECK.pairs.tolist())) == sorted(map(tuple, np.argwhere(CHECK.checked).tolist()))
    links = [(CHECK.links[a], CHECK.links[b]) for a, b in CHECK.pairs]
    changes = [k for k in range(1, len(links)) if links[k] != links[k - 1]]
    assert len(changes) + 1 == len(set(links))  # those of two links follow each other


def test_all_rooms_are_those_of_plain_numpy_and_so_are_the_decisions() -> None:
    centers = plain_centers(Q)
    rooms, least = plain_rooms(centers), CHECK.least_m_of(Q)
    spare = CHECK.least_spare_m(centers)  # single precision
    np.testing.assert_allclose(least, np.min(list(spare.values()), axis=0), atol=1e-4)
    unsure = np.abs(least) < 1e-9
    for here, room, smallest, known in zip(centers, rooms, least, ~unsure, strict=True):
        gaps = CHECK.gaps_of(here)
        np.testing.assert_allclose(CHECK.spare_m(gaps), room, atol=1e-9)
        plain = min(room.min(), gaps.table_m.min(), gaps.box_m.min())
        assert smallest == pytest.approx(plain, abs=1e-12)
        if known:
            assert (CHECK.worst(gaps) is not None) == (plain < 0.0)
    assert not unsure.any()
    assert 50 < (least < 0.0).sum() < 550  # both kinds are there


def test_the_worst_pair_is_named() -> None:
    named = 0
    for here, room in zip(plain_centers(NEAR_HOME), plain_rooms(plain_centers(NEAR_HOME)), strict=True):
        gaps = CHECK.gaps_of(here)
        if room.min() >= 0.0 or min(gaps.table_m.min(), gaps.box_m.min()) < 0.0:
            continue
        a, b = CHECK.pairs[int(np.argmin(gaps.pairs_m))]
        violation = CHECK.worst(gaps)
        assert violation is not None
        assert (violation.first, violation.second) == (CHECK.links[a], CHECK.links[b])
        radii = CHECK.radii[a] + CHECK.radii[b]
        assert violation.gap_m == pytest.approx(float(np.linalg.norm(here[a] - here[b])) - radii, abs=1e-9)
        named += 1
    assert named > 5


def test_near_pairs_are_those_within_the_distance() -> None:
    centers = plain_centers(NEAR_HOME[:50])
    for here, room in zip(centers, plain_rooms(centers), strict=True):
        pairs, least_m = CHECK.near_pairs(here, 0.06)
        assert pairs.tolist() == CHECK.pairs[room < 0.06].tolist()
        np.testing.assert_array_equal(least_m, CHECK.least_m[tuple(pairs.T)])


def test_the_motion_of_spheres_is_that_of_finite_differences() -> None:
    spheres = RNG.integers(len(CHECK.radii), size=40)
    direction = RNG.standard_normal((40, 3))
    for q in NEAR_HOME[:5]:
        frames = CHECK.frames(q[None])
        found = CHECK.motion(frames[0], CHECK.centers_in(frames)[0], spheres, direction)
        step = 1e-6 * np.eye(36)
        moved = (CHECK.centers_world(q + step) - CHECK.centers_world(q - step))[:, spheres] / 2e-6
        np.testing.assert_allclose(found, np.einsum("jsx,sx->sj", moved, direction), atol=1e-8)


def test_two_spheres_by_hand() -> None:
    centers = np.array([[0.0, 0.0, 0.0], [3.0, 0.0, 4.0]])
    gap = pair_gaps(centers, np.array([0]), np.array([1]), np.array([16.0]))
    assert gap.tolist() == [9.0]  # 3^2 + 4^2 - 4^2
