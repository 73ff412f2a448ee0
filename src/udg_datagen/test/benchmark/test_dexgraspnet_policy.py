"""DexGraspNet as a policy: its own grasps, of one hand, kept."""

from pathlib import Path

import numpy as np
import pytest

from udg_datagen.baselines import DexGraspNetConfig
from udg_datagen.benchmark import dexgraspnet_policy
from udg_datagen.benchmark.dexgraspnet_policy import DexGraspNetChoice, DexGraspNetChoices, parse
from udg_datagen.benchmark.policies import entrants
from udg_datagen.evaluation.planner_policy import PlannerPolicy
from udg_datagen.evaluation.policy import Observation, PolicyFault, Start
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q
from udg_sim.objects.library import ObjectLibrary


def start() -> Start:
    target = ObjectLibrary().get("cylinder_60")
    T = target.stable_poses[0].copy()
    T[:2, 3] += [0.6, -0.1]
    return Start(target=target, T_world_object=T, q=HOME_Q.copy(), seed=1)


def test_grasps_are_made_once_and_lowest_energy_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DexGraspNetChoice(method=DexGraspNetConfig(n_candidates=8, iterations=20))
    grasps = DexGraspNetChoices(config, tmp_path).grasps(start().target, "right")
    assert grasps.sides == ("right",) and (np.diff(grasps.energy) >= 0.0).all()
    monkeypatch.setattr(dexgraspnet_policy, "optimise", None)
    again = DexGraspNetChoices(config, tmp_path).grasps(start().target, "right")
    np.testing.assert_array_equal(again.T_object_hand, grasps.T_object_hand)


def test_without_a_plan_the_trial_is_lost_by_that_cause() -> None:
    policy = PlannerPolicy(lambda start, scene: iter(()))
    with pytest.raises(PolicyFault) as fault:
        policy.reset(start())
    assert fault.value.cause == "no_plan"


def test_the_generators_plan_is_played_a_step_at_a_time_and_its_end_stays() -> None:
    policy = PlannerPolicy()
    policy.reset(start())

    def played(steps: int) -> np.ndarray:
        return np.stack([policy.act(Observation(lambda: np.zeros((0, 4)), HOME_Q, 0.1 * k)) for k in range(steps)])

    whole = played(120)
    assert np.abs(np.diff(whole, axis=0)).max() < 0.6 and np.array_equal(whole[-1], whole[-2])
    assert np.abs(whole[-1] - HOME_Q).max() > 0.3
    policy.reset(start())
    np.testing.assert_array_equal(played(30), whole[:30])


def test_its_settings_are_read_and_large_objects_left_out() -> None:
    assert parse("").method.iterations == 6000
    assert (parse("16x50").method.n_candidates, parse("16x50").method.iterations) == (16, 50)
    with pytest.raises(UdgError, match="as dexgraspnet:64x6000"):
        parse("many")
    assert entrants("dexgraspnet:16x50")[0].sizes == ("small", "medium")
