"""When an attempt counts as failed, and the way back."""

import numpy as np
import pytest

from udg_description.cloud_labels import LABEL_RIGHT, LABEL_SEEN
from udg_description.layout import HOME_Q, part_indices
from udg_policy.episodes.grasp import key_points
from udg_policy.errors import ConfigError
from udg_policy.inference.retry import ARM_STEP_RAD, BACK_M, OPEN_STEPS, Retry, RetryConfig

ARM, HAND = part_indices("right_arm"), part_indices("right_hand")
CHUNK = 8
PALM = key_points(HOME_Q)[1, 1]


def cloud(z_m: float, at: np.ndarray = PALM, clutter: bool = False) -> np.ndarray:
    """An object of 20 mm about `at`, raised by z_m; with clutter on the table 0.6 m beside it."""
    rng = np.random.default_rng(0)
    points = np.zeros((64, 4), dtype=np.float32)
    points[:, :3] = at + rng.uniform(-0.01, 0.01, (64, 3)) + [0.0, 0.0, z_m]
    points[:, 3] = LABEL_SEEN
    robot = np.append(at, LABEL_RIGHT)[None].astype(np.float32)
    rest = points + [0.0, 0.6, -0.2, 0.0] if clutter else points[:0]
    return np.concatenate([points, rest.astype(np.float32), robot])


def far() -> np.ndarray:
    """HOME_Q, but 0.6 rad away with the right arm."""
    q = HOME_Q.copy()
    q[ARM][:2] += 0.6
    return q


def gap_m(q: np.ndarray) -> float:
    """From the right palm to the object at PALM."""
    return float(np.linalg.norm(key_points(q)[1, 1:] - PALM, axis=1).min())


def closed(q: np.ndarray) -> np.ndarray:
    q = q.copy()
    q[HAND] += 0.2
    return q


def arrived(config: RetryConfig | None = None, retry: Retry | None = None, clutter: bool = False) -> Retry:
    """A right hand that has come to the object in 13 steps, and closed."""
    retry = Retry(config) if retry is None else retry
    for share in np.linspace(0.0, 1.0, 13):
        assert retry.lead_back(cloud(0.0, clutter=clutter), far() + share * (HOME_Q - far()), CHUNK) is None
    return retry


def looks_until_back(retry: Retry, points: np.ndarray, steps: float = 1.0, most: int = 100) -> int | None:
    for look in range(1, most + 1):
        if retry.lead_back(points, closed(HOME_Q), CHUNK, steps) is not None:
            return look
    return None


def test_it_leads_back_when_the_object_has_not_risen_in_time() -> None:
    assert looks_until_back(arrived(), cloud(0.0)) == 35
    assert looks_until_back(arrived(RetryConfig(after_s=1.0)), cloud(0.0)) == 10
    assert looks_until_back(arrived(RetryConfig(after_s=1.0)), cloud(0.0), steps=0.5) == 20
    assert looks_until_back(arrived(RetryConfig(after_s=0.0)), cloud(0.0)) is None


def test_a_hand_that_has_reached_nothing_is_not_led_back() -> None:
    away = cloud(0.0, PALM + [0.0, 0.0, -0.3])
    retry = Retry()
    assert looks_until_back(retry, away) is None
    assert looks_until_back(retry, cloud(0.0)[-1:]) is None  # nor without any object


@pytest.mark.parametrize("clutter", [False, True])
def test_what_is_held_is_held_for_as_long_as_it_takes(clutter: bool) -> None:
    retry = arrived(clutter=clutter)
    assert looks_until_back(retry, cloud(0.05, clutter=clutter)) is None
    assert retry.retries == 0


def test_it_leads_back_at_once_when_the_object_is_lost() -> None:
    retry = arrived()
    for _ in range(5):
        assert retry.lead_back(cloud(0.05), closed(HOME_Q), CHUNK) is None
    assert looks_until_back(retry, cloud(0.0)) == 2
    fallen = arrived()
    for _ in range(5):
        assert fallen.lead_back(cloud(0.05), closed(HOME_Q), CHUNK) is None
    assert looks_until_back(fallen, cloud(0.0, PALM - [0.0, 0.0, 0.35])) == 2


def test_what_one_hand_has_lifted_stays_lifted_when_the_other_comes() -> None:
    retry = arrived()
    assert retry.lead_back(cloud(0.05), closed(HOME_Q), CHUNK) is None
    q = closed(HOME_Q)
    q[part_indices("left_arm")][1] += 0.15  # up
    at_both = np.concatenate([cloud(0.05), cloud(0.0, key_points(q)[0, 1])])
    for _ in range(60):
        assert retry.lead_back(at_both, q, CHUNK) is None


@pytest.mark.parametrize("clutter", [False, True])
def test_what_a_hand_holds_out_of_sight_is_not_let_go(clutter: bool) -> None:
    retry = arrived(clutter=clutter)
    for _ in range(5):
        assert retry.lead_back(cloud(0.05, clutter=clutter), closed(HOME_Q), CHUNK) is None
    hidden = cloud(0.05, clutter=clutter)[64:]
    assert looks_until_back(retry, hidden) is None
    never_lifted = arrived(clutter=clutter)
    assert looks_until_back(never_lifted, cloud(0.0, clutter=clutter)[64:]) == 35


