"""Arrival times of a tick's messages, and where its time goes."""

from __future__ import annotations

import numpy as np
import pytest

from udg_bringup.stages import StageClock

NAN = float("nan")
TICK_NS = 100_000_000


def three_ticks() -> StageClock:
    """Ticks of 50, 60 ms and one that is not over."""
    clock = StageClock()
    clock.image(0, 1.000, NAN)
    clock.cloud(0, 1.020)
    clock.chunk(0, 1.045)
    clock.image(TICK_NS, 2.000, 50.0)  # each tick's status tells what the one before it took
    clock.cloud(TICK_NS, 2.030)
    clock.chunk(TICK_NS, 2.055)
    clock.image(2 * TICK_NS, 3.000, 60.0)
    return clock


def test_the_stages_of_a_tick_add_up_to_the_tick() -> None:
    clock = three_ticks()
    np.testing.assert_allclose(clock.tick_ms(), [50.0, 60.0])
    stages = clock.by_stage_ms()
    np.testing.assert_allclose(stages["image_to_cloud"], [20.0, 30.0])
    np.testing.assert_allclose(stages["cloud_to_chunk"], [25.0, 25.0])
    np.testing.assert_allclose(stages["chunk_to_command"], [5.0, 5.0])
    np.testing.assert_allclose(sum(stages.values()), clock.tick_ms())


def test_only_complete_ticks_count() -> None:
    assert three_ticks().count == 2
    assert StageClock().count == 0
    assert len(StageClock().tick_ms()) == 0


def test_a_repeated_message_does_not_make_the_stage_longer() -> None:
    clock = three_ticks()
    clock.cloud(0, 9.0)
    clock.chunk(0, 9.0)
    np.testing.assert_allclose(clock.tick_ms(), [50.0, 60.0])


def test_in_real_time_the_first_command_after_a_chunk_ends_its_tick() -> None:
    clock = StageClock()
    clock.image(0, 1.000, NAN)
    clock.command(1.010)  # still that of an older chunk
    clock.cloud(0, 1.020)
    clock.chunk(0, 1.045)
    clock.command(1.049)
    clock.command(1.059)
    np.testing.assert_allclose(clock.tick_ms(), [49.0])


@pytest.mark.parametrize(
    ("heard", "missing"),
    [(0, "/sim/trial_status"), (1, "/scene_cloud"), (2, "/action_chunk"), (3, "/sim/joint_command")],
)
def test_the_silent_topic_is_named(heard: int, missing: str) -> None:
    clock = StageClock()
    for step in (lambda: clock.image(0, 1.0, NAN), lambda: clock.cloud(0, 1.1), lambda: clock.chunk(0, 1.2))[:heard]:
        step()
    assert missing in clock.waiting_for()


def test_no_stage_is_negative_when_the_observer_hears_late() -> None:
    clock = StageClock()
    clock.image(0, 1.000, NAN)
    clock.chunk(0, 1.045)
    clock.cloud(0, 1.050)  # heard after the policy had answered it
    clock.image(TICK_NS, 2.000, 40.0)  # and the command was there before the chunk was heard
    stages = clock.by_stage_ms()
    np.testing.assert_allclose([stages[name][0] for name in stages], [40.0, 0.0, 0.0])
