"""The expert's choice: a function of the scene, in the order of rank, cached, with an end in bounded time."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from udg_datagen.expert import expert as module
from udg_datagen.expert.choice import Choice
from udg_datagen.expert.expert import Expert, ExpertConfig, Search, plans, strategies
from udg_datagen.grasp_set import GraspSet
from udg_datagen.planning.collision import CollisionScene
from udg_datagen.synthesis import SynthesisConfig
from udg_datagen.validation.validation import ValidationReport
from udg_description.errors import UdgError
from udg_description.layout import SIDES
from udg_sim.objects.library import ObjectLibrary, ObjectModel

QUICK = ExpertConfig(
    near=SynthesisConfig(n_candidates=8, screen_factor=1, qp_steps=40, refine_steps=30, screen_step=40),
    wide=SynthesisConfig(n_candidates=8, qp_steps=40, refine_steps=30),
    tried=4,
    stiffness_scales=(0.8,),
)


@pytest.fixture(scope="module")
def scene() -> CollisionScene:
    return CollisionScene()


@pytest.fixture(scope="module")
def can() -> ObjectModel:
    return ObjectLibrary().get("tin_can")


def placed(target: ObjectModel, x: float, y: float) -> np.ndarray:
    T = target.stable_poses[0].copy()
    T[:2, 3] = x, y
    return T


def hold(monkeypatch: pytest.MonkeyPatch, held: object) -> list[float]:
    """Let validation say `held(energy)` of each grasp; returns the energies it was asked for."""
    asked: list[float] = []

    def validate(grasps: GraspSet, model: ObjectModel, config: object) -> ValidationReport:
        asked.append(float(grasps.energy[0]))
        answer = np.array([held(asked[-1])])  # type: ignore[operator]
        return ValidationReport(answer, np.zeros(1), np.zeros(1), np.zeros(1))

    monkeypatch.setattr(module, "validate", validate)
    return asked


def test_the_object_in_its_pose_decides_on_strategy_and_hand() -> None:
    library = ObjectLibrary()
    can, box, domino = library.get("tin_can"), library.get("cube_250"), library.get("domino")
    assert plans(can, placed(can, 0.5, 0.1))[:2] == [("whole_hand", ("left",)), ("whole_hand", ("right",))]
    assert plans(can, placed(can, 0.5, -0.1))[0] == ("whole_hand", ("right",))
    assert plans(box, placed(box, 0.5, -0.1))[0] == ("bimanual", SIDES)
    assert strategies(domino, placed(domino, 0.5, 0.0))[0] == "pinch"  # thin
    cube = library.get("cube_50")
    assert strategies(cube, placed(cube, 0.5, 0.0))[0] == "tripod"


def test_the_choice_is_the_same_from_the_cache_and_for_every_expert(
    can: ObjectModel, scene: CollisionScene, tmp_path: Path
) -> None:
    T = placed(can, 0.5, -0.2)
    counts: Counter[str] = Counter()
    first = next(Expert(scene, QUICK, folder=tmp_path / "a").choices(can, T, counts))
    assert counts["lifted"] >= 1
    other = next(Expert(scene, QUICK, folder=tmp_path / "b").choices(can, T))
    np.testing.assert_array_equal(first.grasps.T_object_hand, other.grasps.T_object_hand)
    again: Counter[str] = Counter()
    kept = next(Expert(scene, QUICK, folder=tmp_path / "a").choices(can, T, again))
    np.testing.assert_array_equal(first.grasps.q_squeeze, kept.grasps.q_squeeze)
    np.testing.assert_array_equal(first.reach.approach["right"], kept.reach.approach["right"])
    assert again["lifted"] == 0


def test_a_cache_that_cannot_be_written_costs_time_and_no_grasp(
    can: ObjectModel,
    scene: CollisionScene,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("UDG_CACHE_NOTE_SAID", raising=False)
    hold(monkeypatch, lambda energy: True)
    (tmp_path / "file").write_text("in the place of the folder")
    T = placed(can, 0.5, -0.2)
    choice = next(Expert(scene, QUICK, folder=tmp_path / "file").choices(can, T))
    kept = next(Expert(scene, QUICK, folder=tmp_path / "kept").choices(can, T))
    np.testing.assert_array_equal(choice.grasps.q_grasp, kept.grasps.q_grasp)
    assert capsys.readouterr().err.count("note: cache") == 1


def test_the_first_by_rank_that_holds_is_the_same_as_if_all_were_tried(
    can: ObjectModel, scene: CollisionScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    T = placed(can, 0.5, -0.2)
    config = replace(QUICK, tried=8)
    asked = hold(monkeypatch, lambda energy: True)
    grasps = Expert(scene, config)._synthesised(can, T, "whole_hand", ("right",), Search.NEAR, Counter())
    every = list(Expert(scene, config, folder=tmp_path / "all")._held(grasps, can, T, Counter(), []))
    assert len(every) == len(asked) >= 3
    third = asked[2]
    asked = hold(monkeypatch, lambda energy: energy >= third)
    chosen = next(Expert(scene, config, folder=tmp_path / "lazy").choices(can, T))
    assert len(asked) == 3  # no more are lifted than it takes
    np.testing.assert_array_equal(chosen.grasps.energy, every[2].grasps.energy)


def test_a_grasp_has_to_pass_every_hard_test(can: ObjectModel, scene: CollisionScene, tmp_path: Path) -> None:
    tests = list(Expert(scene, ExpertConfig(), folder=tmp_path)._hard_tests(can))
    assert [test.world.stiffness_scale for test in tests] == [0.8, 1.25]
    assert {test.friction for test in tests} == {0.5}
    assert {test.mass_kg for test in tests} == {min(2.0 * can.mass_kg, 1.0)}


def test_no_seed_of_the_start_but_that_of_the_synthesis_changes_the_candidates(
    can: ObjectModel, scene: CollisionScene, tmp_path: Path
) -> None:
    T = placed(can, 0.5, -0.2)
    one = Expert(scene, QUICK, folder=tmp_path)._synthesised(can, T, "whole_hand", ("right",), Search.NEAR, Counter())
    two = Expert(scene, replace(QUICK, seed=1), folder=tmp_path)._synthesised(
        can, T, "whole_hand", ("right",), Search.NEAR, Counter()
    )
    assert not np.array_equal(one.energy, two.energy)


def test_a_scene_without_grasps_that_hold_ends_after_so_many_lifts(
    can: ObjectModel, scene: CollisionScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hold(monkeypatch, lambda energy: False)
    counts: Counter[str] = Counter()
    T = placed(can, 0.5, -0.2)
    assert list(Expert(scene, QUICK, folder=tmp_path).choices(can, T, counts)) == []
    most = 3 * len(plans(can, T)) * 2 * QUICK.tried  # near, near the second way and wide, each in both tests
    assert 0 < len(asked) == counts["lifted"] <= most


def test_a_scene_out_of_reach_is_never_lifted(
    can: ObjectModel, scene: CollisionScene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = hold(monkeypatch, lambda energy: True)
    counts: Counter[str] = Counter()
    choices: list[Choice] = list(Expert(scene, QUICK, folder=tmp_path).choices(can, placed(can, 3.0, 0.0), counts))
    assert choices == [] and asked == []
    assert counts["candidates"] > 0 and counts["ik"] == counts["candidates"]


def test_settings_that_make_no_sense_are_refused() -> None:
    with pytest.raises(UdgError, match="tried"):
        ExpertConfig(tried=0)
    with pytest.raises(UdgError, match="mass_factor"):
        ExpertConfig(mass_factor=0.5)
