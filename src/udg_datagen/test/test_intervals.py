import pytest

from udg_datagen.intervals import share, wilson_interval


def test_wilson_interval_of_a_known_case() -> None:
    # 8 of 10: centre (0.8 + 1.9207/10)/(1 + 3.8415/10) = 0.7167, half width 0.2266.
    interval = share(8, 10)
    assert (interval.lower, interval.upper) == pytest.approx((0.4902, 0.9433), abs=1e-3)
    assert share(0, 5).lower == pytest.approx(0.0) and share(5, 5).upper == pytest.approx(1.0)
    assert str(share(0, 0)) == "-"
    with pytest.raises(ValueError, match="6 of 5"):
        share(6, 5)
    assert wilson_interval(8, 10) == (interval.lower, interval.upper) and wilson_interval(0, 0) == (0.0, 1.0)
