"""The same grasps however the batches are spread, and never more than a batch at once."""

import dataclasses
import pickle
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor

import numpy as np
import pytest
import trimesh

from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.synthesis import GraspObject, SynthesisConfig, batches, synthesize, worker_pool
from udg_datagen.synthesis.batches import solve_batches
from udg_datagen.synthesis.initial import TablePlane
from udg_datagen.synthesis.problem import Problem

CONFIG = SynthesisConfig(
    strategy="tripod",
    n_candidates=10,
    batch=4,
    qp_steps=20,
    refine_steps=10,
    screen_step=20,
    max_tip_distance=1.0,
    max_penetration=1.0,
    pregrasp_steps=3,
)


class Courier(Executor):
    """Sends everything as another process would get it, and works here."""

    def map(self, fn: Callable, *iterables: Iterable) -> Iterator:  # type: ignore[override]
        return (pickle.loads(pickle.dumps(fn))(*arguments) for arguments in zip(*iterables, strict=True))


@pytest.fixture(scope="module")
def can() -> GraspObject:
    return GraspObject(trimesh.creation.cylinder(radius=0.033, height=0.12, sections=32), name="can")


def test_batches_sent_elsewhere_give_the_same_grasps(can: GraspObject) -> None:
    here = synthesize(can, robot_hand("right"), CONFIG, seed=4)
    there = synthesize(can, robot_hand("right"), CONFIG, seed=4, pool=Courier())
    for name in ("T_object_hand", "q_grasp", "q_squeeze", "energy", "tip_distance"):
        np.testing.assert_array_equal(getattr(here, name), getattr(there, name))


@pytest.mark.slow
def test_the_number_of_processes_does_not_matter(can: GraspObject) -> None:
    here = synthesize(can, robot_hand("right"), CONFIG, seed=4)
    with worker_pool(2) as pool:
        there = synthesize(can, robot_hand("right"), CONFIG, seed=4, pool=pool)
    np.testing.assert_array_equal(here.T_object_hand, there.T_object_hand)
    np.testing.assert_array_equal(here.q_squeeze, there.q_squeeze)


def test_no_more_than_a_batch_is_optimised_at_once(can: GraspObject, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []

    def solve(problem: Problem, batch: int, size: int) -> dict[str, np.ndarray]:
        sizes.append(size)
        return {"energy": np.full(size, float(batch))}

    monkeypatch.setattr(batches, "_solve", solve)
    done: list[float] = []
    config = dataclasses.replace(CONFIG, n_candidates=1001, batch=250)
    problem = Problem(can, (robot_hand("right"),), ((0, 1, 2),), TablePlane(np.array([0.0, 0.0, 1.0]), 0.06), config, 0)
    arrays = solve_batches(problem, 1, None, done.append)
    assert sum(sizes) == len(arrays["energy"]) == 1001
    assert max(sizes) <= 250 and max(sizes) - min(sizes) <= 1
    assert done[-1] == 1.0
