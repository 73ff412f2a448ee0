"""What is executed of successive chunks, with numbers worked out by hand."""

import numpy as np
import pytest

from udg_policy.errors import ConfigError
from udg_policy.inference.player import ChunkPlayer, PlayerConfig


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


def test_the_weight_of_a_chunk_falls_with_its_age_whatever_the_period() -> None:
    player = ChunkPlayer(PlayerConfig(replan_every=2, blend=0.5))
    player.step(chunk(0, 0, 0, 0))
    player.step()
    # two steps older: weight 0.25
    assert first_joint(player.step(chunk(5, 5, 5, 5))) == pytest.approx([4, 4, 5, 5])


def test_the_command_of_a_moment_is_what_the_newest_chunk_had_for_it() -> None:
    player = ChunkPlayer(PlayerConfig(replan_every=3))
    assert player.commanded is None
    player.play(chunk(1, 2, 4))
    assert player.commanded is None  # nothing has been due yet
    seen = []
    for steps in (0.5, 0.5, 0.5, 0.5):
        player.advance(steps)
        assert player.commanded is not None
        seen.append(float(player.commanded[0]))
    assert seen == pytest.approx([1, 1, 1.5, 2])  # the first target is due after one step
    player.play(chunk(7, 8, 9))
    player.advance()
    assert player.commanded is not None and player.commanded[0] == 7
    player.drop()
    player.advance(5.0)
    assert player.wants_chunk and player.commanded is not None and player.commanded[0] == 7  # held since
    player.reset()
    assert player.commanded is None


def test_the_command_of_a_moment_is_what_was_blended() -> None:
    player = ChunkPlayer(PlayerConfig(blend=0.8))
    player.step(chunk(0, 0, 0))
    executed = player.step(chunk(1, 1, 1))
    assert player.commanded is not None and player.commanded[0] == pytest.approx(executed[0][0]) != 1.0


def test_play_alone_does_not_pass_time() -> None:
    player = ChunkPlayer(PlayerConfig(replan_every=3))
    player.play(chunk(1, 2, 3))
    assert first_joint(player.play()) == first_joint(player.play()) == [1, 2, 3]
    player.advance(2.0)
    assert first_joint(player.play()) == [3]
    player.advance(1.0)
    assert player.wants_chunk


def test_between_steps_targets_are_interpolated() -> None:
    player = ChunkPlayer(PlayerConfig(replan_every=3))
    player.play(chunk(1, 2, 4))
    player.advance(0.5)
    assert first_joint(player.play()) == pytest.approx([1.5, 3.0])
    player.advance(0.75)
    assert first_joint(player.play()) == pytest.approx([2.5])
    player.advance(0.8)
    assert player.wants_chunk  # 2.05 steps old: nothing is known of the next whole step


def test_a_moment_that_comes_a_little_early_plans_all_the_same() -> None:
    player = ChunkPlayer()
    player.play(chunk(1, 2, 3))
    player.advance(0.98)
    assert player.wants_chunk
    player.play(chunk(1, 2, 3))
    player.advance(0.3)  # clouds at 30 Hz
    assert not player.wants_chunk


def test_what_is_played_is_the_callers_own() -> None:
    player = ChunkPlayer(PlayerConfig(replan_every=3))
    player.step(chunk(1, 2, 3))[:] = 7.0
    assert first_joint(player.step()) == [2, 3]


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


def test_what_is_not_looked_at_before_the_next_chunk_is_told() -> None:
    """The step executed last heads for the next one."""
    assert PlayerConfig().steps_needed == 2
    assert PlayerConfig(replan_every=3).steps_needed == 4
    assert PlayerConfig(blend=0.5).steps_needed is None
