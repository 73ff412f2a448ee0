"""The compiled descent takes the steps of the batched one."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
import torch
import trimesh

from udg_datagen.hands.robot_hand import robot_hand
from udg_datagen.objects.grasp_object import GraspObject
from udg_datagen.synthesis import SynthesisConfig
from udg_datagen.synthesis.batch_descent import BatchDescent
from udg_datagen.synthesis.descent import Descent
from udg_datagen.synthesis.descent_loops import gradient
from udg_datagen.synthesis.initial import HandPose, TablePlane
from udg_datagen.synthesis.near import Near, starts_near
from udg_datagen.synthesis.objective import Objective, Weights, blend
from udg_datagen.synthesis.optimise import optimise
from udg_datagen.synthesis.problem import Problem

LEFT, RIGHT = robot_hand("left"), robot_hand("right")
CASES = {
    "tripod": ((RIGHT,), ((0, 1, 2),)),
    "whole_hand": ((LEFT,), (tuple(range(5)),)),
    "bimanual": ((LEFT, RIGHT), (tuple(range(5)), tuple(range(5)))),
}
CONFIG = SynthesisConfig(n_candidates=12, qp_steps=52, refine_steps=20, screen_factor=1, screen_step=40)
TABLE = TablePlane(np.array([0.0, 0.0, 1.0]), 0.05)
COUNT = 12


@pytest.fixture(scope="module")
def crate() -> GraspObject:
    return GraspObject(trimesh.creation.box((0.06, 0.09, 0.1)), name="crate")


def problem_of(crate: GraspObject, case: str, near: bool = True) -> tuple[Problem, HandPose]:
    """A problem, and starts close to the box, some of them in it and in the table."""
    hands, active = CASES[case]
    towards = np.array([[0.0, 1.0, 0.0], [0.0, -1.0, 0.0]])
    T = np.tile(np.eye(4), (len(hands), 1, 1))
    for h, hand in enumerate(hands):
        side = towards[h]
        across = np.array([1.0, 0.0, 0.0])
        here = np.stack([np.cross(hand.spec.palm_normal, hand.spec.finger_direction), hand.spec.palm_normal], axis=1)
        there = np.stack([np.cross(-side, across), -side], axis=1)
        T[h, :3, :3] = np.column_stack([there, across]) @ np.column_stack([here, hand.spec.finger_direction]).T
        T[h, :3, 3] = 0.03 * side - T[h, :3, :3] @ hand.spec.grasp_center
    reference = Near(T, np.stack([hand.spec.preshape for hand in hands]))
    config = dataclasses.replace(CONFIG, strategy=case)
    start = starts_near(reference, hands, config, COUNT, np.random.default_rng(1))
    return Problem(crate, hands, active, TABLE, config, near=reference if near else None), start


@pytest.mark.parametrize("k", [0, 2, 51, 60])
@pytest.mark.parametrize("case", sorted(CASES))
def test_gradients_are_those_of_the_batched_descent(crate: GraspObject, case: str, k: int) -> None:
    problem, start = problem_of(crate, case)
    objective, descent = Objective(problem), Descent(problem, start)
    hands, config = problem.hands, problem.config
    fresh = k - k % config.qp_every  # the lower level is solved there
    progress = k / (config.qp_steps + config.refine_steps - 1)
    states = start.forward(hands)
    _, forces, reference = objective.lower_level(states, None)
    weights = Weights(
        blend(config.weight_contact, progress),
        blend(config.weight_penetration, progress),
        2 * config.weight_self if k % 2 == 0 else 0.0,
        4 * config.weight_hands if k % 4 == 0 and len(hands) == 2 else 0.0,
    )
    given = (forces, reference) if k < config.qp_steps else (None, None)
    expected = objective.gradient(start, states, *given, weights)
    center, R, q = (x.numpy().astype(float) for x in start)
    contacts = len(descent.hands.contact_link)
    off = []
    for b in range(COUNT):
        weights_b, forces_b = np.zeros((12, contacts * config.cone_edges)), np.zeros((12, contacts, 3))
        references_b, found = np.zeros(contacts, dtype=np.int64), np.zeros((len(hands), 18))
        for step in sorted({fresh, k}) if k < config.qp_steps else (k,):
            gradient(
                *(descent.hands, descent.world, descent.settings, step, center[b], R[b], q[b]),
                *(weights_b, forces_b, references_b, found),
            )
        scale = max(float(expected[b].abs().max()), 1.0)
        off.append(float(np.abs(found - expected[b].numpy()).max()) / scale)
    assert np.sort(off)[COUNT - 3] < 1e-4  # single precision decides at kinks, and between two nodes


@pytest.mark.parametrize("near", [True, False])
@pytest.mark.parametrize("case", sorted(CASES))
def test_both_descents_end_at_the_same_grasps(crate: GraspObject, case: str, near: bool) -> None:
    problem, start = problem_of(crate, case, near)
    one, batch = (optimise(problem, start, COUNT, how) for how in (Descent, BatchDescent))
    assert one.alive.all() and batch.alive.all()
    apart_m = (one.pose.center - batch.pose.center).norm(dim=-1).amax(-1)
    same = apart_m < 1e-3
    assert same.sum() >= COUNT - 3  # rounding decides at kinks
    torch.testing.assert_close(one.energy[same], batch.energy[same], rtol=0.01, atol=0.1)


def test_the_same_start_gives_the_same_bits_whatever_stands_beside_it(crate: GraspObject) -> None:
    problem, start = problem_of(crate, "whole_hand")
    all_of_them = optimise(problem, start, COUNT, Descent).pose
    some = optimise(problem, start.take(torch.tensor([3, 5])), COUNT, Descent).pose
    assert torch.equal(some.q, all_of_them.q[[3, 5]]) and torch.equal(some.center, all_of_them.center[[3, 5]])
