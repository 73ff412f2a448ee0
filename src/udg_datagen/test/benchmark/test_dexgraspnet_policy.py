"""DexGraspNet as a policy: its own grasps, of one hand, kept."""

from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from udg_datagen.baselines import DexGraspNetConfig, optimise, to_grasps
from udg_datagen.bench.cell import hand_model
from udg_datagen.benchmark import dexgraspnet_policy
from udg_datagen.benchmark.dexgraspnet_policy import DexGraspNetChoice, DexGraspNetChoices, parse
from udg_datagen.benchmark.policies import entrants
from udg_datagen.evaluation.planner_policy import PlannerPolicy
from udg_datagen.evaluation.policy import Observation, PolicyFault, Start
from udg_datagen.grasp_set import GraspSet
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.planning.collision import CollisionScene
from udg_datagen.synthesis import SynthesisConfig
from udg_datagen.validation.validation import ValidationConfig
from udg_description.errors import UdgError
from udg_description.layout import HOME_Q
from udg_sim.objects.library import ObjectLibrary, ObjectModel


def start() -> Start:
    target = ObjectLibrary().get("cylinder_60")
    T = target.stable_poses[0].copy()
    T[:2, 3] += [0.6, -0.1]
    return Start(target=target, T_world_object=T, q=HOME_Q.copy(), seed=1)


def test_grasps_are_made_once_and_lowest_energy_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DexGraspNetChoice(method=DexGraspNetConfig(n_candidates=8, iterations=20))
    target, T_world_object = start().target, start().T_world_object
    grasps = DexGraspNetChoices(config, tmp_path).grasps(target, "right", T_world_object)
    assert grasps.sides == ("right",) and (np.diff(grasps.energy) >= 0.0).all()
    monkeypatch.setattr(dexgraspnet_policy, "optimise", None)
    again = DexGraspNetChoices(config, tmp_path).grasps(target, "right", T_world_object)
    np.testing.assert_array_equal(again.T_object_hand, grasps.T_object_hand)
    lying = T_world_object @ np.linalg.inv(target.stable_poses[0]) @ target.stable_poses[1]
    other = DexGraspNetChoices(config, tmp_path).grasps(target, "right", lying)
    np.testing.assert_array_equal(other.T_table_object, lying)  # fingers are opened off the table that there is
    (file,) = tmp_path.rglob("*.npz")
    file.write_bytes(file.read_bytes()[:100])
    with pytest.raises(TypeError):  # made anew
        DexGraspNetChoices(config, tmp_path).grasps(target, "right", lying)


def test_untested_the_lowest_energy_within_reach_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = DexGraspNetChoice(method=DexGraspNetConfig(n_candidates=8, iterations=20))
    tried: list[int] = []

    def within(*_: object, order: list[tuple[float, int, int]]) -> Iterator[SimpleNamespace]:
        for energy, _set, index in order:
            tried.append(index)
            if index in (4, 1, 2):
                yield SimpleNamespace(grasp_index=index, distance=energy)

    monkeypatch.setattr(dexgraspnet_policy, "reachable", within)
    monkeypatch.setattr(dexgraspnet_policy, "validate", None)
    found = list(DexGraspNetChoices(config, tmp_path)(start(), CollisionScene()))
    assert [one.reach.grasp_index for one in found] == 2 * [1, 2, 4]  # of one hand, then of the other
    energies = [one.reach.distance for one in found[:3]]
    assert energies == sorted(energies) and tried[:3] == [0, 1, 2]


def test_tested_only_what_holds_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    method = DexGraspNetConfig(n_candidates=8, iterations=20)
    config = DexGraspNetChoice(method=method, test=ValidationConfig())
    within = [SimpleNamespace(grasp_index=index) for index in (4, 1, 2)]
    held = {4: False, 1: True, 2: True}
    asked: list[np.ndarray] = []

    def holds(grasps: GraspSet, model: ObjectModel, test: ValidationConfig) -> SimpleNamespace:
        asked.append(grasps.energy)
        return SimpleNamespace(held=[held[within[len(asked) - 1].grasp_index]])

    monkeypatch.setattr(dexgraspnet_policy, "reachable", lambda *_, order: iter(within))
    monkeypatch.setattr(dexgraspnet_policy, "validate", holds)
    choices = DexGraspNetChoices(config, tmp_path)(start(), CollisionScene())
    first = next(choices)
    assert first.reach.grasp_index == 1 and len(asked) == 2
    np.testing.assert_array_equal(asked[1], first.grasps.energy[1:2])


def test_no_grasp_on_two_pads_is_an_empty_set_and_no_error() -> None:
    obj, hand = GraspObject.from_model(start().target), hand_model("right")
    result = optimise(obj, hand, DexGraspNetConfig(n_candidates=2, iterations=1, n_contacts=1), seed=0)
    grasps = to_grasps(result, obj, hand, SynthesisConfig(), T_table_object=start().T_world_object, method="m")
    assert len(grasps) == 0 and grasps.T_object_hand.shape[0] == 0


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
    assert (parse("").method.n_candidates, parse("").method.iterations) == (256, 3000)
    assert (parse("16x50").method.n_candidates, parse("16x50").method.iterations) == (16, 50)
    with pytest.raises(UdgError, match="as dexgraspnet:256x3000"):
        parse("many")
    plain, tested = entrants("dexgraspnet:16x50,dexgraspnet_tested:16x50")
    assert plain.sizes == tested.sizes == ("small", "medium") and plain.digest != tested.digest
    assert parse("").test is None and parse("16x50", tested=True).test == ValidationConfig()
