"""Motions by cuRobo (version 2 or later) on a machine with CUDA, behind the interface of `planner`.

Written from cuRobo's documentation and source of June 2026. It has run against a fake of its API alone
(`test/planning/fake_curobo.py`), never with cuRobo itself.
"""

from __future__ import annotations

import importlib
from types import ModuleType
from typing import Any

import numpy as np
import yaml
from scipy.spatial.transform import Rotation

from udg_datagen.planning.planner import MotionProblem, Path, dense
from udg_description.errors import UdgError
from udg_description.frames import TABLE
from udg_description.layout import JOINT_NAMES
from udg_description.robot import current_robot

_TABLE_THICKNESS_M = 0.1
_RESOLUTION_RAD = 0.06


class CuroboError(UdgError):
    """cuRobo is not installed, or too old."""


class CuroboPlanner:
    """Trajectory optimisation of all 36 joints with the robot's collision spheres, seeded by cuRobo's graph planner.

    Its path is verified with the problem's own collision check before it is returned, so that a difference between
    the two collision models costs a path, never a collision.
    """

    def __init__(self, attempts: int = 5, waypoints: int = 24, device: str = "cuda") -> None:
        """Raise CuroboError without cuRobo >= 2."""
        self._motion = _module("curobo.motion_planner")
        self._scene = _module("curobo.scene")
        self._types = _module("curobo.types")
        self._attempts, self._waypoints, self._device = attempts, waypoints, device
        config = self._motion.MotionPlannerCfg.create(
            robot=robot_description(), scene_model=_as_dict(()), collision_cache={"cuboid": 1, "mesh": 4}
        )
        self._planner = self._motion.MotionPlanner(config)
        self._planner.warmup()

    def plan(self, problem: MotionProblem, seed: int) -> Path | None:
        """A path from start to goal, or None. `seed` is not used: cuRobo resets its own."""
        del seed
        self._planner.reset_seed()
        self._planner.update_world(self._scene.Scene.create(_as_dict(problem.obstacles)))
        result = self._planner.plan_cspace(
            self._state(problem.goal), self._state(problem.start), max_attempts=self._attempts
        )
        if result is None or not bool(result.success.any()):
            return None
        steps = result.js_solution.position.reshape(-1, len(JOINT_NAMES)).cpu().numpy().astype(float)
        chosen = np.unique(np.linspace(0, len(steps) - 1, self._waypoints).astype(int))
        path = np.concatenate([problem.start[None], steps[chosen[1:-1]], problem.goal[None]])
        return Path(path, "search") if problem.is_free(dense(path, _RESOLUTION_RAD)).all() else None

    def _state(self, q: np.ndarray) -> Any:  # noqa: ANN401 (cuRobo's JointState)
        import torch

        position = torch.as_tensor(q[None], dtype=torch.float32, device=self._device)
        return self._types.JointState.from_position(position, joint_names=list(JOINT_NAMES))


def robot_description() -> dict[str, Any]:
    """The robot as cuRobo reads it: our collision spheres with the URDF's absolute path. Raises CuroboError."""
    current = current_robot()
    if current.spheres is None:
        raise CuroboError(f"robot {current.name}: cuRobo's planner needs a file of `spheres`, which it does not have")
    robot = yaml.safe_load(current.spheres.read_text(encoding="utf-8"))
    kinematics = robot["robot_cfg"]["kinematics"]
    kinematics["urdf_path"] = str(current.urdf)
    kinematics["tool_frames"] = kinematics["link_names"]
    kinematics["cspace"]["default_joint_position"] = kinematics["cspace"]["retract_config"]
    return robot


def _as_dict(obstacles: tuple) -> dict[str, Any]:
    """A scene: the table, and meshes (mesh, T_world_mesh) by vertices and faces."""
    center = [*TABLE.center[:2].tolist(), -_TABLE_THICKNESS_M / 2]
    size = [TABLE.x_max - TABLE.x_min, TABLE.y_max - TABLE.y_min, _TABLE_THICKNESS_M]
    meshes = {}
    for index, (mesh, T_world_mesh) in enumerate(obstacles):
        x, y, z, w = Rotation.from_matrix(T_world_mesh[:3, :3]).as_quat()
        meshes[f"object_{index}"] = {
            "pose": [*T_world_mesh[:3, 3].tolist(), w, x, y, z],
            "vertices": np.asarray(mesh.vertices).tolist(),
            "faces": np.asarray(mesh.faces).tolist(),
        }
    return {"cuboid": {"table": {"dims": size, "pose": [*center, 1.0, 0.0, 0.0, 0.0]}}, "mesh": meshes}


def _module(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise CuroboError(f"{name} cannot be imported ({error}); valid: cuRobo 2 or later with CUDA") from error
