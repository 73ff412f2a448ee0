"""Failed trials are told apart by what happened to the object and the robot."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from udg_datagen.evaluation.trial_cause import TrialWatch
from udg_description.transforms import make_transform, rotvec_to_matrix
from udg_sim.physics.world import World


class FakeWorld:
    """A world whose state is set from outside, one step of 0.1 s at a time."""

    def __init__(self) -> None:
        self.time_s, self.q, self.T_world_object = 0.0, np.zeros(36), make_transform(translation=np.array([0.6, 0, 0]))
        self.touching: list[tuple[str, str]] = []

    def contacts(self, min_force_n: float, wanted: Any) -> list[tuple[str, str]]:  # noqa: ANN401
        return [pair for pair in self.touching if wanted(*pair)]


def run(
    heights: list[float], *, moves: bool = True, shift_m: float = 0.0, tip_rad: float = 0.0, touching: tuple = ()
) -> TrialWatch:
    world = FakeWorld()
    watch = TrialWatch(cast(World, world))
    for step, height in enumerate(heights):
        world.time_s += 0.1
        world.q = np.full(36, 0.1 * step if moves else 0.0)
        turn = rotvec_to_matrix(np.array([tip_rad, 0.0, 0.0]))
        world.T_world_object = make_transform(turn, np.array([0.6 + shift_m, 0.0, height]))
        world.touching = list(touching)
        watch.look()
    return watch


GRIP = (("left_hand_index_rota_link2", "object"),)


@pytest.mark.parametrize(
    ("cause", "watch"),
    [
        ("dropped", run([0.0, 0.1, 0.2, 0.0], touching=GRIP)),
        ("lifted_too_little", run([0.0, 0.1, 0.1], touching=GRIP)),
        ("knocked_away", run([0.0, 0.0], shift_m=0.2, touching=GRIP)),
        ("knocked_away", run([0.0, 0.0], tip_rad=1.5, touching=GRIP)),
        ("knocked_away", run([0.0, -0.5])),
        ("stalled", run([0.0] * 40, moves=False, touching=GRIP)),
        ("touched_not_lifted", run([0.0] * 40, touching=GRIP)),
        ("never_touched", run([0.0] * 40, touching=(("object", "table"), ("left_hand_link", "table")))),
        ("never_touched", run([0.0] * 20, moves=False)),  # stood still, but not for long enough to tell
    ],
)
def test_a_failure_has_the_cause_that_it_shows(cause: str, watch: TrialWatch) -> None:
    assert watch.cause() == cause


def test_a_yawed_object_has_not_tipped() -> None:
    world = FakeWorld()
    world.T_world_object = make_transform(rotvec_to_matrix(np.array([1.5, 0.0, 0.0])))  # on its side from the start
    watch = TrialWatch(cast(World, world))
    world.T_world_object = make_transform(rotvec_to_matrix(np.array([0.0, 0.0, 2.0]))) @ world.T_world_object
    watch.look()
    assert watch.cause() == "never_touched"
