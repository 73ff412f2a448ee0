"""What is executed of successive chunks, with numbers worked out by hand."""

import numpy as np
import pytest

from udg_policy.errors import ConfigError
from udg_policy.player import ChunkPlayer, PlayerConfig


def chunk(*values: float) -> np.ndarray:
    return np.array(values)[:, None] * np.ones(36)


def first_joint(targets: np.ndarray) -> list[float]:
    return targets[:, 0].tolist()


def test_by_default_the_newest_chunk_is_executed() -> None:
    player = ChunkPlayer()
    assert first_joint(player.step(chunk(1, 2, 3))) == [1, 2, 3]
    assert player.wants_chunk
    assert first_joint(player.step(chunk(7, 8, 9))) == [7, 8, 9]


def test_between_plans_the_rest_of_the_chunk_is_executed() -> None:
    player = ChunkPlayer(PlayerConfig(replan_every=2))
    assert first_joint(player.step(chunk(1, 2, 3))) == [1, 2, 3]
    assert not player.wants_chunk
    assert first_joint(player.step()) == [2, 3]
    assert player.wants_chunk


def test_a_chunk_that_is_used_up_wants_another_before_the_period_is_over() -> None:
    player = ChunkPlayer(PlayerConfig(replan_every=5))
    player.step(chunk(1, 2))
    player.step()
    assert player.wants_chunk


def test_blending_averages_what_the_chunks_say_of_the_same_moment() -> None:
    player = ChunkPlayer(PlayerConfig(blend=0.5))
    player.step(chunk(0, 3, 6))
    # moment 1: newest 6 (weight 1), older 3 (0.5) -> 5; moment 2: 9 and 6 -> 8; moment 3: 12 alone.
    assert first_joint(player.step(chunk(6, 9, 12))) == pytest.approx([5, 8, 12])


def test_after_reset_nothing_is_left() -> None:
    player = ChunkPlayer(PlayerConfig(blend=1.0))
    player.step(chunk(100, 100))
    player.reset()
    assert player.wants_chunk
    assert first_joint(player.step(chunk(1, 2))) == [1, 2]


def test_bad_settings_are_named() -> None:
    with pytest.raises(ConfigError, match="replan_every"):
        PlayerConfig(replan_every=0)
    with pytest.raises(ConfigError, match="blend"):
        PlayerConfig(blend=2.0)
