"""Laws of keeping chunks out of the safety filter's margins."""

from __future__ import annotations

import numpy as np
import pytest

from udg_control.collision import CollisionCheck, CollisionConfig
from udg_control.follower import ChunkFollower, FollowerConfig
from udg_control.margins import MarginKeeper, margin_keeper
from udg_control.offline import OfflineFilter
from udg_description.arm_kinematics import hand_pose, nearest_hand_ik
from udg_description.layout import HOME_Q, Side, part_indices
from udg_description.limits import joint_limits
from udg_description.transforms import make_transform

LIMITS = joint_limits()
RESERVE_M = 0.004
RIGHT_ARM = part_indices("right_arm")


@pytest.fixture(scope="module")
def check() -> CollisionCheck:
    return CollisionCheck(CollisionConfig())


@pytest.fixture(scope="module")
def keeper(check: CollisionCheck) -> MarginKeeper:
    return MarginKeeper(check, LIMITS, RESERVE_M)


def least_spare_m(check: CollisionCheck, q: np.ndarray) -> np.ndarray:
    """Smallest distance less its margin (N,) of configurations (N, 36)."""
    return np.min(list(check.least_spare_m(check.centers_world(q)).values()), axis=0)


def moved_hand(q: np.ndarray, shift_m: tuple[float, float, float], side: Side = "right") -> np.ndarray:
    """q (36,) with one hand moved along the world's axes."""
    arm = part_indices(f"{side}_arm")
    moved = q.copy()
    T = make_transform(translation=np.array(shift_m)) @ hand_pose(side, q[arm])
    found = nearest_hand_ik(side, T, q[arm])
    assert found is not None
    moved[arm] = found
    return moved


def test_the_derivatives_are_those_of_finite_differences(check: CollisionCheck, keeper: MarginKeeper) -> None:
    q = moved_hand(HOME_Q, (0.0, 0.0, -0.1))
    spare_m, jacobian = keeper._rows(q)
    assert len(spare_m) > 50
    step = 1e-6
    for joint in (0, 3, 7, 12, 20, 23, 24, 27, 35):
        away = step * np.eye(36)[joint]
        above, below = (keeper._rows(q + sign * away)[0] for sign in (1.0, -1.0))
        assert len(above) == len(below) == len(spare_m)  # the same pairs are near
        np.testing.assert_allclose((above - below) / (2 * step), jacobian[:, joint], atol=1e-6)


def test_what_is_far_from_everything_is_left_alone(keeper: MarginKeeper) -> None:
    chunk = HOME_Q + np.linspace(0.0, 0.1, 8)[:, None] * np.sin(np.arange(36))
    kept, moved = keeper.keep(chunk, HOME_Q)
    assert moved == 0
    np.testing.assert_array_equal(kept, chunk)


@pytest.mark.parametrize("seed", range(6))
def test_whatever_is_asked_for_margins_and_reserve_are_kept(
    check: CollisionCheck, keeper: MarginKeeper, seed: int
) -> None:
    """Walks of both arms and hands towards random places, most of them inside something."""
    rng = np.random.default_rng(seed)
    here, refused = HOME_Q.copy(), 0
    for _ in range(3):
        goal = LIMITS.clip(HOME_Q + rng.normal(0.0, 0.6, 36))
        for _ in range(12):
            chunk = here + np.linspace(0.1, 0.4, 4)[:, None] * (goal - here)
            kept, _ = keeper.keep(chunk, here)
            refused += int((least_spare_m(check, chunk) < 0.0).any())
            assert (least_spare_m(check, kept) >= RESERVE_M - 2e-5).all()
            assert (kept >= LIMITS.lower).all() and (kept <= LIMITS.upper).all()
            here = kept[0]
    assert refused > 3


def test_a_hand_pressed_against_the_table_slides_along_it(check: CollisionCheck, keeper: MarginKeeper) -> None:
    """Down by 40 cm and to the side by 20 cm: the way down ends above the table, the way to the side does not."""
    here, sideways_m = HOME_Q, 0.2
    for k in range(1, 21):
        wanted = moved_hand(HOME_Q, (0.0, sideways_m * k / 20, -0.4 * k / 20))
        kept, _ = keeper.keep(wanted[None], here)
        here = kept[0]
    home, there = (hand_pose("right", q[RIGHT_ARM])[:3, 3] for q in (HOME_Q, here))
    assert least_spare_m(check, here[None])[0] >= RESERVE_M - 2e-5
    assert there[1] - home[1] > 0.8 * sideways_m
    assert -0.4 < there[2] - home[2] < -0.1


