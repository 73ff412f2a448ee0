"""The frame matcher gives out each moment once, and only when it is complete."""

import numpy as np
import pytest

from udg_perception.errors import PerceptionConfigError
from udg_perception.matching import FrameMatcher, MatchedFrame, MatcherConfig

MS = 1_000_000


def image(value: int) -> np.ndarray:
    return np.full((2, 2), value, dtype=np.uint16)


def matcher(**settings: float) -> FrameMatcher:
    return FrameMatcher(MatcherConfig(**settings), ["left", "right"])


def taken(frame: MatchedFrame | None) -> MatchedFrame:
    assert frame is not None
    return frame


def test_equal_stamps_match_in_any_order_of_arrival() -> None:
    def left(m: FrameMatcher) -> None:
        m.add_image("left", 100 * MS, image(1))

    def right(m: FrameMatcher) -> None:
        m.add_image("right", 100 * MS, image(2))

    def joints(m: FrameMatcher) -> None:
        m.add_joint_state(100 * MS, np.full(36, 3.0))

    for first, second, third in ((left, right, joints), (joints, right, left), (right, joints, left)):
        m = matcher()
        first(m)
        second(m)
        assert m.take() is None
        third(m)
        frame = taken(m.take())
        assert frame.stamp_ns == 100 * MS
        assert [int(d[0, 0]) for d in frame.depths] == [1, 2]
        assert frame.q[0] == 3.0
        assert m.take() is None, "a moment is given out once"


def test_stamp_is_the_newest_images_and_joint_state_is_the_nearest() -> None:
    m = matcher(image_tolerance_s=0.02, joint_tolerance_s=0.01)
    for stamp_ms in (90, 100, 110, 120):
        m.add_joint_state(stamp_ms * MS, np.full(36, float(stamp_ms)))
    m.add_image("left", 100 * MS, image(1))
    m.add_image("right", 112 * MS, image(2))
    frame = taken(m.take())
    assert frame.stamp_ns == 112 * MS
    assert frame.q[0] == 110.0


def test_images_further_apart_than_the_tolerance_do_not_match() -> None:
    m = matcher(image_tolerance_s=0.01)
    m.add_joint_state(120 * MS, np.zeros(36))
    m.add_image("left", 100 * MS, image(1))
    m.add_image("right", 120 * MS, image(2))
    assert m.take() is None


def test_joint_state_further_away_than_the_tolerance_does_not_match() -> None:
    m = matcher(joint_tolerance_s=0.008)
    m.add_joint_state(110 * MS, np.zeros(36))
    m.add_image("left", 100 * MS, image(1))
    m.add_image("right", 100 * MS, image(2))
    assert m.take() is None


def test_waits_until_the_nearest_joint_state_is_known() -> None:
    m = matcher()
    m.add_image("left", 100 * MS, image(1))
    m.add_image("right", 100 * MS, image(2))
    m.add_joint_state(95 * MS, np.full(36, 95.0))
    assert m.take() is None
    m.add_joint_state(101 * MS, np.full(36, 101.0))
    assert taken(m.take()).q[0] == 101.0


def test_thirty_hertz_images_give_ten_hertz_frames() -> None:
    m = matcher()
    stamps_ms = []
    for k in range(31):
        stamp_ns = round(k * 1e9 / 30)
        m.add_image("left", stamp_ns, image(1))
        m.add_image("right", stamp_ns, image(2))
        m.add_joint_state(stamp_ns, np.zeros(36))
        frame = m.take()
        if frame is not None:
            stamps_ms.append(round(frame.stamp_ns / MS))
    assert stamps_ms == list(range(0, 1001, 100))


def test_newest_complete_moment_wins() -> None:
    m = matcher()
    for stamp_ms in (100, 200, 300):
        m.add_joint_state(stamp_ms * MS, np.zeros(36))
        m.add_image("left", stamp_ms * MS, image(stamp_ms))
    for stamp_ms in (100, 200):
        m.add_image("right", stamp_ms * MS, image(stamp_ms))
    assert taken(m.take()).stamp_ns == 200 * MS
    assert m.take() is None


def test_time_set_back_starts_anew_whichever_input_comes_first() -> None:
    m = matcher()
    m.add_image("left", 5000 * MS, image(1))
    m.add_image("right", 5000 * MS, image(2))
    m.add_joint_state(5000 * MS, np.zeros(36))
    assert m.take() is not None
    m.add_joint_state(0, np.ones(36))
    m.add_image("left", 0, image(3))
    m.add_image("right", 0, image(4))
    frame = taken(m.take())
    assert (frame.stamp_ns, frame.q[0]) == (0, 1.0)


def test_a_repeated_moment_is_given_out_again() -> None:
    m = FrameMatcher(MatcherConfig.exact(), ["left", "right"])
    for _ in range(2):
        m.add_image("left", 100 * MS, image(1))
        m.add_image("right", 100 * MS, image(2))
        m.add_joint_state(100 * MS, np.zeros(36))
        assert taken(m.take()).stamp_ns == 100 * MS
        assert m.take() is None


def test_time_set_back_starts_anew() -> None:
    m = matcher()
    for stamp_ms in (5000, 0):
        m.add_image("left", stamp_ms * MS, image(1))
        m.add_image("right", stamp_ms * MS, image(2))
        m.add_joint_state(stamp_ms * MS, np.zeros(36))
        assert taken(m.take()).stamp_ns == stamp_ms * MS


def test_negative_tolerance_is_refused() -> None:
    with pytest.raises(PerceptionConfigError, match="image_tolerance_s = -1"):
        MatcherConfig(image_tolerance_s=-1.0)
