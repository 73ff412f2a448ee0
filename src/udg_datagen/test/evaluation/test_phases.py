"""The phases of a trial, told from a world whose state is set by hand."""

from __future__ import annotations

import json
from typing import Any, cast

import numpy as np
import pytest
import trimesh

from udg_datagen.evaluation.phases import FAILED_IN, PHASES, PhaseWatch, is_closed, summarise_phases
from udg_datagen.evaluation.trials import Trial
from udg_description.layout import HOME_Q
from udg_description.transforms import make_transform
from udg_policy.episodes.grasp import PredictedGrasp, key_points
from udg_sim.objects.library import SIZES
from udg_sim.physics.world import Contact, World

MASS_KG = 0.1  # weighs 0.981 N: squeezed from 1.962 N on
THUMB, INDEX, TABLE = "right_hand_thumb_rota_link2", "right_hand_index_rota_link2", "table"
PALM_WORLD = key_points(HOME_Q)[1, 1]


class FakeWorld:
    """The robot at home, and a ball of 3 cm radius that is `gap_m` below the right palm."""

    def __init__(self, gap_m: float = 0.3) -> None:
        self.time_s, self.q = 5.0, HOME_Q
        self.T_world_object = make_transform(translation=PALM_WORLD - [0.0, 0.0, 0.03 + gap_m])
        self.forces: dict[str, float] = {TABLE: 1.0}

    def contacts(self, min_force_n: float, wanted: Any) -> list[Contact]:  # noqa: ANN401
        return [
            Contact("object", body, force_n, np.zeros(3))
            for body, force_n in self.forces.items()
            if force_n >= min_force_n and wanted("object", body)
        ]

    def rise(self, height_m: float) -> None:
        self.T_world_object = make_transform(translation=np.array([0.0, 0.0, height_m])) @ self.T_world_object


def watch_of(world: FakeWorld) -> PhaseWatch:
    return PhaseWatch(cast(World, world), trimesh.creation.icosphere(4, 0.03), MASS_KG)


def grasp_at(shift_m: float, acting: tuple[float, float] = (0.1, 0.9), strategy: int = 1) -> PredictedGrasp:
    """The hands as they are at home, but so much further along x."""
    return PredictedGrasp(key_points(HOME_Q) + [shift_m, 0.0, 0.0], np.array(acting), np.eye(4)[strategy])


def step(watch: PhaseWatch, world: FakeWorld) -> None:
    world.time_s += 0.1
    watch.look()


def test_each_phase_has_its_moment_and_its_distances() -> None:
    world = FakeWorld()
    watch = watch_of(world)
    watch.plan(grasp_at(0.03))
    step(watch, world)
    assert watch.phases == {}
    world.forces[THUMB] = 0.2
    watch.plan(grasp_at(0.01))
    step(watch, world)
    assert watch.phases == {"reached": {"s": 0.2, "off_mm": 10.0, "off_first_mm": 30.0}}
    world.forces[INDEX] = 0.2
    step(watch, world)
    assert watch.phases["closed"] == {"s": 0.3, "off_mm": 10.0, "off_first_mm": 30.0}
    watch.plan(grasp_at(0.5))  # no longer counts
    world.forces |= {THUMB: 1.0, INDEX: 1.0}
    step(watch, world)
    assert watch.phases["squeezed"] == {"s": 0.4, "off_mm": 10.0, "off_first_mm": 30.0}
    del world.forces[TABLE]
    world.rise(0.025)  # and the hands have stayed behind: the grasp goes with the object
    step(watch, world)
    assert watch.phases["lifted"]["s"] == 0.5
    assert watch.phases["lifted"]["off_mm"] == pytest.approx(np.hypot(10.0, 25.0), abs=0.1)
    assert tuple(watch.phases) == PHASES
    assert watch.conclude(success=False) == "hold" and watch.conclude(success=True) == ""


@pytest.mark.parametrize(("gap_m", "reached"), [(0.015, True), (0.025, False)])
def test_a_hand_has_reached_the_object_within_two_centimetres(gap_m: float, reached: bool) -> None:
    world = FakeWorld(gap_m)
    watch = watch_of(world)
    step(watch, world)
    assert (watch.phases == {"reached": {"s": 0.1}}) == reached  # nothing is predicted: no distance
    assert watch.conclude(success=False) == ("close" if reached else "reach")


