"""A fake of the part of cuRobo's API that CuroboPlanner calls; it plans straight lines in joint space, on the CPU.

Written from cuRobo's documentation. It shows that our side of the interface is consistent, not that cuRobo works.
"""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest
import torch

STEPS = 40


class MotionPlannerCfg:
    """What a planner is made from."""

    @staticmethod
    def create(*, robot: dict, scene_model: dict, collision_cache: dict) -> SimpleNamespace:
        return SimpleNamespace(robot=robot, scene_model=scene_model, collision_cache=collision_cache)


class JointState:
    """Positions (1, n) with names."""

    def __init__(self, position: torch.Tensor, joint_names: list[str]) -> None:
        self.position, self.joint_names = position, joint_names

    @classmethod
    def from_position(cls, position: torch.Tensor, joint_names: list[str]) -> JointState:
        return cls(position, joint_names)


class MotionPlanner:
    """Keeps what it was told; `fails` makes it find nothing, `none` return nothing at all."""

    made: list[MotionPlanner] = []
    fails = none = False

    def __init__(self, config: SimpleNamespace) -> None:
        self.config = config
        self.calls: list[str] = []
        self.world: dict = {}
        MotionPlanner.made.append(self)

    def warmup(self) -> None:
        self.calls.append("warmup")

    def reset_seed(self) -> None:
        self.calls.append("reset_seed")

    def update_world(self, scene: SimpleNamespace) -> None:
        self.calls.append("update_world")
        self.world = scene.content

    def plan_cspace(self, goal: JointState, start: JointState, max_attempts: int) -> SimpleNamespace | None:
        self.calls.append("plan_cspace")
        if self.none:
            return None
        share = torch.linspace(0.0, 1.0, STEPS)[:, None]
        steps = start.position + share * (goal.position - start.position)
        solution = SimpleNamespace(position=steps[None, None])
        return SimpleNamespace(success=torch.tensor([not self.fails]), js_solution=solution)


def install(monkeypatch: pytest.MonkeyPatch) -> type[MotionPlanner]:
    """Let `import curobo.*` find the fake."""
    parts = {
        "motion_planner": {"MotionPlannerCfg": MotionPlannerCfg, "MotionPlanner": MotionPlanner},
        "scene": {"Scene": SimpleNamespace(create=lambda content: SimpleNamespace(content=content))},
        "types": {"JointState": JointState},
    }
    monkeypatch.setitem(sys.modules, "curobo", ModuleType("curobo"))
    for name, members in parts.items():
        module = ModuleType(f"curobo.{name}")
        vars(module).update(members)
        monkeypatch.setitem(sys.modules, f"curobo.{name}", module)
    MotionPlanner.made = []
    MotionPlanner.fails = MotionPlanner.none = False
    return MotionPlanner