def test_where_there_is_no_room_none_is_lost_and_the_way_out_is_free(
    check: CollisionCheck, keeper: MarginKeeper
) -> None:
    low = moved_hand(HOME_Q, (0.0, 0.0, -0.325))
    before = least_spare_m(check, low[None])[0]
    assert before < 0.0
    deeper, _ = keeper.keep(moved_hand(low, (0.0, 0.0, -0.02))[None], low)
    assert least_spare_m(check, deeper)[0] >= before - 2e-5
    up = moved_hand(low, (0.0, 0.0, 0.02))
    out, _ = keeper.keep(up[None], low)
    assert least_spare_m(check, out)[0] > before + 0.01


class Arm:
    """Follower and filter as on the robot, at home."""

    def __init__(self, keep: bool) -> None:
        self.gate = OfflineFilter()
        config = FollowerConfig(keep_margins=keep)
        self.follower = ChunkFollower(
            config,
            lower=LIMITS.lower,
            upper=LIMITS.upper,
            velocity=LIMITS.velocity,
            acceleration=LIMITS.acceleration,
            keeper=margin_keeper(self.gate.filter.check, LIMITS, config),
        )
        self.gate.start(HOME_Q)
        self.follower.sync(HOME_Q)
        self.now_ns = 0

    def step(self, wanted: np.ndarray) -> None:
        """One step of a chunk that wants to be at `wanted` (36,) [rad] and stay."""
        self.follower.follow(np.repeat(wanted[None], 4, axis=0), self.now_ns, self.now_ns)
        for _ in range(10):
            self.now_ns += self.follower.config.period_ns
            verdict = self.gate.judge(self.follower.advance(self.now_ns))
            if not verdict.accepted:
                self.follower.hold_at(self.gate.filter.command, self.gate.filter.command_velocity)


@pytest.mark.parametrize("keep", [True, False])
def test_a_policy_that_presses_on_the_table_is_refused_only_if_its_chunks_are_left_as_they_are(keep: bool) -> None:
    """2 s towards a place 5 cm inside the table, 10 chunks a second."""
    arm = Arm(keep)
    for k in range(20):
        arm.step(moved_hand(HOME_Q, (0.0, 0.0, -0.37 * min(1.0, 0.1 * (k + 1)))))
    assert (arm.gate.counts == {}) == keep
    assert (arm.follower.kept_points > 0) == keep


@pytest.mark.parametrize("aside_m", [(0.0, 0.1), (0.08, -0.06), (-0.08, 0.0)])
def test_who_has_been_stopped_at_a_margin_gets_away_from_it(
    check: CollisionCheck, keeper: MarginKeeper, aside_m: tuple[float, float]
) -> None:
    """Stopped above the table by the filter, within the reserve, it is asked to go on, 5 cm inside it and aside."""
    arm = Arm(keep=False)
    for k in range(20):
        arm.step(moved_hand(HOME_Q, (0.0, 0.0, -0.37 * min(1.0, 0.1 * (k + 1)))))
    stopped = arm.follower.command.copy()
    assert 0.0 <= least_spare_m(check, stopped[None])[0] < 0.5 * RESERVE_M
    arm.follower.keeper = keeper
    for _ in range(20):
        arm.step(moved_hand(HOME_Q, (*aside_m, -0.37)))
    start, end = (hand_pose("right", q[RIGHT_ARM])[:2, 3] for q in (stopped, arm.follower.command))
    assert np.linalg.norm(end - start) > 0.7 * np.linalg.norm(aside_m)
    assert least_spare_m(check, arm.follower.command[None])[0] >= 0.0


def test_what_is_not_finite_is_left_to_the_filter(keeper: MarginKeeper) -> None:
    chunk = np.tile(HOME_Q, (2, 1))
    chunk[1, 4] = np.nan
    kept, moved = keeper.keep(chunk, HOME_Q)
    assert moved == 0 and np.isnan(kept[1, 4])


def test_without_a_collision_check_or_by_the_settings_there_is_no_keeper(check: CollisionCheck) -> None:
    assert margin_keeper(None, LIMITS, FollowerConfig()) is None
    assert margin_keeper(check, LIMITS, FollowerConfig(keep_margins=False)) is None
    assert margin_keeper(check, LIMITS, FollowerConfig()) is not None