@pytest.mark.parametrize(
    ("bodies", "closed"),
    [
        ((), False),
        (("right_hand_thumb_rota_link2",), False),
        (("right_hand_index_rota_link1", "right_hand_index_rota_link2"), False),
        (("right_hand_index_rota_link2", "right_hand_mid_link2"), False),  # from one side
        (("right_hand_thumb_bend_link", "right_hand_ring_link1"), True),
        (("right_hand_link", "right_hand_pinky_link2"), True),  # palm and finger
        (("right_hand_link", "left_hand_link"), True),
        (("right_hand_thumb_bend_link", "left_hand_mid_link1"), True),
    ],
)
def test_what_touches_the_object_from_more_than_one_side_is_closed(bodies: tuple[str, ...], closed: bool) -> None:
    assert is_closed(bodies) == closed


def test_a_light_touch_is_no_squeeze_and_a_tipped_object_not_lifted() -> None:
    world = FakeWorld()
    watch = watch_of(world)
    world.forces |= {THUMB: 0.95, INDEX: 0.95}
    step(watch, world)
    assert watch.conclude(success=False) == "squeeze"
    world.forces |= {THUMB: 1.0, INDEX: 1.0}
    world.rise(0.04)  # on the table still
    step(watch, world)
    assert watch.conclude(success=False) == "lift"
    assert "lifted" not in watch.phases


def test_an_object_that_flies_off_is_not_lifted() -> None:
    world = FakeWorld()
    watch = watch_of(world)
    world.forces = {INDEX: 5.0}
    world.rise(0.1)
    step(watch, world)
    assert watch.conclude(success=False) == "close"


def test_the_grasp_that_is_told_is_the_first_and_its_changes_are_counted() -> None:
    world = FakeWorld()
    watch = watch_of(world)
    watch.plan(None)
    assert watch.grasp is None
    for acting, strategy in (((0.1, 0.9), 1), ((0.2, 0.8), 1), ((0.9, 0.8), 3), ((0.1, 0.9), 1)):
        watch.plan(grasp_at(0.0, acting, strategy))
    assert watch.grasp == {"strategy": "tripod", "strategy_p": 1.0, "left": 0.1, "right": 0.9, "changes": 2}
    json.dumps(watch.grasp)


def trial(success: bool, phases: dict[str, dict[str, float]], failed_in: str, size: str = "small") -> Trial:
    return Trial(
        object="a",
        size_class=size,
        seed=0,
        success=success,
        raised_m=0.2,
        final_m=0.2,
        steps=50,
        position_xy=(0.6, 0.0),
        phases=phases,
        failed_in=failed_in,
    )


def test_phases_are_summed_up_for_successes_and_failures() -> None:
    trials = [
        trial(True, {phase: {"s": 2.0, "off_mm": 5.0} for phase in PHASES}, ""),
        trial(False, {"reached": {"s": 1.0, "off_mm": 20.0}}, "close"),
        trial(False, {"reached": {"s": 3.0, "off_mm": 40.0}, "closed": {"s": 4.0}}, "squeeze", "large"),
        trial(False, {}, "reach", "large"),
    ]
    summary = summarise_phases(trials, SIZES)
    assert summary["phases"]["reached"]["failures"] == {"trials": 2, "of": 3, "median_s": 2.0, "median_off_mm": 30.0}
    assert summary["phases"]["lifted"]["successes"] == {"trials": 1, "of": 1, "median_s": 2.0, "median_off_mm": 5.0}
    assert summary["phases"]["lifted"]["failures"] == {"trials": 0, "of": 3}
    assert summary["failed_in"] == {"reach": 1, "close": 1, "squeeze": 1}
    assert list(summary["failed_in"]) == [name for name in FAILED_IN if name in summary["failed_in"]]
    assert summary["failed_in_by_size"] == {"small": {"close": 1}, "medium": {}, "large": {"reach": 1, "squeeze": 1}}
    json.dumps(summary)
