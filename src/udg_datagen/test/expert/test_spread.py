from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from udg_datagen.expert.choice import ChoiceConfig, Reach
from udg_datagen.expert.spread import SpreadConfig, spread_choices
from udg_datagen.grasp_set import GraspSet
from udg_datagen.planning.collision import CollisionScene
from udg_description.layout import HOME_Q
from udg_sim.objects.library import ObjectLibrary, ObjectModel


@pytest.fixture(scope="module")
def scene() -> CollisionScene:
    return CollisionScene()


@pytest.fixture(scope="module")
def cube() -> ObjectModel:
    return ObjectLibrary().get("cube_60")


def placed(cube: ObjectModel) -> np.ndarray:
    T = cube.stable_poses[0].copy()
    T[:2, 3] = 0.6, 0.2
    return T


def reach(index: int) -> Reach:
    return Reach(
        set_index=0,
        grasp_index=index,
        sides=("left",),
        distance=0.0,
        q_pregrasp_arm={},
        approach={},
        lift={},
        Ts_world_hand={},
    )


def test_grasps_well_off_the_table_come_first_then_raised_ones_and_each_once(
    cube: ObjectModel, scene: CollisionScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[ChoiceConfig] = []
    answers = iter([(5,), (5, 2), (2, 7)])

    def found(
        grasps: object, T: object, start: object, scene: object, choice: ChoiceConfig, *, discarded: Counter[str] | None
    ) -> list[Reach]:
        asked.append(choice)
        return [reach(index) for index in next(answers)]

    monkeypatch.setattr("udg_datagen.expert.spread.reachable", found)
    sets: list[GraspSet] = [None]  # type: ignore[list-item]
    order = spread_choices(sets, cube, placed(cube), HOME_Q, scene)
    assert next(order).reach.grasp_index == 5
    assert len(asked) == 1  # the others are looked for only if this one does not do
    assert [choice.reach.grasp_index for choice in order] == [2, 7]
    wish, least = SpreadConfig().hand_table_wish_m, ChoiceConfig().hand_table_margin_m
    assert [choice.hand_table_margin_m for choice in asked] == [wish, wish, least]
    assert [choice.raise_m for choice in asked] == pytest.approx([0.0, 0.005, 0.005])  # of 60 mm: less than a tenth


def test_low_objects_are_raised_less(cube: ObjectModel, scene: CollisionScene, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []
    monkeypatch.setattr("udg_datagen.expert.spread.reachable", lambda *a, discarded: asked.append(a[-1].raise_m) or [])
    sunk = placed(cube)
    sunk[2, 3] -= 0.04  # its top is 20 mm above the table
    assert list(spread_choices([], cube, sunk, HOME_Q, scene)) == []
    assert asked == pytest.approx([0.0, 0.002, 0.002])
