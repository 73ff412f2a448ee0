"""Access to SAPIEN's physics without its renderer: no graphics device is needed."""

from __future__ import annotations

import warnings
from types import ModuleType
from typing import TYPE_CHECKING

import numpy as np

from udg_description.transforms import matrix_to_quat_wxyz

if TYPE_CHECKING:
    from sapien import Pose, Scene
    from sapien.physx import PhysxCollisionShapeConvexMesh, PhysxMaterial

COOKING_SCALE = 100.0
"""Convex meshes are cooked this much larger and scaled back: PhysX drops vertices closer than 0.7 mm to the hull."""
CONTACT_OFFSET_M = 0.001
"""Contacts are sought this far from each shape. SAPIEN's 10 mm costs several times as much for many parts."""


def sapien() -> ModuleType:
    """The module `sapien`, imported on first use without its remarks about graphics."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import sapien as module
    return module


def to_pose(T: np.ndarray) -> Pose:
    """SAPIEN pose of a rigid transform (4, 4)."""
    return sapien().Pose(np.asarray(T[:3, 3], dtype=float), matrix_to_quat_wxyz(T[:3, :3]))


def from_pose(pose: Pose) -> np.ndarray:
    """Rigid transform (4, 4), float64, of a SAPIEN pose."""
    return np.asarray(pose.to_transformation_matrix(), dtype=float)


def make_material(friction: float) -> PhysxMaterial:
    """Material without restitution; the friction of a pair is the mean of its two materials'."""
    return sapien().physx.PhysxMaterial(friction, friction, 0.0)


def convex_shape(vertices: np.ndarray, material: PhysxMaterial) -> PhysxCollisionShapeConvexMesh:
    """Collision shape of the hull of `vertices` (N, 3) [m], all of its vertices kept."""
    scale = np.full(3, 1.0 / COOKING_SCALE)
    cooked = np.asarray(COOKING_SCALE * vertices, dtype=np.float32)
    shape = sapien().physx.PhysxCollisionShapeConvexMesh(vertices=cooked, scale=scale, material=material)
    shape.contact_offset = CONTACT_OFFSET_M
    return shape


def make_scene(physics_hz: float, gravity: np.ndarray) -> Scene:
    """Empty scene with physics alone, deterministic."""
    physx = sapien().physx
    config = physx.PhysxSceneConfig()
    config.gravity = np.asarray(gravity, dtype=np.float32)
    config.bounce_threshold = 2.0
    config.enable_tgs = True
    config.enable_pcm = True
    config.enable_friction_every_iteration = True
    config.enable_enhanced_determinism = True
    physx.set_scene_config(config)
    system = physx.PhysxCpuSystem()
    system.timestep = 1.0 / physics_hz
    return sapien().Scene([system])
