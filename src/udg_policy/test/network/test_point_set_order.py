"""Farthest-point order of few points: as many as asked for, each once."""

from __future__ import annotations

import numpy as np
import pytest

from udg_policy.network.point_set import farthest_order


@pytest.mark.parametrize("count", [0, 1, 2, 3, 5, 7, 8, 9, 40])
@pytest.mark.parametrize("wanted", [1, 4, 64])
def test_every_number_of_points_has_an_order(count: int, wanted: int) -> None:
    order = farthest_order(np.random.default_rng(count).random((count, 3)), wanted)
    assert len(order) == min(count, wanted)
    assert len(set(order.tolist())) == len(order)


def test_the_second_point_is_the_farthest_from_the_first() -> None:
    points = np.array([[0.0, 0.0, 0.0], [0.1, 0.0, 0.0], [0.2, 0.0, 0.0], [1.0, 0.0, 0.0]])
    assert farthest_order(points, 3).tolist() == [2, 3, 0]  # nearest to the mean 0.325; then 0.8 away; then 0.2 away
