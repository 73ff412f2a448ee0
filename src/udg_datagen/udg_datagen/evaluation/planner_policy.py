"""The generator of the demonstrations as a policy: it knows the mesh, plans once, and plays its targets."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np

from udg_datagen.demonstrations.demonstration import DemoConfig, DemoPlanner
from udg_datagen.evaluation.policy import Observation, PolicyFault, Start
from udg_datagen.expert.choice import Choice
from udg_datagen.expert.expert import Expert
from udg_datagen.planning.collision import CollisionScene
from udg_description.layout import N_JOINTS
from udg_description.model import RobotModel

Choices = Callable[[Start, CollisionScene], Iterator[Choice]]
"""Grasps to try, the best first."""


class PlannerPolicy:
    """Plans the whole trajectory to a grasp at the start: open loop. Without a plan the trial is lost as `no_plan`."""

    def __init__(self, choices: Choices | None = None) -> None:
        """`choices`: by default the expert's."""
        self._scene = CollisionScene(model=RobotModel())
        self._planner = DemoPlanner(DemoConfig(), self._scene)
        self._choices = _ExpertChoices(self._scene) if choices is None else choices
        self._targets = np.zeros((0, N_JOINTS))
        self._step = 0

    def reset(self, start: Start) -> None:
        """Plan. Raises PolicyFault."""
        self._step = 0
        choices = self._choices(start, self._scene)
        plan = self._planner.plan(choices, start.target, start.T_world_object, start.q, start.seed)
        if plan is None:
            raise PolicyFault("no_plan", "no grasp that holds, is within reach and has a free path")
        self._targets = plan.targets

    @property
    def targets(self) -> np.ndarray:
        """All targets (T, N) [rad] of the plan, 0.1 s apart, the first due 0.1 s after the start."""
        return self._targets

    def act(self, observation: Observation) -> np.ndarray:
        """The target (N,) of this step [rad]; the last one stays."""
        target = self._targets[min(self._step, len(self._targets) - 1)]
        self._step += 1
        return target


class _ExpertChoices:
    def __init__(self, scene: CollisionScene) -> None:
        self._expert = Expert(scene)

    def __call__(self, start: Start, scene: CollisionScene) -> Iterator[Choice]:
        return self._expert.choices(start.target, start.T_world_object)