def test_a_glimpse_of_a_risen_object_is_not_a_hold() -> None:
    retry = arrived()
    assert retry.lead_back(cloud(0.05), closed(HOME_Q), CHUNK) is None
    assert looks_until_back(retry, cloud(0.0)) == 35


def test_the_way_back_opens_the_fingers_and_then_follows_the_path() -> None:
    retry = arrived()
    q, way = closed(HOME_Q), []
    assert looks_until_back(retry, cloud(0.0)) == 35
    for _ in range(40):
        chunk = retry.lead_back(cloud(0.0), q, CHUNK)
        if chunk is None:
            break
        assert chunk.shape == (CHUNK, 36)
        q = chunk[0]
        way.append(q)
    else:
        raise AssertionError("it never ended")
    path = np.array([closed(HOME_Q), *way])
    np.testing.assert_array_equal(path[:OPEN_STEPS, ARM], np.repeat(HOME_Q[ARM][None], OPEN_STEPS, axis=0))
    np.testing.assert_allclose(path[OPEN_STEPS:, HAND], np.repeat(HOME_Q[HAND][None], len(path) - OPEN_STEPS, axis=0))
    assert np.abs(np.diff(path[:, ARM], axis=0)).max() <= ARM_STEP_RAD + 1e-9
    lead = path[:, ARM][:, 0] - HOME_Q[ARM][0]
    np.testing.assert_allclose(path[:, ARM][:, 1] - HOME_Q[ARM][1], lead, atol=1e-9)  # straight, as it came
    assert np.all(np.diff(lead) >= 0) and BACK_M - 0.05 < gap_m(path[-1]) < BACK_M + 0.05 < gap_m(far())
    assert retry.retries == 1
    assert looks_until_back(arrived(retry=retry), cloud(0.0)) == 35  # and so the next attempt
    assert retry.retries == 2


def test_a_robot_that_lags_is_led_no_faster_than_it_follows() -> None:
    retry = arrived()
    q = closed(HOME_Q)
    assert looks_until_back(retry, cloud(0.0)) == 35
    for _ in range(200):
        chunk = retry.lead_back(cloud(0.0), q, CHUNK)
        if chunk is None:
            break
        assert np.abs(chunk[0] - q).max() <= 2.0 * ARM_STEP_RAD
        q = q + 0.1 * (chunk[0] - q)
    assert gap_m(q) > BACK_M - 0.07  # less than THERE_RAD before the end


def test_a_way_back_that_is_blocked_is_given_up_after_a_second() -> None:
    retry = arrived()
    assert looks_until_back(retry, cloud(0.0)) == 35
    led = [retry.lead_back(cloud(0.0), closed(HOME_Q), CHUNK) is not None for _ in range(15)]
    assert led == [True] * 12 + [False] * 3  # 0.3 s for the fingers, then 1 s


def test_fingers_that_cannot_open_do_not_keep_the_arms() -> None:
    """A finger is held at 0.2 rad, as under an object; everything else follows."""
    retry = arrived()
    q = closed(HOME_Q)
    assert looks_until_back(retry, cloud(0.0)) == 35
    looks = 0
    while (chunk := retry.lead_back(cloud(0.0), q, CHUNK)) is not None:
        looks += 1
        q = chunk[0].copy()
        q[HAND][3] = closed(HOME_Q)[HAND][3]
    assert looks < 20 and gap_m(q) > BACK_M - 0.05


def test_open_fingers_need_not_be_opened() -> None:
    retry = arrived()
    for _ in range(40):
        chunk = retry.lead_back(cloud(0.0), HOME_Q, CHUNK)
        if chunk is not None:
            break
    assert chunk is not None and np.abs(chunk[0] - HOME_Q)[ARM].max() > 0.05


def test_a_stray_point_at_a_fingertip_is_no_object() -> None:
    away = cloud(0.0, PALM + [0.0, 0.0, -0.3])
    stray = np.append(PALM, LABEL_SEEN)[None].astype(np.float32)
    retry = Retry()
    assert looks_until_back(retry, np.concatenate([away, stray])) is None


def test_what_was_not_seen_is_not_held_against_the_attempt() -> None:
    """After four seconds without a cloud one look counts for 0.8 s; one low look alone is no loss."""
    retry = arrived()
    assert looks_until_back(retry, cloud(0.0), steps=40.0) == 5  # 5 * 0.8 s
    held = arrived()
    for _ in range(5):
        assert held.lead_back(cloud(0.05), closed(HOME_Q), CHUNK) is None
    assert looks_until_back(held, cloud(0.0), steps=3.0) == 2


def test_reset_forgets_the_attempt() -> None:
    retry = arrived()
    assert looks_until_back(retry, cloud(0.0)) == 35
    retry.reset()
    assert retry.retries == 0
    assert retry.lead_back(cloud(0.0), far(), CHUNK) is None


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(ConfigError, match="after_s"):
        RetryConfig(after_s=-1.0)
